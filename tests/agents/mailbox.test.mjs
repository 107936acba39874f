// Runners that call us (docs/spec/session-mailbox.md 7) with the built worker under workerd, and a runner that does no more than the wire
// asks of it: it registers, attaches, stores what it is given in memory and says what its agent says.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';
import { Client, eventually, textOf } from './client.mjs';
import { Worker } from './processes.mjs';

let worker; let client;

before(async () => {
  // A runner that is silent for two seconds counts as gone within seven.
  worker = await Worker.start(null, { env: { LOCAL_RUNNER_HEARTBEAT_TTL_MS: '2000', RUN_TOKEN_KEYS: `k:${Buffer.alloc(32).toString('base64')}` } });
  client = new Client(worker.base);
});

after(() => worker?.stop());

/** A process of a runner. What it has stored outlives it: `copy` is handed to the next one. */
class Runner {
  constructor(id, { instance = crypto.randomUUID(), copy = new Map() } = {}) {
    Object.assign(this, { id, instance, copy, process: crypto.randomUUID() });
  }

  async register(more = {}) {
    const answer = await client.ask('POST', '/runners', { 'runner-id': this.id, transport: 'mailbox', 'instance-id': this.instance, 'max-sessions': 4, ...more });
    if (answer.status === 200) this.token = answer.body['runner-token'];
    return answer;
  }

