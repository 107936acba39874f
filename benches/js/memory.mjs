// Memory of the running worker with a graph of a million datoms: `cargo xtask bench` part (d).
//   node memory.mjs FRAMES.gz   (made by `load.mjs make-big --datoms 1000000`)
// Resident sizes are workerd's, less its size after a warm-up with a small graph; the wasm memory is what the worker reports.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, blockTx, identity, pageTx, trusting, uploadParts } from './client.mjs';
import { Server, freePort } from './processes.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const data = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-'));
const [jwks, port] = [await freePort(), await freePort()];
const person = await identity(jwks);
const server = new Server('cargo', ['xtask', 'serve', '--worker', 'sync', '--port', String(port), '--data', data], trusting(jwks));
const client = new Client(`http://127.0.0.1:${port}`, person.token);
const wasmMiB = async (id) => Number((await client.request('GET', `/sync/${id}/health`)).headers.get('x-wasm-memory-bytes')) / 2 ** 20;

async function drain(response) { let n = 0; for await (const part of response.body) n += part.length; return n; }

async function transactions(id, count, size) {
  const socket = await client.socket(`/sync/${id}`);
  let t = JSON.parse(await socket.ask('{"type":"hello","client":"bench"}')).t;
  for (let n = 0, page; n < count;) {
    const txs = [];
    if (n % 100 === 0) { page = crypto.randomUUID(); txs.push(pageTx(page, `memory page ${n}`)); }
    for (let k = 0; k < size && n < count; k++, n++) txs.push(blockTx(crypto.randomUUID(), page, `a${n % 10}V`, n));
    const answer = JSON.parse(await socket.ask(JSON.stringify({ type: 'tx/batch', 't-before': t, txs: txs.map((tx) => ({ tx, 'outliner-op': 'insert-blocks' })) })));
    if (answer.type !== 'tx/batch/ok') throw new Error(JSON.stringify(answer));
    t = answer.t;
  }
  socket.close();
}

try {
  await server.healthy(client.base);
  const small = await client.graph([...uploadParts(path.join(root, 'tests/reference/golden/server/bodies/base.frames.gz'))]);
  await transactions(small, 500, 50);
  await drain(await client.request('GET', `/sync/${small}/snapshot/stream`));
  await new Promise((r) => setTimeout(r, 1000));
  const warm = server.resident();
  const figure = async (what, id, work) => {
    server.resetPeak(); const start = performance.now();
    const value = await work();
    console.log(JSON.stringify({ part: 'memory', what, peakAboveWarmMiB: server.peak() - warm, wasmPeakMiB: await wasmMiB(id ?? value), seconds: (performance.now() - start) / 1000 }));
    return value;
  };
  console.log(JSON.stringify({ part: 'memory', what: 'warm', residentMiB: warm, wasmPeakMiB: await wasmMiB(small) }));
  const big = await figure('upload of 1,000,000 datoms', null, async () => {
    const made = await (await client.request('POST', '/graphs', JSON.stringify({ 'graph-name': crypto.randomUUID(), 'graph-e2ee?': false }))).json();
    const id = made['graph-id']; let held; let first = true;
    for (const part of uploadParts(process.argv[2])) {
      if (held) { await client.request('POST', `/sync/${id}/snapshot/upload?reset=${first}`, held, { 'content-encoding': 'gzip' }); first = false; }
      held = part;
    }
    await client.request('POST', `/sync/${id}/snapshot/upload?reset=${first}&finished=true`, held, { 'content-encoding': 'gzip' });
    return id;
  });
  await figure('10,000 transactions, one at a time', big, () => transactions(big, 10000, 1));
  await figure('10,000 transactions, 50 at a time', big, () => transactions(big, 10000, 50));
  await figure('download', big, async () => drain(await client.request('GET', `/sync/${big}/snapshot/stream`)));
  await figure('pull of the log', big, async () => drain(await client.request('GET', `/sync/${big}/pull?since=0`)));
} finally {
  await server.stop();
  person.close();
  fs.rmSync(data, { recursive: true, force: true });
}
