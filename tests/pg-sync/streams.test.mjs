// The log of a native bridge as a durable stream, read by the official client in every mode (pg-sync.md 2.9, 4.14). `LOGSEQ_SYNC_BIN` is the server.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { stream } from '@durable-streams/client';
import { harness } from './harness.mjs';
import { Server, TOKEN, folder } from './native-server.mjs';
import { until } from './scenes.mjs';
import { HEADERS, follow as read, ids, writesNothing } from './stream-reader.mjs';

const these = harness();
const { sql, together } = these;
const authorization = `Bearer ${TOKEN}`;

const config = (more = '') => `
[pg_sync.connections.main]
url = "${these.url}"
secret_file = "${folder}/service.secret"
${more}
`;

const started = async (name, more) => {
  const server = new Server(name, config(more));
  await server.start();
  server.ask = (path, init = {}) => fetch(`${server.base}${path}`, { ...init, headers: { authorization, ...init.headers } });
  server.register = (options, more = {}) => server.ask('/_electric/pg-sync/register', { method: 'POST', body: JSON.stringify({ options: { url: these.url, ...options }, ...more }) });
  return server;
};

const registered = async (server, options) => {
  const answer = await server.register(options);
  const body = await answer.json();
  assert.equal(answer.status, 200, `${JSON.stringify(body)} ${server.log}`);
  return body;
};

/** Reads with the official client until there are so many events. */
const follow = (server, path, live, count, offset) => read(`${server.base}${path}`, { authorization, live, count, offset, log: () => server.log });

test('changes are read from where the stream was asked for: what there is, by long poll and by events', async () => {
  const table = await these.table('id int PRIMARY KEY, big bigint');
  await sql(`INSERT INTO ${table} VALUES (0, 0)`);
  const server = await started('streams');
  const { sourceRef, streamUrl } = await registered(server, { table, replica: 'full' });
  assert.match(sourceRef, /^[0-9a-f]{16}$/);
  assert.match(streamUrl, new RegExp(`^/_electric/pg-sync/[0-9a-f]{32}/${sourceRef}$`));
  assert.deepEqual(await registered(server, { table, replica: 'full' }), { sourceRef, streamUrl }, 'asking again is the same stream');
  await sql(`INSERT INTO ${table} VALUES (1, 9007199254740993)`);
  await sql(`UPDATE ${table} SET big = 2 WHERE id = 1`);
  const head = async () => (await server.ask(streamUrl, { method: 'HEAD' })).headers.get('stream-next-offset');
  await until(async () => /_0{15}2$/.test(await head()), () => 'the changes');
  const caughtUp = await stream({ url: `${server.base}${streamUrl}`, live: false, headers: { authorization } });
  const events = await caughtUp.json();
  assert.deepEqual(events.map(({ type, key, headers }) => [type, key, headers.operation]), [['pg_sync_change', `"public"."${table}"/"1"`, 'insert'], ['pg_sync_change', `"public"."${table}"/"1"`, 'update']]);
  assert.deepEqual(events[0].value.value, { id: '1', big: '9007199254740993' });
  assert.deepEqual(events[1].value.old_value, { big: '9007199254740993' });
  const offset = caughtUp.offset;
  for (const [live, first] of [['long-poll', 10], ['sse', 20]]) {
    const reading = follow(server, streamUrl, live, 3, await head());
    for (const id of [first, first + 1, first + 2]) await sql(`INSERT INTO ${table} VALUES (${id}, 1)`);
    assert.deepEqual(ids(await reading), [first, first + 1, first + 2].map(String), live);
  }
  // Across a restart nothing is missing.
  await server.kill();
  await sql(`INSERT INTO ${table} VALUES (30, 1)`);
  await server.start();
  assert.deepEqual(ids(await follow(server, streamUrl, 'long-poll', 7, offset)), ['10', '11', '12', '20', '21', '22', '30']);
  await server.kill('SIGTERM');
  assert.equal(server.child.exitCode, 0, server.log);
});

