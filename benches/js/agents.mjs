// Figures of the agents worker: `cargo xtask bench agents`. The worker runs under workerd; runtime, viewers and clock are this
// process, so that what is measured includes their work.
//
//   node benches/js/agents.mjs [--seconds N] [--events N] [--only messages|viewers|through|replay]
//
// Prints one line a figure, `agents FIGURE value unit`.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import zlib from 'node:zlib';
import { Client } from '../../tests/agents/client.mjs';
import { root, TOKEN, Worker } from '../../tests/agents/processes.mjs';
import { Runtime } from './agent-runtime.mjs';
import { figures, percentile } from './figures.mjs';

const { values: args } = parseArgs({ options: { seconds: { type: 'string', default: '60' }, events: { type: 'string', default: '100000' }, only: { type: 'string' } } });
const SECONDS = Number(args.seconds);
const EVENTS = Number(args.events);
const VIEWERS = [1, 10, 50, 200];
/** Events whose way to all viewers is measured, and the time between them. */
const ROUNDS = 300;
const ROUND_MS = 20;
/** Events on their way at once while as many as possible are sent; their text stays below a viewer's queue. */
const WINDOW = 500;
const BATCH = 50;
const MESSAGES = 1000;
/** Messages before the first that is measured: an engine that has just started translates what it runs. */
const WARM_UP = 200;

const { lines, figure } = figures('agents');

/** A viewer that looks at numbers only. `seen(n)` is called for each event of `Runtime.progress`, in the order of arrival. */
class Viewer {
  static open(session, query, seen) {
    const viewer = new Viewer();
    return new Promise((resolve, reject) => {
      viewer.request = http.get(`${worker.base}${session.path}/stream${query}`, { headers: { authorization: `Bearer ${TOKEN}` }, agent: false }, (response) => {
        if (response.statusCode !== 200) reject(new Error(`stream: ${response.statusCode}`));
        let rest = '';
        viewer.bytes = 0;
        response.setEncoding('utf8').on('data', (chunk) => {
          viewer.bytes += chunk.length;
          const text = rest + chunk;
          const end = text.lastIndexOf('\n\n') + 2;
          if (end > 1) for (const [, n] of text.slice(0, end).matchAll(/"n":(\d+)/g)) seen(Number(n));
          rest = end > 1 ? text.slice(end) : text;
        });
        response.once('end', () => { viewer.ended = true; });
        resolve(viewer);
      });
      viewer.request.on('error', reject);
    });
  }

  close() { this.request.destroy(); }
}

/** A session whose turn runs until the end. */
async function running() {
  runtime.promptMs = null;
  const session = await client.create();
  await session.say('go on');
  for (let i = 0; !runtime.servers.get(session.id)?.streams.size; i += 1) {
    if (i > 500) throw new Error('the runtime is not listened to');
    await sleep(20);
  }
  return session;
}

const lastCursor = async (session) => Math.max(...(await session.events('?limit=10000')).map((event) => event.cursor ?? 0));

async function fanOut() {
  for (const count of VIEWERS) {
    // One each time: viewers who went are missed when there is something to tell them, and have their places until then.
    const session = await running();
    let arrived = 0; let done = null;
    const seen = () => { arrived += 1; if (arrived === count) done(); };
    const query = `?cursor=${await lastCursor(session)}`;
    const viewers = await Promise.all(Array.from({ length: count }, () => Viewer.open(session, query, seen)));
    await sleep(300);
    const times = [];
    const used = processor();
    for (let n = 0; n < ROUNDS; n += 1) {
      arrived = 0;
      const all = new Promise((resolve, reject) => { done = resolve; setTimeout(() => reject(new Error(`event ${n} reached ${arrived} of ${count} viewers`)), 10_000).unref(); });
      const start = performance.now();
      runtime.emit(session.id, [Runtime.progress(session.id, n)]);
      await all;
      times.push(performance.now() - start);
      await sleep(ROUND_MS);
    }
    viewers.forEach((viewer) => viewer.close());
    figure(`fan-out-${count}-p50`, percentile(times, 0.5), 'ms');
    figure(`fan-out-${count}-p99`, percentile(times, 0.99), 'ms');
    figure(`fan-out-${count}-processor`, (processor() - used) / ROUNDS, 'ms/event');
  }
}

/** A new session, and a way to send it events as fast as one viewer takes them, each once and in order. */
async function sending() {
  const session = await running();
  let next = 0; let expected = 0; let wrong = null; let go = () => {};
  const viewer = await Viewer.open(session, `?cursor=${await lastCursor(session)}`, (n) => {
    if (n !== expected) wrong ??= `event ${n} came instead of ${expected}`;
    expected = n + 1;
    go();
  });
  /** Sends while it is told to, and waits for all of them. Gives their number. */
  const send = async (more) => {
    while (more(next)) {
      while (next - expected > WINDOW && !wrong && !viewer.ended) await new Promise((resolve) => { go = resolve; setTimeout(resolve, 1000); });
      if (wrong || viewer.ended) throw new Error(wrong ?? 'the stream ended');
      runtime.emit(session.id, Array.from({ length: BATCH }, () => Runtime.progress(session.id, next++)));
      await new Promise(setImmediate);
    }
    for (let i = 0; expected < next; i += 1) { if (wrong || i > 1000) throw new Error(wrong ?? `${next - expected} events are missing`); await sleep(10); }
    viewer.close();
    return expected;
  };
  return { session, send };
}

