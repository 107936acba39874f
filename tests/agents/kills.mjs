// Kills workerd at random moments while turns run, and starts it again over the same data:
//   node tests/agents/kills.mjs [--kills N] [--seed N]
// AGENTS_KILLS is the same as --kills (default 100). The agent counts prompts. In the end: no prompt came twice, every message
// that was acknowledged was either answered or its loss is told (agents.md 3.8: what was being sent when the worker died
// is never sent again), no event that a viewer or a query saw is missing, no cursor came twice or went back.
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from './client.mjs';
import { SandboxAgent, Worker } from './processes.mjs';
import { seeded } from './seeded.mjs';

const { values: args } = parseArgs({ options: { kills: { type: 'string' }, seed: { type: 'string', default: '1' } } });
const KILLS = Number(args.kills ?? process.env.AGENTS_KILLS ?? 100);
const SESSIONS = 4;
/** The longest time between two kills, in milliseconds. */
const LIFE_MS = 1500;
/** How long everything may take to settle after the last kill. */
const SETTLE_MS = 180_000;

const random = seeded(Number(args.seed));

/** A session, everything that was ever seen of it, and what was sent. */
class Watched {
  constructor(session) {
    Object.assign(this, { session, seen: new Map(), acknowledged: [], sent: 0 });
  }

  /** Keeps a stored event. One that was seen before must be the same. */
  see(event) {
    if (event.cursor === undefined) return;
    const before = this.seen.get(event.cursor);
    if (before) assert.deepEqual(event, before, `session ${this.session.id}: cursor ${event.cursor} is another event`);
    else this.seen.set(event.cursor, event);
  }

  /** Sends a message; it counts when the answer came. */
  async say() {
    this.sent += 1;
    const orders = ['stream 20', 'wait 50', 'tool', 'wait 400', 'stream 3; wait 100; stream 3'][random(5)];
    const prompt = `say ${this.session.id.slice(0, 8)}-${this.sent} ; ${orders}`;
    const answer = await this.session.ask('POST', '/messages', { message: prompt, kind: 'user' }).catch(() => null);
    if (answer?.status === 200) this.acknowledged.push(prompt);
    else if (answer && answer.status < 500 && answer.status !== 429) throw new Error(`a message was answered ${answer.status}: ${answer.text}`);
  }

  /** Watches the stream until it breaks. What it shows twice in one go, or out of order, is an error. */
  async watch() {
    const stream = await this.session.stream({ lastEventId: Math.max(0, ...this.seen.keys()) }).catch(() => null);
    if (!stream) return;
    await stream.reading;
    const cursors = stream.cursors();
    assert.ok(cursors.every((cursor, i) => i === 0 || cursor > cursors[i - 1]), `session ${this.session.id}: a stream went ${cursors}`);
    for (const { id, data } of stream.frames) if (id !== undefined) this.see(data);
  }

  /** All that is stored now: nothing that was seen may be missing. */
  async check() {
    const stored = await this.session.events('?limit=10000');
    const cursors = stored.flatMap((event) => (event.cursor === undefined ? [] : [event.cursor]));
    assert.ok(cursors.every((cursor, i) => i === 0 || cursor > cursors[i - 1]), `session ${this.session.id}: stored are ${cursors}`);
    for (const cursor of this.seen.keys()) assert.ok(cursors.includes(cursor), `session ${this.session.id}: event ${cursor} is lost`);
    stored.forEach((event) => this.see(event));
    return stored;
  }
}

const agent = await SandboxAgent.start();
const worker = await Worker.start(agent.url, { env: { AGENT_PROMPT_POST_MS: '2000', AGENT_MAX_ORDERS: '1000' } });
const client = new Client(worker.base);
let failed = null;
const problem = (error) => { failed ??= error; };
try {
  const watched = [];
  for (let i = 0; i < SESSIONS; i += 1) watched.push(new Watched(await client.create()));
  const start = Date.now();
  for (let kill = 1; kill <= KILLS && !failed; kill += 1) {
    const watching = watched.map((it) => it.watch().catch(problem));
    const until = Date.now() + random(LIFE_MS);
    while (Date.now() < until) {
      await watched[random(SESSIONS)].say();
      await sleep(random(200));
    }
    // One message may be on its way when the worker dies.
    const last = watched[random(SESSIONS)].say().catch(problem);
    await sleep(random(30));
    await worker.kill();
    await Promise.all([last, ...watching]);
    await worker.run();
    for (const it of watched) await it.check();
    if (kill % 10 === 0 || kill === KILLS) console.log(`${kill} kills, ${watched.reduce((n, it) => n + it.acknowledged.length, 0)} messages, ${agent.told().length} prompts, ${Math.round((Date.now() - start) / 1000)} s`);
  }
  if (failed) throw failed;

  // Everything comes to an end: each message is answered, or it is told that nobody knows.
  const until = Date.now() + SETTLE_MS;
  for (;;) {
    const open = [];
    for (const it of watched) {
      const stored = await it.check();
      const told = stored.filter((event) => ['turn.completed', 'agent.runtime.error'].includes(event.type)).length;
      const prompts = agent.told().filter(({ text }) => text?.startsWith(`say ${it.session.id.slice(0, 8)}-`)).length;
      const unanswered = it.acknowledged.filter((prompt) => agent.prompts(prompt) === 0).length;
      const unconfirmed = stored.filter((event) => event.type === 'agent.runtime.error').length;
      if (told < prompts || unanswered > unconfirmed) open.push(`${it.session.id}: ${prompts} prompts, ${told} ends, ${unanswered} unanswered, ${unconfirmed} errors`);
    }
    if (!open.length) break;
    if (Date.now() > until) throw new Error(`not settled: ${open.join('; ')}`);
    await sleep(500);
  }

  const texts = agent.told().flatMap(({ text }) => (text ? [text] : []));
  const twice = texts.filter((text, i) => texts.indexOf(text) !== i);
  assert.deepEqual(twice, [], 'prompts that came twice');
  const lost = watched.flatMap((it) => it.acknowledged).filter((prompt) => !texts.includes(prompt));
  console.log(`${KILLS} kills: ${texts.length} prompts, none twice; ${lost.length} messages given up and told; ${watched.reduce((n, it) => n + it.seen.size, 0)} events, none lost`);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await worker.stop();
  await agent.stop();
}
