// A conversation moves: from a runner that calls the worker to a sandbox, back, and to another runner (docs/spec/session-mailbox.md 7.5,
// docs/spec/transcripts.md 4.6). The real binaries, the built worker under workerd, the stand-in of E2B, and an agent that refuses a
// conversation of which anything was changed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';
import { eventually, textOf } from './client.mjs';
import { Machine } from './machine.mjs';
import { Sandboxed } from './sandboxed.mjs';

/** Whether this user may have mounts of its own. */
function hasWalls() {
  try {
    execFileSync('unshare', ['--user', '--map-root-user', '--mount', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const skip = hasWalls() ? false : 'no namespaces for users';
/** An agent within a wall writes its log there, and does not outlive the test for long. */
const SETTINGS = { RUNNER_DRIVER: 'bubblewrap', IDLE_EXIT: '2s', AGENT_LOG: '/home/user/agent.log', STDIN_LOG: '/home/user/stdin.log' };
let it; const machines = [];

before(async () => {
  if (skip) return;
  it = await Sandboxed.start({ env: { RUN_TOKEN_KEYS: `k:${Buffer.alloc(32).toString('base64')}` } });
  for (const id of ['workstation', 'laptop']) {
    const machine = new Machine(it.worker.base, { id, walls: true });
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

test('a conversation goes from a runner to a sandbox, back, and to another runner', { skip }, async () => {
  const [workstation, laptop] = machines;
  const session = await it.create({
    'runtime-provider': 'local-runner', 'runner-id': workstation.id,
    agent: { provider: 'claude', 'permission-mode': 'default', env: { AGENT_KEEPS: '1' } },
  });
  const stream = await session.stream();
  const turn = async (prompt) => {
    const from = stream.cursors().at(-1) ?? 0;
    await session.say(prompt);
    const { data } = await stream.type('turn.completed', from);
    assert.equal(data['stop-reason'], 'end_turn');
    return textOf(await stream.type('item.completed', from));
  };
  const kept = (run) => eventually(`${run} is kept`, async () => {
    const answer = await session.ask('GET', '/transcript');
    return answer.headers.get('x-snapshot-run-id') === run && answer.text;
  });
  const word = crypto.randomUUID();
  const texts = [`say noted ${word}`];
  await turn(texts[0]);
  const first = await kept('run-1');
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
    assert.equal(await turn('recall'), texts.join(' | '), `after the move to ${JSON.stringify(place)}`);
    const text = await kept(`run-${number + 2}`);
    assert.ok(text.startsWith(first), 'nothing of what was written before is changed');
  }
  const events = await session.events();
  const loaded = events.filter(({ type }) => type.startsWith('transcript.')).map(({ type, data }) => `${type} ${data.run}`);
  assert.deepEqual(loaded, ['run-1', 'run-2', 'run-3', 'run-4'].map((run) => `transcript.loaded ${run}`));
  assert.equal(events.filter(({ type }) => type === 'session.runner.moved').length, places.length);
  assert.deepEqual(events.filter(({ type }) => type === 'agent.runtime.error'), []);
  await stream.close();
});
