// What a test of sessions runs: the built worker under workerd, and the real sandbox-agent server with tests/agents/agent.mjs
// as every coding agent.
import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const here = path.dirname(fileURLToPath(import.meta.url));
export const root = path.join(here, '..', '..');

/** The one token of the worker under test. */
export const TOKEN = 'token-of-the-only-user';

/** How long a process may take to answer. */
const START_PATIENCE_MS = 180_000;

export const freePort = () => new Promise((resolve, reject) => {
  const server = net.createServer().once('error', reject);
  server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

/** A folder that is gone when the process ends. */
export function temporaryFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'agents-'));
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Waits until `url` answers 200; `child` must live until then. */
async function untilHealthy(url, child, headers = {}) {
  const until = Date.now() + START_PATIENCE_MS;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${child.spawnargs.join(' ')} ended with ${child.signalCode ?? child.exitCode}`);
    const answer = await fetch(url, { headers }).catch(() => null);
    if (answer?.status === 200) return;
    if (Date.now() > until) throw new Error(`${url} does not answer 200`);
    await sleep(20);
  }
}

const ended = (child) => (child.exitCode !== null || child.signalCode !== null ? Promise.resolve() : new Promise((resolve) => { child.once('exit', resolve); }));

/** The executable of the server: SANDBOX_AGENT_BIN, else the one that `cargo xtask test` puts into the cache folder. */
export function sandboxAgentBin() {
  if (process.env.SANDBOX_AGENT_BIN) return process.env.SANDBOX_AGENT_BIN;
  const cache = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'logseq-workers');
  const scope = path.join(cache, 'sandbox-agent-0.4.2', 'node_modules', '@sandbox-agent');
  const platform = fs.existsSync(scope) ? fs.readdirSync(scope).find((name) => fs.existsSync(path.join(scope, name, 'bin/sandbox-agent')) && name !== 'cli') : null;
  if (!platform) throw new Error(`no sandbox-agent in ${cache}: run \`cargo xtask sandbox-agent --install\``);
  return path.join(scope, platform, 'bin/sandbox-agent');
}

/** Puts agent.mjs into a folder under the names by which a sandbox-agent looks for its agents; their own command lines are only looked for. */
export function standIns(folder) {
  for (const name of ['claude', 'codex', 'pi', 'amp']) {
    const acp = `#!/bin/sh\nexec '${process.execPath}' '${path.join(here, 'agent.mjs')}' "$@"\n`;
    for (const [file, text] of [[`${name}-acp`, acp], [name, '#!/bin/sh\nexit 0\n']]) fs.writeFileSync(path.join(folder, file), text, { mode: 0o755 });
  }
  fs.renameSync(path.join(folder, 'claude-acp'), path.join(folder, 'claude-agent-acp'));
}

/** The real sandbox-agent server. */
export class SandboxAgent {
  constructor({ port, folder, requestTimeoutMs, token, env }) {
    Object.assign(this, { port, folder, requestTimeoutMs, token, env, url: `http://127.0.0.1:${port}`, log: path.join(folder, 'prompts.jsonl') });
  }

  /** `port`: that of a server that was stopped, to take its place; `env`: further variables of the agent. */
  static async start({ requestTimeoutMs = 86_400_000, token = null, port = null, env = {} } = {}) {
    const folder = temporaryFolder();
    standIns(folder);
    const agent = new SandboxAgent({ port: port ?? await freePort(), folder, requestTimeoutMs, token, env });
    await agent.run();
    return agent;
  }

