// A deployment moves from a machine at home to workers and D1, is edited there, and moves back home: users, members, keys of
// an encrypted graph, its rows and an asset. The native binary does both moves; wrangler reaches the local D1 of the workers.
//
//   LOGSEQ_SYNC=target/debug/logseq-sync node --test tests/moving/moving.test.mjs      (after `cargo xtask build --worker sync`)
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { execFileSync, spawn } from 'node:child_process';
import { after, test } from 'node:test';

const ROOT = path.join(import.meta.dirname, '../..');
const BINARY = path.resolve(process.env.LOGSEQ_SYNC ?? path.join(ROOT, 'target/debug/logseq-sync'));
const BUNDLE = path.resolve(process.env.SYNC_BUNDLE ?? path.join(ROOT, 'build/sync'));
const CONFIG = path.join(ROOT, 'wrangler.toml');
const TOKEN = 'a-token-that-is-long-enough';
const ADMIN = 'the-operators-own-token';
const SETTINGS = { DB_SYNC_AUTH_DRIVER: 'static', DB_SYNC_AUTH_TOKEN: TOKEN, DB_SYNC_STATIC_USER_ID: 'ann', DB_SYNC_ADMIN_TOKEN: ADMIN };

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'moving-'));
const running = [];
after(async () => {
  await Promise.all(running.map(stop));
  fs.rmSync(folder, { recursive: true, force: true });
});

const environment = () => ({ PATH: `${path.join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`, HOME: process.env.HOME });

/** Runs a verb; its data. */
function verb(...args) {
  const env = { ...environment(), DB_SYNC_ADMIN_TOKEN: ADMIN };
  const told = JSON.parse(execFileSync(BINARY, [...args, '--json'], { cwd: ROOT, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }));
  assert.equal(told.status, 'ok');
  return told.data;
}

/** Starts a server; `ready` finds its address in a line of what it says. */
async function start(command, args, env, ready) {
  const child = spawn(command, args, { cwd: ROOT, env: { ...environment(), ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  const lines = readline.createInterface(child.stdout);
  return new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const address = ready(line);
      if (address) resolve({ child, base: address });
    });
    child.once('exit', (code) => reject(new Error(`${command} has ended with ${code}`)));
  });
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

const native = (data) => start(BINARY, ['serve', '--data-dir', data, '--port', '0', '--bind', '127.0.0.1', '--json'],
  { ...SETTINGS, DB_SYNC_INITIAL_DATA: 'true' }, (line) => JSON.parse(line).listen[0]);

const workers = (data) => start(process.execPath, ['xtask/launcher/serve.mjs', '--worker', 'sync', '--config', CONFIG, '--bundle', BUNDLE,
  '--migrate', CONFIG, '--data', data, '--host', '127.0.0.1', '--port', '0'], SETTINGS, (line) => line.match(/Ready: (\S+)/)?.[1]);

/** Verbs block this process: it learns too late that a connection which it kept was closed meanwhile. */
async function again(request) {
  try { return await request(); } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return request();
  }
}

async function ask(base, method, route, body) {
  const response = await again(() => fetch(`${base}${route}`, { method, body, headers: { authorization: `Bearer ${TOKEN}` } }));
  const text = await response.text();
  assert.ok(response.ok, `${method} ${route}: ${response.status} ${text}`);
  return text.startsWith('{') ? JSON.parse(text) : text;
}

/** Adds a page; the new counter. */
async function addPage(base, graph, t, number) {
  const uuid = `66b8d8f0-0000-4000-8000-${String(number).padStart(12, '0')}`;
  const add = (name, value) => ['~:db/add', 'page', `~:block/${name}`, value];
  const tx = [add('uuid', `~u${uuid}`), add('name', `page ${number}`), add('title', `Page ${number}`), add('created-at', 1755000000000),
    add('updated-at', 1755000000000), add('tags', '~:logseq.class/Page')];
  const answer = await ask(base, 'POST', `/sync/${graph}/tx/batch`, JSON.stringify({ 't-before': t, txs: [{ tx: JSON.stringify(tx) }] }));
  assert.equal(answer.type, 'tx/batch/ok', JSON.stringify(answer));
  return answer;
}

