// The stand-in of E2B is what E2B's own SDK takes it for.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { CommandExitError, NotFoundError, Sandbox, Template, TimeoutError, waitForTimeout } from 'e2b';
import { eventually } from './client.mjs';
import { API_KEY, E2bServer } from './e2b-server.mjs';
import { allows } from './e2b/network.mjs';
import { members } from './e2b/tree.mjs';

let server; let options;

before(async () => {
  server = await E2bServer.start({ ports: [8080] });
  options = { apiKey: API_KEY, apiUrl: server.url, sandboxUrl: server.url, domain: server.domain };
});

after(() => server?.stop());

const create = (more = {}) => Sandbox.create({ ...options, ...more });

/** All sandboxes of a list, page by page. */
const listed = async (query) => {
  const pages = Sandbox.list({ ...options, ...query });
  const found = [];
  while (pages.hasNext) found.push(...await pages.nextItems());
  return found;
};

test('commands run in a sandbox with its variables, and tell how they ended', async () => {
  const sandbox = await create({ envs: { OF_SANDBOX: 'one' } });
  assert.equal(await sandbox.isRunning(), true);
  const { stdout, stderr, exitCode } = await sandbox.commands.run('echo "$OF_SANDBOX $OF_COMMAND"; echo wrong >&2', { envs: { OF_COMMAND: 'two' } });
  assert.deepEqual([stdout, stderr, exitCode], ['one two\n', 'wrong\n', 0]);
  await assert.rejects(sandbox.commands.run('echo partly; exit 7'), (error) => error instanceof CommandExitError && error.exitCode === 7 && error.stdout === 'partly\n');
  await assert.rejects(sandbox.commands.run('sleep 60', { timeoutMs: 300 }), TimeoutError);
  // Text comes as it was written, wherever it was cut.
  const long = await sandbox.commands.run('for i in $(seq 20000); do printf "äß"; done');
  assert.equal(long.stdout, 'äß'.repeat(20_000));
  await sandbox.kill();
});

test('what a sandbox may talk to is set when it is made, and replaced later', async () => {
  const network = { allowOut: ['api.example.com', '*.example.org', '10.0.0.0/8'], denyOut: ({ allTraffic }) => [allTraffic] };
  const sandbox = await create({ network });
  const rules = () => server.api.sandboxes.get(sandbox.sandboxId).network;
  assert.deepEqual(rules(), { allowOut: network.allowOut, denyOut: ['0.0.0.0/0'] });
  for (const [host, expected] of [['api.example.com', true], ['example.com', false], ['a.example.org', true], ['example.org', false], ['10.1.2.3', true], ['11.1.2.3', false]]) {
    assert.equal(allows(rules(), host), expected, host);
  }
  await sandbox.updateNetwork({ allowOut: ['other.example'], denyOut: ['0.0.0.0/0'] });
  assert.deepEqual(rules(), { allowOut: ['other.example'], denyOut: ['0.0.0.0/0'] });
  await sandbox.updateNetwork({});
  assert.equal(allows(rules(), 'example.com'), true);
  await assert.rejects(sandbox.updateNetwork({ denyOut: ['example.com'] }));
  await assert.rejects(create({ network: { allowOut: ['https://example.com'], denyOut: ['0.0.0.0/0'] } }));
  await sandbox.kill();
});

test('a command in the background is listed, fed, connected to and killed', async () => {
  const sandbox = await create();
  const lines = [];
  const handle = await sandbox.commands.run('while read -r line; do echo "got $line"; done', { background: true, stdin: true, onStdout: (text) => lines.push(text) });
  assert.ok((await sandbox.commands.list()).some(({ pid }) => pid === handle.pid));
  await sandbox.commands.sendStdin(handle.pid, 'one\n');
  await eventually('the line came back', () => lines.join('') === 'got one\n');
  const again = [];
  await sandbox.commands.connect(handle.pid, { onStdout: (text) => again.push(text) });
  await sandbox.commands.sendStdin(handle.pid, 'two\n');
  await eventually('both hear it', () => lines.join('').endsWith('got two\n') && again.join('') === 'got two\n');
  assert.equal(await sandbox.commands.kill(handle.pid), true);
  await eventually('it is not listed', async () => !(await sandbox.commands.list()).length);
  assert.equal(await sandbox.commands.kill(handle.pid), false);
  await sandbox.kill();
});

