// Sessions in sandboxes from end to end: the built worker under workerd, E2B's stand-in (e2b-server.mjs), and in its sandboxes
// the real sandbox-agent server with an agent that does what its prompt says (agent.mjs).
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Client, eventually, textOf, updateOf } from './client.mjs';
import { API_KEY, E2bServer } from './e2b-server.mjs';
import { AGENT_PORT, sessionImage } from './e2b/image.mjs';
import { members } from './e2b/tree.mjs';
import { Worker, here, temporaryFolder } from './processes.mjs';

let e2b; let worker; let client;

before(async () => {
  e2b = await E2bServer.start({ image: sessionImage(temporaryFolder()), ports: [AGENT_PORT] });
  worker = await Worker.start(null, {
    wrapper: path.join(here, 'outside.mjs'),
    env: {
      AGENT_RUNTIME_PROVIDER: 'e2b', AGENT_ENVIRONMENT: 'test', E2B_API_KEY: API_KEY, E2B_DOMAIN: e2b.domain, E2B_TEST_SERVER: e2b.url, E2B_API_VERSION: 'auto',
      AGENT_STOP_GRACE_MS: '500',
    },
  });
  client = new Client(worker.base);
});

after(async () => {
  await worker?.stop();
  await e2b?.stop();
});

/** A prompt that no other case has: its first chunk is a random word. */
const unique = (orders) => `say ${crypto.randomUUID().slice(0, 8)} ; ${orders}`;

/** The first chunk of what is said to such a prompt: its turn runs. */
const runs = (stream, prompt) => stream.until((event) => updateOf(event, 'agent_message_chunk')?.content.text === prompt.slice(4, 12), 'the turn runs');

/** Sends a prompt and waits for the end of its turn. */
async function turn(session, stream, prompt) {
  const from = stream.cursors().at(-1) ?? 0;
  await session.say(prompt);
  return stream.type('turn.completed', from);
}

/** A project whose repository is nowhere: nothing is cloned. */
const project = (more = {}) => ({ id: 'project', title: 'Project', 'repo-url': 'https://git.invalid/acme/project', ...more });

const create = (more = {}) => client.create({ project: project(), ...more });

/** The sandboxes that were made for a session and were not ended. */
const sandboxes = (session) => e2b.alive.filter(({ metadata }) => metadata['session-id'] === session.id);

/** The one sandbox of a session. */
function sandbox(session) {
  const [only, ...others] = sandboxes(session);
  assert.ok(only && !others.length, `${others.length + Number(Boolean(only))} sandboxes`);
  return only;
}

/** How often an agent of the sandbox got this prompt. */
function prompts(of, text) {
  const log = of.path('prompts.jsonl');
  return fs.existsSync(log) ? fs.readFileSync(log, 'utf8').split('\n').filter((line) => line && JSON.parse(line).text === text).length : 0;
}

test('a session gets a sandbox, and streams what its agent says there', async () => {
  const session = await create();
  assert.equal(session.created['runtime-provider'], 'e2b');
  assert.equal(session.created['terminal-enabled'], true);
  const stream = await session.stream();
  const provisioned = await stream.type('session.provisioned');
  const own = sandbox(session);
  assert.equal(provisioned.data['sandbox-id'], own.id);
  assert.deepEqual(Object.keys(own.metadata).sort(), ['environment', 'intent-id', 'runtime-provider', 'runtime-session-id', 'service', 'session-id', 'user-id']);
  assert.ok(own.endAt.getTime() - Date.now() > 29 * 60_000, 'it lives for the usual half hour');

  const prompt = unique('stream 3; tool; write made.txt something');
  fs.mkdirSync(own.path('workspace/project'), { recursive: true });
  assert.equal((await turn(session, stream, prompt)).data['stop-reason'], 'end_turn');
  assert.match(textOf(await stream.type('item.completed')), /^\w{8}0 1 2 wrote made.txt$/);
  assert.equal(prompts(own, prompt), 1);
  assert.equal(fs.readFileSync(own.path('workspace/project/made.txt'), 'utf8'), 'something\n');
  // Nobody reaches the agent without its token.
  const { status } = await fetch(`${e2b.url}/v1/acp`, { headers: { 'x-e2b-host': `${AGENT_PORT}-${own.id}.${e2b.domain}` } });
  assert.equal(status, 401);
  await stream.close();
});

test('an interrupted turn ends in its sandbox; one that does not heed it is killed there', async () => {
  const session = await create();
  const stream = await session.stream();
  for (const [orders, stopped] of [['wait 60000', 'agent'], ['deaf; wait 60000', 'killed']]) {
    const from = stream.cursors().at(-1) ?? 0;
    const prompt = unique(orders);
    await session.say(prompt);
    await runs(stream, prompt);
    await session.ok('POST', '/interrupt');
    const { data } = await stream.type('turn.completed', from);
    assert.deepEqual([data['stop-reason'], data.stopped], ['cancelled', stopped]);
    await session.ok('POST', '/resume');
  }
  assert.equal((await turn(session, stream, unique('say more'))).data['stop-reason'], 'end_turn');
  assert.equal(sandboxes(session).length, 1);
  await stream.close();
});

test('a canceled session pauses its sandbox, and a message wakes it as it was', async () => {
  const session = await create();
  const stream = await session.stream();
  await turn(session, stream, unique('tool'));
  const own = sandbox(session);
  fs.writeFileSync(own.path('kept'), 'kept');
  await session.ok('POST', '/cancel');
  await eventually('it is paused', () => own.state === 'paused');
  await eventually('nothing in it runs', async () => (await members(own.id)).every(({ stopped }) => stopped));
  const prompt = unique('say again');
  assert.equal((await turn(session, stream, prompt)).data['stop-reason'], 'end_turn');
  assert.equal(sandbox(session), own);
  assert.equal(own.state, 'running');
  assert.equal(fs.readFileSync(own.path('kept'), 'utf8'), 'kept');
  assert.equal(prompts(own, prompt), 1);
  await stream.close();
});

test('what a snapshot holds is there in the next session of the project', async () => {
  const project_ = project({ 'repo-url': `https://git.invalid/acme/${crypto.randomUUID()}` });
  const first = await create({ project: project_ });
  const stream = await first.stream();
  await turn(first, stream, unique('tool'));
  fs.writeFileSync(sandbox(first).path('notes'), 'from the first');
  const taken = await first.ok('POST', '/snapshot');
  assert.equal(taken.status, 'snapshot-created');
  assert.ok(e2b.templates.find(taken['snapshot-id']));
  assert.equal((await stream.type('sandbox.snapshot.succeeded')).data['snapshot-id'], taken['snapshot-id']);
  await turn(first, stream, unique('say on'));
  await stream.close();

  const second = await create({ project: project_ });
  const other = await second.stream();
  assert.equal((await other.type('sandbox.restore.succeeded')).data['snapshot-id'], taken['snapshot-id']);
  assert.equal((await turn(second, other, unique('tool'))).data['stop-reason'], 'end_turn');
  assert.equal(fs.readFileSync(sandbox(second).path('notes'), 'utf8'), 'from the first');
  await other.close();

  // One that is gone is told of, and the session begins with the usual image.
  e2b.templates.remove(taken['snapshot-id']);
  const third = await create({ project: project_ });
  const last = await third.stream();
  await last.type('sandbox.restore.failed');
  assert.equal((await turn(third, last, unique('tool'))).data['stop-reason'], 'end_turn');
  assert.ok(!fs.existsSync(sandbox(third).path('notes')));
  await last.close();
});
