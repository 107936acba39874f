// A machine whose runner calls the worker (transport `mailbox`): the real binary with the real shim. Its agent `claude` is agent.mjs, its agent
// `pi` the same behind the real sandbox-agent server.
// LOGSEQ_RUNNER names the binary; agent-shim lies beside it.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TOKEN, here, sandboxAgentBin, standIns } from './processes.mjs';

const BINARY = process.env.LOGSEQ_RUNNER;
assert.ok(BINARY, 'LOGSEQ_RUNNER names the runner');

/** Processes of this computer: {pid, words, variables}. Those that end meanwhile, or belong to others, are left out. */
function* processes() {
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const [words, variables] = ['cmdline', 'environ'].map((name) => fs.readFileSync(`/proc/${pid}/${name}`, 'utf8').split('\0'));
      yield { pid: Number(pid), words, variables };
    } catch { /* it has ended, or is another user's */ }
  }
}

/** What a process has mounted; nothing of one that has ended, or is another user's. */
function mounts(pid) {
  try {
    return fs.readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
  } catch {
    return '';
  }
}

/** The configuration of both agents, of which `agent` is the script of the first, which can be read within walls. */
function config(agent) {
  const text = JSON.stringify;
  const server = ['server', '--host', '127.0.0.1', '--port', '{port}', '--token', '{token}', '--no-telemetry'];
  return `[agents.claude]
command = ${text(process.execPath)}
args = [${text(agent)}]
env = ["AGENT_KEEPS", "AGENT_LOG", "STDIN_LOG"]
binds = [${text(path.dirname(agent))}, ${text(process.execPath)}]

[agents.pi]
command = ${text(sandboxAgentBin())}
args = ${text(server)}
env = ["AGENT_KEEPS", "AGENT_LOG", "SANDBOX_AGENT_REQUIRE_PREINSTALL"]
`;
}

/** Whether bubblewrap works here. Where REQUIRE_WALLS is set, it has to. */
export function hasWalls() {
  try {
    execFileSync('bwrap', ['--unshare-user', '--unshare-pid', '--ro-bind', '/', '/', '--', '/bin/true'], { stdio: 'ignore' });
    return true;
  } catch (error) {
    assert.ok(!process.env.REQUIRE_WALLS, `bubblewrap cannot be used here: ${error}`);
    return false;
  }
}

