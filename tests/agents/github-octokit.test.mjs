// The stand-in of GitHub is what Octokit, GitHub's own client, takes it for, and what git takes it for.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { createAppAuth } from '@octokit/auth-app';
import { Octokit } from '@octokit/rest';
import { GitHubServer } from './github-server.mjs';
import { temporaryFolder } from './processes.mjs';

const run = promisify(execFile);
const OF = { owner: 'acme', repo: 'project' };

let hub; let repository;

before(async () => {
  hub = await GitHubServer.start();
  repository = await hub.create('acme/project');
  await hub.create('acme/other');
});

after(() => hub?.stop());

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Octokit as the App; with an installation's id, as that. */
function octokit(more = {}) {
  const auth = { appId: hub.appId, privateKey: hub.privateKey, ...more };
  return new Octokit({ baseUrl: hub.url, authStrategy: createAppAuth, auth, log: silent, retry: { enabled: false } });
}

const status = (promise) => promise.then((answer) => answer.status, (error) => error.status);

/** A token for these repositories with these permissions. */
async function token(repositories, permissions) {
  const { data } = await octokit().rest.apps.createInstallationAccessToken({ installation_id: hub.installationId, repositories, permissions });
  return data.token;
}

test('the App proves itself, and nobody else can', async () => {
  assert.equal((await octokit().rest.apps.getAuthenticated()).data.slug, 'the-app');
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const other = privateKey.export({ type: 'pkcs8', format: 'pem' });
  assert.equal(await status(octokit({ privateKey: other }).rest.apps.getAuthenticated()), 401);
  assert.equal(await status(octokit({ appId: 1 }).rest.apps.getAuthenticated()), 401);
  assert.equal(await status(new Octokit({ baseUrl: hub.url, log: silent }).rest.apps.getAuthenticated()), 401);
  const found = await octokit().rest.apps.getRepoInstallation(OF);
  assert.equal(found.data.id, hub.installationId);
  assert.equal(await status(octokit().rest.apps.getRepoInstallation({ owner: 'acme', repo: 'none' })), 404);
});

test('a token reaches the repositories and the rights that were asked for', async () => {
  const as = (text) => new Octokit({ baseUrl: hub.url, auth: text, log: silent });
  const installation = octokit({ installationId: hub.installationId });
  assert.equal((await installation.rest.repos.get(OF)).data.default_branch, 'main');
  const reader = as(await token(['project'], { contents: 'read', metadata: 'read' }));
  assert.equal(await status(reader.rest.repos.get(OF)), 200);
  assert.equal(await status(reader.rest.repos.get({ owner: 'acme', repo: 'other' })), 403);
  assert.equal(await status(reader.rest.pulls.list(OF)), 403);
  assert.equal(await status(as('ghs_made-up').rest.repos.get(OF)), 401);
  assert.equal(await status(token(['none'])), 422);
  hub.tokens.at(-1).until = 0;
  assert.equal(await status(reader.rest.repos.get(OF)), 401, 'it has expired');
});

test('branches are those of the repository, page by page', async () => {
  const main = await hub.git(repository, 'rev-parse', 'refs/heads/main');
  for (let i = 0; i < 5; i += 1) await hub.git(repository, 'update-ref', `refs/heads/b${i}`, main);
  const installation = octokit({ installationId: hub.installationId });
  const all = await installation.paginate(installation.rest.repos.listBranches, { ...OF, per_page: 2 });
  assert.deepEqual(all.map(({ name }) => name), ['b0', 'b1', 'b2', 'b3', 'b4', 'main']);
  assert.equal(all[0].commit.sha, main);
});

test('git clones and pushes with a token alone, and a pull request is made of what was pushed', async () => {
  const work = path.join(temporaryFolder(), 'work');
  const git = (...words) => run('git', words, { env: { PATH: process.env.PATH, HOME: path.dirname(work), GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_NOSYSTEM: '1' } });
  const address = (text) => hub.url.replace('//', text ? `//x-access-token:${text}@` : '//') + '/acme/project.git';
  await assert.rejects(git('clone', '--quiet', address(), work), /could not read Username/);
  await assert.rejects(git('clone', '--quiet', address('ghs_made-up'), work), /Authentication failed/);
  const reader = await token(['project'], { contents: 'read' });
  await git('clone', '--quiet', address(reader), work);
  fs.writeFileSync(path.join(work, 'new.txt'), 'new\n');
  await git('-C', work, 'add', '-A');
  await git('-C', work, '-c', 'user.name=N', '-c', 'user.email=n@example.test', 'commit', '--quiet', '-m', 'New');
  const push = (text) => git('-C', work, 'push', '--quiet', address(text), 'HEAD:refs/heads/topic');
  await assert.rejects(push(reader), /403/);
  await assert.rejects(push(await token(['other'])), /not found/);
  await push(await token(['project']));
  assert.equal(await hub.git(repository, 'rev-parse', 'refs/heads/topic'), (await git('-C', work, 'rev-parse', 'HEAD')).stdout.trim());

  const installation = octokit({ installationId: hub.installationId });
  const wish = { ...OF, title: 'New', body: 'Text', head: 'topic', base: 'main' };
  const made = await installation.rest.pulls.create(wish);
  assert.deepEqual([made.status, made.data.number, made.data.state], [201, 1, 'open']);
  assert.equal(await status(installation.rest.pulls.create(wish)), 422, 'there is one already');
  assert.equal(await status(installation.rest.pulls.create({ ...wish, head: 'b0' })), 422, 'nothing is new in it');
  assert.equal(await status(installation.rest.pulls.create({ ...wish, head: 'none' })), 422);
  const found = await installation.rest.pulls.list({ ...OF, state: 'open', head: 'acme:topic', base: 'main' });
  assert.deepEqual(found.data.map(({ number }) => number), [1]);
  assert.deepEqual((await installation.rest.pulls.list({ ...OF, head: 'acme:b0' })).data, []);
});

test('nothing is found where the App is not installed', async () => {
  hub.installed = false;
  assert.equal(await status(octokit().rest.apps.getRepoInstallation(OF)), 404);
  assert.equal(await status(token(['project'])), 404);
  hub.installed = true;
});
