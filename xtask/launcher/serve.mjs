// Serves a built worker under workerd, with the bindings of wrangler.toml and local storage below one folder:
//   node serve.mjs --config wrangler.toml --bundle DIR --data DIR --host ADDRESS --port N [--wrapper FILE]
// The folder has wrangler's layout, so `wrangler d1 execute DB --local --persist-to DIR` works on it.
//
// Miniflare, which is what `wrangler dev` drives, is driven directly: `wrangler dev` puts a second workerd as a proxy
// before the worker and bundles what is a bundle already. SIGTERM and SIGINT end workerd, then this process. However this
// process ends, workerd does not outlive it (guard.mjs); when workerd ends by itself, so does this process.
//
// A wrapper is an ES module that takes the worker's place and imports it as `./index.js`: tests let bindings fail with it.
//
// Standard input is the lock on the data folder, held by whoever has the file open: `cargo xtask serve` passes it on.
import childProcess from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import os from 'node:os';
import { settingsFrom, describeAuthentication, describeExposure, isLoopback, urlHost } from './settings.mjs';

// Graphs, keys and assets are their owner's alone: what is made from here on, by workerd too, nobody else reads.
process.umask(0o077);

// `import` would first search both, which are megabytes of CommonJS, for their exports: that takes seconds.
const require = createRequire(import.meta.url);
const { Miniflare, Log, LogLevel } = require('miniflare');
const { unstable_getMiniflareWorkerOptions, unstable_readConfig, unstable_splitSqlQuery } = require('wrangler');

/** Where Miniflare's own port is: nobody else's business. */
const HOST = '127.0.0.1';

// Local storage is found by these names. They are those of the first builds, so that what lies in a folder stays in reach;
// the names in wrangler.toml are for Cloudflare.
const STORED_WORKER = 'logseq-sync';
const STORED_BUCKET = 'logseq-sync-assets-prod';

const { values: args } = parseArgs({
  options: {
    config: { type: 'string' },
    bundle: { type: 'string' },
    data: { type: 'string' },
    host: { type: 'string', default: HOST },
    port: { type: 'string' },
    wrapper: { type: 'string' },
  },
});
const port = Number(args.port);
const persistRoot = path.join(args.data, 'v3');

let running = null;
let serving = false;
let ending = false;
async function end() {
  if (ending) return;
  ending = true;
  await running?.dispose().catch(() => {});
  process.exit(0);
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
    if (serving) fail(new Error(`workerd has ended (${signal ?? `code ${code}`})`));
  });
}

/** Ends everything, with a message. */
async function fail(error) {
  if (ending) return;
  ending = true;
  console.error(error.code === 'ERR_ADDRESS_IN_USE' ? `error: port ${port} is in use: choose another with --port` : `error: ${error.message}`);
  await running?.dispose().catch(() => {});
  process.exit(1);
}
/** Makes `end` the only answer to signals: Miniflare's own one leaves before workerd has ended. */
function answerSignals() {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.removeAllListeners(signal).on(signal, end);
}
answerSignals();

/** Starts one instance; a signal that arrives meanwhile ends it. */
async function start(options) {
  const instance = new Miniflare({ host: HOST, port: 0, cf: false, log: new Log(LogLevel.WARN), defaultPersistRoot: persistRoot, ...options });
  running = instance;
  answerSignals();
  await instance.ready;
  return instance;
}

