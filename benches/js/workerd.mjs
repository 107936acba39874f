// The running worker beside a bare Durable Object under the same workerd: `cargo xtask bench` part (c).
// Rounds alternate between the two, so that both see the same machine. Prints one JSON object a figure.
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, blockTx, identity, pageTx, trusting, uploadParts } from './client.mjs';
import { Server, freePort, median } from './processes.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const ROUNDS = 5;
const ORDER = (i) => `a${String.fromCharCode(48 + Math.floor(i / 10))}${i % 10}V`;

const data = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-'));
const [jwks, ourPort, barePort] = [await freePort(), await freePort(), await freePort()];
const person = await identity(jwks);
const ours = new Server('cargo', ['xtask', 'serve', '--worker', 'sync', '--port', String(ourPort), '--data', path.join(data, 'ours')], trusting(jwks));
const bare = new Server(process.execPath, [path.join(root, 'benches/js/bare-object.mjs'), '--port', String(barePort), '--data', path.join(data, 'bare')]);

/** Rows a second and processor seconds a row of `count` messages of `size` rows, one at a time. */
async function measure(server, size, count, send) {
  const cpu = server.cpu(); const start = performance.now();
  for (let i = 0; i < count; i++) await send(i, size);
  const seconds = (performance.now() - start) / 1000;
  return { rowsPerSecond: (size * count) / seconds, cpuPerRow: (server.cpu() - cpu) / (size * count) };
}

try {
  await Promise.all([ours.healthy(`http://127.0.0.1:${ourPort}`), bare.healthy(`http://127.0.0.1:${barePort}`)]);
  const client = new Client(`http://127.0.0.1:${ourPort}`, person.token);
  const initial = [...uploadParts(path.join(root, 'tests/reference/golden/server/bodies/base.frames.gz'))];
  const row = 'x'.repeat(400);
  const bareClient = new Client(`http://127.0.0.1:${barePort}`, 'none');
  const bareSocket = await bareClient.socket('/bare');
  const sendBare = async (i, size) => { const text = await bareSocket.ask(JSON.stringify({ rows: Array(size).fill(row) })); if (!text.includes('ok')) throw new Error(text); };

  const figures = { 50: [], 1: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [size, count, warm] of [[50, 200, 20], [1, 1000, 50]]) {
      const id = await client.graph(initial); const socket = await client.socket(`/sync/${id}`);
      let t = 0; let n = 0; let page;
      const say = async (txs, op) => {
        const answer = JSON.parse(await socket.ask(JSON.stringify({ type: 'tx/batch', 't-before': t, txs: txs.map((tx) => ({ tx, 'outliner-op': op, 'tx-id': crypto.randomUUID() })) })));
        if (answer.type !== 'tx/batch/ok') throw new Error(JSON.stringify(answer)); t = answer.t;
      };
      const pages = Array.from({ length: Math.ceil(((count + warm) * size) / 100) }, () => crypto.randomUUID());
      for (let i = 0; i < pages.length; i += 50) await say(pages.slice(i, i + 50).map((p, k) => pageTx(p, `bench page ${i + k}`)), 'create-page');
      const sendOurs = () => { const txs = []; for (let k = 0; k < size; k++, n++) { page = pages[Math.floor(n / 100)]; txs.push(blockTx(crypto.randomUUID(), page, ORDER(n % 100), n)); } return say(txs, 'insert-blocks'); };
      await measure(ours, size, warm, sendOurs); await measure(bare, size, warm, sendBare);
      const b = await measure(bare, size, count, sendBare);
      const o = await measure(ours, size, count, sendOurs);
      figures[size].push({ rate: o.rowsPerSecond / b.rowsPerSecond, cpu: o.cpuPerRow / b.cpuPerRow, ours: o, bare: b });
      socket.close();
    }
  }
  for (const size of [50, 1]) {
    const of = (pick) => median(figures[size].map(pick));
    console.log(JSON.stringify({
      part: `workerd-${size}`, rowsRatio: of((f) => f.rate), cpuRatio: of((f) => f.cpu),
      ours: { rowsPerSecond: of((f) => f.ours.rowsPerSecond), cpuMicrosecondsPerRow: 1e6 * of((f) => f.ours.cpuPerRow) },
      bare: { rowsPerSecond: of((f) => f.bare.rowsPerSecond), cpuMicrosecondsPerRow: 1e6 * of((f) => f.bare.cpuPerRow) },
    }));
  }
  bareSocket.close();
} finally {
  await Promise.all([ours.stop(), bare.stop()]);
  person.close();
  fs.rmSync(data, { recursive: true, force: true });
}
