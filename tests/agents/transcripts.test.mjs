// The facts of transcripts.md 3 and the tests of transcripts.md 6 against the built worker under workerd, with D1, R2 and Durable
// Objects. The agent here keeps nothing itself: whoever holds a run token stores.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Client, eventually } from './client.mjs';
import { SandboxAgent, Worker } from './processes.mjs';
import { KEY, claimsOf, signed, tokenOf } from './run-tokens.mjs';

const ALIAS = '/worker/transcript/snapshot';
let agent; let worker; let client;

before(async () => {
  agent = await SandboxAgent.start();
  worker = await Worker.start(agent.url, { env: { AGENT_PROMPT_POST_MS: '500', AGENT_STOP_GRACE_MS: '500' } });
  client = new Client(worker.base);
});

after(async () => {
  await worker?.stop();
  await agent?.stop();
});

/** A request with a token; gives status, body and headers. */
async function ask(method, path, { token, body, headers = {}, duplex } = {}) {
  const response = await fetch(worker.base + path, { method, body, duplex, headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers } });
  const bytes = Buffer.from(await response.arrayBuffer());
  let json = null;
  try { json = JSON.parse(bytes.toString()); } catch { /* told by `bytes` */ }
  return { status: response.status, json, bytes, headers: response.headers };
}

const post = (token, snapshotJsonl, runId, terminalStatus = 'completed') => ask('POST', ALIAS, { token, body: JSON.stringify({ terminalStatus, snapshotJsonl, runId }) });
const get = (token) => ask('GET', ALIAS, { token });
const put = (session, run, body, { token = tokenOf(session.id, run), status = 'completed', headers = {} } = {}) => ask('PUT', `${session.path}/runs/run-${run}/transcript`, { token, body, headers: { 'x-terminal-status': status, ...headers } });

/** A session with a turn that goes on until it is interrupted. */
async function running(more) {
  const session = await client.create(more);
  session.stream = await session.stream();
  await begin(session);
  return session;
}

/** Begins the next turn. */
async function begin(session) {
  const prompt = `say ${crypto.randomUUID()}; wait 600000`;
  await session.say(prompt);
  await eventually('the turn runs', () => agent.prompts(prompt) === 1);
  await session.stream.until((event) => event.type === 'agent.runtime' && event.data.update?.content?.text === prompt.split(' ')[1].replace(';', ''), 'the turn runs');
}

/** Ends the turn. */
async function end(session) {
  const from = session.stream.cursors().at(-1) ?? 0;
  await session.ok('POST', '/interrupt');
  await session.stream.type('turn.completed', from);
  await session.ok('POST', '/resume');
}

async function next(session) {
  await end(session);
  await begin(session);
}

test('what was completed last is read, byte for byte (facts 12, 13, 31)', async () => {
  const session = await running();
  assert.equal((await get(tokenOf(session.id, 1))).status, 404);
  const texts = ['{"a":1}\n', `{"ä":"😀"}\r\n${'x'.repeat(600 * 1024)}\n`, '{"a":3}\n'];
  for (const [at, text] of texts.entries()) {
    const run = at + 1;
    assert.deepEqual((await post(tokenOf(session.id, run), text, run)).json, { id: run });
    const read = await get(tokenOf(session.id, run));
    assert.equal(read.status, 200);
    assert.equal(read.headers.get('content-type'), 'application/x-ndjson; charset=utf-8');
    assert.equal(read.headers.get('x-snapshot-run-id'), `run-${run}`);
    assert.ok(read.bytes.equals(Buffer.from(text)));
    await next(session);
  }
  assert.equal((await post(tokenOf(session.id, 4), 'later', 4, 'failed')).status, 200);
  assert.equal((await get(tokenOf(session.id, 4))).bytes.toString(), texts[2]);
});

