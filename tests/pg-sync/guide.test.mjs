// Every command of docs/pg-sync.md, in its order, as it stands there, against the built worker under workerd, a real PostgreSQL and the stand-in of the shape service. The address of the page's
// first command leads nowhere here, and none but `https` is allowed there: it is stored, and the operator's connection of the same name takes its place.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import { Client, eventually } from '../agents/client.mjs';
import { SandboxAgent, TOKEN, Worker, root } from '../agents/processes.mjs';
import { harness } from './harness.mjs';

let agents;
let worker;
let client;
const these = harness(async () => {
  agents = await SandboxAgent.start();
  worker = await Worker.start(agents.url, { env: { PG_SYNC_CONNECTIONS: JSON.stringify({ main: { url: these.url, poll_ms: 200 } }) } });
  client = new Client(worker.base);
});

after(async () => { await worker?.stop(); await agents?.stop(); });

/** The commands of the page: its blocks of shell, and in them what begins with `curl`. */
function commands() {
  const blocks = fs.readFileSync(path.join(root, 'docs/pg-sync.md'), 'utf8').split('```sh\n').slice(1).map((rest) => rest.split('\n   ```')[0]);
  return blocks.flatMap((block) => block.split(/\n\s*(?=curl )/)).map((command) => command.trim());
}

/** Runs one, and reads its answer. */
async function run(command, known) {
  const env = { PATH: process.env.PATH, AGENTS: worker.base, TOKEN, ...known };
  const { stdout } = await promisify(execFile)('bash', ['-euc', `${command} --silent --show-error`], { env }).catch((error) => { throw new Error(`${command}\n${error.stdout}${error.stderr}`); });
  return JSON.parse(stdout);
}

test('an agent is woken by an insert, with the commands of the guide', async () => {
  const { sql } = these;
  await sql('CREATE TABLE orders (id int PRIMARY KEY, item text)');
  const session = await client.create();
  const [connect, reach, observe, read, ...others] = commands();
  assert.deepEqual(others, []);
  assert.equal((await run(connect)).name, 'main');
  assert.equal((await client.ask('DELETE', '/pg-connections/main')).status, 200);
  assert.equal((await run(reach)).ok, true);
  const { source_id: source, state } = await run(observe, { ID: session.id });
  assert.equal(state, 'live');
  await sql("INSERT INTO orders VALUES (1, 'tea')");
  await sql('UPDATE orders SET item = NULL WHERE id = 1');
  await eventually('the wake', async () => (await session.events('?limit=1000')).some(({ type, data }) => type === 'pg_sync.change' && data.changes[0].value.item === 'tea'));
  await eventually('the prompt', async () => (await session.events('?limit=1000')).some(({ type }) => type === 'turn.completed'));
  const { changes } = await run(read, { SOURCE: source });
  assert.deepEqual(changes.map(({ operation }) => operation).slice(0, 1), ['insert']);
});
