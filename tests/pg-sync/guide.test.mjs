// Every command of docs/pg-sync.md, in its order, as it stands there, in one shell: from a PostgreSQL that tells nobody its changes to an agent that is woken and a stream that is read. What
// is not as on the page: `docker` is a script that runs the stand-in of the shape service, the agents of `cargo xtask sandbox-agent` are those of tests/agents, and ports and folders are free
// ones. With ELECTRIC_URL the service and its database are the real ones.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { Client, Session, eventually } from '../agents/client.mjs';
import { freePort, here, root, sandboxAgentBin, standIns, temporaryFolder } from '../agents/processes.mjs';
import { isReal } from './harness.mjs';
import { binaries, startPostgres } from './postgres.mjs';

/** How long a block of commands may take: the service and the worker start in one. */
const LIMIT_MS = 300_000;

const folder = temporaryFolder();
let postgres;
let shell;

/** A shell that goes on from one block to the next, and ends with the first command that fails. */
class Shell {
  constructor(env) {
    // A group of its own: what it has started ends with it.
    this.child = spawn('bash', ['-eu', '-o', 'pipefail'], { cwd: root, env, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
    this.said = '';
    this.errors = '';
    this.child.stdout.setEncoding('utf8').on('data', (text) => { this.said += text; });
    this.child.stderr.setEncoding('utf8').on('data', (text) => { this.errors += text; });
  }

  /** What the commands of a block print. */
  async run(block) {
    this.said = '';
    this.child.stdin.write(`${block}\nprintf '\\nthe end of %s\\n' a-block\n`);
    const end = '\nthe end of a-block\n';
    const told = () => `${block}\n${this.said}${this.errors}${logs()}`;
    await eventually(block, () => {
      if (this.child.exitCode !== null) assert.fail(told());
      return this.said.endsWith(end);
    }, LIMIT_MS).catch((error) => { throw error.code === 'ERR_ASSERTION' ? error : new Error(told()); });
    return this.said.slice(0, -end.length);
  }

  stop() {
    try { process.kill(-this.child.pid, 'SIGKILL'); } catch { /* gone already */ }
  }
}

/** What the programs have printed that the page starts. */
const logs = () => fs.readdirSync(folder).filter((name) => name.endsWith('.log')).map((name) => `${name}: ${fs.readFileSync(path.join(folder, name), 'utf8').slice(-2_000)}`).join('\n');

/** The blocks of commands of the page, as they stand there. */
function blocks() {
  const page = fs.readFileSync(path.join(root, 'docs/pg-sync.md'), 'utf8');
  return page.split('```sh\n').slice(1).map((rest) => rest.split('\n   ```')[0].replaceAll(/^ {3}/gm, ''));
}

/** With ports and folders that are free, and the real service in its place where there is one. */
async function placed() {
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const places = [
    ['postgres://postgres@127.0.0.1:5432/postgres', postgres.url], ['/tmp/', `${folder}/`],
    ...(isReal ? [['http://127.0.0.1:3000/v1/shape', process.env.ELECTRIC_URL], ['http://127.0.0.1:3000', new URL(process.env.ELECTRIC_URL).origin]] : []),
    ...(process.env.ELECTRIC_SECRET ? [['$(openssl rand -hex 32)\ndocker', `'${process.env.ELECTRIC_SECRET}'\ndocker`]] : []),
    ...['3000', '2468', '8788'].map((port, at) => [port, String(ports[at])]),
  ];
  return { servicePort: ports[0], base: `http://127.0.0.1:${ports[2]}`, blocks: blocks().map((block) => places.reduce((text, [from, to]) => text.replaceAll(from, to), block)) };
}

/** A folder of programs that the page names: `docker`, the sandbox-agent server, and what that looks for. */
function programs(servicePort) {
  const bin = path.join(folder, 'bin');
  fs.mkdirSync(bin);
  standIns(bin);
  fs.symlinkSync(sandboxAgentBin(), path.join(bin, 'sandbox-agent'));
  const standIn = path.join(here, '../pg-sync/shape-lite/main.mjs');
  // The stand-in ends with its input.
  const docker = isReal ? 'exit 0' : `case "$*" in *" electricsql/electric:latest") sleep infinity | exec '${process.execPath}' '${standIn}' "$DATABASE_URL" ${servicePort} ;; *) exit 64 ;; esac`;
  fs.writeFileSync(path.join(bin, 'docker'), `#!/bin/sh\n${docker}\n`, { mode: 0o755 });
  return bin;
}

before(async () => {
  postgres = isReal ? { url: process.env.DATABASE_URL, restart: async () => {}, stop: async () => {} } : await startPostgres({ wal_level: null });
});

after(async () => {
  shell?.stop();
  await postgres?.stop();
});

test('an agent is woken by an insert, and a stream is read, with the commands of the guide', async () => {
  const { servicePort, base, blocks: [configure, table, service, serve, connect, observe, wake, register, ...others] } = await placed();
  assert.deepEqual(others, []);
  const sql = new pg.Client({ connectionString: postgres.url });
  if (isReal) {
    await sql.connect();
    await sql.query('DROP TABLE IF EXISTS orders');
    await sql.end();
  }
  const env = { PATH: [programs(servicePort), binaries(), process.env.PATH].join(':'), HOME: process.env.HOME, AGENT_RATE_LIMITS: 'off', SANDBOX_AGENT_REQUIRE_PREINSTALL: '1', AGENT_LOG: path.join(folder, 'prompts.jsonl') };
  shell = new Shell({ ...env, ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(CARGO|RUSTUP|XDG)_/.test(name))) });
  await shell.run(configure);
  await postgres.restart();
  assert.match(await shell.run(table), /^logical\nCREATE TABLE\n/);
  assert.deepEqual(JSON.parse(await shell.run(service)), { status: 'active' });
  await shell.run(serve);
  const [tried, stored] = (await shell.run(connect)).split(/(?<=\})(?=\{)/).map((text) => JSON.parse(text));
  assert.deepEqual([tried.ok, stored.name, stored.has_secret], [true, 'mine', true]);
  await shell.run(observe);
  const session = new Session(new Client(base, (await shell.run('printf %s "$TOKEN"'))), 'orders');
  const [, read, seen] = (await shell.run(wake)).split(/INSERT 0 1\n|(?<=\})(?=\{"observations")/);
  assert.deepEqual(JSON.parse(read).changes.map(({ operation, value }) => [operation, value]), [['insert', { id: '1', item: 'tea' }]]);
  assert.equal(JSON.parse(seen).observations[0].table, 'orders');
  await eventually('the wake', async () => (await session.events('?limit=1000')).some(({ type, data }) => type === 'pg_sync.change' && data.changes[0].value.item === 'tea'));
  await eventually('the prompt', async () => (await session.events('?limit=1000')).some(({ type }) => type === 'turn.completed'));
  const events = JSON.parse(await shell.run(register));
  assert.deepEqual(events.map(({ type, value }) => [type, value.value.item]), [['pg_sync_change', 'tea']]);
});
