// Sessions from end to end: the built worker under workerd, the real sandbox-agent server, an agent that does what its
// prompt says (agent.mjs). Every case has a session of its own.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, eventually, textOf, updateOf } from './client.mjs';
import { SandboxAgent, Worker } from './processes.mjs';

let agent; let worker; let client;

before(async () => {
  // The server waits 2 s for an answer to a prompt, so that a turn can be longer than that; the worker waits 1 s.
  agent = await SandboxAgent.start({ requestTimeoutMs: 2000 });
  worker = await Worker.start(agent.url, { env: { AGENT_PROMPT_POST_MS: '1000', AGENT_STOP_GRACE_MS: '500' } });
  client = new Client(worker.base);
});

after(async () => {
  await worker?.stop();
  await agent?.stop();
});

/** A prompt that no other case has: its first chunk is a random word. */
const unique = (orders) => `say ${crypto.randomUUID().slice(0, 8)} ; ${orders}`;

/** Sends a prompt and waits for the end of its turn. */
async function turn(session, stream, prompt) {
  const from = stream.cursors().at(-1) ?? 0;
  await session.say(prompt);
  return stream.type('turn.completed', from);
}

test('a session is created, streams what its agent says, and stores it', async () => {
  const session = await client.create();
  assert.equal(session.created['session-id'], session.id);
  assert.equal(session.created['runtime-provider'], 'local-dev');
  assert.equal(session.created['terminal-enabled'], false);
  assert.equal(session.created['stream-url'], `${worker.base}/sessions/${session.id}/stream`);
  const stream = await session.stream();
  await stream.type('session.provisioned');

  const prompt = unique('stream 3; think about it; tool');
  const completed = await turn(session, stream, prompt);
  assert.equal(completed.data['stop-reason'], 'end_turn');
  const chunks = stream.frames.filter(({ data }) => updateOf(data, 'agent_message_chunk'));
  assert.equal(chunks.length, 4);
  assert.ok(chunks.every(({ id }) => id === undefined), 'what is not stored has no id');
  const said = await stream.type('item.completed');
  assert.match(textOf(said), /^\w{8}0 1 2$/);
  assert.deepEqual(said.data.item.content[0], { type: 'reasoning', text: 'about it' });
  const tool = await stream.until((event) => updateOf(event, 'tool_call_update'), 'a tool call');
  assert.equal(tool.data.update.content[0].content.text, 'tool output');
  assert.equal(agent.prompts(prompt), 1);
  assert.equal(await session.status(), 'running');

  // What is stored is what was streamed.
  const stored = await session.events();
  assert.deepEqual(stored.map((event) => event.cursor), stream.cursors());
  for (const type of ['session.created', 'session.provisioned', 'audit.log', 'session.running', 'item.completed', 'turn.completed']) {
    assert.ok(stored.some((event) => event.type === type), type);
  }
  await stream.close();
});

test('a stream that is opened again goes on where it was', async () => {
  const session = await client.create();
  const whole = await session.stream();
  await turn(session, whole, unique('tool'));
  await turn(session, whole, unique('tool'));
  const cursors = whole.cursors();
  const middle = cursors[Math.floor(cursors.length / 2)];
  for (const again of [{ lastEventId: middle }, { query: `?cursor=${middle}` }]) {
    const rest = await session.stream(again);
    await eventually('the rest has come', () => rest.cursors().at(-1) === cursors.at(-1));
    assert.deepEqual(rest.cursors(), cursors.filter((cursor) => cursor > middle));
    await rest.close();
  }
  await whole.close();
  // Numbers that no event can have come after all of them.
  for (const beyond of ['9007199254740993', '62513279298206629888']) assert.deepEqual(await session.events(`?cursor=${beyond}`), []);
});

