// Figures of observed databases: `cargo xtask bench pg-sync`. The agents worker runs under workerd, the native server as a process of its own (LOGSEQ_SYNC_BIN);
// the shape service, the sink and whoever waits for events are this process.
//
//   node benches/js/pg-sync.mjs [--only wake|quiet|native|through] [--window SECONDS] [--samples N] [--check]
//
// Prints one line a figure, `pg-sync FIGURE value unit`. With `--check` figures are compared with the targets that docs/benchmarks.md names, and one beyond its target is
// a failure.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client, eventually } from '../../tests/agents/client.mjs';
import { Worker } from '../../tests/agents/processes.mjs';
import { Runtime } from './agent-runtime.mjs';
import { figures, percentile } from './figures.mjs';
import { Shapes } from './shapes.mjs';

const { values: args } = parseArgs({ options: { only: { type: 'string' }, window: { type: 'string', default: '180' }, samples: { type: 'string', default: '10' }, check: { type: 'boolean' } } });
/** How long is counted, in seconds. */
const WINDOW_S = Number(args.window);
/** Changes of each observation whose way is measured, and how many observations there are at once. */
const SAMPLES = Number(args.samples);
const OBSERVED = 20;
/** Observations of one session at most. */
const OF_SESSION = 10;
/** Bridges that are counted, and after how long without a change their pause has grown to a minute. */
const QUIET = [1, 10, 100];
const GROWN_MS = 14 * 60_000;
/** Bridges of the native server that nothing happens to. */
const NATIVE = 200;
const THROUGH = 100_000;
const TICK_MS = 10;
const LIMIT_MS = 120_000;

/** Figures that have a target, and how their rows in docs/benchmarks.md begin. */
const TARGETS = {
  [`native-${NATIVE}-quiet-processor`]: '| 200 quiet bridges of the native server, mode `live`: processor time |',
  [`native-${NATIVE}-quiet-resident`]: '| their memory, with the server |',
  [`native-${NATIVE}-quiet-requests`]: '| their requests |',
};

const { lines, figure: tell } = figures('pg-sync');
const told = new Map();
const figure = (name, value, ...more) => { told.set(name, value); tell(name, value, ...more); };

/** What is wrong with the figures that were told: those beyond their targets. */
function beyond() {
  const page = fs.readFileSync(path.join(import.meta.dirname, '../../docs/benchmarks.md'), 'utf8');
  const section = page.slice(page.indexOf('## (m) Observed databases'));
  return [...told].filter(([name]) => TARGETS[name]).flatMap(([name, value]) => {
    const row = section.split('\n').find((line) => line.startsWith(TARGETS[name]));
    const [, sign, limit] = /^ ([<≤]) ([\d.]+)/.exec(row?.slice(TARGETS[name].length)) ?? [];
    if (!limit) throw new Error(`docs/benchmarks.md has no target for ${name}`);
    return (sign === '<' ? value < Number(limit) : value <= Number(limit)) ? [] : [`${name} is ${value}, and not ${sign} ${limit}`];
  });
}
const shapes = await Shapes.start();
const runtime = await Runtime.start();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-pg-sync-'));

/** The worker over the service. */
function startWorker(wrapper) {
  const connection = (mode) => ({ url: shapes.url, mode });
  return Worker.start(runtime.url, {
    wrapper: wrapper && path.join(import.meta.dirname, wrapper),
    env: { PG_SYNC_CONNECTIONS: JSON.stringify({ live: connection('live'), interval: connection('interval') }), PG_SYNC_MAX_WAKES: '1000000', AGENT_MAX_ACTIVE_SESSIONS: '1000' },
  });
}

/** Observes tables, as many as are named; calls `told` with the table of each wake as it comes. */
async function observe(worker, connection, tables, told = () => {}) {
  const client = new Client(worker.base);
  const sources = [];
  for (let at = 0; at < tables.length; at += OF_SESSION) {
    const session = await client.create();
    await session.ok('POST', '/pause');
    listen(await session.stream(), told);
    for (const table of tables.slice(at, at + OF_SESSION)) {
      const answer = await session.ask('POST', '/pg-sync', { connection, table });
      if (answer.status !== 201) throw new Error(answer.text);
      sources.push({ session, source: answer.body.source_id });
    }
  }
  return sources;
}

async function listen(stream, told) {
  for (let seen = 0; !stream.ended; await sleep(1)) {
    for (; seen < stream.frames.length; seen += 1) {
      const { data } = stream.frames[seen];
      if (data?.type === 'pg_sync.change') told(data.data.table);
    }
  }
}

