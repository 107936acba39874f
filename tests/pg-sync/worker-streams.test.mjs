// The log of a bridge of the agents worker as a durable stream, read by the official client in every mode (pg-sync.md 2.9, 4.14): what streams.test.mjs is for the native
// server. The worker is the built one, under workerd.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { stream } from '@durable-streams/client';
import { Client } from '../agents/client.mjs';
import { SandboxAgent, TOKEN, Worker } from '../agents/processes.mjs';
import { SERVICE_SECRET, harness } from './harness.mjs';
import { HEADERS, follow as read, ids, writesNothing } from './stream-reader.mjs';

const LIMIT_MS = 60_000;
const authorization = `Bearer ${TOKEN}`;

let agents;
let worker;
let client;
const these = harness(async () => {
  const others = { url: 'http://127.0.0.1:9/v1/shape' };
  agents = await SandboxAgent.start();
  worker = await Worker.start(agents.url, {
    env: {
      PG_SYNC_CONNECTIONS: JSON.stringify({
        main: { url: these.url, secret_env: 'SHAPES_SECRET', poll_ms: 100 }, closed: { ...others, users: ['somebody-else'] }, few: { url: `${these.url}?few=1`, tables: ['public.few'] },
      }),
      SHAPES_SECRET: SERVICE_SECRET,
    },
  });
  client = new Client(worker.base);
});
const { sql, together } = these;

after(async () => { await worker?.stop(); await agents?.stop(); });

const ask = (path, init = {}) => fetch(`${worker.base}${path}`, { ...init, headers: { authorization, ...init.headers } });
const register = (options, more = {}) => ask('/_electric/pg-sync/register', { method: 'POST', body: JSON.stringify({ options: { url: these.url, ...options }, ...more }) });

async function registered(options) {
  const answer = await register(options);
  const body = await answer.json();
  assert.equal(answer.status, 200, `${JSON.stringify(body)} ${worker.output.slice(-2_000)}`);
  return body;
}

const head = async (path) => (await ask(path, { method: 'HEAD' })).headers.get('stream-next-offset');

