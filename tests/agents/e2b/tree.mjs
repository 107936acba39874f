// The processes of a sandbox: all that have its id in their environment, whatever group or session they made for themselves.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The variable by which processes of a sandbox are known; E2B sets it too. */
export const MARK = 'E2B_SANDBOX_ID';

/** Numbers of the living processes of a sandbox. */
export async function members(id) {
  const { stdout } = await run('ps', ['axeww', '-o', 'pid=,stat=,command='], { maxBuffer: 256 << 20 });
  const mark = ` ${MARK}=${id} `;
  return stdout.split('\n').flatMap((line) => {
    const [, pid, state] = /^\s*(\d+)\s+(\S+)/.exec(line) ?? [];
    return pid && !state.startsWith('Z') && `${line} `.includes(mark) ? [{ pid: Number(pid), stopped: state.startsWith('T') }] : [];
  });
}

function signal(pid, name) {
  try { process.kill(pid, name); } catch { /* it has ended meanwhile */ }
}

/** How often it is looked whether all heeded a signal. One that was started meanwhile is found in the next turn. */
const TURNS = 500;

async function signalAll(id, name, isLeft) {
  for (let turn = 0; turn < TURNS; turn += 1) {
    const left = (await members(id)).filter(isLeft);
    if (!left.length) return;
    for (const { pid } of left) signal(pid, name);
  }
  throw new Error(`sandbox ${id} does not heed ${name}`);
}

/** Stops them all. */
export const freeze = (id) => signalAll(id, 'SIGSTOP', ({ stopped }) => !stopped);

/** Lets them go on. */
export async function thaw(id) {
  for (const { pid } of await members(id)) signal(pid, 'SIGCONT');
}

/**
 * What runs in a sandbox by itself, for whoever starts it again elsewhere: {pid, argv, env, cwd} of processes that neither another
 * of the sandbox nor the daemon (`commands`, their numbers) started. Only Linux tells it; elsewhere there are none.
 */
export async function remembered(id, commands) {
  const pids = new Set((await members(id)).map(({ pid }) => pid));
  return [...pids].flatMap((pid) => {
    try {
      const read = (name) => fs.readFileSync(`/proc/${pid}/${name}`, 'utf8');
      const parent = Number(read('stat').replace(/^.*\) \S+ /s, '').split(' ')[0]);
      if (pids.has(parent) || commands.has(pid)) return [];
      const list = (name) => read(name).split('\0').slice(0, -1);
      return [{ pid, argv: list('cmdline'), env: Object.fromEntries(list('environ').map((it) => it.split(/=(.*)/s).slice(0, 2))), cwd: fs.readlinkSync(`/proc/${pid}/cwd`) }];
    } catch {
      return [];
    }
  });
}

/** Ends them all. */
export const fell = (id) => signalAll(id, 'SIGKILL', () => true);
