// Serves built workers under workerd, with the bindings of their wrangler configurations and local storage below one folder:
//   node serve.mjs (--worker NAME --config FILE --bundle DIR)… [--migrate FILE]… --data DIR --host ADDRESS --port N
//                  [--wrapper FILE] [-- BUILDER…]
// The first worker answers on the port; others are reached through service bindings. The databases of the configurations
// behind --migrate are migrated, in that order. The folder has wrangler's layout, so `wrangler d1 execute DB --local
// --persist-to DIR` works on it.
//
// Miniflare, which is what `wrangler dev` drives, is driven directly: `wrangler dev` puts a second workerd as a proxy
// before the worker and bundles what is a bundle already. SIGTERM and SIGINT end workerd, then this process. However this
// process ends, workerd does not outlive it (guard.mjs); when workerd ends by itself, so does this process.
//
// A wrapper is an ES module that takes the first worker's place and imports it as `./index.js`, and modules beside itself: tests let bindings fail with it.
//
// A builder is a command that builds the bundle again after edits and prints a line each time (`cargo xtask build --watch`);
// the new bundle is loaded then.
//
// Standard input is the lock on the data folder, held by whoever has the file open: `cargo xtask serve` passes it on.
import childProcess from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import os from 'node:os';
import readline from 'node:readline';
import { agentsAddress, describeAuthentication, describeExposure, describeHandedOut, isLoopback, settingsFrom, urlHost } from './settings.mjs';

// Graphs, keys and assets are their owner's alone: what is made from here on, by workerd too, nobody else reads.
process.umask(0o077);

// `import` would first search both, which are megabytes of CommonJS, for their exports: that takes seconds.
const require = createRequire(import.meta.url);
const { Miniflare, Log, LogLevel } = require('miniflare');
const { unstable_getMiniflareWorkerOptions, unstable_readConfig, unstable_splitSqlQuery } = require('wrangler');

/** Where Miniflare's own port is: nobody else's business. */
const HOST = '127.0.0.1';

// Local storage is found by these names. They are those of the first builds, so that what lies in a folder stays in reach;
// the names in the configurations are for Cloudflare. All workers have one bucket, as they have there.
const storedName = (worker) => `logseq-${worker}`;
const STORED_BUCKET = 'logseq-sync-assets-prod';

const { values: args, positionals: builder } = parseArgs({
  allowPositionals: true,
  options: {
    worker: { type: 'string', multiple: true },
    config: { type: 'string', multiple: true },
    bundle: { type: 'string', multiple: true },
    migrate: { type: 'string', multiple: true, default: [] },
    data: { type: 'string' },
    host: { type: 'string', default: HOST },
    port: { type: 'string' },
    wrapper: { type: 'string' },
  },
});
/** What is served, the one that answers on the port first. */
const workers = args.worker.map((name, i) => ({ name, configFile: args.config[i], bundle: args.bundle[i], config: unstable_readConfig({ config: args.config[i] }) }));
const persistRoot = path.join(args.data, 'v3');

/** The port that is listened on: a free one is chosen for 0. */
let port = Number(args.port);
let running = null;
let building = null;
let serving = false;
/** The workers are being asked whether they can serve. */
let asking = false;
let ending = false;
/** What workerd said before it was serving. */
let said = [];

async function end() {
  if (!ending) await leave(0);
}

/** Ends what was started, then this process. */
async function leave(code) {
  ending = true;
  // The builder leads a group: the compiler that it may have started ends with it.
  if (building?.exitCode === null) process.kill(-building.pid, 'SIGTERM');
  await running?.dispose().catch(() => {});
  process.exit(code);
}

/** Miniflare keeps its child to itself: this is where it can be seen. */
const spawn = childProcess.spawn;
childProcess.spawn = (command, args, options) => {
  const child = spawn(command, args, options);
  if (args?.includes('serve') && args.includes('--binary')) watch(child);
  return child;
};

