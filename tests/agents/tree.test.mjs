// The working tree of a session (agents.md 5.3.10, 20.2) from end to end: sandboxes of E2B's stand-in in which real git works, a real
// repository behind it (github-server.mjs), the built worker under workerd with D1 and R2, and the real sandbox-agent server.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { eventually } from './client.mjs';
import { GitHubServer } from './github-server.mjs';
import { Sandboxed, project, turn, unique } from './sandboxed.mjs';

const REPOSITORY = 'https://github.com/acme/project';
/** A name that would be a command if somebody took it for code. */
const HOSTILE = '-n $(touch ran)\n\'"`touch ran`;touch ran';

let it; let hub; let repository;

before(async () => {
  hub = await GitHubServer.start();
  repository = await hub.create('acme/project');
  it = await Sandboxed.start({ github: hub });
});

after(async () => {
  await it?.stop();
  await hub?.stop();
});

async function begin() {
  const session = await it.create({ project: project({ 'repo-url': REPOSITORY }) });
  return [session, await session.stream()];
}

const working = (session) => it.sandbox(session).path('workspace/project');

/** git as somebody in the sandbox of the session runs it. */
function git(session, ...words) {
  const env = { PATH: process.env.PATH, HOME: it.sandbox(session).path('/home/user'), GIT_CONFIG_NOSYSTEM: '1' };
  for (const who of ['AUTHOR', 'COMMITTER']) Object.assign(env, { [`GIT_${who}_NAME`]: 'Ann', [`GIT_${who}_EMAIL`]: 'ann@example.test' });
  return execFileSync('git', words, { cwd: working(session), env, encoding: 'utf8' }).trimEnd();
}

/** Work of all kinds: committed, staged, changed, new, of a hostile name, ignored. */
async function work(session, stream) {
  await turn(session, stream, unique('write notes.txt from the agent'));
  const file = (name, text) => fs.writeFileSync(path.join(working(session), name), text);
  git(session, 'checkout', '--quiet', '-b', 'topic');
  file('committed.txt', 'committed\n');
  git(session, 'add', 'committed.txt');
  git(session, 'commit', '--quiet', '-m', 'Of the session');
  file('README.md', '# project\nchanged\n');
  file('staged.txt', 'staged\n');
  git(session, 'add', 'staged.txt');
  file(HOSTILE, 'odd\n');
  file('.gitignore', 'ignored\n');
  file('ignored', 'secret\n');
}

/** What git says of the tree; whether something was staged is not kept. */
const state = (session) => [git(session, 'rev-parse', 'HEAD'), git(session, 'branch', '--show-current'), git(session, '-c', 'core.quotePath=false', 'status', '--porcelain', '-z').split('\0').map((line) => line.slice(3)).sort()];

const told = async (session) => (await session.events('?limit=10000')).filter(({ type }) => /^sandbox\.(workspace|restore)\./.test(type));
const rows = (session) => it.sql(`SELECT * FROM workspace_bundles WHERE session_id = '${session.id}'`);
const paused = (session) => eventually('it is paused', () => it.sandbox(session).state === 'paused');
const gone = (session) => eventually('it is gone', () => it.sandboxes(session).length === 0);

test('what was not pushed goes on in another sandbox', async () => {
  const [session, stream] = await begin();
  await work(session, stream);
  const left = state(session);
  // Somebody else goes on meanwhile: what the work builds on is not the tip any more.
  await session.ok('POST', '/archive');
  await gone(session);
  const [row, ...others] = await rows(session);
  assert.ok(row && !others.length && row.byte_size > 500, JSON.stringify(row));
  await turn(session, stream, unique('say back'));
  assert.deepEqual(state(session), left);
  const text = (name) => fs.readFileSync(path.join(working(session), name), 'utf8');
  assert.deepEqual(['notes.txt', 'committed.txt', 'README.md', 'staged.txt', HOSTILE].map(text), ['from the agent\n', 'committed\n', '# project\nchanged\n', 'staged\n', 'odd\n']);
  assert.ok(!fs.existsSync(path.join(working(session), 'ignored')), 'what is ignored is not kept');
  assert.equal(git(session, 'for-each-ref', 'refs/agents'), '');
  assert.ok(!fs.existsSync(it.sandbox(session).path('/home/user/.logseq-agents/bundle')));
  for (const folder of ['/home/user', '/home/user/workspace/project', '/tmp']) assert.ok(!fs.existsSync(path.join(it.sandbox(session).path(folder), 'ran')), 'a name ran');
  const events = await told(session);
  assert.deepEqual(events.map(({ type }) => type), ['sandbox.restore.succeeded'], JSON.stringify(events));
  assert.equal(events[0].data.bundle, row.bundle_id);
  await stream.close();
});

test('a sandbox that is lost is followed by one with what was kept at the last pause', async () => {
  const [session, stream] = await begin();
  await work(session, stream);
  const left = state(session);
  await session.ok('POST', '/cancel');
  await paused(session);
  assert.equal((await rows(session)).length, 1);
  await it.sandbox(session).kill();
  await session.say(unique('say lost'));
  await stream.until((event) => event.type === 'session.canceled' && event.data?.reason === 'sandbox-missing', 'the sandbox is missed').catch(() => eventually('it is told', async () => (await session.status()) === 'canceled'));
  await turn(session, stream, unique('say found'));
  assert.deepEqual(state(session), left);
  await stream.close();
});

