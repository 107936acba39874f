// Publishing from end to end: a session in a sandbox of E2B's stand-in clones with the App's token, its agent changes files, and
// what is published is pushed by real git to a real repository (github-server.mjs), where it is looked at.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { GitHubServer } from './github-server.mjs';
import { Sandboxed, project, turn, unique } from './sandboxed.mjs';

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

const REPOSITORY = 'https://github.com/acme/project';

/** A session in the repository, with its event stream. */
async function begin(title) {
  const session = await it.create({ 'node-title': title, project: project({ 'repo-url': REPOSITORY }) });
  return [session, await session.stream()];
}

const commit = (branch) => hub.git(repository, 'rev-parse', `refs/heads/${branch}`);
const content = (branch, name) => hub.git(repository, 'show', `refs/heads/${branch}:${name}`);
const working = (session) => it.sandbox(session).path('workspace/project');

/** All files below a folder. */
const files = (folder) => fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));

/** Nothing that a session shows, prints or leaves in the repository holds a token. */
async function noTokenIn(session) {
  const secrets = hub.tokens.flatMap(({ text }) => [text, Buffer.from(`x-access-token:${text}`).toString('base64')]);
  assert.ok(secrets.length > 0);
  const own = it.sandbox(session);
  const places = new Map([['events', JSON.stringify(await session.events('?limit=10000'))], ['status', JSON.stringify(await session.ok('GET', ''))], ['output of the worker', it.worker.output]]);
  const left = [own.path('/tmp/sandbox-agent.log'), own.path('.gitconfig'), own.path('prompts.jsonl')].filter((file) => fs.existsSync(file));
  // What the worker stores too: databases of its objects, and the common one.
  for (const file of [...files(working(session)), ...left, ...files(it.worker.data)]) places.set(file, fs.readFileSync(file, 'latin1'));
  assert.ok([...places.keys()].some((place) => place.endsWith('.git/config')));
  for (const [place, text] of places) for (const secret of secrets) assert.ok(!text.includes(secret), `a token is in ${place}`);
}

test('the repository is cloned with a token that only git knows', async () => {
  const [session, stream] = await begin('Read the project');
  assert.equal(fs.readFileSync(path.join(working(session), 'README.md'), 'utf8'), '# project\n');
  const credentials = it.sandbox(session).path('.git-credentials');
  assert.equal(fs.statSync(credentials).mode & 0o777, 0o600);
  assert.ok(hub.tokens.some(({ text }) => fs.readFileSync(credentials, 'utf8').split('\n').includes(`https://x-access-token:${text}@github.com`)));
  assert.ok(hub.tokens.every(({ names, permissions }) => names.join() === 'project' && JSON.stringify(permissions) === '{"contents":"write","metadata":"read","pull_requests":"write"}'), JSON.stringify(hub.tokens));
  assert.deepEqual((await session.ok('GET', `/branches?repo-url=${encodeURIComponent(REPOSITORY)}`)).branches, ['main']);
  await noTokenIn(session);
  await stream.close();
});