async function until(isThere, what) {
  const end = Date.now() + LIMIT_MS;
  while (!await isThere()) {
    if (Date.now() > end) assert.fail(`${what} did not come: ${worker.output.slice(-2_000)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Reads with the official client until there are so many events. */
const follow = (path, live, count, offset) => read(`${worker.base}${path}`, { authorization, live, count, offset, log: () => worker.output });

test('changes are read from where the stream was asked for: what there is, by long poll and by events (facts 5, 6, 9)', async () => {
  const table = await these.table('id int PRIMARY KEY, big bigint');
  await sql(`INSERT INTO ${table} VALUES (0, 0)`);
  const owner = /^\/_electric\/pg-sync\/([0-9a-f]{32})\//;
  const { sourceRef, streamUrl } = await registered({ table, replica: 'full' });
  assert.match(sourceRef, /^[0-9a-f]{16}$/);
  assert.match(streamUrl, owner);
  assert.deepEqual(await registered({ table, replica: 'full' }), { sourceRef, streamUrl }, 'asking again is the same stream');
  await sql(`INSERT INTO ${table} VALUES (1, 9007199254740993)`);
  await sql(`UPDATE ${table} SET big = 2 WHERE id = 1`);
  await until(async () => /_0{15}2$/.test(await head(streamUrl)), 'the changes');
  const caughtUp = await stream({ url: `${worker.base}${streamUrl}`, live: false, headers: { authorization } });
  const events = await caughtUp.json();
  assert.deepEqual(events.map(({ type, key, headers }) => [type, key, headers.operation]), [['pg_sync_change', `"public"."${table}"/"1"`, 'insert'], ['pg_sync_change', `"public"."${table}"/"1"`, 'update']]);
  assert.deepEqual([events[0].value.value, events[1].value.old_value], [{ id: '1', big: '9007199254740993' }, { big: '9007199254740993' }]);
  const { offset } = caughtUp;
  for (const [live, first] of [['long-poll', 10], ['sse', 20]]) {
    const reading = follow(streamUrl, live, 3, await head(streamUrl));
    for (const id of [first, first + 1, first + 2]) await sql(`INSERT INTO ${table} VALUES (${id}, 1)`);
    assert.deepEqual(ids(await reading), [first, first + 1, first + 2].map(String), live);
  }
  // Across a death of everything nothing is missing.
  await worker.kill();
  await sql(`INSERT INTO ${table} VALUES (30, 1)`);
  await worker.run();
  assert.deepEqual(ids(await follow(streamUrl, 'long-poll', 7, offset)), ['10', '11', '12', '20', '21', '22', '30']);
});

test('what waits ends: a long poll with 204 and a cursor, events with what says that there is nothing', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const { streamUrl } = await registered({ table });
  const begun = Date.now();
  const [poll, events] = await Promise.all([
    ask(`${streamUrl}?offset=now&live=long-poll`),
    ask(`${streamUrl}?offset=now&live=sse`).then(async (answer) => {
      const reader = answer.body.getReader();
      const { value } = await reader.read();
      await reader.cancel();
      return { answer, text: Buffer.from(value).toString() };
    }),
  ]);
  assert.deepEqual([poll.status, await poll.text(), poll.headers.get('stream-next-offset')], [204, '', await head(streamUrl)]);
  assert.ok(Date.now() - begun > 15_000 && poll.headers.get('stream-cursor') && poll.headers.get('cache-control') === 'private, no-store');
  assert.equal(events.answer.headers.get('content-type'), 'text/event-stream');
  assert.match(events.text, /^event: control\ndata:\{"streamNextOffset":"[0-9_]+","streamCursor":"\d+","upToDate":true\}\n\n$/);
});

test('an answer holds at most 500 events, and says whether more is there', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const { streamUrl } = await registered({ table });
  await together(Array.from({ length: 1_201 }, (_, id) => [`INSERT INTO ${table} VALUES (${id})`]));
  await until(async () => /_0{12}1201$/.test(await head(streamUrl)), 'the changes');
  const sizes = [];
  let offset = '-1';
  for (let isEnd = false; !isEnd;) {
    const answer = await ask(`${streamUrl}?offset=${offset}`);
    sizes.push((await answer.json()).length);
    offset = answer.headers.get('stream-next-offset');
    isEnd = answer.headers.get('stream-up-to-date') === 'true';
  }
  assert.deepEqual(sizes, [500, 500, 201]);
});

test('nobody else reads or writes, and what cannot be followed is refused (facts 7, 8, 9)', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const { streamUrl, sourceRef } = await registered({ table });
  const code = async (answer) => {
    const its = await answer;
    await its.arrayBuffer();
    for (const name of HEADERS) assert.ok(its.headers.get(name), `${name} on ${its.status}`);
    return its.status;
  };
  const [, owner] = /pg-sync\/([0-9a-f]+)\//.exec(streamUrl);
  const incarnation = (await head(streamUrl)).slice(0, 16);
  const earlier = String(Number(incarnation) - 1).padStart(16, '0');
  const none = '0'.repeat(16);
  for (const [status, path, init] of [
    [200, streamUrl],
    [204, streamUrl, { method: 'OPTIONS' }],
    [401, streamUrl, { headers: { authorization: 'Bearer of-somebody-else' } }],
    [401, `${streamUrl}?token=${TOKEN}`, { headers: { authorization: '' } }],
    ...['POST', 'PUT', 'PATCH', 'DELETE'].map((method) => [404, streamUrl, { method, ...(method !== 'DELETE' && { body: '[]' }) }]),
    [404, streamUrl.replace(owner, '0'.repeat(32))],
    [404, streamUrl.replace(sourceRef, '0'.repeat(16))],
    [404, `${streamUrl}/`],
    [404, streamUrl.replace('/pg-sync/', '/pg-sync//')],
    [404, streamUrl.replace(owner, owner.toUpperCase().replace(/^\d+$/, 'A'))],
    [404, '/_electric/pg-sync/register'],
    [404, '/_electric/pg-sync/register/x', { method: 'POST', body: '{}' }],
    [400, `${streamUrl}?offset=`],
    [400, `${streamUrl}?offset=-1&offset=-1`],
    [400, `${streamUrl}?live=sse`],
    [400, `${streamUrl}?offset=${incarnation}_${'9'.repeat(16)}`],
    [400, `${streamUrl}?offset=${'9'.repeat(16)}_${none}`],
    [410, `${streamUrl}?offset=${earlier}_${none}`],
  ]) assert.equal(await code(ask(path, init)), status, `${init?.method ?? 'GET'} ${path}`);
  const refusal = async (options, more) => {
    const answer = await register(options, more);
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    return [answer.status, (await answer.json()).error];
  };
  assert.deepEqual(await refusal({ table: '' }), [400, 'invalid_options']);
  assert.deepEqual(await refusal({ table, url: '' }), [400, 'invalid_options']);
  assert.deepEqual(await refusal({ table }, { tenant: 'another' }), [400, 'invalid_options']);
  assert.deepEqual(await refusal({ table, url: 'http://127.0.0.1:9/other' }), [403, 'url_not_allowed']);
  assert.deepEqual(await refusal({ table, url: 'http://127.0.0.1:9/v1/shape' }), [403, 'url_not_allowed'], 'a connection for somebody else');
  assert.deepEqual(await refusal({ table, url: `${these.url}?few=1` }), [403, 'table_not_allowed']);
  assert.deepEqual(await refusal({ table, where: 'nonsense (' }), [400, 'probe_failed']);
  assert.deepEqual(await refusal({ table: 'no_such_table' }), [400, 'probe_failed']);
  assert.equal((await ask('/_electric/pg-sync/register', { method: 'POST', body: ' '.repeat(20_000) })).status, 413);
  // The same etag, the same answer: none.
  const answer = await ask(streamUrl);
  assert.equal(answer.headers.get('cache-control'), 'private, no-store');
  const again = await ask(streamUrl, { headers: { 'if-none-match': answer.headers.get('etag') } });
  assert.deepEqual([again.status, await again.text(), again.headers.get('cache-control')], [304, '', null]);
});

test('a release has none of the routes that write streams', () => writesNothing(ask));

test('the stream of an observation is there with it, registered by whoever reads it', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const session = await client.create();
  await session.ok('POST', '/pause');
  const { status, body } = await session.ask('POST', '/pg-sync', { connection: 'main', table });
  assert.equal(status, 201);
  const answer = await ask(body.streamUrl);
  assert.deepEqual([answer.status, await answer.json()], [200, []]);
  assert.match(await head(body.streamUrl), /_0{16}$/);
  await sql(`INSERT INTO ${table} VALUES (1)`);
  await until(async () => (await (await ask(body.streamUrl)).json()).length === 1, 'the change');
  assert.deepEqual(await registered({ table }), { sourceRef: body.sourceRef, streamUrl: body.streamUrl });
});

test('a session and a reader share a source, and each goes without the other', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const { streamUrl, sourceRef } = await registered({ table });
  const session = await client.create();
  await session.ok('POST', '/pause');
  const observed = await session.ask('POST', '/pg-sync', { connection: 'main', table });
  assert.deepEqual([observed.status, observed.body.sourceRef, observed.body.streamUrl], [201, sourceRef, streamUrl]);
  assert.equal((await session.ok('GET', '/pg-sync')).observations[0].observers, 1, 'who reads is no observer');
  await sql(`INSERT INTO ${table} VALUES (1)`);
  await until(async () => /_0{15}1$/.test(await head(streamUrl)), 'the change');
  await until(async () => (await session.events('?limit=1000')).some(({ type }) => type === 'pg_sync.change'), 'the wake');
  await session.ask('DELETE', `/pg-sync/${observed.body.source_id}`);
  await sql(`INSERT INTO ${table} VALUES (2)`);
  await until(async () => /_0{15}2$/.test(await head(streamUrl)), 'the change after the session has gone');
});
