// Changes of a real PostgreSQL, through the stand-in of the shape service and a bridge of the agents worker, to events of a session (pg-sync.md 6.3): compared with a log
// that a trigger writes in the same database, while workerd is killed and started again. `PG_SYNC_CHANGES` changes (1,000) or a few more, in transactions of 1, 10 and 1,000.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Client } from '../agents/client.mjs';
import { SandboxAgent, Worker } from '../agents/processes.mjs';
import { Canaries, filesBelow } from '../agents/secrets.mjs';
import { SERVICE_SECRET as SECRET, STAND_IN, harness, isReal } from './harness.mjs';
import { Changes, FAULTS, REPLACED, SILENCE, brief, changedKey, elsewhere, loggedTable, of, passedByCaches, rotate, suffer, until as awaited } from './scenes.mjs';

const CHANGES = Number(process.env.PG_SYNC_CHANGES ?? 1_000);
const LIMIT_MS = 180_000;

let agents;
let worker;
let client;
const these = harness(async () => {
  if (!isReal) these.service.options.secret = SECRET;
  agents = await SandboxAgent.start();
  worker = await Worker.start(agents.url, {
    env: {
      PG_SYNC_CONNECTIONS: JSON.stringify({ main: { url: these.url, secret_env: 'SHAPES_SECRET', poll_ms: 200 } }),
      SHAPES_SECRET: SECRET, PG_SYNC_MAX_WAKES: '1000000', PG_SYNC_ALLOW_PRIVATE: '127.0.0.0/8',
    },
  });
  client = new Client(worker.base);
});
const { sql, together } = these;

after(async () => { await worker?.stop(); await agents?.stop(); });

/** Waits until there is something; what the worker says is told when nothing comes. */
const until = (isThere, what) => awaited(isThere, () => `${what()} (${worker.output.slice(-2_000)})`, LIMIT_MS);

/** A session whose orders wait. */
async function paused() {
  const session = await client.create();
  await session.ok('POST', '/pause');
  return session;
}

async function observe(session, options) {
  const answer = await session.ask('POST', '/pg-sync', { connection: 'main', ...options });
  assert.equal(answer.status, 201, answer.text);
  return answer.body;
}

/** Events of a session about what it observes. A worker that is being started again has none to tell. */
async function events(session) {
  const answer = await session.ask('GET', '/events?limit=10000').catch(() => null);
  return (answer?.body?.events ?? []).filter(({ type }) => type.startsWith('pg_sync.'));
}

/** What a source's log holds after a number, page by page. */
async function changes(source, after, to) {
  const all = [];
  for (let at = after; at < to;) {
    const { status, body, text } = await client.ask('GET', `/pg-sync/${source}/changes?after=${at}&limit=500`);
    assert.equal(status, 200, text);
    assert.ok(body.changes.length > 0, text);
    all.push(...body.changes.filter(({ seq }) => seq <= to));
    at = body.next_after;
  }
  return all;
}

test('an insert is an event of the session and a prompt that waits; who may read the log', async () => {
  const table = await these.table('id int PRIMARY KEY, n int');
  await sql(`INSERT INTO ${table} VALUES (1, 1)`);
  const session = await paused();
  const { source_id: source, state, wake } = await observe(session, { table });
  assert.deepEqual([state, wake], ['live', { debounce_ms: 0 }]);
  assert.equal((await session.ask('POST', '/pg-sync', { connection: 'main', table })).status, 200);
  await sql(`INSERT INTO ${table} VALUES (2, 7)`);
  const [event] = await until(async () => {
    const found = await events(session);
    return found.length > 0 && found;
  }, () => 'the event');
  assert.equal(event.type, 'pg_sync.change');
  assert.deepEqual(event.data.counts, { insert: 1, update: 0, delete: 0 });
  assert.deepEqual(event.data.changes.map(brief), [['insert', '2', '7']]);
  const [seen] = (await session.ok('GET', '/pg-sync')).observations;
  assert.deepEqual([seen.source_id, seen.last_seq, seen.observers, seen.gaps], [source, 1, 1, 0]);
  assert.deepEqual((await changes(source, 0, 1)).map(brief), [['insert', '2', '7']]);
  // A reader waits, and is answered as soon as something comes.
  const reading = client.ask('GET', `/pg-sync/${source}/changes?after=1&wait=20`);
  await sql(`UPDATE ${table} SET n = 8 WHERE id = 2`);
  const { body } = await reading;
  assert.deepEqual([body.changes.length, body.next_after, body.changes[0]?.partial], [1, 2, true]);
  assert.equal((await client.ask('GET', `/pg-sync/${'0'.repeat(32)}/changes`)).status, 404);
  assert.equal((await fetch(`${worker.base}/pg-sync/${source}/changes`)).status, 401);
  const removed = await session.ask('DELETE', `/pg-sync/${source}`);
  assert.deepEqual([removed.status, removed.body], [200, { removed: true }]);
});