/**
 * Miniflare's own port does what the headers of its workers say, and ends this process when they say nonsense. None of our
 * workers needs that, and no web page has business there: such requests come from outside.
 */
const createServer = http.createServer;
http.createServer = (...options) => {
  const server = createServer(...options);
  const emit = server.emit;
  server.emit = (event, request, ...rest) => {
    const asks = event === 'request' || event === 'upgrade';
    if (asks && Object.keys(request.headers).some((name) => name === 'origin' || name.startsWith('mf-custom-'))) {
      request.socket.destroy();
      return true;
    }
    return emit.call(server, event, request, ...rest);
  };
  return server;
};

/** Ties a workerd to this process: each ends with the other. */
function watch(workerd) {
  const script = path.join(import.meta.dirname, 'guard.mjs');
  const guard = spawn(process.execPath, [script, String(workerd.pid)], { detached: true, stdio: ['pipe', 'ignore', 'ignore', 0] });
  guard.on('error', fail).stdin.on('error', () => {});
  guard.unref();
  workerd.once('exit', (code, signal) => {
    guard.stdin.end('.');
    // Before that, Miniflare says itself why it could not start.
    if (serving || asking) fail(new Error(`workerd has ended (${signal ?? `code ${code}`})`));
  });
}

/** Ends everything, with a message. */
async function fail(error) {
  if (ending) return;
  ending = true;
  const unbound = said.join('\n').match(/::bind\(.*?\): ([^;\n]+)/)?.[1];
  if (error.code === 'ERR_ADDRESS_IN_USE') {
    console.error(`error: port ${port} of ${args.host} is in use: choose another with --port`);
  } else if (unbound) {
    console.error(`error: cannot listen on port ${port} of ${args.host}: ${unbound}`);
  } else {
    // What workerd said is the reason; what Miniflare says is that there was one.
    for (const line of said) console.error(line);
    console.error(`error: ${error.message}`);
  }
  await leave(1);
}

/** Passes on what workerd says: at once while it serves, else when it could not start. Its stacks are addresses in its own binary. */
function passOn(stdout, stderr) {
  readline.createInterface(stdout).on('line', (line) => console.log(line));
  readline.createInterface(stderr).on('line', (line) => {
    if (/^stack: /.test(line)) return;
    if (serving) console.error(line);
    else said.push(line);
  });
}

/** Makes `end` the only answer to signals: Miniflare's own one leaves before workerd has ended. */
function answerSignals() {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.removeAllListeners(signal).on(signal, end);
}
answerSignals();

/** Options of every instance. */
const COMMON = { host: HOST, port: 0, cf: false, log: new Log(LogLevel.WARN), defaultPersistRoot: persistRoot, handleRuntimeStdio: passOn };

/** Starts one instance; a signal that arrives meanwhile ends it. */
async function start(options) {
  const instance = new Miniflare({ ...COMMON, ...options });
  running = instance;
  answerSignals();
  await instance.ready;
  return instance;
}

/** Applies the migrations that the local databases have not seen, with wrangler's own book-keeping. */
async function migrate() {
  const waiting = args.migrate.flatMap(migrationsOf).filter(({ stamp, digest }) => !fs.existsSync(stamp) || fs.readFileSync(stamp, 'utf8') !== digest);
  if (!waiting.length) return;
  const d1Databases = Object.fromEntries(waiting.map(({ binding, id }) => [binding, id]));
  const instance = await start({ modules: true, script: 'export default {}', compatibilityDate: '2026-04-26', d1Databases });
  for (const { binding, table, files, stamp, digest } of waiting) {
    const db = await instance.getD1Database(binding);
    await db.prepare(`CREATE TABLE IF NOT EXISTS ${table} (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)`).run();
    const applied = new Set((await db.prepare(`SELECT name FROM ${table}`).all()).results.map((row) => row.name));
    const wanted = files.filter(({ name }) => !applied.has(name));
    for (const { name, text } of wanted) {
      const statements = unstable_splitSqlQuery(text).map((sql) => db.prepare(sql));
      await db.batch([...statements, db.prepare(`INSERT INTO ${table} (name) VALUES (?)`).bind(name)]);
    }
    fs.writeFileSync(stamp, digest);
    console.log(`==> Database ${binding}: applied ${wanted.length ? wanted.map(({ name }) => name).join(', ') : 'nothing new'}`);
  }
  await instance.dispose();
  running = null;
}

