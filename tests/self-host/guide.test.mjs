// Every command of docs/self-hosting.md that stands in a block of `sh`, in its order, as it stands there, in a home of its own; and
// whether the unit, the image and the proxy's example fit the binary.
//
//   LOGSEQ_SYNC=target/debug/logseq-sync node --test tests/self-host/guide.test.mjs
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import net from 'node:net';
import { after, test } from 'node:test';

const ROOT = path.join(import.meta.dirname, '../..');
const BINARY = path.resolve(process.env.LOGSEQ_SYNC ?? path.join(ROOT, 'target/debug/logseq-sync'));
const PACKAGING = path.join(ROOT, 'self-host/packaging');
const END = '--- end of the block ---';

const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'guide-')));
const home = path.join(folder, 'home');
fs.mkdirSync(home);
const running = [];
after(async () => {
  for (const child of running) if (child.exitCode === null && child.signalCode === null) { const gone = new Promise((resolve) => child.once('exit', resolve)); child.kill(); await gone; }
  fs.rmSync(folder, { recursive: true, force: true });
});

/** What cargo does for whoever follows the page, with the binary that is built already. */
function shims() {
  const bin = path.join(folder, 'bin');
  fs.mkdirSync(bin);
  fs.writeFileSync(path.join(bin, 'cargo'), `#!/bin/sh -eu
verb=$1; shift
[ "$1 $2 $3" = "--release --bin logseq-sync" ]; shift 3
mkdir -p target/release
cp -f '${BINARY}' target/release/logseq-sync
[ "$verb" = build ] || { [ "$verb $1" = "run --" ]; shift; exec target/release/logseq-sync "$@"; }
`, { mode: 0o755 });
  return bin;
}

const env = { PATH: `${shims()}:${process.env.PATH}`, HOME: home, LANG: 'C.UTF-8' };

const page = fs.readFileSync(path.join(ROOT, 'docs/self-hosting.md'), 'utf8');

/** The page's blocks of one language. */
const blocksOf = (language) => page.split(`\`\`\`${language}\n`).slice(1).map((rest) => rest.split('\n```')[0]);

/** A port nobody listens on. */
const freePort = () => new Promise((resolve) => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(String(port))); });
});

/** One shell for all blocks but those that stay in the foreground. */
function shell() {
  const child = spawn('bash', ['-eu'], { cwd: home, env, stdio: ['pipe', 'pipe', 'pipe'] });
  running.push(child);
  let said = '';
  child.stderr.on('data', (text) => { said += text; });
  const lines = readline.createInterface(child.stdout)[Symbol.asyncIterator]();
  /** Runs a block; what it printed. */
  return async (block) => {
    said = '';
    child.stdin.write(`${block}\necho '${END}'\n`);
    const out = [];
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, `the shell has ended in:\n${block}\n${out.join('\n')}\n${said}`);
      if (value === END) return out.join('\n');
      out.push(value);
    }
  };
}

/** Starts what stays; its first line and all that it has told until then. */
function foreground(command, more) {
  const child = spawn('bash', ['-euc', `exec ${command}`], { cwd: home, env: { ...env, ...more }, stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  return new Promise((resolve, reject) => {
    let told = '';
    const ready = () => { if (/ready: /.test(told) && /lgs_\w+/.test(told)) resolve(told); };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { told += text; ready(); });
    child.once('exit', (code) => reject(new Error(`${command} has ended with ${code}: ${told}`)));
  });
}

test('every command of the page does what it says', async () => {
  const run = shell();
  const answers = [];
  let token;
  // Where the page's ports are taken on this machine.
  const ports = { 8787: await freePort(), 8788: await freePort() };
  for (const block of blocksOf('sh')) {
    if (block.includes('-- quickstart')) {
      const told = await foreground(block, { DB_SYNC_PORT: ports[8787] });
      token = /lgs_\S+/.exec(told)[0];
      assert.match(told, new RegExp(`ready: http://127.0.0.1:${ports[8787]} `));
    } else {
      const here = block.replace('lgs_your_token', () => token ?? assert.fail('no token was printed yet')).replace(/\b878[78]\b/g, (port) => ports[port]);
      answers.push([block, await run(here)]);
    }
  }
  const of = (part) => answers.find(([block]) => block.includes(part))?.[1] ?? assert.fail(`${part} is not on the page`);
  const written = of('/tx/batch"').split('\n').filter((line) => line).map((line) => JSON.parse(line));
  assert.deepEqual(written.map(({ type, t }) => `${type} ${t}`), ['tx/batch/ok 1', 'pull/ok 1']);
  assert.match(written[1].txs[0].tx, /Hello/);
  assert.match(of('serve --check'), /configuration is good/);
  assert.match(of('user add ann'), /^lgs_/m);
  assert.match(of('server status'), /^status: ready$/m);
});

test('the configuration that the page shows is good', () => {
  for (const [number, text] of blocksOf('toml').entries()) {
    const file = path.join(folder, `page-${number}.toml`);
    fs.writeFileSync(file, text);
    execFileSync(BINARY, ['serve', '--check', '--config', file], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  assert.ok(blocksOf('toml').length > 0);
});

test('the unit passes systemd-analyze', () => {
  const text = fs.readFileSync(path.join(PACKAGING, 'logseq-sync.service'), 'utf8');
  assert.ok(Number(/^TimeoutStopSec=(\d+)$/m.exec(text)[1]) >= 20 + 10, 'shutdown_timeout_s and ten seconds');
  for (const line of ['DynamicUser=yes', 'StateDirectory=logseq-sync', 'ProtectSystem=strict', 'NoNewPrivileges=yes']) assert.ok(text.split('\n').includes(line), line);
  // The binary that it names is not installed where tests run.
  const unit = path.join(folder, 'logseq-sync.service');
  fs.writeFileSync(unit, text.replace('/usr/local/bin/logseq-sync', BINARY));
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
  const mine = verified.stderr.split('\n').filter((line) => line.includes('logseq-sync.service'));
  assert.deepEqual([verified.status, mine], [0, []], verified.stderr);
});

test('what the image names is what the binary has', () => {
  const lines = fs.readFileSync(path.join(PACKAGING, 'Dockerfile'), 'utf8').split('\n').filter((line) => line && !line.startsWith('#'));
  const of = (word) => lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1)).at(-1);
  assert.equal(of('FROM'), 'scratch');
  assert.equal(of('USER'), '65532:65532');
  const [name, data] = of('ENV').split('=');
  assert.deepEqual([name, data], ['DB_SYNC_DATA_DIR', of('VOLUME')]);
  const health = JSON.parse(/CMD (\[.*\])$/.exec(of('HEALTHCHECK'))[1]);
  assert.deepEqual(health, ['/logseq-sync', 'health']);
  assert.deepEqual([...JSON.parse(of('ENTRYPOINT')), ...JSON.parse(of('CMD'))], ['/logseq-sync', 'serve']);
  // The port that is exposed is the one that is listened on, and what the health check asks, with an environment of nothing else.
  const config = JSON.parse(execFileSync(BINARY, ['serve', '--print-config=json'], { env: { [name]: data }, encoding: 'utf8' }));
  assert.equal(String(config.port.value), of('EXPOSE'));
  assert.deepEqual(config.data_dir, { value: data, source: 'environment', name });
});
