// A runner in transport `mailbox` from end to end: the real binary with the real shim, and the worker under workerd. Every case is told to two
// agents, one that speaks ACP itself and one behind the real sandbox-agent server.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { after, before, test } from 'node:test';
import { Client, eventually, textOf } from './client.mjs';
import { Machine, kill } from './machine.mjs';
import { Worker } from './processes.mjs';

const AGENTS = ['claude', 'pi'];
/** Longer than any time after which something would be killed, or end by itself: 30 s without a sign of life, and the limits that are set. */
const SLEEP_MS = 33_000;
/** Limits of seconds, each shorter than that. */
const LIMITS = { TURN_LIMIT: '20s', START_LIMIT: '20s', IDLE_EXIT: '20s', ORPHAN_LIMIT: '25s' };

let worker; let client; let machine;

before(async () => {
  worker = await Worker.start(null, { env: { RUN_TOKEN_KEYS: `k:${Buffer.alloc(32).toString('base64')}` } });
  client = new Client(worker.base);
  machine = new Machine(worker.base);
  await machine.start();
});

after(async () => {
  await worker?.stop();
  await machine?.remove();
});

const create = (provider) => client.create({
  'runtime-provider': 'local-runner', 'runner-id': machine.id, agent: { provider, 'permission-mode': 'default' },
});
const saidIn = async (session) => (await session.events()).filter((event) => event.type === 'item.completed').map(textOf);
const ends = async (session) => (await session.events()).filter((event) => event.type === 'turn.completed').length;

/** A case for each agent. */
function each(title, run) {
  for (const agent of AGENTS) test(`${agent}: ${title}`, () => run(agent));
}

each('a session works on a machine that nobody can call', async (agent) => {
  const session = await create(agent);
  const stream = await session.stream();
  await session.say(`say hello; tool; stream 10; write left.txt words of ${agent}`);
  const done = await stream.type('turn.completed');
  assert.equal(machine.prompts(`words of ${agent}`), 1);
  assert.match((await saidIn(session)).join(''), /hello/);
  const again = await session.say('recall').then(() => stream.type('turn.completed', done.cursor));
  assert.ok(again.cursor > done.cursor);
  assert.match((await saidIn(session)).at(-1), /say hello/);
  await stream.close();
});

each('questions are answered, each once', async (agent) => {
  const session = await create(agent);
  const stream = await session.stream();
  let from = 0;
  for (const [decision, heard] of [['granted', 'allowed'], ['denied', 'rejected']]) {
    await session.say('ask');
    const asked = await stream.type('agent.approval_requested', from);
    await session.ok('POST', `/approvals/${encodeURIComponent(asked.data['request-id'])}`, { decision });
    from = (await stream.type('turn.completed', from)).cursor;
    assert.match((await saidIn(session)).at(-1), new RegExp(heard));
  }
  await stream.close();
});

each('a turn that waits for an answer is interrupted', async (agent) => {
  const session = await create(agent);
  const stream = await session.stream();
  await session.say('ask; wait 600000');
  await stream.type('agent.approval_requested');
  await session.ok('POST', '/interrupt', {});
  const ended = await stream.type('turn.completed');
  assert.equal(ended.data['stop-reason'], 'cancelled');
  await session.ok('POST', '/resume', {});
  await session.say('say fine');
  await stream.type('turn.completed', ended.cursor);
  await stream.close();
});

each('a runner that is killed in the middle of a turn leaves it to the next one', async (agent) => {
  const session = await create(agent);
  const stream = await session.stream();
  const prompt = `say begun by ${agent}; wait 4000; say done`;
  await session.say(prompt);
  await eventually('the agent has it', () => machine.prompts(prompt) === 1);
  const before = machine.shims().sort();
  await machine.end('SIGKILL');
  await machine.start();
  await stream.type('turn.completed');
  assert.deepEqual(machine.shims().sort(), before, 'the same processes went on');
  assert.equal(machine.prompts(prompt), 1);
  await stream.close();
});

each('an agent that is killed in a turn is followed by one that is told so, and loads the conversation', async (agent) => {
  const session = await create(agent);
  const stream = await session.stream();
  await session.say(`say before of ${agent}`);
  const first = await stream.type('turn.completed');
  const prompt = `say killed ${agent}; wait 1500; recall`;
  await session.say(prompt);
  await eventually('the agent has it', () => machine.prompts(prompt) === 1);
  kill(machine.told().find(({ text }) => text === prompt).pid);
  await stream.type('turn.completed', first.cursor);
  assert.equal(machine.prompts(prompt), 2);
  assert.match((await saidIn(session)).at(-1), new RegExp(`say before of ${agent}`));
  await stream.close();
});

test('a machine that sleeps in its turns goes on with them, whatever is limited', async () => {
  await machine.end();
  // Agents that were started before have other limits.
  await machine.endAgents();
  await machine.start(LIMITS);
  const sessions = await Promise.all(AGENTS.map(create));
  const streams = await Promise.all(sessions.map((session) => session.stream()));
  const prompt = (agent) => `say asleep ${agent}; wait 4000; say awake`;
  await Promise.all(sessions.map((session, i) => session.say(prompt(AGENTS[i]))));
  await eventually('the agents have it', () => AGENTS.every((agent) => machine.prompts(prompt(agent)) === 1));
  const shims = machine.shims().sort();
  const all = [machine.runner.pid, ...shims, ...machine.tree().map(({ pid }) => pid)];
  for (const pid of all) kill(pid, 'SIGSTOP');
  await sleep(SLEEP_MS);
  // Whoever wakes first finds the others as they were: the sleeper's own clock says nothing of them.
  for (const pid of all) kill(pid, 'SIGCONT');
  for (const stream of streams) assert.equal((await stream.type('turn.completed')).data['stop-reason'], 'end_turn');
  assert.deepEqual(machine.shims().sort(), shims, 'nothing was killed, and nothing ended');
  for (const [i, session] of sessions.entries()) {
    assert.equal(machine.prompts(prompt(AGENTS[i])), 1);
    assert.deepEqual((await session.events()).filter(({ type }) => ['agent.runtime.error', 'runner.notice'].includes(type)), []);
  }
  for (const stream of streams) await stream.close();
});

test('an old copy of the state folder that is put back runs nothing twice', async () => {
  const sessions = await Promise.all(AGENTS.map(create));
  const say = async (text) => {
    for (const session of sessions) {
      const before = await ends(session);
      await session.say(text);
      await eventually(`the end of ${text}`, async () => (await ends(session)) > before);
    }
  };
  const stop = async () => {
    assert.equal(await machine.end('SIGTERM'), 0);
    await machine.endAgents();
  };
  await say('say first');
  await stop();
  const copy = path.join(machine.home, 'copy');
  execFileSync('cp', ['-a', machine.state, copy]);
  await machine.start();
  await say('say second');
  await stop();
  fs.rmSync(machine.state, { recursive: true });
  fs.renameSync(copy, machine.state);
  await machine.start();
  await say('say third');
  for (const session of sessions) assert.deepEqual(await saidIn(session), ['first', 'second', 'third']);
  assert.equal(machine.prompts('say second'), AGENTS.length, 'each once');
  assert.ok(fs.readdirSync(path.join(machine.state, 'stale')).length >= AGENTS.length);
  assert.equal(await machine.end('SIGTERM'), 0);
});
