// The service `process.Process` of envd: commands and terminals in a sandbox.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ConnectError, Outgoing } from './connect.mjs';

const run = promisify(execFile);

/** How long what is still in the pipes of a command that has ended is waited for, in milliseconds. */
const REST_MS = 200;

const SIGNALS = { SIGNAL_SIGTERM: 'SIGTERM', SIGNAL_SIGKILL: 'SIGKILL', 15: 'SIGTERM', 9: 'SIGKILL' };

/** A process that was started by a client. */
class Running {
  constructor(child, config, tag, isTerminal) {
    Object.assign(this, { child, config, tag, isTerminal, listeners: new Set() });
    for (const name of ['stdout', 'stderr']) {
      child[name].on('data', (bytes) => this.tell({ data: { [isTerminal ? 'pty' : name]: bytes.toString('base64') } }));
    }
  }

  /** Gives a terminal another size; the programs in it are told by the system. */
  async resize({ cols, rows }) {
    if (!this.isTerminal) throw new ConnectError('internal', 'tty not assigned to process');
    const { stdout } = await run('ps', ['-A', '-o', 'ppid=,tty=']);
    const [, tty] = stdout.split('\n').map((line) => line.trim().split(/\s+/)).find(([parent]) => Number(parent) === this.child.pid) ?? [];
    await run('stty', ['-F', `/dev/${tty}`, 'cols', String(cols), 'rows', String(rows)]);
  }

  /** What a client types, or pipes in. */
  type({ stdin, pty }) {
    if ((pty === undefined) === this.isTerminal) throw new ConnectError('internal', this.isTerminal ? 'tty assigned to process' : 'tty not assigned to process');
    if (!this.child.stdin?.writable) throw new ConnectError('internal', 'stdin not enabled or closed');
    this.child.stdin.write(Buffer.from(pty ?? stdin ?? '', 'base64'));
  }

  tell(event) {
    for (const outgoing of this.listeners) outgoing.send({ event });
  }

  finish(error) {
    for (const outgoing of this.listeners) outgoing.end(error);
    this.listeners.clear();
  }
}

/** How a process ended; what has its usual value is left out, as in every message of this protocol. */
function endOf(code, signal) {
  if (signal) return { exitCode: -1, status: `signal: ${signal === 'SIGKILL' ? 'killed' : signal}`, error: `signal: ${signal}` };
  return { ...(code ? { exitCode: code, error: `exit status ${code}` } : {}), exited: true, status: `exit status ${code}` };
}

/** The same command in a terminal of its own, which `script` of util-linux opens. */
function inTerminal({ cmd, args = [] }, { cols, rows }) {
  const quoted = [cmd, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  return ['script', ['-q', '-e', '-f', '-c', `stty cols ${Number(cols)} rows ${Number(rows)}; exec ${quoted}`, '/dev/null']];
}

/** Starts a command and tells what comes of it. It goes on when the client goes away. */
export async function start(sandbox, { process: config, pty, tag, stdin = true }, request, response) {
  const [cmd, args] = pty ? inTerminal(config, pty.size) : [config.cmd, config.args];
  let child;
  try {
    child = sandbox.spawn(cmd, args, { cwd: config.cwd, envs: config.envs, stdin: stdin || Boolean(pty) });
    await new Promise((resolve, reject) => { child.once('spawn', resolve).once('error', reject); });
  } catch (error) {
    throw new ConnectError('invalid_argument', `error starting process '${config.cmd}': ${error.message}`);
  }
  const running = new Running(child, config, tag, Boolean(pty));
  sandbox.commands.push(config);
  sandbox.processes.set(child.pid, running);
  const outgoing = listen(running, request, response);
  outgoing.send({ event: { start: { pid: child.pid } } });
  const limit = Number(request.headers['connect-timeout-ms']);
  const clock = limit ? setTimeout(() => {
    running.late = true;
    child.kill('SIGKILL');
    running.finish(new ConnectError('deadline_exceeded', 'context deadline exceeded'));
  }, limit) : null;
  child.once('exit', (code, signal) => {
    clearTimeout(clock);
    sandbox.processes.delete(child.pid);
    const tell = () => {
      if (running.late) return;
      running.late = true;
      running.tell({ end: endOf(code, signal) });
      running.finish();
    };
    // `close` comes when the pipes are empty; whoever inherited them may keep them open for ever.
    child.once('close', tell);
    setTimeout(tell, REST_MS);
  });
}

/** Tells a client what a process does from now on. */
export function listen(running, request, response) {
  const outgoing = new Outgoing(response);
  running.listeners.add(outgoing);
  const seconds = Number(request.headers['keepalive-ping-interval']) || 90;
  const pings = setInterval(() => outgoing.send({ event: { keepalive: {} } }), seconds * 1000);
  response.once('close', () => {
    clearInterval(pings);
    running.listeners.delete(outgoing);
  });
  return outgoing;
}

/** The process that a selector names. */
export function select(sandbox, { process: selector = {} }) {
  const found = selector.tag === undefined ? sandbox.processes.get(selector.pid)
    : [...sandbox.processes.values()].find(({ tag }) => tag === selector.tag);
  if (!found) throw new ConnectError('not_found', `process with ${selector.tag === undefined ? `pid ${selector.pid}` : `tag ${selector.tag}`} not found`);
  return found;
}

/** Methods with one answer. */
export const unary = {
  List: (sandbox) => ({ processes: [...sandbox.processes.values()].map(({ child, config, tag }) => ({ config, pid: child.pid, tag })) }),
  SendInput(sandbox, message) {
    select(sandbox, message).type(message.input ?? {});
    return {};
  },
  async Update(sandbox, message) {
    const running = select(sandbox, message);
    if (message.pty?.size) await running.resize(message.pty.size);
    return {};
  },
  CloseStdin(sandbox, message) {
    select(sandbox, message).child.stdin?.end();
    return {};
  },
  SendSignal(sandbox, message) {
    const signal = SIGNALS[message.signal];
    if (!signal) throw new ConnectError('unimplemented', `invalid signal: ${message.signal}`);
    select(sandbox, message).child.kill(signal);
    return {};
  },
};