export class Machine {
  /** `base`: the address of the worker. */
  constructor(base, { id = 'workstation', agent = path.join(here, 'agent.mjs') } = {}) {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'machine-'));
    Object.assign(this, { base, id, home, state: path.join(home, 'state'), programs: path.join(home, 'bin'), output: '' });
    fs.writeFileSync(path.join(home, 'config.toml'), config(agent));
    fs.mkdirSync(this.programs);
    standIns(this.programs);
  }

  /** What programs of this machine are started with, and `more`. */
  variables(more) {
    return {
      PATH: `${this.programs}:${process.env.PATH}`, HOME: this.home, SANDBOX_AGENT_REQUIRE_PREINSTALL: '1', AGENT_KEEPS: '1', AGENT_LOG: path.join(this.home, 'agent.log'), STDIN_LOG: path.join(this.home, 'stdin.log'),
      RUNNER_STATE_DIR: this.state, RUNNER_CONFIG: path.join(this.home, 'config.toml'), ...more,
    };
  }

  /** Starts a runner. `env`: its further variables; `before`: the words of a program that starts it in its own place. */
  begin(env = {}, before = []) {
    const [program, ...words] = [...before, BINARY, 'run'];
    this.runner = spawn(program, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: this.variables({
        BASE_URL: this.base, TOKEN, RUNNER_ID: this.id, RUNNER_MAX_SESSIONS: '64', RUNNER_TRANSPORT: 'mailbox', RUNNER_DRIVER: 'plain', ...env,
      }),
    });
    this.runner.stderr.setEncoding('utf8').on('data', (text) => {
      this.output += text;
      if (process.env.VERBOSE) process.stderr.write(text);
    });
    this.ended = new Promise((resolve) => { this.runner.once('exit', (code, signal) => resolve(code ?? signal)); });
    return this.runner;
  }

  /** Starts a runner that attaches. */
  async start(env = {}, before = []) {
    const runner = this.begin(env, before);
    const ready = await new Promise((resolve, reject) => {
      runner.stdout.setEncoding('utf8').once('data', resolve);
      this.ended.then((how) => reject(new Error(`the runner ended with ${how}: ${this.output}`)));
    });
    assert.equal(ready, `ready runner=${this.id} transport=mailbox\n`);
  }

  /** Ends the runner with a signal. How it ended: its code, else the signal. */
  end(signal = 'SIGTERM') {
    this.runner.kill(signal);
    return this.ended;
  }

  /** Shims, by the folder that they were started for, or that is mounted within their walls. */
  shims() {
    const name = `/${path.basename(this.home)}/`;
    const isOurs = ({ pid, words }) => words.some((word) => word.startsWith(this.home)) || mounts(pid).includes(name);
    return [...processes()].filter((it) => it.words[0].endsWith('agent-shim') && isOurs(it)).map(({ pid }) => pid);
  }

  /** Everything that belongs to agents, by the home that shims give it. */
  tree() {
    return [...processes()].filter(({ variables }) => variables.some((it) => it.startsWith('LOGSEQ_MAILBOX=')) && variables.some((it) => it.startsWith(`HOME=${this.home}`)));
  }

  /** Agents themselves, without what they have started. */
  agents() {
    return this.tree().filter(({ words }) => words.some((word) => word.endsWith('agent.mjs'))).map(({ pid }) => pid);
  }

  /** The lines of the agents' log. */
  told() {
    const file = path.join(this.home, 'agent.log');
    if (!fs.existsSync(file)) return [];
    return fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** How many prompts hold a text. */
  prompts(text) {
    return this.told().filter((line) => line.text?.includes(text)).length;
  }

  /** The folders of its sessions: {id, folder}. */
  sessions() {
    const root = path.join(this.state, 'sessions');
    const names = fs.existsSync(root) ? fs.readdirSync(root) : [];
    return names.map((name) => path.join(root, name)).filter((folder) => fs.existsSync(path.join(folder, 'in/mailbox.json')))
      .map((folder) => ({ id: JSON.parse(fs.readFileSync(path.join(folder, 'in/mailbox.json'), 'utf8'))['session-id'], folder }));
  }

  /** Ends shims and agents, which outlive their runner, and waits until nothing of them is left. */
  async endAgents() {
    for (;;) {
      const left = [...this.shims(), ...this.tree().map(({ pid }) => pid)];
      if (!left.length) return;
      for (const pid of left) kill(pid);
      await sleep(20);
    }
  }

  /** Ends everything, and removes what is left. */
  async remove() {
    if (this.runner) await this.end('SIGKILL');
    await this.endAgents();
    for (const { folder } of this.sessions()) {
      const spawned = path.join(folder, 'spawn.json');
      const { group } = fs.existsSync(spawned) ? JSON.parse(fs.readFileSync(spawned, 'utf8')) : {};
      // A control group whose processes no runner has ended.
      if (group) await removeGroup(group);
    }
    fs.rmSync(this.home, { recursive: true, force: true });
  }
}

/** Removes a control group whose processes were killed: it is busy until the last of them has ended. */
async function removeGroup(group) {
  const until = Date.now() + 10_000;
  while (fs.existsSync(group)) {
    try {
      fs.rmdirSync(group);
    } catch (error) {
      if (error.code !== 'EBUSY' || Date.now() > until) throw error;
      await sleep(20);
    }
  }
}

/** Sends a signal to a process that may have ended. Whether it was there. */
export function kill(pid, signal = 'SIGKILL') {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}