/** The migrations of a configuration's databases, and the mark that a local database has seen them. */
function migrationsOf(configFile) {
  return unstable_readConfig({ config: configFile }).d1_databases.map(({ binding, database_id: id, migrations_dir: dir, migrations_table: table = 'd1_migrations' }) => {
    const folder = path.resolve(path.dirname(configFile), dir);
    const names = fs.readdirSync(folder).filter((name) => name.endsWith('.sql')).sort();
    const files = names.map((name) => ({ name, text: fs.readFileSync(path.join(folder, name), 'utf8') }));
    const digest = crypto.createHash('sha256').update(JSON.stringify([id, names, files.map(({ text }) => text)])).digest('hex');
    return { binding, id, table, files, digest, stamp: path.join(persistRoot, 'd1', `migrated-${binding}`) };
  });
}

/** The modules of the bundle, the entry point first; a wrapper before it counts as lying beside it, as do the modules (`.mjs`) beside the wrapper that it imports. */
function modulesOf(bundle, main, wrapper) {
  const modules = [{ type: 'ESModule', path: path.join(bundle, path.basename(main)) }];
  if (wrapper) {
    const moduleOf = (file) => ({ type: 'ESModule', path: path.join(bundle, path.basename(file)), contents: fs.readFileSync(file, 'utf8') });
    const before = moduleOf(wrapper);
    const imported = [...before.contents.matchAll(/ from '\.\/([\w-]+\.mjs)';/g)].map(([, name]) => moduleOf(path.join(path.dirname(wrapper), name)));
    modules.unshift(before, ...imported);
  }
  for (const name of fs.readdirSync(bundle)) {
    if (name.endsWith('.wasm')) modules.push({ type: 'CompiledWasm', path: path.join(bundle, name) });
  }
  return modules;
}

/** What Miniflare is told of a worker. */
function optionsOf({ name, config, configFile, bundle }, settings, { wrapper, sockets, agents }) {
  const { workerOptions } = unstable_getMiniflareWorkerOptions(configFile);
  // Other workers by the names that they have here. One that is another process, or that does not run, is not bound.
  const served = new Map(workers.map((worker) => [worker.config.name, storedName(worker.name)]));
  const bound = config.services.filter(({ service }) => served.has(service)).map(({ binding, service }) => [binding, served.get(service)]);
  if (agents) bound.push(['AGENTS_SERVICE', { external: { address: agents.host, http: {} } }]);
  return {
    ...workerOptions,
    name: storedName(name),
    r2Buckets: Object.fromEntries(config.r2_buckets.map(({ binding }) => [binding, STORED_BUCKET])),
    modulesRoot: bundle,
    modules: modulesOf(bundle, config.main, wrapper),
    bindings: settings,
    serviceBindings: Object.fromEntries(bound),
    unsafeDirectSockets: sockets,
  };
}