test('the agent asks, and a person answers', async () => {
  const session = await client.create();
  const stream = await session.stream();
  for (const [decision, said] of [['granted', 'allowed'], ['denied', 'rejected']]) {
    const from = stream.cursors().at(-1) ?? 0;
    await session.say(unique('ask'));
    const { data } = await stream.type('agent.approval_requested', from);
    assert.equal(data.title, 'touch a file');
    const { approvals } = await session.ok('GET', '/approvals');
    assert.deepEqual(approvals.map((it) => it['request-id']), [data['request-id']]);
    const decide = () => session.ask('POST', `/approvals/${encodeURIComponent(data['request-id'])}`, { decision });
    assert.equal((await decide()).status, 200);
    const decided = await stream.type(`agent.approval_${decision}`, from);
    assert.equal(decided.data.by, 'only-user');
    await stream.type('turn.completed', from);
    assert.ok(textOf(await stream.type('item.completed', from)).endsWith(said));
    assert.equal((await decide()).status, 409, 'a second decision');
    assert.deepEqual((await session.ok('GET', '/approvals')).approvals, []);
  }
  assert.equal((await session.ask('POST', '/approvals/nothing-asked', { decision: 'granted' })).status, 404);
  await stream.close();
});

test('an interrupted turn ends, and the next prompt is answered', async () => {
  const session = await client.create();
  const stream = await session.stream();
  await session.say(unique('wait 60000'));
  await stream.until((event) => updateOf(event, 'agent_message_chunk'), 'the turn runs');
  await session.ok('POST', '/interrupt');
  assert.equal((await stream.type('session.paused')).data.reason, 'interrupt');
  const { data } = await stream.type('turn.completed');
  assert.deepEqual([data['stop-reason'], data.stopped], ['cancelled', 'agent']);
  assert.equal(await session.status(), 'paused');
  assert.equal((await session.ok('POST', '/resume')).flushed, 0);
  assert.equal((await turn(session, stream, unique('say more'))).data['stop-reason'], 'end_turn');
  await stream.close();
});

test('an agent that does not heed an interrupt is ended', async () => {
  const session = await client.create();
  const stream = await session.stream();
  await session.say(unique('deaf; wait 60000'));
  await stream.until((event) => updateOf(event, 'agent_message_chunk'), 'the turn runs');
  await session.ok('POST', '/interrupt');
  const { data } = await stream.type('turn.completed');
  assert.equal(data['stop-reason'], 'cancelled');
  assert.equal(data.stopped, 'agent-only');
  assert.ok(!(await agent.servers()).includes(session.id));
  await session.ok('POST', '/resume');
  assert.equal((await turn(session, stream, unique('say more'))).data['stop-reason'], 'end_turn');
  await stream.close();
});

test('messages wait while a session is paused, and go out in order when it is resumed', async () => {
  const session = await client.create();
  const stream = await session.stream();
  await session.ok('POST', '/pause');
  const prompts = [unique('say 1'), unique('say 2')];
  for (const prompt of prompts) await session.say(prompt);
  await sleep(300);
  assert.deepEqual(prompts.map((prompt) => agent.prompts(prompt)), [0, 0]);
  assert.deepEqual(await session.ok('POST', '/resume'), { ok: true, flushed: 2 });
  await eventually('both turns end', () => stream.types().filter((type) => type === 'turn.completed').length === 2);
  const [first, second] = prompts.map((prompt) => agent.told().findIndex((it) => it.text === prompt));
  assert.ok(first >= 0 && first < second);
  assert.deepEqual(prompts.map((prompt) => agent.prompts(prompt)), [1, 1]);
  await stream.close();
});

test('a message that comes during a turn waits for its end', async () => {
  const session = await client.create();
  const stream = await session.stream();
  const [long, next] = [unique('wait 700'), unique('say next')];
  await session.say(long);
  await session.say(next);
  await eventually('the first prompt is out', () => agent.prompts(long) === 1);
  assert.equal(agent.prompts(next), 0);
  await eventually('both turns end', () => stream.types().filter((type) => type === 'turn.completed').length === 2);
  assert.equal(agent.prompts(next), 1);
  await stream.close();
});

test('a canceled session ends its agent, and a message revives it', async () => {
  const session = await client.create();
  const stream = await session.stream();
  await session.say(unique('wait 60000'));
  await stream.until((event) => updateOf(event, 'agent_message_chunk'), 'the turn runs');
  await session.ok('POST', '/cancel');
  await stream.type('session.canceled');
  await stream.type('turn.completed');
  await eventually('the agent is gone', async () => !(await agent.servers()).includes(session.id));
  assert.equal(await session.status(), 'canceled');
  const from = stream.cursors().at(-1);
  assert.equal((await turn(session, stream, unique('say again'))).data['stop-reason'], 'end_turn');
  assert.equal((await stream.type('session.running', from)).data.reason, 'resume-after-canceled');
  await stream.close();
});

