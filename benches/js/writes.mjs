// What a transaction writes in the running worker, by the cursors' `rowsWritten`, and its processor time:
//   node writes.mjs FRAMES.gz   (made by `load.mjs make-big --datoms 200000`)
// Each workload ends with the checkpoint of the idle graph, some seconds after its last batch. One line a workload at the end:
// `writes worker single|batch|typing|move rows=… bytes=… cpu_us=…`.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, blockTx, identity, pageTx, trusting, uploadParts } from './client.mjs';
import { Server, freePort } from './processes.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const data = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-'));
const [jwks, port] = [await freePort(), await freePort()];
const person = await identity(jwks);
const server = new Server('cargo', ['xtask', 'serve', '--worker', 'sync', '--port', String(port), '--data', data, '--wrapper', path.join(here, 'counting.mjs')], trusting(jwks));
const client = new Client(`http://127.0.0.1:${port}`, person.token);
const written = async () => (await client.request('GET', '/written')).json();
const order = (i) => `a${String.fromCharCode(48 + Math.floor((i / 10) % 10))}${i % 10}V`;
const lookup = (id) => ['~:block/uuid', `~u${id}`];

/** The same block's title, saved again. */
const titleTx = (id, i) => JSON.stringify([['~:db/add', lookup(id), '~:block/title', `typed so far: ${i} letters`], ['~:db/add', lookup(id), '~:block/updated-at', 1755000100000 + i]]);
/** A block moves to another page. */
const moveTx = (id, page, i) => JSON.stringify([['~:db/add', lookup(id), '~:block/parent', lookup(page)], ['~:db/add', lookup(id), '~:block/page', lookup(page)], ['~:db/add', lookup(id), '~:block/order', `${order(i * 31)}x`], ['~:db/add', lookup(id), '~:block/updated-at', 1755000200000 + i]]);

const SINGLES = 1000;
const IN_BATCHES = 4000;

/** Waits until nothing has been written for as long as an idle graph takes. */
async function idle() {
  for (let before = await written(), still = 0; still < 12;) {
    await new Promise((r) => setTimeout(r, 500));
    const now = await written();
    still = now.rows === before.rows ? still + 1 : 0;
    before = now;
  }
}

try {
  await server.healthy(client.base);
  const id = await client.graph([...uploadParts(process.argv[2])]);
  const socket = await client.socket(`/sync/${id}`);
  let t = 0;
  const say = async (txs, op) => {
    const answer = JSON.parse(await socket.ask(JSON.stringify({ type: 'tx/batch', 't-before': t, txs: txs.map((tx) => ({ tx, 'outliner-op': op, 'tx-id': crypto.randomUUID() })) })));
    if (answer.type !== 'tx/batch/ok') throw new Error(JSON.stringify(answer));
    t = answer.t;
  };
  const pages = Array.from({ length: (SINGLES + IN_BATCHES) / 100 }, () => crypto.randomUUID());
  for (let i = 0; i < pages.length; i += 50) await say(pages.slice(i, i + 50).map((page, k) => pageTx(page, `writes page ${i + k}`)), 'create-page');
  const ids = Array.from({ length: SINGLES + IN_BATCHES }, () => crypto.randomUUID());
  const blocks = ids.map((block, i) => blockTx(block, pages[Math.floor(i / 100)], order(i), i));
  const lines = [];
  for (const [name, op, txs, size] of [
    ['single', 'insert-blocks', blocks.slice(0, SINGLES), 1],
    ['batch', 'insert-blocks', blocks.slice(SINGLES), 50],
    ['typing', 'save-block', ids.slice(0, SINGLES).map((_, i) => titleTx(ids[0], i)), 1],
    ['move', 'move-blocks', ids.slice(0, SINGLES).map((block, i) => moveTx(block, pages[(i * 7) % pages.length], i)), 1],
  ]) {
    await idle();
    const before = await written(); const cpu = server.cpu();
    for (let i = 0; i < txs.length; i += size) await say(txs.slice(i, i + size), op);
    const busy = server.cpu() - cpu;
    // The checkpoint of the idle graph counts, and waiting for it does not.
    await idle();
    const after = await written();
    const each = (n) => n / txs.length;
    lines.push(`writes worker ${name} rows=${each(after.rows - before.rows).toFixed(2)} bytes=${each(after.bytes - before.bytes).toFixed(0)} cpu_us=${each(1e6 * busy).toFixed(0)}`);
  }
  socket.close();
  console.log(lines.join('\n'));
} finally {
  await server.stop();
  person.close();
  fs.rmSync(data, { recursive: true, force: true });
}