test('a token is for one run of one session of one user (facts 14, 15, 16, 23)', async () => {
  const [one, two] = [await running(), await running()];
  await next(one);
  const foreign = { sub: 'somebody-else' };
  for (const [name, token, run] of [
    ['another run', tokenOf(one.id, 1), 2],
    ['no run', tokenOf(one.id, 1, { run: undefined, seq: undefined }), 1],
    ['a run that never was', tokenOf(one.id, 9), 9],
    ['another name of the run', tokenOf(one.id, 1, { run: 'run-2' }), 1],
    ['another user', tokenOf(one.id, 1, foreign), 1],
    ['a session that never was', tokenOf(crypto.randomUUID(), 1), 1],
    ['a token that only reads', tokenOf(one.id, 1, { scope: ['transcript:read'] }), 1],
  ]) {
    const answer = await post(token, 'x', run);
    assert.equal(answer.status, 403, name);
    assert.deepEqual(Object.keys(answer.json), ['error'], name);
  }
  assert.equal((await get(tokenOf(one.id, 1))).status, 404, 'nothing was stored');
  assert.equal((await post(tokenOf(one.id, 1), 'one', 1)).status, 200);
  assert.equal((await get(tokenOf(two.id, 1))).status, 404);
  assert.equal((await get(tokenOf(one.id, 1, foreign))).status, 403);
  assert.equal((await get(tokenOf(one.id, 1, { scope: [] }))).status, 403);
  const native = await put(two, 1, 'x', { token: tokenOf(one.id, 1) });
  assert.deepEqual([native.status, native.json.code], [403, 'run_not_in_session']);
});

test('a second upload of a run (facts 17, 18; the table of 4.4)', async () => {
  const session = await running();
  const token = tokenOf(session.id, 1);
  for (const [text, status, expected, left] of [
    ['x', 'failed', 200, null],
    ['a', 'completed', 200, 'a'],
    ['a', 'completed', 200, 'a'],
    ['abc', 'completed', 200, 'abc'],
    ['ab', 'completed', 409, 'abc'],
    ['abx', 'completed', 409, 'abc'],
    ['abcd', 'failed', 409, 'abc'],
    ['abcd', 'completed', 200, 'abcd'],
  ]) {
    const answer = await post(token, text, 1, status);
    assert.equal(answer.status, expected, `${text} ${status}: ${answer.bytes}`);
    const read = await get(token);
    assert.equal(read.status === 200 ? read.bytes.toString() : null, left);
  }
  for (const [body, status, token2, code] of [
    ['x', 'completed', tokenOf(session.id, 1), 'divergent'],
    ['abcd', 'timeout', tokenOf(session.id, 1), 'completed_exists'],
    ['abcd', 'partial', tokenOf(session.id, 1), 'completed_exists'],
    ['abcde', 'completed', tokenOf(session.id, 1, { att: 0 }), 'stale_attempt'],
  ]) {
    const answer = await put(session, 1, body, { status, token: token2 });
    assert.deepEqual([answer.status, answer.json.code], [409, code], `${body} ${status}`);
  }
});

test('bodies are checked (facts 19, 20, 35)', async () => {
  const session = await running();
  const token = tokenOf(session.id, 1);
  const good = { terminalStatus: 'completed', snapshotJsonl: 'x', runId: 1 };
  for (const body of ['', '{', '[]', ...[
    { terminalStatus: 'done' }, { terminalStatus: null }, { snapshotJsonl: '' }, { snapshotJsonl: 7 }, { runId: '1' }, { runId: 0 }, { runId: -1 },
    { runId: 1.5 }, { runId: null },
  ].map((wrong) => JSON.stringify({ ...good, ...wrong }))]) {
    const answer = await ask('POST', ALIAS, { token, body });
    assert.equal(answer.status, 400, body);
    assert.deepEqual(Object.keys(answer.json), ['error']);
  }
  const limit = 4 * 1024 * 1024;
  // Bytes count, not characters; too large is told before the run is looked at.
  assert.equal((await post(token, `${'ä'.repeat(limit / 2)}x`, 9)).status, 413);
  assert.equal((await post(token, 'ä'.repeat(limit / 2), 1)).status, 200);
  assert.equal((await get(token)).bytes.length, limit);
  const long = Buffer.alloc(limit + 1, 1);
  assert.deepEqual((await put(session, 1, long)).json.code, 'too_large');
});