test('a turn longer than the server waits is sent once and heard to its end', async () => {
  const session = await client.create();
  const stream = await session.stream();
  const prompt = unique('wait 5000; say late');
  assert.equal((await turn(session, stream, prompt)).data['stop-reason'], 'end_turn');
  assert.ok(textOf(await stream.type('item.completed')).endsWith('late'));
  assert.equal(agent.prompts(prompt), 1);
  assert.ok(!stream.types().includes('agent.runtime.error'));
  await stream.close();
});

test('what an agent fails at is told, and the session goes on', async () => {
  const session = await client.create();
  const stream = await session.stream();
  const failing = unique('fail');
  await session.say(failing);
  assert.match((await stream.type('agent.runtime.error')).data.message, /\S/);
  assert.equal((await turn(session, stream, unique('say more'))).data['stop-reason'], 'end_turn');
  assert.equal(agent.prompts(failing), 1);
  await stream.close();
});

test('an agent that dies is told of, and the next prompt starts another', async () => {
  const session = await client.create();
  const stream = await session.stream();
  const deadly = unique('exit 3');
  await session.say(deadly);
  await stream.type('agent.runtime.error');
  assert.equal(agent.prompts(deadly), 1);
  await eventually('the next prompt is answered', async () => (await turn(session, stream, unique('say more'))).data['stop-reason'] === 'end_turn');
  assert.equal(agent.prompts(deadly), 1);
  await stream.close();
});

test('the same idempotency key sends a message once', async () => {
  const session = await client.create();
  const stream = await session.stream();
  const prompt = unique('say once');
  const headers = { 'idempotency-key': crypto.randomUUID() };
  assert.deepEqual(await session.say(prompt, headers), { ok: true });
  await stream.type('turn.completed');
  assert.deepEqual(await session.say(prompt, headers), { ok: true });
  const other = await session.ask('POST', '/messages', { message: 'another' }, headers);
  assert.equal(other.status, 422);
  await sleep(300);
  assert.equal(agent.prompts(prompt), 1);
  await stream.close();
});

test('a turn outlives the worker', async () => {
  const session = await client.create();
  const stream = await session.stream();
  const prompt = unique('stream 5; wait 4000; say after');
  await session.say(prompt);
  await stream.until((event) => updateOf(event, 'agent_message_chunk')?.content.text === '4 ', 'the turn runs');
  const seen = stream.cursors();
  await worker.evict();
  const rest = await session.stream({ lastEventId: seen.at(-1) });
  assert.equal((await rest.type('turn.completed')).data['stop-reason'], 'end_turn');
  assert.match(textOf(await rest.type('item.completed')), /^\w{8}0 1 2 3 4 after$/, 'nothing of the text is lost or doubled');
  assert.equal(agent.prompts(prompt), 1);
  const stored = (await session.events()).map((event) => event.cursor);
  assert.deepEqual(stored, [...seen, ...rest.cursors()]);
  // An approval outlives it as well.
  const from = rest.cursors().at(-1);
  await session.say(unique('ask'));
  const { data } = await rest.type('agent.approval_requested', from);
  await worker.evict();
  assert.equal((await session.ok('GET', '/approvals')).approvals.length, 1);
  await session.ok('POST', `/approvals/${encodeURIComponent(data['request-id'])}`, { decision: 'granted' });
  await eventually('the turn ends', async () => (await session.events(`?cursor=${from}`)).some((event) => event.type === 'turn.completed'));
});

test('orders that wait outlive the worker', async () => {
  const session = await client.create();
  await session.ok('POST', '/pause');
  const prompt = unique('say kept');
  await session.say(prompt);
  await worker.evict();
  assert.equal((await session.ok('POST', '/resume')).flushed, 1);
  await eventually('the turn ends', async () => (await session.events()).some((event) => event.type === 'turn.completed'));
  assert.equal(agent.prompts(prompt), 1);
});
