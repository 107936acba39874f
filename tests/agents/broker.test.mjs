// Git's credentials by question (agents.md 20.6): real git in a sandbox of E2B's stand-in asks the built worker under workerd for a token
// whenever it needs one, over real TLS to the stand-in of GitHub. No token for GitHub lies in the sandbox.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { members } from './e2b/tree.mjs';
import { GitHubServer } from './github-server.mjs';
import { eventually, textOf } from './client.mjs';
import { Sandboxed, project, turn, unique } from './sandboxed.mjs';

const KEYS = `k1:${Buffer.alloc(32, 7).toString('base64')}`;
const REPOSITORY = 'https://github.com/acme/project';
let it; let hub; let repository;

before(async () => {
  hub = await GitHubServer.start({ tls: true });
  repository = await hub.create('acme/project');
  await hub.create('acme/other');
  it = await Sandboxed.start({ github: hub, env: { AGENT_GIT_CREDENTIALS: 'broker', RUN_TOKEN_KEYS: KEYS } });
});

after(async () => {
  await it?.stop();
  await hub?.stop();
});

/** A session in the repository, with its event stream. */
async function begin(more = {}) {
  const session = await it.create({ project: project({ 'repo-url': REPOSITORY }), ...more });
  return [session, await session.stream()];
}

/** A turn in which the agent runs a script; what it says. */
async function runs(session, stream, text) {
  const own = it.sandbox(session);
  fs.writeFileSync(own.path('script.sh'), text);
  const from = stream.cursors().at(-1) ?? 0;
  await turn(session, stream, unique('run script.sh'));
  return textOf(await stream.type('item.completed', from));
}

const working = (session) => it.sandbox(session).path('workspace/project');

const PUSH = (branch) => `
git config user.name A; git config user.email a@example.test
git checkout --quiet -B ${branch}
date +%N > stamp.txt; git add -A; git commit --quiet -m stamp
git push origin HEAD:refs/heads/${branch} && echo pushed`;

test('git clones, and the agent pushes, with tokens that were asked for', async () => {
  const [session, stream] = await begin();
  assert.equal(fs.readFileSync(path.join(working(session), 'README.md'), 'utf8'), '# project\n');
  assert.match(await runs(session, stream, PUSH('by-agent')), /pushed/);
  assert.match(await hub.git(repository, 'log', '-1', '--format=%s', 'refs/heads/by-agent'), /stamp/);
  assert.ok(hub.tokens.length > 0);
  for (const { names, permissions } of hub.tokens.filter((token) => !token.permissions.pull_requests)) {
    assert.deepEqual([names, permissions], [['project'], { contents: 'write' }]);
  }

  // Neither files nor variables of the sandbox hold a token for GitHub.
  const own = it.sandbox(session);
  assert.ok(!fs.existsSync(own.path('.git-credentials')));
  assert.equal(fs.statSync(own.path('.logseq-agents/git-broker')).mode & 0o777, 0o600);
  assert.equal(fs.statSync(own.path('.logseq-agents')).mode & 0o777, 0o700);
  const secrets = hub.tokens.map(({ text }) => text);
  for (const { pid } of await members(own.id)) {
    const environment = fs.readFileSync(`/proc/${pid}/environ`, 'latin1');
    assert.ok(!/(^|\0)(GITHUB_TOKEN|GH_TOKEN|GITHUB_APP_INSTALLATION_TOKEN)=/.test(environment));
    assert.ok(!secrets.some((secret) => environment.includes(secret)));
  }
  for (const entry of fs.readdirSync(own.root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath ?? entry.path, entry.name);
    const bytes = fs.readFileSync(file, 'latin1');
    assert.ok(!secrets.some((secret) => bytes.includes(secret)), file);
  }
  // What the worker tells its operator: session, run, repository.
  const told = it.worker.output.split('\n').filter((line) => line.includes('agents/git-credentials-given'));
  assert.ok(told.some((line) => line.includes(session.id) && line.includes('acme/project') && line.includes('run-1')), told.join('\n'));
  assert.ok(!secrets.some((secret) => it.worker.output.includes(secret)));
  await stream.close();
});

test('what is published is pushed with a token that allows no more', async () => {
  const [session, stream] = await begin({ 'node-title': 'Add a page' });
  await turn(session, stream, unique('write page.md words'));
  const published = await session.ok('POST', '/pr', {});
  assert.equal(published.status, 'pr-created', JSON.stringify(published));
  assert.equal(await hub.git(repository, 'show', `refs/heads/${published['head-branch']}:page.md`), 'words');
  await stream.close();
});