test('bytes stay bytes', async () => {
  const session = await running();
  for (const [at, bytes] of [crypto.randomBytes(600_000), Buffer.from([0xff, 0xfe, 0xc3]), Buffer.alloc(0), Buffer.from('a\r\nb')].entries()) {
    if (at) await next(session);
    const run = at + 1;
    const digest = `sha-256=${crypto.createHash('sha256').update(bytes).digest('base64')}`;
    assert.equal((await put(session, run, bytes, { headers: { digest } })).status, 200);
    const read = await ask('GET', `${session.path}/transcript`, { token: client.token });
    assert.ok(read.bytes.equals(bytes));
    assert.equal(read.headers.get('etag'), `"${crypto.createHash('sha256').update(bytes).digest('hex')}"`);
    const packed = await put(session, run, gzipSync(bytes), { headers: { digest, 'content-encoding': 'gzip' } });
    assert.equal(packed.status, 200, 'the same again, compressed');
  }
  const wrong = await put(session, 4, 'abc', { headers: { digest: `sha-256=${Buffer.alloc(32).toString('base64')}` } });
  assert.deepEqual([wrong.status, wrong.json.code], [422, 'digest_mismatch']);
});

test('parts, and what is known already', async () => {
  const session = await running();
  await put(session, 1, '0123456789');
  const read = (headers) => ask('GET', `${session.path}/transcript`, { token: client.token, headers });
  const { headers } = await read({});
  assert.equal((await read({ 'if-none-match': headers.get('etag') })).status, 304);
  const part = await read({ range: 'bytes=3-5' });
  assert.deepEqual([part.status, part.bytes.toString(), part.headers.get('content-range')], [206, '345', 'bytes 3-5/10']);
  assert.equal((await read({ range: 'bytes=10-' })).status, 416);
  const tar = await read({ accept: 'application/x-tar' });
  assert.equal(tar.headers.get('content-type'), 'application/x-tar');
  assert.equal(tar.bytes.toString('latin1', 0, 13), 'manifest.json');
  assert.equal((await put(session, 1, tar.bytes, { headers: { 'content-type': 'application/x-tar' } })).status, 200, 'what was read can be stored');
});

test('a reset forgets one conversation, and nothing comes back (facts 21, 22)', async () => {
  const [one, two] = [await running(), await running()];
  await post(tokenOf(one.id, 1), 'one', 1);
  await post(tokenOf(two.id, 1), 'two', 1);
  await next(one);
  await post(tokenOf(one.id, 2), 'failed', 2, 'failed');
  const token = tokenOf(one.id, 2);
  const reset = () => ask('DELETE', ALIAS, { token });
  assert.equal((await ask('DELETE', ALIAS, { token: tokenOf(one.id, 1) })).status, 403, 'a run that is over resets nothing');
  assert.deepEqual((await reset()).json, { deleted: 2, epoch: 1 });
  assert.equal((await get(token)).status, 404);
  assert.equal((await reset()).json.deleted, 0);
  assert.equal((await get(tokenOf(two.id, 1))).bytes.toString(), 'two');
  const late = await put(one, 1, 'late');
  assert.deepEqual([late.status, late.json.code], [410, 'epoch_gone']);
  assert.equal((await post(tokenOf(one.id, 1), 'late', 1)).status, 410);
  // The run that began anew goes on.
  assert.equal((await post(token, 'anew', 2)).status, 200);
  assert.equal((await get(token)).bytes.toString(), 'anew');
});

