// Notifications (agents.md 20.3) from end to end: the built worker under workerd tells a real receiver what happens in sessions, which
// drops, delays, refuses and repeats. Back-off is waited for in real time up to its second step (10 s, then a minute).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, eventually } from './client.mjs';
import { SandboxAgent, Worker } from './processes.mjs';
import { Receiver, assertSigned } from './receiver.mjs';
import { turn } from './sandboxed.mjs';

const SECOND = 1000;
/** How much later than planned something may come here. */
const SLACK = 15 * SECOND;

let agent; let worker; let client; let receiver;

before(async () => {
  receiver = await Receiver.start();
  agent = await SandboxAgent.start();
  // The receiver is on loopback, which only operators of their own network allow.
  worker = await Worker.start(agent.url, { env: { AGENT_PROMPT_POST_MS: '1000', AGENT_STOP_GRACE_MS: '500', LOCAL_RUNNER_ALLOW_PRIVATE: '1' } });
  client = new Client(worker.base);
});

after(async () => {
  await worker?.stop();
  await agent?.stop();
  await receiver?.stop();
});

/** A webhook that is gone when the case is over: a user has ten at most. */
async function webhook(context, path, more = {}) {
  const made = await client.ask('POST', '/agents/webhooks', { url: receiver.url(path), ...more });
  assert.equal(made.status, 200, made.text);
  const { webhook: { 'webhook-id': id }, secret } = made.body;
  context.after(() => client.ask('DELETE', `/agents/webhooks/${id}`));
  const deliveries = async () => (await client.ask('GET', `/agents/webhooks/${id}/deliveries`)).body.deliveries;
  return { id, secret, path, deliveries };
}

/** Waits until this many effects have come, and until the service knows it. */
async function settled(hook, count, patience) {
  await eventually(`${count} effects at ${hook.path}`, () => receiver.effects(hook.path).length >= count, patience);
  return eventually(`deliveries of ${hook.path} are settled`, async () => {
    const all = await hook.deliveries();
    return all.length >= count && all.every(({ state }) => state !== 'pending') ? all : null;
  }, patience);
}

test('what happens in a session is told, signed, and without what people and agents wrote', async (context) => {
  const hook = await webhook(context, '/plain');
  const some = await webhook(context, '/some', { events: ['approval.needed', 'session.finished'] });
  const session = await client.create({ 'node-title': 'The title' });
  const stream = await session.stream();
  await turn(session, stream, 'say words of the agent');
  await session.say('ask');
  const asked = await stream.type('agent.approval_requested');
  await session.ok('POST', `/approvals/${asked.data['request-id']}`, { decision: 'granted' });
  await stream.type('turn.completed', asked.cursor);
  await session.ok('POST', '/cancel');
  await settled(hook, 4);
  await settled(some, 2);
  const told = receiver.effects('/plain');
  // No order is promised: what came when, they say themselves.
  const sorted = told.toSorted((a, b) => a['created-at'] - b['created-at']);
  assert.deepEqual(sorted.map(({ type }) => type), ['turn.finished', 'approval.needed', 'turn.finished', 'session.finished']);
  assert.deepEqual(receiver.effects('/some').map(({ type }) => type).sort(), ['approval.needed', 'session.finished']);
  const events = await session.events('?limit=10000');
  const times = events.filter(({ type }) => ['turn.completed', 'agent.approval_requested', 'session.canceled'].includes(type)).map(({ ts }) => ts);
  assert.deepEqual(sorted.map((it) => it['created-at']), times);
  for (const it of sorted) assert.deepEqual([it['session-id'], it.title], [session.id, 'The title']);
  assert.deepEqual(sorted[1].data, { 'request-id': asked.data['request-id'], tool: 'edit', 'expires-at': asked.data['expires-at'] });
  for (const got of receiver.at('/plain')) {
    assert.equal(got.method, 'POST');
    assert.equal(got.headers['content-type'], 'application/json');
    assert.doesNotMatch(got.body, /words of the agent|touch a file|allowed/);
    assertSigned(got, hook.secret);
  }
  for (const got of receiver.at('/some')) assertSigned(got, some.secret);
  const listed = await hook.deliveries();
  assert.ok(listed.every((it) => it.state === 'done' && it.attempts === 1 && it['last-status'] === 204), JSON.stringify(listed));
  assert.deepEqual(listed.map(({ id }) => id).sort(), told.map(({ id }) => id).sort());

  // Sent again because its user wants it: the same id, the same body, once more.
  const again = await client.ask('POST', `/agents/webhooks/${hook.id}/deliveries/${told[0].id}/replay`);
  assert.equal(again.status, 200, again.text);
  await eventually('the repeat', () => receiver.at('/plain').length === 5);
  assert.equal(receiver.effects('/plain').length, 4);
  assertSigned(receiver.at('/plain').at(-1), hook.secret);
  await stream.close();
});

