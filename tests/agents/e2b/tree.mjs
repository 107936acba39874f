// The processes of a sandbox: all that have its id in their environment, whatever group or session they made for themselves.
import { execFile } from 'node:child_process';
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

/** Stops them all. One that is started while others are stopped is found in the next turn. */
export async function freeze(id) {
  for (;;) {
    const moving = (await members(id)).filter(({ stopped }) => !stopped);
    if (!moving.length) return;
    for (const { pid } of moving) signal(pid, 'SIGSTOP');
  }
}

/** Lets them go on. */
export async function thaw(id) {
  for (const { pid } of await members(id)) signal(pid, 'SIGCONT');
}

/** Ends them all. */
export async function fell(id) {
  for (;;) {
    const alive = await members(id);
    if (!alive.length) return;
    for (const { pid } of alive) signal(pid, 'SIGKILL');
  }
}
