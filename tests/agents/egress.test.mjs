// What sandboxes may talk to (agents.md 20.7): the rules that the built worker gives to E2B's stand-in, which checks them as E2B does. That
// E2B enforces them is E2B's.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { allows } from './e2b/network.mjs';
import { Sandboxed, project, turn, unique } from './sandboxed.mjs';

let it;

before(async () => {
  it = await Sandboxed.start({ env: { AGENT_EGRESS_ALLOW: '*.example.org, packages.example.net,10.0.0.0/8', OPENAI_BASE_URL: 'https://models.example/v1' } });
});

after(() => it?.stop());

test('a sandbox may talk to what is listed and needed, and to nobody else', async () => {
  const session = await it.create({ agent: { provider: 'claude', env: { ANTHROPIC_BASE_URL: 'https://evil.example' } } });
  assert.equal(session.created.egress, undefined);
  const { network } = it.sandbox(session);
  assert.deepEqual(network.denyOut, ['0.0.0.0/0']);
  for (const host of ['a.example.org', 'packages.example.net', '10.1.2.3', 'github.com', 'api.github.com', 'raw.githubusercontent.com', 'api.anthropic.com', 'models.example', '127.0.0.1']) assert.ok(allows(network, host), host);
  for (const host of ['example.org', 'evil.example', 'api.openai.com', '11.0.0.1', '8.8.8.8', 'github.com.evil.example', 'evilgithub.com']) assert.ok(!allows(network, host), host);
});

test('a project narrows the list and never widens it', async () => {
  const session = await it.create({ project: project({ egress: ['a.example.org', 'evil.example', '*.org', '0.0.0.0/0', '10.1.0.0/16'] }) });
  const { network } = it.sandbox(session);
  for (const host of ['a.example.org', '10.1.2.3', 'github.com']) assert.ok(allows(network, host), host);
  for (const host of ['b.example.org', 'evil.example', 'packages.example.net', '10.2.0.1', '8.8.8.8']) assert.ok(!allows(network, host), host);
  for (const egress of [['https://a.example.org'], ['a.example.org:443'], ['localhost'], 'a.example.org', [5], Array(101).fill('a.example.org'), ['*']]) {
    const answer = await it.client.ask('POST', '/sessions', {
      'session-id': 'wrong', 'node-id': 'node', 'node-title': 'T', content: 'C', attachments: [], project: project({ egress }), agent: { provider: 'claude' },
    });
    assert.deepEqual([answer.status, answer.body.error], [400, 'invalid body'], JSON.stringify(egress));
  }
});

test('a list that was changed comes with the next wake', async () => {
  const session = await it.create();
  const stream = await session.stream();
  await turn(session, stream, unique('say before'));
  const puts = () => it.e2b.called(new RegExp(`^PUT /sandboxes/${it.sandbox(session).id}/network$`)).length;
  assert.equal(puts(), 0);
  await stream.close();
  it.worker.env.AGENT_EGRESS_ALLOW = 'other.example';
  await it.worker.evict();
  const again = await session.stream({ lastEventId: stream.cursors().at(-1) });
  await turn(session, again, unique('say after'));
  const { network } = it.sandbox(session);
  assert.deepEqual([puts(), ...['other.example', 'a.example.org', 'github.com'].map((host) => allows(network, host))], [1, true, false, true], JSON.stringify(network));
  await turn(session, again, unique('say unchanged'));
  assert.equal(puts(), 1);
  await again.close();
  it.worker.env.AGENT_EGRESS_ALLOW = '';
  await it.worker.evict();
  const last = await session.stream({ lastEventId: again.cursors().at(-1) });
  await turn(session, last, unique('say open'));
  assert.ok(puts() === 2 && allows(it.sandbox(session).network, 'anyone.example'));
  await last.close();
});