/** From a change to its wake, in milliseconds: the changes of a table follow each other after pauses up to `pauseMs`. */
async function delays(tables, waiting, pauseMs) {
  const times = [];
  await Promise.all(tables.map(async (table) => {
    for (let i = 0; i < SAMPLES; i += 1) {
      await sleep(crypto.randomInt(pauseMs) + 1);
      const arrived = new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no wake for ${table}`)), LIMIT_MS);
        waiting.set(table, () => { clearTimeout(timer); resolve(performance.now()); });
      });
      const begun = performance.now();
      shapes.insert(table);
      times.push(await arrived - begun);
    }
  }));
  return times;
}

function spread(name, times) {
  figure(`${name}-p50`, percentile(times, 0.5), 'ms');
  figure(`${name}-p99`, percentile(times, 0.99), 'ms');
}

const named = (prefix, count) => Array.from({ length: count }, (_, at) => `${prefix}${at}`);
const arrived = (waiting) => (table) => waiting.get(table)?.();

/** A change of one table to the event of the session, and to the sink of the native server. */
async function wake() {
  const worker = await startWorker();
  try {
    for (const [mode, pauseMs] of [['live', 400], ['interval', 6_000]]) {
      const [waiting, tables] = [new Map(), named(`w${mode}`, OBSERVED)];
      await observe(worker, mode, tables, arrived(waiting));
      await sleep(3_000);
      spread(`worker-${mode}-change-to-event`, await delays(tables, waiting, pauseMs));
    }
  } finally {
    await worker.stop();
  }
  for (const [mode, pauseMs] of [['live', 400], ['interval', 6_000]]) {
    const [waiting, tables] = [new Map(), named(`n${mode}`, OBSERVED)];
    const server = await Native.start(mode, tables, arrived(waiting));
    spread(`native-${mode}-change-to-sink`, await delays(tables, waiting, pauseMs));
    await server.stop();
  }
}

/**
 * What bridges cost that nothing happens to: in their first ten minutes, and later. Requests, rows and seconds an hour, as counted in a window. A bridge in
 * the mode `live` has no requests but its own to the service, which are told beside: its alarm is moved before it goes off.
 */
async function quiet() {
  const inWindow = async (worker, prefix) => {
    const cost = async () => ({ ...await (await fetch(`${worker.base}/cost`)).json(), asked: shapes.requestsFor(prefix) });
    const [before, begun] = [await cost(), performance.now()];
    await sleep(WINDOW_S * 1_000);
    const after = await cost();
    const hours = (performance.now() - begun) / 3_600_000;
    const anHour = (name) => (after[name] - before[name]) / hours;
    return { requests: anHour('requests'), rows: anHour('rows'), asked: anHour('asked'), seconds: anHour('busyMs') / 1_000 };
  };
  const counted = async (count) => {
    const worker = await startWorker('counting-bridges.mjs');
    const prefix = `q${count}_`;
    try {
      const begun = performance.now();
      await observe(worker, 'interval', named(prefix, count));
      await sleep(10_000);
      const early = await inWindow(worker, prefix);
      await sleep(Math.max(GROWN_MS - (performance.now() - begun), 0));
      return [['first-minutes', early], ['after-ten-minutes', await inWindow(worker, prefix)]];
    } finally {
      await worker.stop();
    }
  };
  const live = async () => {
    const worker = await startWorker('counting-bridges.mjs');
    try {
      await observe(worker, 'live', named('ql', 10));
      await sleep(25_000);
      return await inWindow(worker, 'ql');
    } finally {
      await worker.stop();
    }
  };
  const print = (name, { requests, rows, asked, seconds }) => {
    figure(`${name}-requests`, requests, 'an hour');
    figure(`${name}-asked-of-the-service`, asked, 'an hour');
    figure(`${name}-rows-written`, rows, 'an hour');
    figure(`${name}-duration`, seconds, 's an hour');
    figure(`${name}-duration-at-128-mb`, seconds / 8, 'GB-s an hour');
  };
  const [ofLive, ...ofInterval] = await Promise.all([live(), ...QUIET.map(counted)]);
  ofInterval.forEach((phases, at) => phases.forEach(([phase, cost]) => print(`quiet-interval-${QUIET[at]}-${phase}`, cost)));
  print('quiet-live-10', ofLive);
}

const read = (pid, name) => fs.readFileSync(`/proc/${pid}/${name}`, 'utf8');

/** The native server that observes tables, and a sink of this process. */
class Native {
  static async start(name, tables, told = () => {}, { mode = name, observation = '' } = {}) {
    const server = new Native();
    server.sink = http.createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => { body += chunk; }).on('end', () => {
        const { type, table } = JSON.parse(body);
        if (type === 'pg_sync.change') told(table);
        response.end('{}');
      });
    }).listen(0, '127.0.0.1');
    await once(server.sink, 'listening');
    const data = path.join(folder, name);
    fs.mkdirSync(data, { mode: 0o700 });
    const secret = path.join(folder, `${name}.secret`);
    fs.writeFileSync(secret, 'a secret of the sink\n', { mode: 0o600 });
    const config = path.join(folder, `${name}.toml`);
    fs.writeFileSync(config, [
      '[pg_sync]', `sink_url = "http://127.0.0.1:${server.sink.address().port}/"`, `sink_secret_file = "${secret}"`, 'max_wakes = 1000000',
      '[pg_sync.connections.main]', `url = "${shapes.url}"`, `mode = "${mode}"`,
      ...tables.map((table) => `[[pg_sync.observations]]\nid = "${table.replaceAll('_', '-')}"\nconnection = "main"\ntable = "${table}"\n${observation}`), '',
    ].join('\n'), { mode: 0o600 });
    const env = { HOME: folder, PATH: process.env.PATH, DB_SYNC_AUTH_DRIVER: 'static', DB_SYNC_AUTH_TOKEN: 'a-token-that-is-long-enough', DB_SYNC_ADMIN_TOKEN: 'the-operators-token' };
    server.child = spawn(process.env.LOGSEQ_SYNC_BIN, ['serve', '--port', '0', '--bind', '127.0.0.1', '--json', '--config', config, '--data-dir', data], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(server.child.stdout, 'data');
    [server.base] = JSON.parse(String(line).split('\n')[0]).listen;
    await eventually('all are live', async () => (await server.list()).filter(({ state }) => state === 'live').length === tables.length, LIMIT_MS);
    return server;
  }

  async list() {
    const answer = await fetch(`${this.base}/pg-sync`, { headers: { 'x-db-sync-admin-token': 'the-operators-token' } });
    return (await answer.json()).observations;
  }

  /** Processor time that it has used, in milliseconds. */
  processor() {
    const stat = read(this.child.pid, 'stat');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }

  async stop() {
    this.child.kill('SIGTERM');
    await once(this.child, 'exit');
    this.sink.closeAllConnections();
    this.sink.close();
  }
}

/** Bridges of the native server that nothing happens to. */
async function native() {
  const tables = named('t', NATIVE);
  const server = await Native.start('quiet', tables, () => {}, { mode: 'live' });
  await sleep(25_000);
  const [used, begun] = [server.processor(), performance.now()];
  await sleep(WINDOW_S * 1_000);
  const passed = performance.now() - begun;
  figure(`native-${NATIVE}-quiet-processor`, (100 * (server.processor() - used)) / passed, '% of a core');
  figure(`native-${NATIVE}-quiet-resident`, Number(/VmRSS:\s+(\d+)/.exec(read(server.child.pid, 'status'))[1]) / 1024, 'MiB');
  figure(`native-${NATIVE}-quiet-requests`, shapes.rate(tables, begun), 'a minute and bridge', 3);
  await server.stop();
}

/** Changes through one bridge, which is told of all of them at once. */
async function through() {
  const worker = await startWorker();
  try {
    const [{ session }] = await observe(worker, 'live', ['through']);
    const begun = performance.now();
    shapes.insert('through', THROUGH);
    await eventually('all have come', async () => (await session.ok('GET', '/pg-sync')).observations[0].last_seq >= THROUGH, LIMIT_MS);
    figure('worker-through-one-bridge', (1_000 * THROUGH) / (performance.now() - begun), 'changes a second');
  } finally {
    await worker.stop();
  }
  const server = await Native.start('through', ['all_of_them'], () => {}, { mode: 'live' });
  const begun = performance.now();
  shapes.insert('all_of_them', THROUGH);
  await eventually('all have come', async () => (await server.list())[0].last_seq >= THROUGH, LIMIT_MS);
  figure('native-through-one-bridge', (1_000 * THROUGH) / (performance.now() - begun), 'changes a second');
  await server.stop();
}

const parts = { wake, through, native, quiet };
if (args.only && !Object.hasOwn(parts, args.only)) throw new Error(`no part ${args.only}: ${Object.keys(parts).join(', ')}`);
try {
  for (const [name, part] of Object.entries(parts)) if (!args.only || args.only === name) await part();
  console.log(lines.join('\n'));
  const failures = args.check ? beyond() : [];
  failures.forEach((failure) => console.error(failure));
  process.exitCode = failures.length > 0 ? 1 : 0;
} finally {
  shapes.stop();
  runtime.stop();
  fs.rmSync(folder, { recursive: true, force: true });
}
