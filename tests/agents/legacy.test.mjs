// The older dialect of sandbox-agent, end to end, against a server written from its documented contract.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, eventually } from './client.mjs';
import { LegacyServer } from './legacy.mjs';
import { Worker } from './processes.mjs';

let server; let worker; let client;

before(async () => {
  server = await LegacyServer.start();
  worker = await Worker.start(server.url);
  client = new Client(worker.base);
});

after(async () => {
  await worker?.stop();
  await server?.stop();
});

/** The text of a message of the older dialect, which is stored as it came. */
const said = (event) => event.data.data?.item?.content?.[0]?.text;

test('the dialect is found out, and a turn is streamed and stored', async () => {
  const session = await client.create();
  const stream = await session.stream();
  await session.say('say one; say two');
  const completed = await stream.until((event) => event.type === 'item.completed', 'the answer');
  assert.equal(said(completed), 'onetwo');
  assert.ok(stream.frames.some(({ id, data }) => data.type === 'item.delta' && id === undefined), 'deltas are live only');
  await stream.type('turn.completed');
  const from = stream.cursors().at(-1);
  await session.say('say three');
  await stream.type('turn.completed', from);
  assert.deepEqual(server.messages.filter((it) => /^say (one|three)/.test(it)), ['say one; say two', 'say three']);
  assert.equal(server.sessions.get(session.id).agent, 'claude');
  await stream.close();
});

test('a permission is asked for and given', async () => {
  const session = await client.create();
  const stream = await session.stream();
  await session.say('ask; say done');
  const { data } = await stream.type('agent.approval_requested');
  await session.ok('POST', `/approvals/${encodeURIComponent(data['request-id'])}`, { decision: 'granted' });
  const completed = await stream.until((event) => event.type === 'item.completed', 'the answer');
  assert.equal(said(completed), 'oncedone');
  await stream.type('turn.completed');
  await stream.close();
});

test('an error ends the turn, and the session goes on', async () => {
  const session = await client.create();
  const stream = await session.stream();
  await session.say('fail');
  await stream.type('turn.completed');
  const from = stream.cursors().at(-1);
  await session.say('say more');
  await stream.type('turn.completed', from);
  await stream.close();
});

test('a canceled session is terminated', async () => {
  const session = await client.create();
  await session.say('wait 60000');
  await session.ok('POST', '/cancel');
  await eventually('the server is told', () => server.terminated.includes(session.id));
});

test('a turn outlives the worker', async () => {
  const session = await client.create();
  const message = 'say before; wait 3000; say after';
  await session.say(message);
  await eventually('the turn runs', () => server.messages.includes(message));
  await worker.evict();
  const completed = await eventually('the answer', async () => (await session.events()).find((event) => event.type === 'item.completed'));
  assert.equal(said(completed), 'beforeafter');
  assert.equal(server.messages.filter((it) => it === message).length, 1);
});
