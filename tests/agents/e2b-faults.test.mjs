// What becomes of sessions when E2B is slow, says no, loses connections or sandboxes, and when the worker dies while it asks for
// one. Everything is as in e2b.test.mjs.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';
import { eventually, textOf } from './client.mjs';
import { Sandboxed, project, runs, turn, unique } from './sandboxed.mjs';

let it;

before(async () => { it = await Sandboxed.start(); });

after(() => it?.stop());

const CREATE = /^POST \/v2\/sandboxes$/;

/** An answer of E2B's API. */
const answers = (status, headers = {}) => (response) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify({ code: status, message: 'by order of the test' }));

/** How many sandboxes were asked for since then. */
const creations = (since) => it.e2b.calls.slice(since).filter((call) => CREATE.test(call)).length;

/** A graph of the only user, which a project with a Dockerfile needs. */
async function graph() {
  const id = crypto.randomUUID();
  await it.sql(`INSERT INTO graphs (graph_id, graph_name, user_id) VALUES ('${id}', 'Graph', 'only-user')`);
  return id;
}

test('a template that takes long to build is waited for, and a broken one is told of', async () => {
  let open;
  it.e2b.templates.gate = new Promise((resolve) => { open = resolve; });
  const docker = { 'graph-id': await graph(), 'docker-file': 'FROM debian:12\nENV BUILT=here\nRUN mkdir -p deep && echo "$BUILT" > deep/file' };
  const session = await it.create({ project: project(docker) });
  assert.equal(session.created.status, 'created');
  const stream = await session.stream();
  await stream.type('sandbox.template.building');
  // A message that comes meanwhile waits.
  const prompt = unique('tool');
  await session.say(prompt);
  await eventually('it was looked at twice', () => it.e2b.called(/^GET \/templates\/[^/]+\/builds\/[^/]+\/status$/).length >= 2);
  assert.equal(it.sandboxes(session).length, 0);
  open();
  await stream.type('sandbox.template.ready');
  await stream.type('session.provisioned');
  await stream.type('turn.completed');
  assert.equal(it.prompts(session, prompt), 1);
  const own = it.sandbox(session);
  assert.equal(own.alias, `${docker['graph-id']}-project`);
  assert.equal(own.variables.BUILT, 'here');
  await stream.close();

  const broken = await it.create({ project: project({ 'graph-id': await graph(), 'docker-file': 'FROM debian:12\nRUN exit 3' }) });
  const other = await broken.stream();
  assert.match((await other.type('sandbox.template.failed')).data.reason, /exited with 3/);
  assert.equal(it.sandboxes(broken).length, 0);
  await other.close();
});

test('a call that came too early is repeated when E2B says when, and only then', async () => {
  it.e2b.fault(CREATE, { answer: answers(429, { 'retry-after': '1' }) });
  let since = it.e2b.calls.length;
  const from = Date.now();
  const session = await it.create();
  assert.ok(Date.now() - from >= 1000);
  assert.equal(creations(since), 2);
  assert.equal(it.sandboxes(session).length, 1);

  it.e2b.fault(CREATE, { answer: answers(429) });
  since = it.e2b.calls.length;
  const refused = await it.client.ask('POST', '/sessions', {
    'session-id': crypto.randomUUID(), 'node-id': 'node', 'node-title': 'T', content: 'C', attachments: [], project: project(), agent: { provider: 'claude' },
  });
  assert.equal(refused.status, 500);
  assert.equal(creations(since), 1);
});

test('a deployment without the second version of the API is asked in the first', async () => {
  it.e2b.api.newest = false;
  const session = await it.create();
  const stream = await session.stream();
  assert.equal((await turn(session, stream, unique('tool'))).data['stop-reason'], 'end_turn');
  assert.ok(it.sandbox(session).envdToken, 'it is secured all the same');
  it.e2b.api.newest = true;
  await stream.close();
});

