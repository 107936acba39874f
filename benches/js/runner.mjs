// Figures of a runner that calls its worker: `cargo xtask bench runner`. The worker runs under workerd, behind a proxy of this process that
// counts the runner's requests; LOGSEQ_RUNNER names the runner, agent-shim lies beside it.
//
//   node benches/js/runner.mjs [--sessions N] [--seconds N] [--messages N] [--only idle|delay|blind]
//
// Prints one line a figure, `runner FIGURE value unit`.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Client, eventually } from '../../tests/agents/client.mjs';
import { Machine } from '../../tests/agents/machine.mjs';
import { Worker } from '../../tests/agents/processes.mjs';
import { figures, percentile } from './figures.mjs';

const { values: args } = parseArgs({
  options: { sessions: { type: 'string', default: '100' }, seconds: { type: 'string', default: '180' }, messages: { type: 'string', default: '200' }, only: { type: 'string' } },
});
const SESSIONS = Number(args.sessions);
const SECONDS = Number(args.seconds);
const MESSAGES = Number(args.messages);
const TICK_MS = 10;
const WARM_UP = 20;
/** A namespace of users in which neither runner nor shims get an inotify. */
const BLIND = ['unshare', '--user', '--map-root-user', 'sh', '-c', 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', 'sh'];

const { lines, figure } = figures('runner');

/** Passes everything on to the worker, and counts. */
function counting(worker) {
  let count = 0;
  const agent = new http.Agent({ keepAlive: true, noDelay: true });
  const server = http.createServer({ noDelay: true }, (request, response) => {
    count += 1;
    const asked = http.request({ host: '127.0.0.1', port: worker.port, path: request.url, method: request.method, headers: request.headers, agent }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    asked.on('error', () => response.destroy());
    response.on('close', () => asked.destroy());
    request.pipe(asked);
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ base: `http://127.0.0.1:${server.address().port}`, count: () => count, close: () => server.closeAllConnections() || server.close() }));
  });
}

const read = (pid, name) => fs.readFileSync(`/proc/${pid}/${name}`, 'utf8');
/** Processor time that a process has used, in milliseconds. */
function processor(pid) {
  const stat = read(pid, 'stat');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

const create = (client, machine) => client.create({ 'runtime-provider': 'local-runner', 'runner-id': machine.id });

/** Sessions that have nothing to do, their agents ended. */
async function idle(client, machine, proxy) {
  await machine.start({ RUNNER_MAX_SESSIONS: String(SESSIONS), IDLE_EXIT: '1s' });
  for (let i = 0; i < SESSIONS; i += 1) await create(client, machine);
  await eventually('the agents have ended', () => machine.shims().length === 0, 60_000);
  await sleep(2_000);
  const [used, asked, start] = [processor(machine.runner.pid), proxy.count(), performance.now()];
  await sleep(SECONDS * 1_000);
  const passed = performance.now() - start;
  figure(`idle-${SESSIONS}-processor`, (100 * (processor(machine.runner.pid) - used)) / passed, '% of a core');
  figure(`idle-${SESSIONS}-resident`, Number(/VmRSS:\s+(\d+)/.exec(read(machine.runner.pid, 'status'))[1]) / 1024, 'MiB');
  figure(`idle-${SESSIONS}-requests`, (60_000 * (proxy.count() - asked)) / passed, 'a minute');
  await machine.end();
}

/** From the worker's answer to a message to the agent's standard input, in a session whose agent is there. */
async function delay(client, machine, name, before) {
  await machine.start({}, before);
  const session = await create(client, machine);
  const log = path.join(machine.home, 'stdin.log');
  const arrival = (text) => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8') : '').split('\n').find((line) => line.startsWith(`${text} `));
  const times = [];
  for (let i = 0; i < WARM_UP + MESSAGES; i += 1) {
    const text = crypto.randomUUID();
    await session.say(text);
    const accepted = performance.timeOrigin + performance.now();
    const line = await eventually('the agent has it', () => arrival(text));
    if (i >= WARM_UP) times.push(Number(line.split(' ')[1]) - accepted);
    await eventually('its end', async () => (await session.events('?limit=10000')).filter(({ type }) => type === 'turn.completed').length === i + 1);
  }
  figure(`${name}-p50`, percentile(times, 0.5), 'ms');
  figure(`${name}-p99`, percentile(times, 0.99), 'ms');
  await machine.end();
}

const worker = await Worker.start(null, { env: { AGENT_MAX_ACTIVE_SESSIONS: '1000', RUN_TOKEN_KEYS: `k:${Buffer.alloc(32).toString('base64')}` } });
const proxy = await counting(worker);
const client = new Client(worker.base);
try {
  const parts = {
    delay: (machine) => delay(client, machine, 'delay', []),
    blind: (machine) => delay(client, machine, 'delay-without-inotify', BLIND),
    idle: (machine) => idle(client, machine, proxy),
  };
  if (args.only && !Object.hasOwn(parts, args.only)) throw new Error(`no part ${args.only}: ${Object.keys(parts).join(', ')}`);
  for (const [name, part] of Object.entries(parts)) {
    if (args.only && args.only !== name) continue;
    // Only who counts needs the proxy: it takes time.
    const machine = new Machine(name === 'idle' ? proxy.base : worker.base, { id: `bench-${name}`, agent: path.join(import.meta.dirname, 'stdin-agent.mjs') });
    try {
      await part(machine);
    } finally {
      await machine.remove();
    }
  }
  console.log(lines.join('\n'));
} finally {
  proxy.close();
  await worker.stop();
}