test('whatever the receiver does, each effect comes once, after the pauses that are promised', async (context) => {
  const plans = {
    '/error': ['error'], '/drop': ['drop'], '/cut': ['cut'], '/late': ['late'], '/hold': ['hold'], '/redirect': ['redirect'],
    '/endless': ['endless'], '/twice': ['error', 'drop'],
  };
  const hooks = [];
  for (const [path, ways] of Object.entries(plans)) {
    receiver.plan(path, ...ways);
    hooks.push(await webhook(context, path, { events: ['turn.finished'] }));
  }
  const session = await client.create();
  const stream = await session.stream();
  const began = Date.now();
  await turn(session, stream, 'say one');
  for (const hook of hooks) {
    const deliveries = await settled(hook, 1, 120 * SECOND);
    const ways = plans[hook.path];
    const failures = ways.filter((way) => way !== 'endless').length;
    await eventually(`all attempts at ${hook.path}`, () => receiver.at(hook.path).length === failures + 1, 120 * SECOND);
    const got = receiver.at(hook.path);
    const [effect, ...others] = receiver.effects(hook.path);
    assert.deepEqual(others, [], hook.path);
    assert.deepEqual(effect.data, { 'stop-reason': 'end_turn', turn: 1 });
    for (const it of got) assertSigned(it, hook.secret);
    const [delivery] = await eventually(`the outcome at ${hook.path}`, async () => {
      const found = await hook.deliveries();
      return found.every((it) => it.state === 'done' && it.attempts === failures + 1) ? found : null;
    });
    assert.equal(deliveries.length, 1);
    assert.equal(delivery['next-at'], null, hook.path);
    // The first comes at once; then the pauses count from the end of an attempt, which takes at most ten seconds.
    assert.ok(got[0].at - began < SLACK, `${hook.path}: the first came after ${got[0].at - began} ms`);
    got.slice(1).forEach(({ at }, number) => {
      const [pause, waited] = [[10, 60][number] * SECOND, at - got[number].at];
      const hung = ['late', 'hold'].includes(ways[number]) ? 10 * SECOND : 0;
      assert.ok(waited >= pause + hung - SECOND && waited < pause + hung + SLACK, `${hook.path}: attempt ${number + 2} came after ${waited} ms`);
    });
  }
  assert.deepEqual(receiver.at('/elsewhere'), [], 'no redirect is followed');
  await stream.close();
});

