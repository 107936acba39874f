// Kills at random while messages flow (docs/spec/session-mailbox.md 6): the runner, the shims and the agents of a machine, and workerd, each by
// SIGKILL and workerd at times by SIGTERM, and all of it comes back over the same files:
//   node tests/agents/storm.mjs [--kills N] [--messages N] [--seed N]
// LOGSEQ_RUNNER names the runner, MAILBOX_SIDE the program `mailbox-side` of tests/mailbox, which reads the files. In the end: every message has
// exactly one end at its session, in the order of the messages; an agent got none more than twice; what shims have stored of what agents said
// is at the session once and in order; the files of every mailbox are whole, and none was given up.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, textOf } from './client.mjs';
import { Machine, kill } from './machine.mjs';
import { Worker } from './processes.mjs';
import { seeded } from './seeded.mjs';

const { values: args } = parseArgs({
  options: { kills: { type: 'string', default: '100' }, messages: { type: 'string', default: '200' }, seed: { type: 'string', default: '1' } },
});
const KILLS = Number(args.kills);
const MESSAGES = Number(args.messages);
const SESSIONS = 4;
/** The longest time between two kills, in milliseconds. */
const PAUSE_MS = 600;
/** How long everything may take to settle after the last kill: five tries wait for 155 s. */
const SETTLE_MS = 300_000;
const SIDE = process.env.MAILBOX_SIDE;
assert.ok(SIDE, 'MAILBOX_SIDE names the program mailbox-side');

const random = seeded(Number(args.seed));

