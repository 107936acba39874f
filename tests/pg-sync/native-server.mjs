// The native server as a process with a configuration, over a data directory that stays. `LOGSEQ_SYNC_BIN` is the server.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { canary } from '../agents/secrets.mjs';
import { SERVICE_SECRET } from './harness.mjs';
import { until } from './scenes.mjs';

export const SINK_SECRET = canary('sink-');
export const ADMIN = 'the-operators-token';
/** What the one user of these servers shows. */
export const TOKEN = 'a-token-that-is-long-enough';

const servers = [];
export const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pg-sync-native-'));

after(async () => {
  await Promise.all(servers.map((server) => server.kill()));
  fs.rmSync(folder, { recursive: true, force: true });
});

/** The native server with this configuration, over a data directory that stays. */
export class Server {
  constructor(name, config) {
    this.data = path.join(folder, name);
    fs.mkdirSync(this.data, { mode: 0o700 });
    this.file = path.join(folder, `${name}.toml`);
    const secrets = { sink: SINK_SECRET, service: SERVICE_SECRET };
    for (const [of, text] of Object.entries(secrets)) fs.writeFileSync(path.join(folder, `${of}.secret`), `${text}\n`, { mode: 0o600 });
    fs.writeFileSync(this.file, config, { mode: 0o600 });
    this.log = '';
    servers.push(this);
  }

  async start() {
    const env = { HOME: folder, PATH: process.env.PATH, DB_SYNC_AUTH_DRIVER: 'static', DB_SYNC_AUTH_TOKEN: TOKEN, DB_SYNC_ADMIN_TOKEN: ADMIN };
    const args = ['serve', '--port', '0', '--bind', '127.0.0.1', '--json', '--config', this.file, '--data-dir', this.data];
    this.child = spawn(process.env.LOGSEQ_SYNC_BIN, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.gone = once(this.child, 'exit');
    this.child.stderr.on('data', (chunk) => { this.log += chunk; });
    let line = '';
    for await (const chunk of this.child.stdout) {
      line += chunk;
      if (line.includes('\n')) break;
    }
    assert.ok(line, this.log);
    [this.base] = JSON.parse(line.split('\n')[0]).listen;
    return this;
  }

  async kill(signal = 'SIGKILL') {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill(signal);
    await this.gone;
  }

  async list(headers = { 'x-db-sync-admin-token': ADMIN }) {
    const answer = await fetch(`${this.base}/pg-sync`, { headers });
    return { status: answer.status, ...(answer.ok && await answer.json()) };
  }

  /** Waits until an observation is one that misses nothing. */
  live(id) {
    return until(async () => (await this.list()).observations.find((it) => it.id === id && it.state === 'live'), () => `${id} ${this.log}`);
  }
}