test('what the service refuses is told to whoever asks', async () => {
  const session = await paused();
  const refused = await session.ask('POST', '/pg-sync', { connection: 'main', table: 'no_such_table' });
  assert.deepEqual([refused.status, refused.body.error, refused.body.status], [422, 'probe_failed', 400], refused.text);
  assert.deepEqual((await session.ok('GET', '/pg-sync')).observations, []);
  const table = await these.table('id int PRIMARY KEY');
  const tried = (body) => client.ask('POST', '/pg-connections/main/test', body);
  assert.equal((await tried({ table })).body.ok, true);
  assert.equal((await tried({ table: 'no_such_table' })).status, 422);
});

for (const [what, change] of REPLACED) test(`a table that is ${what}: the gap is told, and what follows comes`, async () => {
  const table = await these.table('id int PRIMARY KEY, n int');
  const session = await paused();
  await observe(session, { table });
  await sql(`INSERT INTO ${table} VALUES (1, 1)`);
  await until(async () => (await events(session)).length === 1, () => 'the first');
  await sql(change(table));
  await until(async () => (await events(session)).some(({ type, data }) => type === 'pg_sync.gap' && data.reason === 'must_refetch'), () => 'a gap');
  await sql(`INSERT INTO ${table} VALUES (2, 2)`);
  await until(async () => (await events(session)).filter(({ type }) => type === 'pg_sync.change').length === 2, () => 'the second');
});

test('a changed primary key is a delete and an insert', async () => {
  const table = await these.table(changedKey.columns);
  await sql(changedKey.before(table));
  const { source_id: source } = await observe(await paused(), { table });
  await sql(changedKey.change(table));
  const [gone, come] = await until(async () => {
    const { body } = await client.ask('GET', `/pg-sync/${source}/changes`);
    return body?.changes?.length === 2 && body.changes;
  }, () => 'both');
  assert.deepEqual([[gone.operation, gone.key], [come.operation, come.key]], [['delete', changedKey.keys(table)[0]], ['insert', changedKey.keys(table)[1]]]);
  assert.deepEqual([come.value, gone.tx === come.tx, gone.op < come.op], [{ a: 'x"/y', b: '2', note: 'n' }, true, true]);
});

test('a service that fails is back', { ...STAND_IN, concurrency: true }, async (context) => {
  const plays = (name, faults) => context.test(name, async () => {
    const table = await these.table('id int PRIMARY KEY');
    const session = await paused();
    const { source_id: source } = await observe(session, { table });
    const last = async () => (await client.ask('GET', `/pg-sync/${source}/changes`)).body.last_seq;
    await suffer(these, table, faults, (count, when) => until(async () => await last() >= count, () => `the change ${when}`));
    assert.deepEqual((await changes(source, 0, faults.length)).map(({ value }) => value.id), faults.map((_, at) => String(at)));
    await until(async () => (await session.ok('GET', '/pg-sync')).observations[0].pending === 0, () => 'all wakes');
    assert.ok((await events(session)).every(({ type }) => type === 'pg_sync.change'));
  });
  await Promise.all([plays('in every way', FAULTS), plays('by saying nothing', SILENCE)]);
});

test('where differences are wanted, a replaced log is told as what has become of the rows', STAND_IN, async () => {
  const table = await these.table('id int PRIMARY KEY, n int');
  await sql(`INSERT INTO ${table} VALUES (1, 1), (2, 2), (3, 3)`);
  const session = await paused();
  const { source_id: source } = await observe(session, { table, on_gap: 'diff' });
  await worker.evict();
  await together([[`UPDATE ${table} SET n = 20 WHERE id = 2`], [`DELETE FROM ${table} WHERE id = 3`], [`INSERT INTO ${table} VALUES (4, 4)`]]);
  await until(async () => (await changes(source, 0, 3).catch(() => [])).length === 3, () => 'the first');
  await worker.kill();
  await sql(`DELETE FROM ${table} WHERE id = 1`);
  await sql(`UPDATE ${table} SET n = 40 WHERE id = 4`);
  rotate(these);
  await sql(`INSERT INTO ${table} VALUES (5, 5)`);
  await worker.run();
  const told = await until(async () => {
    const { body } = await client.ask('GET', `/pg-sync/${source}/changes?after=3`).catch(() => ({}));
    return body?.changes?.length === 3 && body.changes;
  }, () => 'the differences');
  assert.deepEqual(told.map(({ operation, key, value, synthetic }) => [operation, key, value.n, synthetic]), [
    ['delete', `"public"."${table}"/"1"`, undefined, true], ['update', `"public"."${table}"/"4"`, '40', true], ['insert', `"public"."${table}"/"5"`, '5', true],
  ]);
  const seen = await events(session);
  assert.ok(seen.every(({ type }) => type === 'pg_sync.change'), JSON.stringify(seen));
  assert.equal((await session.ok('GET', '/pg-sync')).observations[0].gaps, 1);
});