test('a deleted session leaves no conversation, and a later one of its name none to go on with', async () => {
  const session = await running();
  const token = tokenOf(session.id, 1);
  await post(token, 'one', 1);
  await session.ok('DELETE', '');
  await eventually('it is gone', async () => (await session.ask('GET', '')).status === 404);
  assert.equal((await get(token)).status, 404);
  assert.equal((await post(token, 'late', 1)).status, 403);
  const again = await running({ 'session-id': session.id });
  assert.equal((await ask('GET', `${again.path}/transcript`, { token: client.token })).status, 204);
  assert.equal((await post(token, 'late', 1)).status, 410, 'a token of the earlier session');
});

test('a reset wins over an upload in flight', async () => {
  const session = await running();
  await put(session, 1, 'one');
  const body = new TransformStream();
  const writer = body.writable.getWriter();
  const flight = ask('PUT', `${session.path}/runs/run-1/transcript`, {
    token: tokenOf(session.id, 1), body: body.readable, duplex: 'half', headers: { 'x-terminal-status': 'completed' },
  });
  await writer.write(Buffer.from('one'));
  await session.ok('DELETE', '/transcript');
  await writer.write(Buffer.from('two'));
  await writer.close();
  assert.deepEqual((await flight).json.code, 'epoch_gone');
  assert.equal((await get(tokenOf(session.id, 1, { ep: 1 }))).status, 404);
});

