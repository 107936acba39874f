// Every command of docs/agents.md, in its order, as it stands there: a session in a sandbox of E2B's stand-in, with real git and a stand-in
// of GitHub.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Session, eventually } from './client.mjs';
import { GitHubServer } from './github-server.mjs';
import { TOKEN, root } from './processes.mjs';
import { Sandboxed } from './sandboxed.mjs';

const ADMIN = 'admin-secret';
let it; let hub; let repository;

before(async () => {
  hub = await GitHubServer.start();
  repository = await hub.create('acme/project');
  it = await Sandboxed.start({ github: hub, env: { DB_SYNC_ADMIN_TOKEN: ADMIN, AGENT_TEST_COUNTERS: '1' } });
});

after(async () => {
  await it?.stop();
  await hub?.stop();
});

/** The commands of a page: its blocks of shell, and in them what begins with `curl`. */
function commandsOf(file) {
  const blocks = fs.readFileSync(path.join(root, file), 'utf8').split('```sh\n').slice(1).map((rest) => rest.split('\n```')[0]);
  return blocks.flatMap((block) => block.split(/\n(?=curl )/));
}

/** Runs a command; what it answered, read where it is JSON. */
async function run(command, session) {
  const env = { PATH: process.env.PATH, BASE: it.worker.base, TOKEN, SESSION: session, ADMIN_TOKEN: ADMIN };
  const { stdout } = await promisify(execFile)('bash', ['-euc', `${command} --silent --show-error`], { env }).catch((error) => { throw new Error(`${command}\n${error.stdout}${error.stderr}`); });
  try { return JSON.parse(stdout); } catch { return stdout; }
}

test('every command of the guide does what it says', async () => {
  const commands = commandsOf('docs/agents.md');
  assert.ok(commands.length >= 10, `${commands.length} commands`);
  const session = new Session(it.client, 'guide');
  const answers = new Map();
  for (const command of commands) {
    const answer = await run(command, session.id);
    const address = /\$BASE(\S*?)"/.exec(command)[1];
    answers.set(`${/ -X (\w+)/.exec(command)?.[1] ?? (/ -d /.test(command) ? 'POST' : 'GET')} ${address}`, answer);
    if (address.endsWith('/messages')) {
      await eventually('the turn ends', async () => (await session.events()).some(({ type }) => type === 'turn.completed'));
      // What the agent of the stand-in only says.
      fs.writeFileSync(it.sandbox(session).path('workspace/project/notes.txt'), 'what was missing\n');
    }
  }
  const of = (name) => answers.get(name) ?? assert.fail(`${name} is not in the guide: ${[...answers.keys()].join(', ')}`);
  const at = '/sessions/$SESSION';
  assert.equal(of('POST /sessions').status, 'created');
  assert.match(of(`GET ${at}/observer-token`).token, /^obs1_/);
  assert.ok(of(`GET ${at}/events?limit=100`).events.length > 1);
  assert.deepEqual(of(`GET ${at}/approvals`), { approvals: [] });
  assert.deepEqual(of(`GET ${at}/diff`).files.map((file) => [file.path, file.status]), [['notes.txt', 'added']]);
  assert.equal(of(`GET ${at}/files?path=notes.txt`), 'what was missing\n');
  assert.equal(of(`POST ${at}/pr`).status, 'pr-created');
  assert.equal(repository.pulls.length, 1);
  assert.equal(await hub.git(repository, 'show', `refs/heads/${repository.pulls[0].head.ref}:notes.txt`), 'what was missing');
  assert.equal(of(`GET ${at}/budget`).budget.turns, 20);
  assert.equal(of(`POST ${at}/budget`).budget.turns, 40);
  for (const verb of ['archive', 'interrupt', 'cancel']) assert.equal(of(`POST ${at}/${verb}`).ok, true, verb);
  assert.equal(of(`POST ${at}/resume`).flushed, 0);
  assert.deepEqual(of(`DELETE ${at}`), { ok: true });
  assert.equal((await session.ask('GET', '')).status, 404);
});

test('the operator sees it come and go', async () => {
  const overview = async () => (await fetch(`${it.worker.base}/agents/admin/overview`, { headers: { 'x-db-sync-admin-token': ADMIN } })).json();
  const seen = await overview();
  assert.equal(Object.values(seen.sessions).reduce((sum, count) => sum + count, 0), 1, JSON.stringify(seen));
  assert.equal(seen['oldest-deadline'], null);
  const lines = it.worker.output.split('\n').filter((line) => line.includes('"agents/transition"')).map((line) => JSON.parse(line.slice(line.indexOf('{'))));
  const told = lines.filter((line) => line['session-id'] === 'guide');
  assert.deepEqual(told.map(({ from, to }) => `${from} ${to}`).slice(0, 2), ['none created', 'created running']);
  assert.equal(told.at(-1).to, 'deleted');
  assert.ok(told.every((line) => line['user-id'] === 'only-user' && typeof line['duration-ms'] === 'number' && line.cause));
  // Each of them was counted too, without anybody's name.
  const points = it.worker.output.split('\n').filter((line) => line.includes('counted {')).map((line) => JSON.parse(line.slice(line.indexOf('{'))));
  assert.deepEqual(points, lines.map(({ to, from, provider, cause, 'duration-ms': lasted }) => ({ indexes: [to], doubles: [1, lasted], blobs: [to, from, provider === 'none' ? '' : provider, cause] })));
});