test('a tree that is another one after a pause is told', async () => {
  const [session, stream] = await begin();
  await turn(session, stream, unique('write notes.txt one'));
  await session.ok('POST', '/cancel');
  await paused(session);
  await turn(session, stream, unique('say nothing was changed'));
  assert.deepEqual(await told(session), []);
  await session.ok('POST', '/cancel');
  await paused(session);
  fs.writeFileSync(path.join(working(session), 'notes.txt'), 'somebody else\n');
  await turn(session, stream, unique('say something was'));
  const [event, ...others] = await told(session);
  assert.ok(event && !others.length, JSON.stringify(others));
  assert.equal(event.type, 'sandbox.workspace.changed');
  assert.equal(event.data.before.head, event.data.after.head);
  assert.notEqual(event.data.before.tree, event.data.after.tree);
  await stream.close();
});

test('what was pushed is not brought back from a bundle that is older', async () => {
  const [session, stream] = await begin();
  await turn(session, stream, unique('write notes.txt one'));
  await session.ok('POST', '/cancel');
  await paused(session);
  assert.equal((await rows(session)).length, 1);
  await turn(session, stream, unique('write notes.txt two'));
  const pushed = await session.ok('POST', '/pr', { 'create-pr': false });
  assert.equal(pushed.status, 'pushed');
  await session.ok('POST', '/archive');
  await gone(session);
  await turn(session, stream, unique('say on'));
  assert.deepEqual(await told(session), []);
  assert.equal(await hub.git(repository, 'show', `refs/heads/${pushed['head-branch']}:notes.txt`), 'two');
  await stream.close();
});

test('files and diff of a session', async () => {
  const [session, stream] = await begin();
  const at = (name) => `/files?path=${encodeURIComponent(name)}`;
  await work(session, stream);
  fs.mkdirSync(path.join(working(session), 'folder'));
  fs.writeFileSync(path.join(working(session), 'folder/bytes'), Buffer.from([0, 255, 10]));
  fs.symlinkSync('/etc/passwd', path.join(working(session), 'out'));
  fs.symlinkSync('.git/config', path.join(working(session), 'config'));

  const root = await session.ok('GET', '/files');
  assert.deepEqual(root.entries.map(({ name }) => name), [HOSTILE, '.gitignore', 'README.md', 'committed.txt', 'config', 'folder', 'ignored', 'notes.txt', 'out', 'staged.txt'].sort());
  assert.deepEqual([root.path, root.truncated, root.entries.find(({ name }) => name === 'folder').type, root.entries.find(({ name }) => name === 'out').type], ['', false, 'dir', 'link']);
  const bytes = await fetch(`${it.worker.base}${session.path}${at('folder/bytes')}`, { headers: { authorization: `Bearer ${session.client.token}` } });
  assert.deepEqual([...new Uint8Array(await bytes.arrayBuffer())], [0, 255, 10]);
  for (const [name, value] of [['content-type', 'application/octet-stream'], ['content-disposition', 'attachment'], ['x-content-type-options', 'nosniff']]) assert.equal(bytes.headers.get(name), value);
  assert.equal((await session.ask('GET', at(HOSTILE))).text, 'odd\n');
  for (const [name, status, error] of [
    ['../x', 400, 'invalid path'], ['/etc/passwd', 400, 'invalid path'], ['a\0b', 400, 'invalid path'], ['x'.repeat(1025), 400, 'invalid path'],
    ['out', 403, 'forbidden'], ['.git/config', 404, 'not found'], ['config', 404, 'not found'], ['nothing', 404, 'not found'],
  ]) {
    const answer = await session.ask('GET', at(name));
    assert.deepEqual([answer.status, answer.body?.error], [status, error], name);
  }
  fs.writeFileSync(path.join(working(session), 'large'), Buffer.alloc(10 * 1024 * 1024 + 1));
  const large = await session.ask('GET', at('large'));
  assert.deepEqual([large.status, large.body.error], [413, 'file too large']);
  fs.rmSync(path.join(working(session), 'large'));

  const diff = await session.ok('GET', '/diff');
  assert.equal(diff.base, await hub.git(repository, 'rev-parse', 'refs/heads/main'));
  assert.equal(diff.head, git(session, 'rev-parse', 'HEAD'));
  const of = (name) => diff.files.find((file) => file.path === name);
  assert.deepEqual(of('README.md'), { path: 'README.md', status: 'modified', additions: 1, deletions: 0, binary: false });
  assert.deepEqual(of('folder/bytes'), { path: 'folder/bytes', status: 'added', additions: null, deletions: null, binary: true });
  assert.equal(of(HOSTILE).status, 'added');
  assert.equal(of('ignored'), undefined);
  assert.ok(diff.patch.includes('+changed\n') && !diff.truncated);

  // An observer may look, and wakes nothing.
  const { token } = await session.ok('GET', '/observer-token');
  const observed = (query = '') => session.client.ask('GET', `${session.path}/diff${query}`, undefined, { authorization: `Bearer ${token}` });
  assert.equal((await observed()).status, 200);
  await session.ok('POST', '/cancel');
  await paused(session);
  for (const answer of [await session.ask('GET', '/diff'), await session.ask('GET', at('')), await observed()]) assert.deepEqual([answer.status, answer.body.error], [409, 'session runtime paused']);
  assert.equal((await observed('?wake=1')).status, 403);
  assert.equal(it.sandbox(session).state, 'paused');
  assert.equal((await session.ok('GET', '/diff?wake=1')).head, diff.head);
  assert.equal(it.sandbox(session).state, 'running');
  await session.ok('DELETE', '');
  await eventually('nothing is left', async () => (await rows(session)).length === 0 && it.sandboxes(session).length === 0);
  assert.equal((await session.ask('GET', '/diff')).status, 404);
  await stream.close();
});