/** All that has to be the same on both sides. */
async function described(base, graph) {
  const members = (await ask(base, 'GET', `/graphs/${graph}/members`)).members.map((it) => [it['user-id'], it.role]).sort();
  return {
    members,
    checksum: (await ask(base, 'GET', `/sync/${graph}/checksum/diagnostics`)).checksum,
    key: await ask(base, 'GET', `/e2ee/graphs/${graph}/aes-key`),
    pair: await ask(base, 'GET', '/e2ee/user-keys'),
    asset: await ask(base, 'GET', `/assets/${graph}/9a8b7c6d-0000-4000-8000-000000000001.png`),
    graphs: (await ask(base, 'GET', '/graphs')).graphs.map((it) => [it['graph-id'], it['graph-name'], it['graph-e2ee?'], it['graph-ready-for-use?']]),
  };
}

test('a deployment moves to D1 and back home', async () => {
  const [home, there, back] = ['home', 'there', 'back'].map((name) => path.join(folder, name));
  const d1 = ['--d1', '--env', 'local', '--persist-to', there, '--config', CONFIG];

  let server = await native(home);
  await ask(server.base, 'POST', '/e2ee/user-keys', JSON.stringify({ 'public-key': `["~#p","it's"]`, 'encrypted-private-key': 'secret; --' }));
  const made = await ask(server.base, 'POST', '/graphs', JSON.stringify({ 'graph-name': 'notes', 'schema-version': '65.33' }));
  const graph = made['graph-id'];
  assert.equal(made['graph-e2ee?'], true);
  await ask(server.base, 'POST', `/graphs/${graph}/members`, JSON.stringify({ 'user-id': 'bob', role: 'member' }));
  await ask(server.base, 'POST', `/e2ee/graphs/${graph}/aes-key`, JSON.stringify({ 'encrypted-aes-key': 'the key' }));
  let t = 0;
  for (let number = 1; number <= 50; number++) t = (await addPage(server.base, graph, t, number)).t;
  await ask(server.base, 'PUT', `/assets/${graph}/9a8b7c6d-0000-4000-8000-000000000001.png`, 'a picture');
  const before = await described(server.base, graph);
  assert.deepEqual(before.members, [['ann', 'manager'], ['bob', 'member']]);

  // There: the index through wrangler, rows and assets through the worker.
  const worker = await workers(there);
  const [out, rows] = [path.join(folder, 'home.jsonl'), path.join(home, 'graphs', graph, 'db.sqlite')];
  verb('index', 'export', '--data-dir', home, '--output', out);
  assert.equal(verb('index', 'import', ...d1, '--from', out).tables.graphs.added, 1);
  const again = verb('index', 'import', ...d1, '--from', out).tables;
  assert.deepEqual(Object.values(again).map(({ added }) => added), [0, 0, 0, 0, 0], 'a second time nothing is left to do');
  const assets = path.join(home, 'assets', graph);
  const sent = verb('graph', 'upload', '--base-url', worker.base, '--graph-id', graph, '--db', rows, '--assets', assets);
  assert.equal(sent.checksum, before.checksum);
  assert.deepEqual(await described(worker.base, graph), before);
  assert.equal(verb('graphs', ...d1, '--user-id', 'ann').graphs[0].graph_id, graph);
  assert.equal(verb('usage', ...d1).total_graphs, 1);
  await stop(server.child);

  // Edited there, and back into another directory.
  await addPage(worker.base, graph, 0, 51);
  const edited = await described(worker.base, graph);
  assert.notEqual(edited.checksum, before.checksum);
  const [returned, snapshot] = [path.join(folder, 'there.jsonl'), path.join(folder, 'there.sqlite')];
  verb('index', 'export', ...d1, '--output', returned);
  verb('graph', 'download', '--base-url', worker.base, '--graph-id', graph, '--output', snapshot);
  assert.equal(verb('checksum', 'recompute', '--db', snapshot).recomputed, edited.checksum);
  verb('index', 'import', '--data-dir', back, '--from', returned);
  verb('graph', 'upload', '--data-dir', back, '--graph-id', graph, '--db', snapshot, '--assets', assets);
  server = await native(back);
  assert.deepEqual(await described(server.base, graph), edited);
  await addPage(server.base, graph, 0, 52);

  // What the operator deletes in the deployment is gone there alone.
  verb('graph', 'delete', ...d1, '--owned-by', 'ann', '--base-url', worker.base, '--yes');
  assert.deepEqual((await ask(worker.base, 'GET', '/graphs')).graphs, []);
  assert.equal((await described(server.base, graph)).graphs.length, 1);
});