test('a terminal shows what is typed and done in it, in its size', async () => {
  const sandbox = await create();
  const shown = [];
  const terminal = await sandbox.pty.create({ cols: 80, rows: 24, timeoutMs: 0, onData: (bytes) => shown.push(Buffer.from(bytes)) });
  const screen = () => Buffer.concat(shown).toString('utf8');
  const type = (text) => sandbox.pty.sendInput(terminal.pid, new TextEncoder().encode(text));
  await type('stty size; tty -s && echo "in a $TERM"\n');
  await eventually('the size', () => /\b24 80\r\n/.test(screen()) && screen().includes('in a xterm-256color'));
  await sandbox.pty.resize(terminal.pid, { cols: 100, rows: 30 });
  await type('stty size\n');
  await eventually('the other size', () => /\b30 100\r\n/.test(screen()));
  await type('exit 3\n');
  await assert.rejects(terminal.wait(), (error) => error.exitCode === 3);
  const other = await sandbox.pty.create({ cols: 80, rows: 24, onData() {} });
  assert.equal(await sandbox.pty.kill(other.pid), true);
  await eventually('it is gone', async () => (await members(sandbox.sandboxId)).length === 0);
  await sandbox.kill();
});

test('files are written, read, listed, moved and removed', async () => {
  const sandbox = await create();
  await sandbox.files.write('/home/user/folder/a file.txt', 'text ä');
  assert.equal(await sandbox.files.read('/home/user/folder/a file.txt'), 'text ä');
  assert.equal((await sandbox.commands.run('cat "/home/user/folder/a file.txt"', { cwd: '/home/user/folder' }).catch((error) => error)).exitCode, 1, 'a path in a text is none');
  assert.equal((await sandbox.commands.run('cat "a file.txt"', { cwd: '/home/user/folder' })).stdout, 'text ä');
  assert.deepEqual((await sandbox.files.list('/home/user/folder')).map(({ name, path, type }) => [name, path, type]), [['a file.txt', '/home/user/folder/a file.txt', 'file']]);
  await sandbox.files.rename('/home/user/folder/a file.txt', '/home/user/b');
  assert.deepEqual([await sandbox.files.exists('/home/user/folder/a file.txt'), await sandbox.files.exists('/home/user/b')], [false, true]);
  await sandbox.files.remove('/home/user/b');
  await assert.rejects(sandbox.files.read('/home/user/b'), NotFoundError);
  const bytes = new Uint8Array([0, 255, 13, 10]);
  await sandbox.files.write([{ path: '/home/user/c', data: bytes.buffer }, { path: 'd', data: 'at home' }]);
  assert.deepEqual(await sandbox.files.read('/home/user/c', { format: 'bytes' }), bytes);
  assert.equal(await sandbox.files.read('/home/user/d'), 'at home');
  await sandbox.kill();
});

test('a paused sandbox does nothing until it is connected to', async () => {
  const sandbox = await create();
  await sandbox.commands.run('while :; do echo . >> ticks; sleep 0.02; done', { background: true });
  const ticks = async () => fs.readFileSync(server.api.sandbox(sandbox.sandboxId).path('ticks'), 'utf8').length;
  await eventually('it ticks', async () => await ticks().catch(() => 0) > 4);
  assert.equal(await sandbox.pause(), true);
  assert.equal(await sandbox.pause(), false, 'a second time');
  assert.equal(await sandbox.isRunning(), false);
  assert.deepEqual((await listed({ query: { state: ['paused'] } })).map((it) => it.sandboxId), [sandbox.sandboxId]);
  const before = await ticks();
  await new Promise((resolve) => { setTimeout(resolve, 150); });
  assert.equal(await ticks(), before);
  const again = await Sandbox.connect(sandbox.sandboxId, options);
  await eventually('it ticks again', async () => await ticks() > before);
  assert.equal(await again.isRunning(), true);
  await sandbox.kill();
});

test('a killed sandbox leaves no process and is unknown', async () => {
  const sandbox = await create();
  await sandbox.commands.run('setsid sleep 1000 >/dev/null 2>&1 & setsid bash -c "sleep 1000 & sleep 1000" >/dev/null 2>&1 &');
  await eventually('all of them run', async () => (await members(sandbox.sandboxId)).length >= 3);
  assert.equal(await sandbox.kill(), true);
  assert.deepEqual(await members(sandbox.sandboxId), []);
  assert.equal(await sandbox.kill(), false);
  await assert.rejects(Sandbox.connect(sandbox.sandboxId, options), NotFoundError);
  assert.equal(await sandbox.isRunning(), false);
});