  async run() {
    const words = ['server', '--host', '127.0.0.1', '--port', String(this.port), ...(this.token ? ['--token', this.token] : ['--no-token']), '--no-telemetry'];
    this.child = spawn(sandboxAgentBin(), words, {
      // A group of its own: the agents that it started end with it.
      detached: true,
      stdio: 'ignore',
      env: {
        PATH: `${this.folder}:${process.env.PATH}`, HOME: this.folder, XDG_DATA_HOME: path.join(this.folder, 'data'),
        SANDBOX_AGENT_REQUIRE_PREINSTALL: '1', SANDBOX_AGENT_ACP_REQUEST_TIMEOUT_MS: String(this.requestTimeoutMs), AGENT_LOG: this.log, ...this.env,
      },
    });
    await untilHealthy(`${this.url}/v1/health`, this.child, this.token ? { authorization: `Bearer ${this.token}` } : {});
  }

  /** What agents were told: {pid, session, text} for prompts, {pid, cancel} for cancellations. */
  told() {
    if (!fs.existsSync(this.log)) return [];
    return fs.readFileSync(this.log, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** How often a prompt with this text came. */
  prompts(text) {
    return this.told().filter((it) => it.text === text).length;
  }

  /** Ids of the servers that have an agent. */
  async servers() {
    const headers = this.token ? { authorization: `Bearer ${this.token}` } : {};
    const { servers } = await (await fetch(`${this.url}/v1/acp`, { headers })).json();
    return servers.map((server) => server.serverId);
  }

  async stop() {
    try { process.kill(-this.child.pid, 'SIGKILL'); } catch { /* gone already */ }
    await ended(this.child);
  }
}

/** The built worker under workerd, with data of its own. */
export class Worker {
  constructor({ port, data, env, workers, wrapper }) {
    Object.assign(this, { port, data, env, workers, wrapper, output: '', base: `http://127.0.0.1:${port}` });
  }

  /**
   * `workers`: which are served, the agents worker alone or behind the sync worker. `wrapper`: a module that takes its place
   * (outside.mjs).
   */
  static async start(agentUrl, { env = {}, workers = ['agents'], wrapper } = {}) {
    const worker = new Worker({
      port: await freePort(), data: temporaryFolder(), workers, wrapper,
      env: {
        DB_SYNC_AUTH_DRIVER: 'static', DB_SYNC_AUTH_TOKEN: TOKEN, DB_SYNC_STATIC_USER_ID: 'only-user',
        AGENT_RUNTIME_PROVIDER: 'local-dev', SANDBOX_AGENT_URL: agentUrl ?? '', AGENT_RATE_LIMITS: 'off',
        MANAGED_AUTH_KEY: Buffer.alloc(32).toString('base64'), ...env,
      },
    });
    await worker.run();
    return worker;
  }

  async run() {
    const options = [...this.workers.flatMap((name) => ['--worker', name]), ...(this.wrapper ? ['--wrapper', this.wrapper] : [])];
    this.child = spawn('cargo', ['xtask', 'serve', ...options, '--port', String(this.port), '--data', this.data], {
      cwd: root, env: { ...process.env, ...this.env }, stdio: ['ignore', 'pipe', 'pipe'],
    });
    // All that it prints is kept: what must not be in a log is searched for there.
    for (const name of ['stdout', 'stderr']) {
      this.child[name].setEncoding('utf8').on('data', (text) => {
        this.output += text;
        if (process.env.VERBOSE) process[name].write(text);
      });
    }
    await untilHealthy(`${this.base}/health`, this.child).catch((error) => { throw new Error(`${error.message}: ${this.output}`); });
  }

  /** Kills workerd, as a power cut would: the launcher ends with it. */
  async kill() {
    const [workerd] = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,comm='], { encoding: 'utf8' }).split('\n')
      .map((line) => line.trim().split(/\s+/)).filter(([, parent, name]) => Number(parent) === this.child.pid && name?.includes('workerd'));
    if (!workerd) throw new Error('the launcher has no workerd');
    process.kill(Number(workerd[0]), 'SIGKILL');
    await ended(this.child);
  }

  /** Kills it, and starts it again over the same data. */
  async evict() {
    await this.kill();
    await this.run();
  }

  async stop() {
    this.child.kill('SIGTERM');
    await ended(this.child);
  }
}
