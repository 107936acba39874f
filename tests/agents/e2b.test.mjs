// Sessions in sandboxes from end to end: the built worker under workerd, E2B's stand-in (e2b-server.mjs), and in its sandboxes
// the real sandbox-agent server with an agent that does what its prompt says (agent.mjs).
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import { after, before, test } from 'node:test';
import { eventually, textOf } from './client.mjs';
import { AGENT_PORT } from './e2b/image.mjs';
import { members } from './e2b/tree.mjs';
import { Sandboxed, project, runs, turn, unique } from './sandboxed.mjs';

let it;

before(async () => { it = await Sandboxed.start(); });

after(() => it?.stop());

test('a session gets a sandbox, and streams what its agent says there', async () => {
  const session = await it.create();
  assert.equal(session.created['runtime-provider'], 'e2b');
  assert.equal(session.created['terminal-enabled'], true);
  const stream = await session.stream();
  const provisioned = await stream.type('session.provisioned');
  const own = it.sandbox(session);
  assert.equal(provisioned.data['sandbox-id'], own.id);
  assert.deepEqual(Object.keys(own.metadata).sort(), ['environment', 'intent-id', 'runtime-provider', 'runtime-session-id', 'service', 'session-id', 'user-id']);
  assert.ok(own.endAt.getTime() - Date.now() > 29 * 60_000, 'it lives for the usual half hour');

  const prompt = unique('stream 3; tool; write made.txt something');
  fs.mkdirSync(own.path('workspace/project'), { recursive: true });
  assert.equal((await turn(session, stream, prompt)).data['stop-reason'], 'end_turn');
  assert.match(textOf(await stream.type('item.completed')), /^\w{8}0 1 2 wrote made.txt$/);
  assert.equal(it.prompts(session, prompt), 1);
  assert.equal(fs.readFileSync(own.path('workspace/project/made.txt'), 'utf8'), 'something\n');
  // Nobody reaches the agent without its token.
  const { status } = await fetch(`${it.e2b.url}/v1/acp`, { headers: { 'x-e2b-host': `${AGENT_PORT}-${own.id}.${it.e2b.domain}` } });
  assert.equal(status, 401);
  await stream.close();
});

test('an interrupted turn ends in its sandbox; one that does not heed it is killed there', async () => {
  const session = await it.create();
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
  assert.equal(it.sandboxes(session).length, 1);
  await stream.close();
});

test('a canceled session pauses its sandbox, and a message wakes it as it was', async () => {
  const session = await it.create();
  const stream = await session.stream();
  await turn(session, stream, unique('tool'));
  const own = it.sandbox(session);
  fs.writeFileSync(own.path('kept'), 'kept');
  await session.ok('POST', '/cancel');
  await eventually('it is paused', () => own.state === 'paused');
  await eventually('nothing in it runs', async () => (await members(own.id)).every(({ stopped }) => stopped));
  const prompt = unique('say again');
  assert.equal((await turn(session, stream, prompt)).data['stop-reason'], 'end_turn');
  assert.equal(it.sandbox(session), own);
  assert.equal(own.state, 'running');
  assert.equal(fs.readFileSync(own.path('kept'), 'utf8'), 'kept');
  assert.equal(it.prompts(session, prompt), 1);
  await stream.close();
});

test('what a snapshot holds is there in the next session of the project', async () => {
  const project_ = project({ 'repo-url': `https://git.invalid/acme/${crypto.randomUUID()}` });
  const first = await it.create({ project: project_ });
  const stream = await first.stream();
  await turn(first, stream, unique('tool'));
  fs.writeFileSync(it.sandbox(first).path('notes'), 'from the first');
  const taken = await first.ok('POST', '/snapshot');
  assert.equal(taken.status, 'snapshot-created');
  assert.ok(it.e2b.templates.find(taken['snapshot-id']));
  assert.equal((await stream.type('sandbox.snapshot.succeeded')).data['snapshot-id'], taken['snapshot-id']);
  await turn(first, stream, unique('say on'));
  await stream.close();

  const second = await it.create({ project: project_ });
  const other = await second.stream();
  assert.equal((await other.type('sandbox.restore.succeeded')).data['snapshot-id'], taken['snapshot-id']);
  assert.equal((await turn(second, other, unique('tool'))).data['stop-reason'], 'end_turn');
  assert.equal(fs.readFileSync(it.sandbox(second).path('notes'), 'utf8'), 'from the first');
  // The agent server of the first session was in the snapshot, and is not there any more.
  const [[, revived]] = it.sandbox(second).revived;
  assert.ok(!(await members(it.sandbox(second).id)).some(({ pid }) => pid === revived));
  await other.close();

  // One that is gone is told of, and the session begins with the usual image.
  it.e2b.templates.remove(taken['snapshot-id']);
  const third = await it.create({ project: project_ });
  const last = await third.stream();
  await last.type('sandbox.restore.failed');
  assert.equal((await turn(third, last, unique('tool'))).data['stop-reason'], 'end_turn');
  assert.ok(!fs.existsSync(it.sandbox(third).path('notes')));
  await last.close();
});