  async ask(method, path, body, headers = {}) {
    const response = await fetch(`${worker.base}/runners/${encodeURIComponent(this.id)}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, ...(this.attached ? { 'x-runner-attach': this.attached } : {}), ...headers },
      body: body === undefined ? undefined : Buffer.isBuffer(body) ? body : JSON.stringify(body),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    let json = null;
    try { json = JSON.parse(bytes.toString()); } catch { /* bytes */ }
    return { status: response.status, headers: response.headers, bytes, body: json };
  }

  /** The body of an answer that must be 200. */
  async ok(path, body, method = 'POST') {
    const answer = await this.ask(method, path, body);
    assert.equal(answer.status, 200, `${path}: ${answer.bytes}`);
    return answer.body;
  }

  async attach() {
    const sessions = [...this.copy].map(([id, it]) => ({
      'session-id': id, 'mailbox-id': it.mailbox, lease: it.lease, 'work-seq': it.work, 'out-seq': it.seq, generation: 1, turn: null,
    }));
    const answer = await this.ok('/attach', { 'instance-id': this.instance, 'process-id': this.process, protocol: 1, version: 'test', 'max-sessions': 4, sessions });
    this.attached = answer['attach-id'];
    for (const it of answer.sessions) if (it.verdict !== 'keep') this.copy.delete(it['session-id']);
    return answer;
  }

  async poll(wait = 1_000, acks = []) {
    return this.ok('/poll', { acks, 'wait-ms': wait });
  }

  /** Waits for an item of a kind; everything that comes is stored and acknowledged. */
  async item(kind) {
    return eventually(`an item ${kind}`, async () => {
      this.items ??= [];
      const found = this.items.findIndex((it) => it.kind === kind);
      if (found >= 0) return this.items.splice(found, 1)[0];
      const { items } = await this.poll();
      for (const item of items) {
        const it = this.copy.get(item['session-id']);
        if (!it || it.lease !== item.lease) this.copy.set(item['session-id'], { mailbox: crypto.randomUUID(), lease: item.lease, work: 0, seq: 0 });
        this.copy.get(item['session-id']).work = Math.max(this.copy.get(item['session-id']).work, item['work-seq']);
        this.items.push(item);
      }
      if (items.length) {
        await this.ok('/acks', { acks: items.map((item) => ({ 'session-id': item['session-id'], 'item-id': item['item-id'], 'work-seq': item['work-seq'], result: 'stored' })) });
      }
      return null;
    });
  }

  event(session, kind, data, back = 0) {
    const it = this.copy.get(session);
    const seq = it.seq === 0 ? 1 : it.seq + 2 - back;
    return { seq, prev: it.seq, id: crypto.randomUUID(), ts: Date.now(), generation: 1, attempt: 1, kind, data };
  }

  send(session, events) {
    const it = this.copy.get(session);
    return this.ask('POST', `/sessions/${encodeURIComponent(session)}/events`, { 'mailbox-id': it.mailbox, lease: it.lease, events });
  }

  /** Says something of a session, which must be taken in. */
  async say(session, kind, data) {
    const event = this.event(session, kind, data);
    const answer = await this.send(session, [event]);
    assert.deepEqual([answer.status, answer.body.stored, answer.body.rejected], [200, 1, undefined], `${kind}: ${answer.bytes}`);
    this.copy.get(session).seq = answer.body['accepted-seq'];
    return event;
  }

  async opens(session) {
    const { body } = await this.item('session.open');
    await this.say(session, 'opened', { 'runtime-session-id': `agent of ${this.id}`, loaded: false, cwd: body.cwd });
  }

  async speaks(session, text) {
    const update = { sessionUpdate: 'agent_message_chunk', content: { type: 'text', text } };
    await this.say(session, 'update', { envelope: { jsonrpc: '2.0', method: 'session/update', params: { sessionId: `agent of ${this.id}`, update } } });
  }

  async starts(session) {
    const item = await this.item('prompt');
    const turn = { 'message-id': item['item-id'], run: item.body.run, attempt: item.body.attempt };
    await this.say(session, 'turn.started', turn);
    return { item, turn };
  }

  async ends(session, turn) {
    await this.say(session, 'turn.ended', { ...turn, 'stop-reason': 'end_turn' });
  }
}

const wanted = (id) => ({ 'runtime-provider': 'local-runner', 'runner-id': id });

/** A runner that is there. */
async function begin(id, more) {
  const runner = new Runner(id, more);
  assert.equal((await runner.register()).status, 200);
  await runner.attach();
  return runner;
}

test('a runner registers, attaches, and is known by its token alone', async () => {
  const offered = await client.ask('GET', '/runners');
  assert.equal(offered.headers.get('x-logseq-mailbox'), '1');
  const runner = new Runner('known');
  const { status, body } = await runner.register();
  assert.equal(status, 200);
  assert.match(body['runner-token'], /^lrt_[0-9a-f]{32}_[0-9a-f]{64}$/);
  assert.deepEqual([body.runner['base-url'], body.runner.transport, body.runner['instance-id'], body.runner['runner-epoch']], [null, 'mailbox', runner.instance, 1]);
  assert.deepEqual((await runner.ask('POST', '/poll', {})).body, { error: 'missing attach id' });
  const { limits } = await runner.attach();
  assert.equal(limits['batch-events'], 500);
  assert.equal((await runner.ask('GET', '')).status, 401, 'a user asks for that');
  assert.equal((await fetch(`${worker.base}/sessions`, { headers: { authorization: `Bearer ${runner.token}` } })).status, 401);
  assert.equal((await client.ask('POST', '/runners/known/poll', {})).status, 401);
  const stranger = new Runner('other');
  stranger.token = runner.token;
  assert.equal((await stranger.ask('POST', '/token', {})).status, 404);
  assert.equal((await client.ask('POST', '/runners/known/heartbeat', {})).body.error, 'runner uses the mailbox');
  const thief = new Runner('known');
  const refused = await thief.register();
  assert.deepEqual([refused.status, refused.body.error], [409, 'runner id in use']);
  // The next token counts beside the first until it is used.
  const first = runner.token;
  const next = (await runner.ok('/token', {}))['runner-token'];
  assert.deepEqual((await runner.poll(0)).items, []);
  runner.token = next;
  assert.deepEqual((await runner.poll(0)).items, []);
  runner.token = first;
  assert.deepEqual((await runner.ask('POST', '/poll', {})).body, { error: 'runner token superseded' });
  runner.token = next;
  // A second process takes the place of the first, also while that one waits.
  const waiting = runner.ask('POST', '/poll', { 'wait-ms': 1_500 });
  const second = new Runner('known', { instance: runner.instance });
  second.token = next;
  await second.attach();
  assert.deepEqual([(await waiting).status, (await runner.ask('POST', '/poll', {})).body.error], [409, 'runner superseded']);
  assert.deepEqual((await runner.ask('DELETE', '')).body, { ok: true });
  assert.deepEqual((await second.ask('POST', '/poll', {})).body, { error: 'runner revoked' });
  assert.equal((await client.ask('GET', '/runners/known')).status, 404);
});

test('a session is opened on the runner, and what its agent says streams to a viewer', async () => {
  const runner = await begin('streams');
  const id = crypto.randomUUID();
  const [session] = await Promise.all([client.create({ 'session-id': id, ...wanted('streams') }), runner.opens(id)]);
  assert.equal(session.created['runtime-provider'], 'local-runner');
  assert.equal((await session.events()).at(-1).type, 'session.provisioned', 'before the answer');
  const stream = await session.stream();
  await session.say('hello');
  const { item, turn } = await runner.starts(id);
  assert.deepEqual([item.body.by, item.body.role, item.body.content], ['only-user', 'owner', [{ type: 'text', text: 'hello' }]]);
  await runner.speaks(id, 'Hi ');
  await runner.speaks(id, 'there.');
  const renewed = await runner.ok('/leases', { sessions: [{ 'session-id': id, lease: item.lease, run: item.body.run, attempt: 1, 'want-run-token': true }] });
  assert.equal(renewed.sessions[0].state, 'held');
  assert.match(renewed.sessions[0]['run-token'], /^[\w-]+\.[\w-]+\.[\w-]+$/);
  await runner.ends(id, turn);
  assert.equal(textOf(await stream.type('item.completed')), 'Hi there.');
  await stream.type('turn.completed');
  await stream.close();
  // What is sent again changes nothing.
  const before = (await session.events()).length;
  const again = runner.event(id, 'usage', { totalTokens: 5 });
  assert.equal((await runner.send(id, [again])).body.stored, 1);
  assert.deepEqual((await runner.send(id, [again])).body, { 'accepted-seq': again.seq, stored: 0, duplicates: 1 });
  runner.copy.get(id).seq = again.seq;
  assert.equal((await session.events()).length, before);
  assert.equal((await runner.send(id, [{ ...again, seq: again.seq + 4, prev: again.seq + 2 }])).body.error, 'sequence gap');
});

test('files are stored by their digest before an event names them, and reports are shown', async () => {
  const runner = await begin('files');
  const id = crypto.randomUUID();
  const [session] = await Promise.all([client.create({ 'session-id': id, ...wanted('files') }), runner.opens(id)]);
  const bytes = crypto.randomBytes(100_000);
  const digest = crypto.createHash('sha256').update(bytes).digest('hex');
  const path = `/sessions/${id}/files/${digest}`;
  const named = { name: 'a.bin', sha256: digest, size: bytes.length };
  assert.equal((await runner.send(id, [runner.event(id, 'file', named)])).body.rejected.error, 'file missing');
  assert.equal((await runner.ask('PUT', path, Buffer.concat([bytes, bytes]))).body.error, 'digest mismatch');
  assert.deepEqual([(await runner.ask('PUT', path, bytes)).status, (await runner.ask('PUT', path, bytes)).status], [201, 200]);
  assert.deepEqual((await runner.ask('GET', path)).bytes, bytes);
  await runner.say(id, 'file', named);
  const report = { id: crypto.randomUUID(), code: 'disk-low', message: 'the disk is nearly full' };
  for (let twice = 0; twice < 2; twice += 1) assert.deepEqual(await runner.ok(`/sessions/${id}/notices`, report), { ok: true });
  const told = (await session.events()).filter(({ type }) => type === 'agent.file' || type === 'runner.notice');
  assert.deepEqual(told.map(({ data }) => data), [named, { code: 'disk-low', message: 'the disk is nearly full' }]);
  const { notices } = (await client.ask('GET', '/runners/files')).body.runner;
  assert.deepEqual(notices.map(({ code }) => code), ['disk-low']);
});

test('a runner that is away for a while finds its work, and its clients hear of both', async () => {
  const runner = await begin('away');
  const id = crypto.randomUUID();
  const [session] = await Promise.all([client.create({ 'session-id': id, ...wanted('away') }), runner.opens(id)]);
  await runner.ok('/detach', { reason: 'stop' });
  const offline = await eventually('offline', async () => (await session.events()).find(({ type }) => type === 'session.runner.offline'));
  assert.equal(offline.data.reason, 'stopped');
  for (const text of ['one', 'two']) await session.say(text);
  const shown = await session.ok('GET', '');
  assert.deepEqual([shown.runner.online, shown.runner.queued], [false, 2]);
  // The worker dies too; all of it is kept.
  await worker.evict();
  const next = new Runner('away', { instance: runner.instance, copy: runner.copy });
  next.token = runner.token;
  const { sessions } = await next.attach();
  assert.deepEqual(sessions.map(({ verdict }) => verdict), ['keep']);
  for (const text of ['one', 'two']) {
    const { item, turn } = await next.starts(id);
    assert.equal(item.body.content[0].text, text);
    await next.ends(id, turn);
  }
  const types = (await session.events()).map(({ type }) => type);
  assert.equal(types.filter((type) => type === 'session.runner.online').length, 1);
  assert.equal(types.filter((type) => type === 'turn.completed').length, 2);
  // Who says nothing at all is gone too.
  const silent = await eventually('silence is noticed', async () => (await session.events()).findLast(({ type, data }) => type === 'session.runner.offline' && data.reason === 'timeout'));
  assert.equal(silent.data['runner-id'], 'away');
});

test('a copy of a mailbox does not go on, and the turn that it had is over', async () => {
  const runner = await begin('copies');
  const id = crypto.randomUUID();
  const [session] = await Promise.all([client.create({ 'session-id': id, ...wanted('copies') }), runner.opens(id)]);
  const old = new Map([[id, { ...runner.copy.get(id) }]]);
  await session.say('hello');
  await runner.starts(id);
  const restored = new Runner('copies', { instance: runner.instance, copy: old });
  restored.token = runner.token;
  assert.deepEqual((await restored.attach()).sessions.map(({ verdict }) => verdict), ['stale']);
  const { reason } = (await eventually('the turn is over', async () => (await session.events()).find(({ type }) => type === 'agent.runtime.error'))).data;
  assert.equal(reason, 'turn-interrupted');
  assert.equal((await runner.send(id, [runner.event(id, 'usage', {})])).body.error, 'runner superseded');
  await session.say('again');
  await restored.opens(id);
  const { item } = await restored.starts(id);
  assert.equal(item.body.content[0].text, 'again');
});

test('a session is canceled, and one whose runner is deleted finds another', async () => {
  const runner = await begin('leaves');
  const id = crypto.randomUUID();
  const [session] = await Promise.all([client.create({ 'session-id': id, ...wanted('leaves') }), runner.opens(id)]);
  await session.ok('POST', '/cancel');
  await runner.item('session.cancel');
  await runner.say(id, 'closed', { transcript: null });
  await eventually('the session has left', async () => (await session.ok('GET', '')).runner === undefined);
  const other = crypto.randomUUID();
  const [moved] = await Promise.all([client.create({ 'session-id': other, 'runtime-provider': 'local-runner', 'runner-id': 'leaves' }), runner.opens(other)]);
  assert.deepEqual((await client.ask('DELETE', '/runners/leaves')).body, { ok: true });
  assert.equal((await runner.ask('POST', '/poll', {})).body.error, 'runner revoked');
  await eventually('the session knows', async () => (await moved.events()).some(({ type, data }) => type === 'session.runner.offline' && data.reason === 'revoked'));
  const successor = await begin('leaves');
  await moved.say('hello');
  await successor.opens(other);
  assert.equal((await successor.starts(other)).item.body.content[0].text, 'hello');
});