test('a receiver that is gone is asked no more', async (context) => {
  receiver.plan('/gone', 'gone');
  const hook = await webhook(context, '/gone');
  const session = await client.create();
  const stream = await session.stream();
  await turn(session, stream, 'say one');
  const [delivery] = await settled(hook, 1);
  assert.deepEqual([delivery.state, delivery.attempts, delivery['last-status']], ['dead', 1, 410]);
  const { webhooks } = (await client.ask('GET', '/agents/webhooks')).body;
  const mine = webhooks.find((it) => it['webhook-id'] === hook.id);
  assert.ok(Math.abs(mine['disabled-at'] - Date.now()) < 60 * SECOND, JSON.stringify(mine));
  await turn(session, stream, 'say two');
  const replay = await client.ask('POST', `/agents/webhooks/${hook.id}/deliveries/${delivery.id}/replay`);
  assert.deepEqual([replay.status, replay.body.error], [409, 'webhook is disabled']);
  await session.ok('POST', '/cancel');
  assert.equal(receiver.at('/gone').length, 1);
  await stream.close();
});

test('many turns are told once each, to a receiver that refuses each of them once', async (context) => {
  const TURNS = 8;
  receiver.planEach('/many', 'error');
  const hook = await webhook(context, '/many', { events: ['turn.finished'] });
  const session = await client.create();
  const stream = await session.stream();
  for (let number = 1; number <= TURNS; number += 1) await turn(session, stream, `say ${number}`);
  await settled(hook, TURNS, 60 * SECOND);
  const told = receiver.effects('/many').toSorted((a, b) => a['created-at'] - b['created-at']);
  assert.deepEqual(told.map(({ data }) => data.turn), Array.from({ length: TURNS }, (_, number) => number + 1));
  assert.equal(receiver.at('/many').length, 2 * TURNS);
  for (const got of receiver.at('/many')) assertSigned(got, hook.secret);
  await stream.close();
});

test('what the worker was sending when it died is sent when it lives again', async (context) => {
  receiver.plan('/held', 'hold');
  const held = await webhook(context, '/held', { events: ['turn.finished'] });
  const waiting = await webhook(context, '/waiting', { events: ['turn.finished'] });
  receiver.plan('/waiting', 'error');
  const session = await client.create();
  let stream = await session.stream();
  await turn(session, stream, 'say one');
  // One attempt hangs, and one has failed.
  await eventually('the first attempts', () => receiver.at('/held').length === 1 && receiver.at('/waiting').length === 1);
  await worker.kill();
  await stream.close();
  // While the worker is away, so is the receiver.
  await receiver.stop();
  await worker.run();
  await eventually('the session', async () => (await session.status()) === 'running');
  await receiver.listen();
  for (const hook of [held, waiting]) {
    await settled(hook, 1, 120 * SECOND);
    const got = receiver.at(hook.path);
    assert.ok(got.length >= 2, `${hook.path} got ${got.length}`);
    assert.equal(receiver.effects(hook.path).length, 1);
    for (const it of got) assertSigned(it, hook.secret);
  }
  // And nothing is told twice because of it.
  stream = await session.stream();
  await turn(session, stream, 'say two');
  for (const hook of [held, waiting]) {
    await settled(hook, 2, 120 * SECOND);
    const sorted = receiver.effects(hook.path).toSorted((a, b) => a['created-at'] - b['created-at']);
    assert.deepEqual(sorted.map(({ data }) => data.turn), [1, 2]);
  }
  await stream.close();
});

test('whose webhook is removed gets nothing that waits', async (context) => {
  receiver.plan('/removed', 'error');
  const hook = await webhook(context, '/removed', { events: ['turn.finished'] });
  const session = await client.create();
  const stream = await session.stream();
  await turn(session, stream, 'say one');
  await eventually('the first attempt', () => receiver.at('/removed').length === 1);
  assert.equal((await client.ask('DELETE', `/agents/webhooks/${hook.id}`)).status, 200);
  // The next attempt would come after ten seconds: the work of another webhook shows that they have passed.
  receiver.plan('/after', 'error');
  const later = await webhook(context, '/after', { events: ['turn.finished'] });
  await turn(session, stream, 'say two');
  await settled(later, 1, 60 * SECOND);
  await eventually('the second attempt of another one', () => receiver.at('/after').length === 2, 60 * SECOND);
  assert.equal(receiver.at('/removed').length, 1);
  await stream.close();
});
