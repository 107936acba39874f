// How far the largest messages make wasm memory grow, which never shrinks: `cargo xtask bench` part (d).
// Each figure is of a fresh worker that did nothing else. Another worker wrote the log for the pulls before.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { Client, blockTx, identity, pageTx, trusting, uploadParts } from './client.mjs';
import { Server, freePort } from './processes.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const base = [...uploadParts(path.join(root, 'tests/reference/golden/server/bodies/base.frames.gz'))];
const jwks = await freePort();
const person = await identity(jwks);
const MB = 1e6;

/** Runs `work` against a fresh worker over the folder, and prints its result. */
async function worker(data, work) {
  const port = await freePort();
  const server = new Server('cargo', ['xtask', 'serve', '--worker', 'sync', '--port', String(port), '--data', data], trusting(jwks));
  try {
    const client = new Client(`http://127.0.0.1:${port}`, person.token);
    await server.healthy(client.base);
    const wasmMiB = async (id) => Number((await client.request('GET', `/sync/${id}/health`)).headers.get('x-wasm-memory-bytes')) / 2 ** 20;
    return await work(client, wasmMiB);
  } finally { await server.stop(); }
}

const folder = () => fs.mkdtempSync(path.join(os.tmpdir(), 'bench-'));
const say = (figure) => console.log(JSON.stringify({ part: 'memory', ...figure }));

/** The text of a batch of about this many bytes, of entries made by `entry`. */
function batch(t, bytes, entry) {
  const txs = []; let size = 0;
  for (let n = 0; size < bytes; n++) { const tx = entry(n); txs.push({ tx, 'outliner-op': 'insert-blocks' }); size += Buffer.byteLength(JSON.stringify(tx)) + 40; }
  return JSON.stringify({ type: 'tx/batch', 't-before': t, txs });
}

async function batches(what, data, entryOf) {
  await worker(data, async (client, wasmMiB) => {
    const id = await client.graph(base);
    const socket = await client.socket(`/sync/${id}`);
    const page = crypto.randomUUID();
    let { t } = JSON.parse(await socket.ask(batch(0, 1, () => pageTx(page, 'page'))));
    const before = await wasmMiB(id);
    const text = batch(t, 30 * MB, entryOf(page));
    const start = performance.now();
    const answer = JSON.parse(await socket.ask(text));
    if (answer.type !== 'tx/batch/ok') throw new Error(JSON.stringify(answer));
    say({ what, bytes: Buffer.byteLength(text), wasmBeforeMiB: before, wasmPeakMiB: await wasmMiB(id), seconds: (performance.now() - start) / 1000 });
    socket.close();
  });
}

/** Resolves to the code with which the server closes the socket. */
const closeCode = (client, id) => new Promise((resolve, reject) => {
  const ws = new WebSocket(`${client.base.replace(/^http/, 'ws')}/sync/${id}?token=${client.token}`, { perMessageDeflate: false, maxPayload: 1 << 30 });
  ws.once('open', () => ws.send('{"type":"pull","since":0}'));
  ws.on('message', (data) => { if (data.toString().startsWith('{"type":"pull/ok"')) reject(new Error('a pull that is too long was answered')); });
  ws.once('close', resolve);
  ws.once('error', reject);
});

async function pulls(data) {
  let id; let t = 0; let half = 0;
  await worker(data, async (client) => {
    id = await client.graph(base);
    const socket = await client.socket(`/sync/${id}`);
    const page = crypto.randomUUID();
    ({ t } = JSON.parse(await socket.ask(batch(0, 1, () => pageTx(page, 'page')))));
    let written = 0;
    while (written < 150 * MB) {
      const text = batch(t, MB, (n) => blockTx(crypto.randomUUID(), page, `a${n % 10}V`, n).replace('the quick', `${'long '.repeat(2000)}the quick`));
      const answer = JSON.parse(await socket.ask(text));
      if (answer.type !== 'tx/batch/ok') throw new Error(JSON.stringify(answer));
      ({ t } = answer); written += text.length;
      if (written < 90 * MB) half = t;
    }
    socket.close();
  });
  await worker(data, async (client, wasmMiB) => {
    const before = await wasmMiB(id);
    const socket = await client.socket(`/sync/${id}`);
    const length = (await socket.ask(`{"type":"pull","since":${half}}`)).length;
    say({ what: 'pull over a WebSocket', bytes: length, wasmBeforeMiB: before, wasmPeakMiB: await wasmMiB(id) });
    const code = await closeCode(client, id);
    say({ what: 'pull over a WebSocket that is refused', code, wasmPeakMiB: await wasmMiB(id) });
    let bytes = 0;
    for await (const part of (await client.request('GET', `/sync/${id}/pull?since=0`)).body) bytes += part.length;
    say({ what: 'pull over HTTP', bytes, wasmPeakMiB: await wasmMiB(id) });
    socket.close();
  });
}

const folders = [folder(), folder(), folder(), folder(), folder()];
try {
  await batches('batch of small items', folders[0], (page) => (n) => `[${Array.from({ length: 12 }, (_, k) => blockTx(crypto.randomUUID(), page, `a${k}V`, 12 * n + k).slice(1, -1).replaceAll('"^0"', '"~:db/add"').replaceAll('"^1"', '"~:block/uuid"')).join(',')}]`);
  await batches('batch of small entries', folders[1], (page) => (n) => blockTx(crypto.randomUUID(), page, `a${n % 10}V`, n).replace('the quick', `${'long '.repeat(500)}the quick`));
  await batches('batch of long texts', folders[2], (page) => (n) => blockTx(crypto.randomUUID(), page, `a${n % 10}V`, n).replace('the quick', `${'long '.repeat(180_000)}the quick`));
  await batches('batch of long texts, not ASCII', folders[3], (page) => (n) => blockTx(crypto.randomUUID(), page, `a${n % 10}V`, n).replace('the quick', `${'長い文'.repeat(100_000)}the quick`));
  await pulls(folders[4]);
} finally {
  person.close();
  for (const data of folders) fs.rmSync(data, { recursive: true, force: true });
}