/** Serves until a signal ends it. */
async function serve() {
  await migrate();
  const settings = workers.map(({ name, configFile }) => settingsFrom(process.env, unstable_getMiniflareWorkerOptions(configFile).workerOptions.bindings, args.host, name));
  // An agents worker of another process, to which the sync worker forwards.
  const agents = workers[0].name === 'sync' ? agentsAddress(process.env) : null;
  const options = () => ({
    workers: workers.map((worker, i) => optionsOf(worker, settings[i], i > 0 ? {} : {
      wrapper: args.wrapper,
      // Straight to the worker: Miniflare's own entry worker would handle every request a second time.
      sockets: [{ host: args.host, port }],
      agents,
    })),
  });
  if (ending) return;
  const instance = await start(options());
  port = Number((await instance.unsafeGetDirectURL(storedName(workers[0].name))).port);
  asking = true;
  const refusal = await healthOfAll(instance);
  asking = false;
  if (refusal) {
    // The worker logs the same.
    said = [];
    throw new Error(refusal);
  }
  startServing();
  const here = `${urlHost(args.host)}:${port}`;
  const base = `http://${here}`;
  const socket = workers[0].name === 'sync' ? `WebSocket: ws://${here}/sync/<graph-id>, ` : '';
  console.log(`==> Ready: ${base} (${socket}health: ${base}/health)`);
  for (const line of describeAuthentication(settings[0])) console.log(`    ${line}`);
  const served = workers.findIndex(({ name }) => name === 'agents');
  if (served >= 0) for (const line of describeHandedOut(settings[served])) console.log(`    ${line}`);
  if (!isLoopback(args.host)) {
    const addresses = Object.values(os.networkInterfaces()).flat().filter(({ internal }) => !internal).map(({ address }) => address);
    for (const line of describeExposure(settings[0], args.host, port, addresses)) console.warn(`    ${line}`);
  }
  const where = agents?.origin ?? (served >= 0 ? base : 'none (only the sync worker is served)');
  console.log(`    agents: ${where}; stop with Ctrl-C or kill ${process.pid}`);
  if (builder.length) loadBuilds(instance, () => ({ ...COMMON, ...options() }));
}

/** Why a worker cannot serve, as it says itself. */
async function healthOfAll(instance) {
  try {
    return await health() ?? await healthBehind(instance);
  } catch (error) {
    // When workerd has ended, that is the reason, and it may be known a moment later.
    await sleep(200);
    throw error;
  }
}

/** The same question to the workers behind the first. */
async function healthBehind(instance) {
  for (const { name } of workers.slice(1)) {
    const worker = await instance.getWorker(storedName(name));
    const response = await worker.fetch('http://localhost/health');
    const refusal = refusalOf(response.status, await response.text(), name);
    if (refusal) return refusal;
  }
  return null;
}

/** What an answer of /health says against serving; null if nothing. */
function refusalOf(status, text, name) {
  if (status === 200) return null;
  try {
    return JSON.parse(text).error;
  } catch {
    return `the ${name} worker answers /health with ${status}`;
  }
}

/** From here on workerd's words are passed on as they come. */
function startServing() {
  for (const line of said.splice(0)) console.error(line);
  serving = true;
}

/** Why the first worker cannot serve, as it says itself: a setting that is wrong, for one. */
async function health() {
  const host = { '0.0.0.0': HOST, '::': '::1' }[args.host] ?? args.host;
  return new Promise((resolve, reject) => {
    // Whatever names are let in, loopback ones are.
    const request = http.get({ host, port, path: '/health', headers: { host: 'localhost' }, agent: false }, async (response) => {
      const text = (await response.setEncoding('utf8').toArray()).join('');
      resolve(refusalOf(response.statusCode, text, workers[0].name));
    });
    request.on('error', reject);
  });
}

/** Loads what the builder builds, one build after the other. */
function loadBuilds(instance, options) {
  const [command, ...words] = builder;
  building = spawn(command, words, { detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
  building.stdin.on('error', () => {});
  building.on('error', fail).on('exit', (code) => fail(new Error(`the builder has ended (code ${code})`)));
  let loaded = Promise.resolve();
  const load = async () => {
    serving = false;
    await instance.setOptions(options());
    startServing();
    console.log('==> Loaded what was built');
  };
  readline.createInterface(building.stdout).on('line', (line) => {
    if (line.startsWith('built ')) loaded = loaded.then(load).catch(fail);
  });
}

try {
  fs.mkdirSync(persistRoot, { recursive: true });
  // Of an earlier version's folder too: what lies below it is out of reach then.
  fs.chmodSync(persistRoot, 0o700);
  await serve();
} catch (error) {
  await fail(error);
}