test(`${CHANGES} changes while workerd is killed: nothing is missing, nothing comes twice, order is kept`, async () => {
  const { table, committed } = await loggedTable(these);
  const session = await paused();
  const { source_id: source } = await observe(session, { table, replica: 'full' });
  const made = new Changes(table, { ids: 400 });
  const random = (bound) => made.random(bound);
  // The first ring holds 10,000: what has been told is read before more comes.
  const told = [];
  let has = 0;
  const take = async () => {
    const wakes = (await events(session)).filter(({ type, data }) => type === 'pg_sync.change' && data.to_seq > has);
    for (const { data } of wakes) {
      assert.equal(data.after_seq, has, 'each wake goes on where the one before ended');
      const read = await changes(source, has, data.to_seq);
      assert.equal(read.length, data.to_seq - has);
      assert.equal(Object.values(data.counts).reduce((a, b) => a + b), read.length);
      told.push(...read.map(brief));
      has = data.to_seq;
    }
  };
  const sizes = [1, 10, 1, 10, Math.min(1_000, CHANGES)];
  for (let round = 0; made.number < CHANGES; round += 1) {
    const size = sizes[round % sizes.length];
    await together(made.some(size));
    if (random(6) === 0 || size > 10) {
      // At any moment: while the bridge asks, stores, sends, or before.
      await new Promise((done) => setTimeout(done, random(400)));
      await worker.evict();
      await take();
    }
  }
  await until(async () => { await take(); return told.length >= made.number; }, () => `${told.length} of ${made.number} changes`);
  assert.deepEqual(told, await committed());
  assert.ok((await events(session)).every(({ type }) => type === 'pg_sync.change'));
});

test('whatever a service says, or leads to, the secret of a connection stays where it is', STAND_IN, async () => {
  const table = await these.table('id int PRIMARY KEY');
  const place = await elsewhere();
  const made = await client.ask('PUT', '/pg-connections/mine', { url: `https://127.0.0.1:9/v1/shape`, secret: SECRET });
  assert.equal(made.status, 201, made.text);
  assert.ok(!made.text.includes(SECRET) && !(await client.ask('GET', '/pg-connections')).text.includes(SECRET));
  const session = await paused();
  for (const fault of [
    { way: 'status', status: 400, body: { message: `bad ?secret=${SECRET}` } }, { way: 'status', status: 401, body: { message: encodeURIComponent(SECRET) } },
    { way: 'status', status: 302, headers: { location: `${place.url}?secret=${encodeURIComponent(SECRET)}` } },
  ]) {
    // A refusal for the secret is asked about once more. Bridges of the tests before go on asking about other tables.
    const refusal = { ...fault, of: of(table) };
    these.service.faults.script([refusal, ...(fault.status === 401 ? [refusal] : [])]);
    const refused = await session.ask('POST', '/pg-sync', { connection: 'main', table, where: `id > ${fault.status}` });
    assert.deepEqual([refused.status, refused.body.error], [422, 'probe_failed'], refused.text);
    assert.ok(!refused.text.includes(SECRET) && !refused.text.includes(encodeURIComponent(SECRET)), refused.text);
  }
  assert.equal(place.led, 0, 'redirects are not followed');
  place.close();
  const unreachable = await session.ask('POST', '/pg-sync', { connection: 'mine', table });
  assert.ok([422, 503].includes(unreachable.status) && !unreachable.text.includes(SECRET), unreachable.text);
});

test('the secret is in no file and no log', () => {
  const [files, canaries] = [filesBelow(worker.data), new Canaries({ secret: SECRET })];
  assert.ok(Object.keys(files).length > 5);
  assert.deepEqual(canaries.found({ log: worker.output, ...files }), []);
  // The search would find it in an address, as it is asked.
  if (!isReal) assert.deepEqual(canaries.in(these.service.requests.find(({ query }) => query.secret).url), ['secret']);
});

test('no request is answered from a cache on the way', STAND_IN, () => {
  const { others } = passedByCaches(these.service);
  assert.ok(others > 10, `${others}`);
});