test('the time of a sandbox is told, set, and runs out', async () => {
  const sandbox = await create({ timeoutMs: 60_000, metadata: { of: 'time' } });
  const left = async () => (await sandbox.getInfo()).endAt.getTime() - Date.now();
  assert.ok(await left() > 50_000 && await left() <= 60_000);
  await sandbox.setTimeout(600_000);
  assert.ok(await left() > 590_000);
  await Sandbox.connect(sandbox.sandboxId, { ...options, timeoutMs: 10_000 });
  assert.ok(await left() > 590_000, 'connecting does not shorten it');
  assert.deepEqual((await listed({ query: { metadata: { of: 'time' } } })).map((it) => it.sandboxId), [sandbox.sandboxId]);
  assert.deepEqual(await listed({ query: { metadata: { of: 'nothing' } } }), []);
  await sandbox.setTimeout(1000);
  await eventually('it has gone', async () => !(await sandbox.isRunning()));
  const paused = await create({ timeoutMs: 1000, lifecycle: { onTimeout: 'pause' } });
  await eventually('it is paused', async () => (await paused.getInfo()).state === 'paused');
  await paused.kill();
});

test('a snapshot is a template that lives on', async () => {
  const sandbox = await create({ envs: { KEPT: 'yes' } });
  await sandbox.files.write('/home/user/notes', 'before');
  await sandbox.commands.run('setsid sh -c "while :; do pwd > where; sleep 0.1; done" >/dev/null 2>&1 &');
  const { snapshotId } = await sandbox.createSnapshot();
  await sandbox.files.write('/home/user/notes', 'after');
  assert.equal((await sandbox.commands.run('cat notes')).stdout, 'after');
  await sandbox.kill();
  const made = await Sandbox.create(snapshotId, options);
  assert.equal((await made.commands.run('cat notes; echo "$KEPT"')).stdout, 'beforeyes\n');
  await eventually('it runs there', async () => (await made.commands.run('cat where; pwd')).stdout.split('\n').slice(0, 2).every((it, _, [first]) => it === first && it.includes(made.sandboxId)));
  await made.kill();
  assert.equal(await Sandbox.deleteSnapshot(snapshotId, options), true);
  assert.equal(await Sandbox.deleteSnapshot(snapshotId, options), false);
  await assert.rejects(Sandbox.create(snapshotId, options), /not found/);
});

test('a template is built from an image and steps', async () => {
  const template = Template().fromImage('debian:12').setEnvs({ BUILT: 'here' }).runCmd('mkdir -p deep && echo "$BUILT" > deep/file').setStartCmd('touch started; sleep 1000', waitForTimeout(1000));
  const logs = [];
  await Template.build(template, 'named', { ...options, onBuildLogs: (entry) => logs.push(entry) });
  assert.equal(await Template.exists('named', options), true);
  assert.equal(await Template.exists('unnamed', options), false);
  const sandbox = await Sandbox.create('named', options);
  assert.equal((await sandbox.commands.run('cat deep/file; echo "$BUILT"')).stdout, 'here\nhere\n');
  await eventually('it was started', () => sandbox.files.exists('/home/user/started'));
  await sandbox.kill();
  await assert.rejects(Template.build(Template().fromImage('debian:12').runCmd('exit 3'), 'broken', options), /exited with 3/);
});

test('a program in a sandbox is reached from outside, and nobody else is', async () => {
  const sandbox = await create();
  const ask = (port, id = sandbox.sandboxId) => fetch(server.url, { headers: { 'x-e2b-host': `${port}-${id}.${server.domain}` } });
  assert.equal(sandbox.getHost(8080), `8080-${sandbox.sandboxId}.${server.domain}`);
  await sandbox.files.write('/home/user/server.mjs', 'import http from "node:http"; http.createServer((_, answer) => answer.end("hello")).listen(process.env.LOCAL_PORT_8080, "127.0.0.1");');
  assert.equal((await ask(8080)).status, 502);
  await sandbox.commands.run(`'${process.execPath}' server.mjs`, { background: true });
  await eventually('it answers', async () => (await ask(8080)).status === 200);
  assert.equal(await (await ask(8080)).text(), 'hello');
  assert.equal((await ask(8080, 'unknown')).status, 502);
  const { status } = await fetch(`${server.url}/process.Process/List`, { method: 'POST', headers: { 'e2b-sandbox-id': sandbox.sandboxId, 'e2b-sandbox-port': '49983', 'content-type': 'application/json' }, body: '{}' });
  assert.equal(status, 401);
  await sandbox.kill();
  await assert.rejects(create({ apiKey: `e2b_${'f'.repeat(40)}` }), /401|API key/);
});