test('an answer holds at most 500 events, and says whether more is there', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const server = await started('chunks');
  const { streamUrl } = await registered(server, { table });
  await together(Array.from({ length: 1_201 }, (_, id) => [`INSERT INTO ${table} VALUES (${id})`]));
  await until(async () => /_0{12}1201$/.test((await server.ask(streamUrl, { method: 'HEAD' })).headers.get('stream-next-offset')), () => 'the changes');
  const sizes = [];
  let offset = '-1';
  for (let isEnd = false; !isEnd;) {
    const answer = await server.ask(`${streamUrl}?offset=${offset}`);
    sizes.push((await answer.json()).length);
    offset = answer.headers.get('stream-next-offset');
    isEnd = answer.headers.get('stream-up-to-date') === 'true';
  }
  assert.deepEqual(sizes, [500, 500, 201]);
  // The client makes one request where nothing is live; else it reads until it is up to date.
  const whole = await stream({ url: `${server.base}${streamUrl}`, live: true, headers: { authorization } });
  assert.deepEqual(ids(await whole.json()), Array.from({ length: 1_201 }, (_, id) => String(id)));
  await server.kill('SIGTERM');
});

test('nobody else reads or writes, and what cannot be followed is refused', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const server = await started('refusals', `tables = ["public.${table}"]\n[pg_sync.connections.closed]\nurl = "http://127.0.0.1:9/v1/shape"\nusers = []`);
  const { streamUrl, sourceRef } = await registered(server, { table });
  const code = async (answer) => {
    const its = await answer;
    for (const name of HEADERS) assert.ok(its.headers.get(name), `${name} on ${its.status}`);
    return its.status;
  };
  const [, owner] = /pg-sync\/([0-9a-f]+)\//.exec(streamUrl);
  const incarnation = (await server.ask(streamUrl, { method: 'HEAD' })).headers.get('stream-next-offset').slice(0, 16);
  const earlier = String(Number(incarnation) - 1).padStart(16, '0');
  const none = '0'.repeat(16);
  for (const [status, path, init] of [
    [200, streamUrl],
    [204, streamUrl, { method: 'OPTIONS' }],
    [401, streamUrl, { headers: { authorization: 'Bearer of-somebody-else' } }],
    // Nobody forges changes.
    ...['POST', 'PUT', 'PATCH', 'DELETE'].map((method) => [404, streamUrl, { method, ...(method !== 'DELETE' && { body: '[]' }) }]),
    [404, streamUrl.replace(owner, '0'.repeat(32))],
    [404, streamUrl.replace(sourceRef, '0'.repeat(16))],
    [404, `${streamUrl}/`],
    [404, streamUrl.replace('/pg-sync/', '/pg-sync//')],
    [404, streamUrl.toUpperCase().replace('_ELECTRIC/PG-SYNC', '_electric/pg-sync')],
    [404, '/_electric/pg-sync/register'],
    [404, '/_electric/pg-sync/register/x', { method: 'POST', body: '{}' }],
    [400, `${streamUrl}?offset=`],
    [400, `${streamUrl}?offset=-1&offset=-1`],
    [400, `${streamUrl}?live=sse`],
    [400, `${streamUrl}?offset=${incarnation}_${'9'.repeat(16)}`],
    [400, `${streamUrl}?offset=${'9'.repeat(16)}_${none}`],
    [410, `${streamUrl}?offset=${earlier}_${none}`],
  ]) assert.equal(await code(server.ask(path, init)), status, `${init?.method ?? 'GET'} ${path}`);
  const refusal = async (options, more) => {
    const answer = await server.register(options, more);
    return [answer.status, (await answer.json()).error];
  };
  assert.deepEqual(await refusal({ table: '' }), [400, 'invalid_options']);
  assert.deepEqual(await refusal({ table, url: '' }), [400, 'invalid_options']);
  assert.deepEqual(await refusal({ table }, { tenant: 'another' }), [400, 'invalid_options']);
  assert.deepEqual(await refusal({ table, url: 'http://127.0.0.1:9/other' }), [403, 'url_not_allowed']);
  assert.deepEqual(await refusal({ table, url: 'http://127.0.0.1:9/v1/shape' }), [403, 'url_not_allowed'], 'a connection for nobody');
  assert.deepEqual(await refusal({ table: 'pg_class' }), [403, 'table_not_allowed']);
  assert.deepEqual(await refusal({ table, where: 'nonsense (' }), [400, 'probe_failed']);
  const large = await server.ask('/_electric/pg-sync/register', { method: 'POST', body: ' '.repeat(20_000) });
  assert.equal(large.status, 413);
  // The same etag, the same answer: none.
  const answer = await server.ask(streamUrl);
  assert.equal(answer.headers.get('cache-control'), 'private, no-store');
  const again = await server.ask(streamUrl, { headers: { 'if-none-match': answer.headers.get('etag') } });
  assert.deepEqual([again.status, await again.text(), again.headers.get('cache-control')], [304, '', null]);
  await server.kill('SIGTERM');
});