const side = (...words) => execFileSync(SIDE, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** A session, what was sent to it, and what its shims have stored. */
class Watched {
  constructor(session) {
    Object.assign(this, { session, sent: [], said: new Map() });
  }

  /** Sends a message until somebody has it: one that may have been lost is sent again under the same key. */
  async say(number) {
    const orders = ['stream 20', 'wait 50', 'tool; wait 300', 'wait 400; tool', 'stream 3; tool; wait 100; stream 3'][random(5)];
    const text = `say message-${number} ; ${orders} ; say end-${number}`;
    const key = crypto.randomUUID();
    for (;;) {
      const answer = await this.session.ask('POST', '/messages', { message: text, kind: 'user' }, { 'idempotency-key': key }).catch(() => null);
      if (answer?.status === 200) break;
      if (answer && answer.status < 500 && answer.status !== 429 && answer.status !== 409) throw new Error(`a message was answered ${answer.status}: ${answer.text}`);
      await sleep(50);
    }
    this.sent.push({ number, text });
  }

  /** Takes in what its shims have stored since the last time; shims remove in the end what the worker has. */
  gather(folder) {
    let lines;
    try {
      lines = side('said', path.join(folder, 'out/outbound.db'), String(Math.max(0, ...this.said.keys())));
    } catch {
      return; // Its writer was killed in the middle: whoever comes next rolls it back.
    }
    for (const line of lines.split('\n').filter(Boolean).map((it) => JSON.parse(it))) this.said.set(line.seq, line);
  }

  events() {
    return this.session.events('?limit=100000');
  }
}

/** Whether an event ends a message. */
const ends = ({ type, data }) => type === 'turn.completed' || (type === 'agent.runtime.error' && data.message.startsWith('the message was not carried out'));

/** What of the agent's is to be found at the session, in the same form for both: calls of tools, and ends of turns. */
function told(kind, update, stopReason) {
  if (kind === 'update' && ['tool_call', 'tool_call_update'].includes(update?.sessionUpdate)) return `${update.sessionUpdate} ${update.toolCallId} ${update.status}`;
  return kind === 'turn.ended' ? `end ${stopReason}` : null;
}

/** All that the agent said in words, as its shims have stored it. */
const textsStored = (outputs) => outputs.map(({ kind, content }) => {
  const update = kind === 'update' ? content.envelope?.params?.update : null;
  return update?.sessionUpdate === 'agent_message_chunk' ? update.content.text : '';
}).join('');

/** The same, as the session has it. */
const textsShown = (events) => events.filter(({ type }) => type === 'item.completed').map(textOf).join('');

const worker = await Worker.start(null, { env: { RUN_TOKEN_KEYS: `k:${Buffer.alloc(32).toString('base64')}`, AGENT_MAX_ORDERS: '1000' } });
const client = new Client(worker.base);
const machine = new Machine(worker.base);
let gathering = null;
const counts = { runner: 0, shim: 0, agent: 0, worker: 0 };

/** One kill. Whoever was killed comes back, the agent's side by itself. */
async function strike() {
  const what = ['runner', 'runner', 'shim', 'agent', 'agent', 'shim', 'runner', 'worker'][random(8)];
  if (what === 'runner') {
    await machine.end('SIGKILL');
    machine.begin();
  } else if (what === 'worker') {
    await (random(3) ? worker.kill() : worker.stop());
    await worker.run();
  } else {
    const pids = what === 'shim' ? machine.shims() : machine.agents();
    if (!pids.length || !kill(pids[random(pids.length)])) return false;
  }
  counts[what] += 1;
  return true;
}

/** The runner must live, unless it was killed here. */
function runs() {
  const { exitCode, signalCode } = machine.runner;
  assert.ok(exitCode === null && signalCode === null, `the runner ended by itself with ${signalCode ?? exitCode}: ${machine.output}`);
}

try {
  await machine.start();
  const watched = [];
  for (let i = 0; i < SESSIONS; i += 1) watched.push(new Watched(await client.create({ 'runtime-provider': 'local-runner', 'runner-id': machine.id })));
  const gather = () => {
    const folders = new Map(machine.sessions().map(({ id, folder }) => [id, folder]));
    for (const it of watched) if (folders.has(it.session.id)) it.gather(folders.get(it.session.id));
  };
  // Shims remove what the worker has.
  gathering = setInterval(gather, 1_000);
  const start = Date.now();
  let struck = 0;
  let sending = Promise.resolve();
  for (let number = 0; struck < KILLS || number < MESSAGES;) {
    // Messages are spread over all of the kills.
    for (; number < MESSAGES && number * KILLS <= (struck + 1) * MESSAGES; number += 1) {
      const [to, one] = [watched[number % SESSIONS], number];
      sending = sending.then(() => to.say(one));
    }
    sending.catch(() => {});
    await sleep(random(PAUSE_MS));
    runs();
    if (struck < KILLS && await strike()) struck += 1;
    gather();
    if (struck % 20 === 0) console.log(`${struck} kills, ${watched.reduce((n, it) => n + it.sent.length, 0)} messages, ${Math.round((Date.now() - start) / 1000)} s`);
  }
  await sending;

  // Everything comes to an end.
  const until = Date.now() + SETTLE_MS;
  for (;;) {
    runs();
    gather();
    const open = [];
    for (const it of watched) {
      const ended = (await it.events()).filter(ends).length;
      if (ended < it.sent.length) open.push(`${it.session.id}: ${ended} of ${it.sent.length}`);
    }
    if (!open.length) break;
    if (Date.now() > until) throw new Error(`not settled: ${open.join('; ')}\n${machine.output}`);
    await sleep(500);
  }
  const settled = Date.now();
  await sleep(1_000);
  gather();

  const codes = new Set(machine.output.match(/moved aside|hostile|corrupt|mixed/g) ?? []);
  assert.deepEqual([...codes], [], machine.output);
  assert.ok(!fs.existsSync(path.join(machine.state, 'stale')), 'no mailbox was given up');
  let [interrupted, whole] = [0, 0];
  for (const it of watched) {
    const events = await it.events();
    const id = it.session.id;
    // One end each, in their order: what was said before an end is about its message, all of it unless the turn was interrupted.
    const finished = events.filter(ends);
    assert.equal(finished.length, it.sent.length, `${id}: an end for each message`);
    const isCut = ({ type, data }) => type !== 'turn.completed' || data['stop-reason'] === 'error';
    interrupted += finished.filter(isCut).length;
    let place = 0;
    for (const event of events) {
      if (event.type === 'item.completed' && !isCut(finished[place])) assert.ok(textOf(event).includes(`end-${it.sent[place].number}`), `${id}: ${textOf(event)} before the end of ${it.sent[place].text}`);
      if (ends(event)) place += 1;
    }
    // What a shim has stored is at the session once and in order. A shim removes once a minute what the worker has: of outputs that were gone
    // before they were gathered here, only what stands around them is known.
    const outputs = [...it.said.values()].sort((a, b) => a.seq - b.seq).filter(({ prev }) => prev !== null);
    const isWhole = outputs.every(({ prev }, i) => prev === (outputs[i - 1]?.seq ?? 0));
    const stored = outputs.flatMap(({ kind, content }) => told(kind, content.envelope?.params?.update, content['stop-reason']) ?? []);
    const shown = events.flatMap(({ type, data }) => told(type === 'agent.runtime' ? 'update' : type === 'turn.completed' ? 'turn.ended' : type, data.update, data['stop-reason']) ?? []);
    const calls = shown.filter((one) => one.startsWith('tool'));
    assert.equal(new Set(calls).size, calls.length, `${id}: each call of a tool is told once`);
    if (isWhole) assert.deepEqual(shown, stored, `${id}: what the agent said, at the session`);
    if (isWhole) assert.equal(textsShown(events), textsStored(outputs), `${id}: the agent's words, at the session`);
    let found = 0;
    for (const one of shown) if (one === stored[found]) found += 1;
    assert.equal(found, stored.length, `${id}: ${stored[found]} is not at the session, or not in its place`);
    whole += isWhole ? 1 : 0;
    for (const { number } of it.sent) assert.ok(machine.prompts(`say message-${number} `) <= 2, `message ${number} was sent more than twice`);
  }
  await machine.end('SIGTERM');
  const folders = machine.sessions();
  assert.equal(folders.length, SESSIONS);
  await machine.endAgents();
  for (const { folder } of folders) for (const file of ['in/inbound.db', 'out/outbound.db']) assert.equal(side('whole', path.join(folder, file)).trim(), 'ok', file);
  console.log(`${struck} kills (${Object.entries(counts).map(([what, n]) => `${n} of a ${what}`).join(', ')}) in ${Math.round((settled - start) / 1000)} s: ${MESSAGES} messages with one end each, ${interrupted} of them interrupted; all outputs compared in ${whole} of ${SESSIONS} sessions; files whole`);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  clearInterval(gathering);
  await worker.stop();
  await machine.remove();
}