/** Applies the migrations that the local index database has not seen, with wrangler's own book-keeping. */
async function migrate({ binding, database_id: id, migrations_dir: folder, migrations_table: table = 'd1_migrations' }) {
  const files = fs.readdirSync(folder).filter((name) => name.endsWith('.sql')).sort();
  const texts = files.map((name) => fs.readFileSync(path.join(folder, name), 'utf8'));
  const digest = crypto.createHash('sha256').update(JSON.stringify([id, files, texts])).digest('hex');
  const stamp = path.join(persistRoot, 'd1', `migrated-${binding}`);
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === digest) return;
  const instance = await start({ modules: true, script: 'export default {}', compatibilityDate: '2026-04-26', d1Databases: { [binding]: id } });
  const db = await instance.getD1Database(binding);
  await db.prepare(`CREATE TABLE IF NOT EXISTS ${table} (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL)`).run();
  const applied = new Set((await db.prepare(`SELECT name FROM ${table}`).all()).results.map((row) => row.name));
  const wanted = files.map((name, i) => ({ name, text: texts[i] })).filter(({ name }) => !applied.has(name));
  for (const { name, text } of wanted) {
    const statements = unstable_splitSqlQuery(text).map((sql) => db.prepare(sql));
    await db.batch([...statements, db.prepare(`INSERT INTO ${table} (name) VALUES (?)`).bind(name)]);
  }
  await instance.dispose();
  running = null;
  fs.writeFileSync(stamp, digest);
  console.log(`==> Index database: applied ${wanted.length ? wanted.map(({ name }) => name).join(', ') : 'nothing new'}`);
}

/** The modules of the bundle, the entry point first; a wrapper before it counts as lying beside it. */
function modulesOf(bundle, main, wrapper) {
  const modules = [{ type: 'ESModule', path: path.join(bundle, path.basename(main)) }];
  if (wrapper) {
    const contents = fs.readFileSync(wrapper, 'utf8');
    modules.unshift({ type: 'ESModule', path: path.join(bundle, path.basename(wrapper)), contents });
  }
  for (const name of fs.readdirSync(bundle)) {
    if (name.endsWith('.wasm')) modules.push({ type: 'CompiledWasm', path: path.join(bundle, name) });
  }
  return modules;
}

/** Serves until a signal ends it. */
async function serve() {
  const config = unstable_readConfig({ config: args.config });
  for (const database of config.d1_databases) {
    if (ending) break;
    await migrate({ ...database, migrations_dir: path.resolve(path.dirname(args.config), database.migrations_dir) });
  }
  const { workerOptions } = unstable_getMiniflareWorkerOptions(args.config);
  const settings = settingsFrom(process.env, workerOptions.bindings, args.host);
  const agents = process.env.AGENTS_SERVICE_URL;
  // The agents worker is another process, if it runs at all: without its address the binding is left out.
  const serviceBindings = agents ? { AGENTS_SERVICE: { external: { address: new URL(agents).host, http: {} } } } : {};
  if (!ending) {
    await start({
      workers: [{
        ...workerOptions,
        name: STORED_WORKER,
        r2Buckets: Object.fromEntries(config.r2_buckets.map(({ binding }) => [binding, STORED_BUCKET])),
        modulesRoot: args.bundle,
        modules: modulesOf(args.bundle, config.main, args.wrapper),
        bindings: settings,
        serviceBindings,
        // Straight to the worker: Miniflare's own entry worker would handle every request a second time.
        unsafeDirectSockets: [{ host: args.host, port }],
      }],
    });
    serving = true;
    const here = `${urlHost(args.host)}:${port}`;
    const base = `http://${here}`;
    console.log(`==> Ready: ${base} (WebSocket: ws://${here}/sync/<graph-id>, health: ${base}/health)`);
    for (const line of describeAuthentication(settings)) console.log(`    ${line}`);
    if (!isLoopback(args.host)) {
      const addresses = Object.values(os.networkInterfaces()).flat().filter(({ internal }) => !internal).map(({ address }) => address);
      for (const line of describeExposure(settings, args.host, port, addresses)) console.warn(`    ${line}`);
    }
    console.log(`    agents: ${agents ?? 'none (AGENTS_SERVICE_URL is not set)'}; stop with Ctrl-C or kill ${process.pid}`);
  }
}

try {
  fs.mkdirSync(persistRoot, { recursive: true });
  // Of an earlier version's folder too: what lies below it is out of reach then.
  fs.chmodSync(persistRoot, 0o700);
  await serve();
} catch (error) {
  await fail(error);
}