test('a release has none of the routes that write streams', async () => {
  const server = await started('release');
  await writesNothing(server.ask);
  await server.kill('SIGTERM');
});

test('a table that the operator lets through no more is read no more, and nobody asks for it', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const server = await started('closed');
  const { streamUrl } = await registered(server, { table });
  assert.equal((await server.ask(streamUrl)).status, 200);
  await server.kill('SIGTERM');
  fs.writeFileSync(server.file, config('tables = ["public.others"]'), { mode: 0o600 });
  const asked = () => these.service?.requests.filter(({ query }) => query.table === table).length;
  const before = asked();
  await server.start();
  for (const method of ['GET', 'HEAD']) assert.equal((await server.ask(streamUrl, { method })).status, 404);
  assert.equal((await server.register({ table })).status, 403);
  assert.equal(asked(), before);
  // What was read stays there for when the operator lets it through again.
  await server.kill('SIGTERM');
  fs.writeFileSync(server.file, config(), { mode: 0o600 });
  await server.start();
  assert.equal((await registered(server, { table })).streamUrl, streamUrl);
  await sql(`INSERT INTO ${table} VALUES (1)`);
  await until(async () => /_0{15}1$/.test((await server.ask(streamUrl, { method: 'HEAD' })).headers.get('stream-next-offset')), () => 'the change');
  await server.kill('SIGTERM');
});

test('a backup holds what is followed; once it is restored changes come again, and streams begin anew', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const server = await started('kept');
  const { streamUrl } = await registered(server, { table });
  const head = async (its) => (await its.ask(streamUrl, { method: 'HEAD' })).headers.get('stream-next-offset');
  await sql(`INSERT INTO ${table} VALUES (1)`);
  await until(async () => /_0{15}1$/.test(await head(server)), () => 'the first');
  const backup = path.join(folder, 'backup');
  const verb = (...args) => {
    const done = spawnSync(process.env.LOGSEQ_SYNC_BIN, args, { encoding: 'utf8', env: { HOME: folder, PATH: process.env.PATH } });
    assert.equal(done.status, 0, done.stderr);
  };
  verb('backup', '--data-dir', server.data, '--output', backup);
  await sql(`INSERT INTO ${table} VALUES (2)`);
  await until(async () => /_0{15}2$/.test(await head(server)), () => 'the second');
  const before = await head(server);
  await server.kill('SIGTERM');
  verb('restore', '--data-dir', server.data, '--from', backup, '--force');
  await server.start();
  assert.equal((await server.ask(`${streamUrl}?offset=${before}`)).status, 410);
  await until(async () => /_0{15}2$/.test(await head(server)), () => 'the second, again');
  const events = await (await server.ask(streamUrl)).json();
  assert.deepEqual(ids(events), ['1', '2']);
  await server.kill('SIGTERM');
});
