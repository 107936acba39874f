// Compressed size of the built worker, and how long workerd takes to its first answer with it and with an empty worker.
import { Miniflare } from 'miniflare';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import zlib from 'node:zlib';
import { freePort, median } from './processes.mjs';

const bundle = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'build', 'sync');
const names = fs.readdirSync(bundle).filter((name) => /\.(js|wasm)$/.test(name));
const sizes = Object.fromEntries(names.map((name) => {
  const bytes = fs.readFileSync(path.join(bundle, name));
  return [name, { bytes: bytes.length, gzip: zlib.gzipSync(bytes, { level: 9 }).length }];
}));
const sum = Object.values(sizes).reduce((n, { gzip }) => n + gzip, 0);
console.log(JSON.stringify({ part: 'size', gzipBytes: sum, files: sizes }));

/** Milliseconds from a started workerd with a fresh worker to that worker's first answer. */
async function firstAnswer(modules) {
  const port = await freePort();
  const server = new Miniflare({ host: '127.0.0.1', port: 0, cf: false, workers: [{
    name: 'subject', modulesRoot: bundle, modules, compatibilityDate: '2026-04-26', unsafeDirectSockets: [{ host: '127.0.0.1', port }],
  }] });
  await server.ready;
  const start = performance.now();
  await (await fetch(`http://127.0.0.1:${port}/health`)).text();
  const ms = performance.now() - start;
  await server.dispose();
  return ms;
}
const ours = names.sort((a) => (a.endsWith('.js') ? -1 : 1)).map((name) => ({ type: name.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule', path: path.join(bundle, name) }));
const empty = [{ type: 'ESModule', path: path.join(bundle, 'empty.js'), contents: 'export default { fetch() { return new Response("ok"); } };' }];
const times = { ours: [], empty: [] };
for (let i = 0; i < 7; i++) { times.empty.push(await firstAnswer(empty)); times.ours.push(await firstAnswer(ours)); }
console.log(JSON.stringify({ part: 'start', firstAnswerMs: median(times.ours), emptyWorkerMs: median(times.empty) }));
