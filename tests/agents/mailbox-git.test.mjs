// Git of a session on a runner's machine in transport `mailbox` (docs/spec/session-mailbox.md 7.4 `push`, 8.5; docs/spec/agents.md 20.6): real git asks its
// helper, the shim, the runner and the built worker under workerd for a token, over real TLS to the stand-in of GitHub, and what is published is
// pushed by the shim.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Client, textOf } from './client.mjs';
import { GitHubServer } from './github-server.mjs';
import { Machine } from './machine.mjs';
import { Worker } from './processes.mjs';

const KEYS = `k1:${Buffer.alloc(32, 7).toString('base64')}`;
let hub; let repository; let worker; let client; let machine;

before(async () => {
  hub = await GitHubServer.start({ tls: true });
  repository = await hub.create('acme/project');
  await hub.create('acme/other');
  worker = await Worker.start(null, { env: { ...hub.settings, AGENT_GIT_CREDENTIALS: 'broker', RUN_TOKEN_KEYS: KEYS } });
  client = new Client(worker.base);
  machine = new Machine(worker.base);
  // What this machine tells git of the way to GitHub, for each session's home.
  const settings = path.join(machine.home, '.gitconfig');
  fs.writeFileSync(settings, `[http]\n\tproxy = ${hub.tls.proxy}\n\tsslCAInfo = ${hub.tls.certificate}\n[user]\n\tname = A\n\temail = a@example.test\n`);
  const config = path.join(machine.home, 'config.toml');
  fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace('[agents.pi]', `login = [${JSON.stringify(settings)}]\n\n[agents.pi]`));
  await machine.start();
});

after(async () => {
  await worker?.stop();
  await machine?.remove();
  await hub?.stop();
});

/** A session that has begun, its event stream, and its folder. */
async function begin() {
  const session = await client.create({ 'runtime-provider': 'local-runner', 'runner-id': machine.id });
  const stream = await session.stream();
  await session.say('say begun');
  await stream.type('turn.completed');
  return { session, stream, folder: machine.sessions().find(({ id }) => id === session.id).folder };
}

/** A turn in which the agent runs a script in its working directory; what it says. */
async function runs({ session, stream, folder }, text) {
  fs.writeFileSync(path.join(folder, 'home/script.sh'), `export GIT_TERMINAL_PROMPT=0\n${text}`);
  const from = stream.cursors().at(-1) ?? 0;
  await session.say('run script.sh');
  await stream.type('turn.completed', from);
  return textOf(await stream.type('item.completed', from));
}

/** Files below a folder that hold one of these texts. */
function holding(folder, texts) {
  const found = [];
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    const bytes = fs.readFileSync(file, 'latin1');
    if (texts.some((text) => bytes.includes(text))) found.push(file);
  }
  return found;
}

test('the agent clones and pushes with tokens that were asked for, and none is left', async () => {
  const it = await begin();
  const said = await runs(it, `git clone --quiet https://github.com/acme/project . && echo cloned
git checkout --quiet -B by-agent; date +%N > stamp.txt; git add -A; git commit --quiet -m stamp
git push --quiet origin HEAD:refs/heads/by-agent && echo pushed
git config --global credential.helper store
git push --quiet origin HEAD:refs/heads/by-agent-too && echo again
git clone --quiet https://github.com/acme/other 2>&1 | tail -1`);
  assert.match(said, /cloned[^]*pushed[^]*again/);
  assert.match(said, /could not read Username/);
  assert.match(await hub.git(repository, 'log', '-1', '--format=%s', 'refs/heads/by-agent'), /stamp/);
  // The worker has tokens of its own, with which it reads the repository and opens pull requests.
  const ofGit = hub.tokens.filter((token) => !token.permissions.pull_requests);
  assert.ok(ofGit.length > 0);
  for (const { names, permissions } of ofGit) assert.deepEqual([names, permissions], [['project'], { contents: 'write' }]);
  const secrets = hub.tokens.map(({ text }) => text);
  assert.deepEqual(holding(path.join(machine.state, 'sessions'), secrets), []);
  for (const { variables, words } of machine.tree()) {
    assert.ok(!secrets.some((secret) => [...variables, ...words].some((text) => text.includes(secret))));
  }
  assert.ok(!secrets.some((secret) => (machine.output + worker.output).includes(secret)));
  await it.stream.close();
});

test('what is published is pushed by the shim, and becomes a pull request', async () => {
  const it = await begin();
  await runs(it, 'git clone --quiet https://github.com/acme/project . && echo words > page.md && echo cloned');
  const published = await it.session.ok('POST', '/pr', { title: 'Add a page' });
  assert.equal(published.status, 'pr-created', JSON.stringify(published));
  assert.equal(await hub.git(repository, 'show', `refs/heads/${published['head-branch']}:page.md`), 'words');
  await it.stream.close();
});

test('where no repository is, the push fails and says so', async () => {
  const it = await begin();
  const answer = await it.session.ask('POST', '/pr', { 'head-branch': 'nothing', 'create-pr': false });
  assert.notEqual(answer.status, 200);
  assert.equal((await it.stream.type('git.push.failed')).data.reason, 'unknown');
  await it.stream.close();
});