test('what the agent changed is pushed to a branch of its own, again, and by force only there', async () => {
  const main = await commit('main');
  const [session, stream] = await begin('Fix the notes');
  await turn(session, stream, unique('write notes.txt first'));
  const pushed = await session.ok('POST', '/pr', { 'create-pr': false, 'commit-message': 'Write notes' });
  assert.equal(pushed.status, 'pushed');
  const branch = pushed['head-branch'];
  assert.match(branch, /^fix\/fix-the-notes/);
  assert.equal(await content(branch, 'notes.txt'), 'first');
  assert.equal(await hub.git(repository, 'log', '-1', '--format=%an %s', branch), 'Logseq Agent Write notes');
  assert.equal(await hub.git(repository, 'rev-parse', `${branch}^`), main);
  assert.equal(await commit('main'), main, 'the default branch is where it was');
  assert.deepEqual(hub.calls.filter((call) => call.startsWith('POST /repos')), [], 'no pull request was asked for');
  const { data } = await stream.type('git.push.succeeded');
  assert.equal(data['head-branch'], branch);

  // The history is another one now: only force moves the branch, and only while it is where this session left it.
  const own = working(session);
  const amend = (text) => {
    fs.writeFileSync(path.join(own, 'notes.txt'), `${text}\n`);
    return it.sandbox(session).spawn('git', ['-c', 'user.name=A', '-c', 'user.email=a@example.test', 'commit', '--quiet', '-a', '--amend', '-m', text], { cwd: 'workspace/project' });
  };
  const ended = (child) => new Promise((resolve) => { child.once('exit', resolve); });
  assert.equal(await ended(amend('second')), 0);
  const refused = await session.ask('POST', '/pr', { 'create-pr': false, 'head-branch': branch });
  assert.equal(refused.status, 500);
  assert.match((await stream.type('git.push.failed')).data.reason, /remote-rejected/);
  const forced = await session.ok('POST', '/pr', { 'create-pr': false, 'head-branch': branch, force: true });
  assert.deepEqual([forced.status, forced.force], ['pushed', true]);
  assert.equal(await content(branch, 'notes.txt'), 'second');

  await hub.git(repository, 'update-ref', `refs/heads/${branch}`, main);
  assert.equal(await ended(amend('third')), 0);
  for (const head of [branch, 'main', 'other']) {
    if (head === 'other') await hub.git(repository, 'update-ref', 'refs/heads/other', main);
    const answer = await session.ask('POST', '/pr', { 'create-pr': false, 'head-branch': head, force: true });
    assert.equal(answer.status, 403, `${head}: ${answer.text}`);
    assert.equal(await commit(head), main);
  }
  await noTokenIn(session);
  await stream.close();
});

test('"submit PR" in the chat pushes and makes a pull request', async () => {
  const main = await commit('main');
  const [session, stream] = await begin('Add a page');
  await turn(session, stream, 'write page.md words ; say # Added the page');
  const { ok, publish } = await session.say('Can you submit a PR please?');
  assert.equal(ok, true);
  assert.equal(publish.status, 'pr-created', JSON.stringify(publish));
  const [made, ...others] = repository.pulls;
  assert.deepEqual(others, []);
  assert.equal(publish['pr-url'], made.html_url);
  assert.equal(made.head.ref, publish['head-branch']);
  assert.equal(made.base.ref, 'main');
  assert.equal(made.head.sha, await commit(made.head.ref));
  assert.equal(await content(made.head.ref, 'page.md'), 'words');
  assert.equal(await commit('main'), main);
  assert.ok((await session.events()).some(({ type, data }) => type === 'audit.log' && data.intent === 'pr'));
  assert.equal(it.prompts(session, 'Can you submit a PR please?'), 0, 'the agent is not asked');

  // Once more: the pull request that is there is found.
  const again = await session.ok('POST', '/pr', { 'head-branch': made.head.ref });
  assert.equal(again.status, 'pr-created');
  assert.match(again.message, /existing/);
  assert.equal(repository.pulls.length, 1);
  await noTokenIn(session);
  await stream.close();
});

test('a pull request that GitHub refuses is left to a person, and the push stands', async () => {
  const [session, stream] = await begin('Improve speed');
  await turn(session, stream, unique('write fast.txt yes'));
  hub.fault(/^POST \/repos\/acme\/project\/pulls$/, (response) => response.writeHead(403, { 'content-type': 'application/json' }).end('{"message":"Resource not accessible by integration"}'));
  const published = await session.ok('POST', '/pr', {});
  assert.equal(published.status, 'manual-pr-required');
  assert.equal(published['github-status'], 403);
  assert.ok(published['manual-pr-url'].startsWith(`${REPOSITORY}/pull/new/main...`));
  assert.equal(await content(published['head-branch'], 'fast.txt'), 'yes');
  await noTokenIn(session);
  await stream.close();
});

test('where the App is not installed, the way to install it is told', async () => {
  hub.installed = false;
  const answer = await it.client.ask('POST', '/sessions', {
    'session-id': 'not-installed', 'node-id': 'node', 'node-title': 'T', content: 'C', attachments: [], project: project({ 'repo-url': REPOSITORY }), agent: { provider: 'claude' },
  });
  hub.installed = true;
  assert.equal(answer.status, 412);
  assert.match(answer.body.error, /https:\/\/github\.com\/apps\/the-app\/installations\/new$/);
});