test('tokens have an end, a beginning and a signature (fact 25)', async () => {
  const session = await running();
  const now = Math.floor(Date.now() / 1000);
  const claims = (more) => claimsOf(session.id, 1, more);
  for (const [name, token, status] of [
    ['good', signed(claims()), 404],
    ['29 s in the future', signed(claims({ iat: now + 29, exp: now + 929 })), 404],
    ['40 s in the future', signed(claims({ iat: now + 40, exp: now + 940 })), 401],
    ['expired', signed(claims({ iat: now - 900, exp: now - 1 })), 401],
    ['valid for too long', signed(claims({ exp: now + 100_000 })), 401],
    ['another key', signed(claims(), { key: Buffer.alloc(32) }), 401],
    ['an unknown key', signed(claims(), { header: { kid: 'k9' } }), 401],
    ['another kind', signed(claims(), { header: { typ: 'JWT' } }), 401],
    ['no algorithm', signed(claims(), { header: { alg: 'none' } }), 401],
    ['changed', signed(claims()).replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')), 401],
    ['none', undefined, 401],
    ['a user', client.token, 401],
  ]) {
    assert.equal((await get(token)).status, status, name);
  }
  assert.equal(KEY.length, 32);
  assert.equal((await put(session, 1, 'x', { token: client.token })).status, 401, 'a user stores nothing');
});

test('a token is renewed while its run goes on, and that survives a restart (fact 26)', async () => {
  const session = await running();
  const claims = claimsOf(session.id, 1, { iat: Math.floor(Date.now() / 1000) - 600, exp: Math.floor(Date.now() / 1000) + 300, later: { kept: true } });
  const renew = (token, body) => ask('POST', `${session.path}/runs/run-1/token`, { token, body });
  const renewed = async (body) => {
    const answer = await renew(signed(claims), body);
    assert.equal(answer.status, 200, answer.bytes.toString());
    assert.ok(Math.abs(answer.json['expires-at'] - Date.now() - 900_000) < 60_000);
    return answer.json.token;
  };
  const saysOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
  const rest = ({ iat, exp, jti, ...others }) => others;
  const token = await renewed();
  assert.deepEqual(rest(saysOf(token)), rest(claims), 'nothing else changes');
  assert.equal(saysOf(await renewed(JSON.stringify({ attempt: 3 }))).att, 3);
  assert.equal((await renew(signed(claims), JSON.stringify({ attempt: 0 }))).status, 400);
  assert.equal((await renew(tokenOf(session.id, 2))).status, 403);
  assert.equal((await renew(tokenOf(session.id, 1, { run: undefined, seq: undefined }))).status, 403);
  await worker.evict();
  const again = await renewed();
  assert.equal((await put(session, 1, 'after a restart', { token: again })).status, 200);
  await session.ok('POST', '/interrupt');
  await eventually('the turn ends', async () => (await session.events()).some((event) => event.type === 'turn.completed'));
  assert.equal((await renew(again)).status, 403, 'its run is over');
  assert.equal((await put(session, 1, 'after a restart, and after the end', { token: again })).status, 200, 'a while is left for uploads');
});

test('a run that is stored late is filed under its own number (facts 32, 33)', async () => {
  const session = await running();
  await post(tokenOf(session.id, 1), 'one', 1);
  await next(session);
  await next(session);
  assert.equal((await get(tokenOf(session.id, 3))).bytes.toString(), 'one', 'a turn that was never stored is passed over');
  await post(tokenOf(session.id, 3), 'three', 3);
  await post(tokenOf(session.id, 2), 'two', 2);
  assert.equal((await get(tokenOf(session.id, 3))).bytes.toString(), 'three');
  assert.equal((await ask('GET', `${session.path}/transcript?run=run-2`, { token: client.token })).bytes.toString(), 'two');
});

test('people read the last completed conversation of their own sessions (fact 34)', async () => {
  const session = await running();
  const read = (query = '', token = client.token) => ask('GET', `${session.path}/transcript${query}`, { token });
  const none = await read();
  assert.deepEqual([none.status, none.bytes.length], [204, 0]);
  await put(session, 1, 'half', { status: 'partial' });
  assert.equal((await read()).status, 204, 'what is unfinished is not gone on from');
  assert.equal((await read('?run=run-1')).bytes.toString(), 'half', 'it is there for whoever asks for it');
  await put(session, 1, 'one');
  const found = await read();
  assert.deepEqual([found.bytes.toString(), found.headers.get('x-snapshot-epoch')], ['one', '0']);
  assert.equal((await read('?run=run-9')).status, 404);
  assert.equal((await read('', 'nobody')).status, 401);
  assert.equal((await ask('GET', `/sessions/${crypto.randomUUID()}/transcript`, { token: client.token })).status, 404);
  await agent.stop();
  assert.equal((await read()).bytes.toString(), 'one', 'with no sandbox at all');
  agent = await SandboxAgent.start({ port: agent.port });
});

test('a body of a gibibyte is refused, and not held', async () => {
  const session = await running();
  const resident = () => {
    const lines = execFileSync('ps', ['-A', '-o', 'ppid=,rss=,comm='], { encoding: 'utf8' }).split('\n').map((line) => line.trim().split(/\s+/));
    return Number(lines.find(([parent, , name]) => Number(parent) === worker.child.pid && name?.includes('workerd'))[1]) * 1024;
  };
  const start = resident();
  // A body that is refused by its length is not read to its end: the client may see the answer, or a connection that is cut.
  const declared = await put(session, 1, new Uint8Array(8 << 20)).catch((cut) => cut);
  assert.ok(declared instanceof Error || declared.status === 413, `${declared.status}`);
  let given = 0;
  let most = 0;
  const chunk = new Uint8Array(1 << 20);
  const body = new ReadableStream({
    async pull(controller) {
      if (given % (32 << 20) === 0) most = Math.max(most, resident());
      given += chunk.length;
      if (given > 1 << 30) controller.close();
      else controller.enqueue(chunk);
    },
  });
  const answer = await ask('PUT', `${session.path}/runs/run-1/transcript`, {
    token: tokenOf(session.id, 1), body, duplex: 'half', headers: { 'x-terminal-status': 'completed' },
  }).catch((cut) => cut);
  assert.ok(answer instanceof Error || answer.status === 413, `${answer.status}`);
  assert.ok(most - start < 200 << 20, `${(most - start) >> 20} MiB more`);
  const bomb = await put(session, 1, gzipSync(Buffer.alloc(256 << 20)), { headers: { 'content-encoding': 'gzip' } });
  assert.deepEqual([bomb.status, bomb.json.code], [413, 'too_large']);
  assert.ok(resident() - start < 200 << 20);
});