test('a stream that is lost is opened again, and nothing is lost or told twice', async () => {
  const session = await it.create();
  const stream = await session.stream();
  const prompt = unique('stream 3; wait 2500; stream 3; say end');
  await session.say(prompt);
  await runs(stream, prompt);
  // Until then the request of the prompt is open as well.
  await new Promise((resolve) => { setTimeout(resolve, 1500); });
  it.sandbox(session).breakConnections('GET');
  assert.equal((await stream.type('turn.completed')).data['stop-reason'], 'end_turn');
  assert.match(textOf(await stream.type('item.completed')), /^\w{8}0 1 2 0 1 2 end$/);
  assert.equal(it.prompts(session, prompt), 1);
  await stream.close();
});

test('a sandbox that pauses by itself goes on with the next message', async () => {
  const session = await it.create();
  const stream = await session.stream();
  await turn(session, stream, unique('tool'));
  const own = it.sandbox(session);
  await own.expire();
  assert.equal(own.state, 'paused');
  const prompt = unique('say after');
  assert.equal((await turn(session, stream, prompt)).data['stop-reason'], 'end_turn');
  assert.equal(it.prompts(session, prompt), 1);
  assert.ok(own.endAt.getTime() - Date.now() > 29 * 60_000, 'it lives for its whole time again');
  await stream.close();
});

test('a sandbox that is gone ends the session, and the next message makes another', async () => {
  const session = await it.create();
  const stream = await session.stream();
  await turn(session, stream, unique('tool'));
  const [first] = it.sandboxes(session);
  await first.kill();
  await session.say(unique('say lost'));
  const { data } = await stream.type('session.canceled');
  assert.equal(data.reason, 'sandbox-missing');
  assert.equal(await session.status(), 'canceled');
  const prompt = unique('say found');
  assert.equal((await turn(session, stream, prompt)).data['stop-reason'], 'end_turn');
  assert.notEqual(it.sandbox(session).id, first.id);
  assert.equal(it.prompts(session, prompt), 1);
  await stream.close();
});

test('a sandbox whose creation was answered to nobody is found by the clock, and no other', async () => {
  const kept = await it.create();
  const paused = await it.create();
  await it.sandbox(paused).pause();
  // The answer is lost on its way, and then with the worker itself.
  const lost = crypto.randomUUID();
  it.e2b.fault(CREATE, { after: true, answer: (response) => response.destroy() });
  const body = (id) => ({ 'session-id': id, 'node-id': 'node', 'node-title': 'T', content: 'C', attachments: [], project: project(), agent: { provider: 'claude' } });
  assert.equal((await it.client.ask('POST', '/sessions', body(lost))).status, 500);
  const dead = crypto.randomUUID();
  let killed;
  const made = new Promise((resolve) => {
    it.e2b.fault(CREATE, { after: true, answer: async (response) => { killed = it.worker.kill(); await killed; response.destroy(); resolve(); } });
  });
  await it.client.ask('POST', '/sessions', body(dead)).catch(() => {});
  await made;
  await it.worker.run();
  for (const id of [lost, dead]) assert.equal(it.sandboxes({ id }).length, 1, 'it was made');
  assert.deepEqual((await it.intents({ id: dead })).map(({ state }) => state), ['creating'], 'it was written down before');

  // A young one may still be on its way to its session.
  await it.sweep();
  for (const session of [{ id: lost }, { id: dead }, kept, paused]) assert.equal(it.sandboxes(session).length, 1);
  await it.age();
  await it.sweep();
  for (const id of [lost, dead]) {
    assert.equal(it.sandboxes({ id }).length, 0, 'it is ended');
    assert.deepEqual((await it.intents({ id })).map(({ state }) => state), ['ended']);
  }
  for (const session of [kept, paused]) assert.equal(it.sandboxes(session).length, 1, 'that of a session stays');
  // The session itself goes on: its next message makes a sandbox.
  const session = kept;
  const stream = await session.stream();
  assert.equal((await turn(session, stream, unique('tool'))).data['stop-reason'], 'end_turn');
  await stream.close();
});
