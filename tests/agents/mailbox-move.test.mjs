// A conversation moves: from a runner that calls the worker to a sandbox, back, and to another runner (docs/spec/session-mailbox.md 7.5,
// docs/spec/transcripts.md 4.6); it is begun anew; its session is deleted. The real binaries, the built worker under workerd, the stand-in of
// E2B, and an agent that refuses a conversation of which anything was changed.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, textOf } from './client.mjs';
import { Machine, hasWalls } from './machine.mjs';
import { Sandboxed } from './sandboxed.mjs';

const skip = hasWalls() ? false : 'bubblewrap cannot be used here';
/** An agent within a wall writes its log there, and does not outlive the test for long. */
const SETTINGS = { RUNNER_DRIVER: 'bubblewrap', IDLE_EXIT: '2s', AGENT_LOG: '/home/user/agent.log', STDIN_LOG: '/home/user/stdin.log' };
let it; const machines = [];

before(async () => {
  if (skip) return;
  it = await Sandboxed.start({ env: { RUN_TOKEN_KEYS: `k:${Buffer.alloc(32).toString('base64')}` } });
  for (const id of ['workstation', 'laptop']) {
    const machine = new Machine(it.worker.base, { id });
    machines.push(machine);
    await machine.start(SETTINGS);
  }
});

after(async () => {
  for (const machine of machines) {
    await machine.end('SIGTERM');
    await eventually('its agents have ended', () => machine.shims().length === 0, 60_000);
    await machine.remove();
  }
  await it?.stop();
});

const create = (machine) => it.create({
  'runtime-provider': 'local-runner', 'runner-id': machine.id,
  agent: { provider: 'claude', 'permission-mode': 'default', env: { AGENT_KEEPS: '1' } },
});

/** Carries a prompt out; what the agent said. */
async function turn(session, stream, prompt) {
  const from = stream.cursors().at(-1) ?? 0;
  await session.say(prompt);
  const { data } = await stream.type('turn.completed', from);
  assert.equal(data['stop-reason'], 'end_turn');
  return textOf(await stream.type('item.completed', from));
}

/** Waits until the conversation of a run is kept; what it is. */
const kept = (session, run) => eventually(`${run} is kept`, async () => {
  const answer = await session.ask('GET', '/transcript');
  return answer.headers.get('x-snapshot-run-id') === run && answer.text;
});

test('a conversation goes from a runner to a sandbox, back, and to another runner', { skip }, async () => {
  const [workstation, laptop] = machines;
  const session = await create(workstation);
  const stream = await session.stream();
  const word = crypto.randomUUID();
  const texts = [`say noted ${word}`];
  await turn(session, stream, texts[0]);
  const first = await kept(session, 'run-1');
  assert.ok(first.includes(word));
  const places = [
    { 'runtime-provider': 'e2b' },
    { 'runtime-provider': 'local-runner', 'runner-id': workstation.id },
    { 'runtime-provider': 'local-runner', 'runner-id': laptop.id },
    { 'runtime-provider': 'e2b' },
  ];
  for (const [number, place] of places.entries()) {
    await session.ok('POST', '/move', place);
    texts.push('recall');
    assert.equal(await turn(session, stream, 'recall'), texts.join(' | '), `after the move to ${JSON.stringify(place)}`);
    const text = await kept(session, `run-${number + 2}`);
    assert.ok(text.startsWith(first), 'nothing of what was written before is changed');
  }
  const events = await session.events();
  const loaded = events.filter(({ type }) => type.startsWith('transcript.')).map(({ type, data }) => `${type} ${data.run}`);
  assert.deepEqual(loaded, ['run-1', 'run-2', 'run-3', 'run-4'].map((run) => `transcript.loaded ${run}`));
  assert.equal(events.filter(({ type }) => type === 'session.runner.moved').length, places.length);
  assert.deepEqual(events.filter(({ type }) => type === 'agent.runtime.error'), []);
  await stream.close();
});

test('a conversation that is begun anew is forgotten by an agent that goes on, and by the next machine', { skip }, async () => {
  const [workstation, laptop] = machines;
  const session = await create(workstation);
  const stream = await session.stream();
  await turn(session, stream, 'say before');
  await kept(session, 'run-1');
  await session.ok('DELETE', '/transcript');
  assert.equal(await turn(session, stream, 'recall'), 'recall');
  await kept(session, 'run-2');
  await session.ok('POST', '/move', { 'runtime-provider': 'local-runner', 'runner-id': laptop.id });
  assert.equal(await turn(session, stream, 'recall'), 'recall | recall');
  await stream.close();
});

test('a session that is deleted is closed at its runner', { skip }, async () => {
  const [workstation] = machines;
  const session = await create(workstation);
  const stream = await session.stream();
  await turn(session, stream, 'say here');
  await stream.close();
  const { folder } = workstation.sessions().find(({ id }) => id === session.id);
  const closedAt = () => JSON.parse(fs.readFileSync(path.join(folder, 'session.json'), 'utf8'))['closed-at'];
  assert.equal(closedAt(), null);
  await session.ok('DELETE', '');
  await eventually('its folder is on its way out', closedAt);
});