/** As many events as go through, for so long. What is beyond `AGENT_EVENTS_MAX_ROWS` makes room meanwhile. */
async function through() {
  const { send } = await sending();
  const start = performance.now();
  const used = processor();
  const count = await send(() => performance.now() - start < SECONDS * 1000);
  figure('events-through-one-session', count / ((performance.now() - start) / 1000), 'events/s');
  figure('events-through-one-session-processor', (1000 * (processor() - used)) / count, 'us/event');
}

/** The workerd below the launcher. */
function workerd() {
  const { pid } = worker.child;
  return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).find((name) => {
    try { return new RegExp(`^PPid:\\s+${pid}$`, 'm').test(fs.readFileSync(`/proc/${name}/status`, 'utf8')) && /workerd/.test(fs.readFileSync(`/proc/${name}/comm`, 'utf8')); } catch { return false; }
  });
}

/** Memory of workerd, in MiB. */
const resident = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${workerd()}/status`, 'utf8'))[1]) / 1024;

/** Processor time that workerd has used, in milliseconds: it does not depend on what else the machine does. */
function processor() {
  const stat = fs.readFileSync(`/proc/${workerd()}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The size of the wasm memory, in MiB, where the worker tells it. */
async function wasmMemory(session) {
  const bytes = (await session.ask('GET', '')).headers.get('x-wasm-memory-bytes');
  return bytes ? Number(bytes) / (1 << 20) : null;
}

async function replay() {
  const { session, send } = await sending();
  const count = await send((sent) => sent < EVENTS);
  // Opened anew: what came in left memory behind.
  await worker.evict();
  const before = { resident: resident(), wasm: await wasmMemory(session) };
  let seen = 0; let done;
  const all = new Promise((resolve, reject) => { done = resolve; setTimeout(() => reject(new Error(`${seen} of ${count} events came`)), 300_000).unref(); });
  const start = performance.now();
  const used = processor();
  const viewer = await Viewer.open(session, '?cursor=0', () => { seen += 1; if (seen === count) done(); });
  await all;
  const seconds = (performance.now() - start) / 1000;
  figure('replay-events', count, 'events');
  figure('replay-processor', (processor() - used) / (viewer.bytes / 1e6), 'ms/MB');
  figure('replay', viewer.bytes / 1e6 / seconds, 'MB/s');
  figure('replay-resident-above-idle', resident() - before.resident, 'MiB');
  const wasm = await wasmMemory(session);
  if (wasm !== null) figure('replay-wasm-above-idle', wasm - before.wasm, 'MiB');
  viewer.close();
}

/** How long /messages takes, with a runtime that answers prompts after so long, or never. */
async function messages(name, promptMs) {
  runtime.promptMs = promptMs;
  const session = await client.create();
  for (let i = 0; i < WARM_UP; i += 1) await session.say(crypto.randomUUID());
  const times = [];
  const used = processor();
  for (let i = 0; i < MESSAGES; i += 1) {
    const start = performance.now();
    await session.say(crypto.randomUUID());
    times.push(performance.now() - start);
  }
  figure(`messages-${name}-p50`, percentile(times, 0.5), 'ms');
  figure(`messages-${name}-p99`, percentile(times, 0.99), 'ms');
  figure(`messages-${name}-processor`, (processor() - used) / MESSAGES, 'ms/message');
}

function size() {
  const bytes = fs.readFileSync(path.join(root, 'build/agents/index_bg.wasm'));
  figure('wasm-gzip', zlib.gzipSync(bytes, { level: 9 }).length / 1024, 'KiB');
}

const runtime = await Runtime.start();
const worker = await Worker.start(runtime.url, { env: { AGENT_MAX_ORDERS: '100000', AGENT_MAX_ACTIVE_SESSIONS: '1000' } });
const client = new Client(worker.base);
try {
  const parts = {
    messages: async () => {
      await messages('prompt-runtime', 0);
      await messages('slow-runtime', 500);
      await messages('silent-runtime', null);
    },
    viewers: fanOut,
    through,
    replay,
  };
  if (args.only && !Object.hasOwn(parts, args.only)) throw new Error(`no part ${args.only}: ${Object.keys(parts).join(', ')}`);
  size();
  for (const [name, part] of Object.entries(parts)) if (!args.only || args.only === name) await part();
  console.log(lines.join('\n'));
} finally {
  await worker.stop();
  runtime.stop();
}