test('a session that may not push gets tokens that only read', async () => {
  const [session, stream] = await begin({ capabilities: { 'push-enabled': false } });
  assert.ok(fs.existsSync(path.join(working(session), 'README.md')));
  assert.deepEqual(hub.tokens.at(-1).permissions, { contents: 'read' });
  const said = await runs(session, stream, `git fetch origin main && echo fetched${PUSH('not-allowed')}`);
  assert.match(said, /fetched/);
  assert.doesNotMatch(said, /pushed/);
  assert.match(said, /403/);
  await assert.rejects(hub.git(repository, 'rev-parse', '--verify', 'refs/heads/not-allowed'));
  await stream.close();
});

test('other repositories and hosts are not answered for', async () => {
  const [session, stream] = await begin();
  const before = hub.tokens.length;
  const said = await runs(session, stream, `
export GIT_TERMINAL_PROMPT=0
git clone https://github.com/acme/other 2>&1 | tail -1
for path in acme/other.git acme/project.git.git '' other/project.git; do
  printf 'protocol=https\\nhost=github.com\\npath=%s\\n\\n' "$path" | git credential fill 2>&1 | grep -c password= | sed 's/^/found /'
done
printf 'protocol=https\\nhost=evil.example\\npath=acme/project.git\\n\\n' | curl -sS -o /dev/null -w 'status %{http_code}\\n' --data-binary @- -K ~/.logseq-agents/git-broker
printf 'protocol=https\\nhost=github.com\\npath=acme/project.git\\n\\n' | git credential fill | grep -c '^password=ghs_' | sed 's/^/own /'`);
  assert.match(said, /could not read Username/);
  assert.deepEqual(said.match(/found \d/g), ['found 0', 'found 0', 'found 0', 'found 0']);
  assert.match(said, /status 404/);
  assert.match(said, /own 1/);
  assert.ok(hub.tokens.slice(before).every(({ names }) => names.join() === 'project'));
  assert.ok(hub.tls.asked.every((host) => host === 'github.com:443'));
  await stream.close();
});

test('a token of an earlier turn, or of another sandbox, is refused', async () => {
  const [session, stream] = await begin();
  const keep = (name) => `cp ~/.logseq-agents/git-broker ~/${name}; echo kept`;
  const ask = (name) => `printf 'protocol=https\\nhost=github.com\\npath=acme/project.git\\n\\n' | curl -sS -o /dev/null -w 'status %{http_code}' --data-binary @- -K ~/${name}`;
  assert.match(await runs(session, stream, `${keep('first')}; ${ask('first')}`), /status 200/);
  const said = await runs(session, stream, `${ask('first')}; ${ask('.logseq-agents/git-broker')}`);
  assert.deepEqual(said.match(/status \d+/g), ['status 404', 'status 200']);
  // Another session's token, brought here.
  const [other, otherStream] = await begin();
  await runs(other, otherStream, keep('mine'));
  const token = /Bearer ([^"]+)/.exec(fs.readFileSync(it.sandbox(other).path('mine'), 'utf8'))[1];
  const answer = await fetch(`${it.worker.base}${session.path}/git-credentials`, {
    method: 'POST', headers: { authorization: `Bearer ${token}` }, body: 'protocol=https\nhost=github.com\npath=acme/project.git\n',
  });
  assert.equal(answer.status, 404);
  // It renews itself for its own session only, and opens nothing else.
  for (const [method, where] of [['POST', `${session.path}/runs/run-1/token`], ['GET', other.path], ['GET', `${other.path}/transcript`], ['PUT', `${other.path}/runs/run-1/transcript`], ['DELETE', `${other.path}/transcript`], ['GET', '/worker/transcript/snapshot'], ['GET', '/sessions']]) {
    const { status } = await fetch(it.worker.base + where, { method, headers: { authorization: `Bearer ${token}` }, ...(method === 'PUT' ? { body: '{}\n' } : {}) });
    assert.ok(status === 401 || status === 403, `${method} ${where}: ${status}`);
  }
  const status = async () => (await fetch(`${it.worker.base}${other.path}/git-credentials`, {
    method: 'POST', headers: { authorization: `Bearer ${token}` }, body: 'protocol=https\nhost=github.com\npath=acme/project.git\n',
  })).status;
  assert.equal(await status(), 200);
  await other.ok('POST', '/cancel');
  await eventually('its sandbox is paused, and nothing is given', async () => await status() === 404);
  await stream.close();
  await otherStream.close();
});
