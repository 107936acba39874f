// Changes of a real PostgreSQL, through the stand-in of the shape service and the native server's bridge, to a sink (pg-sync.md 6.3): compared with a log that a trigger writes
// in the same database, and with what the official client says. `LOGSEQ_SYNC_BIN` is the server; it is killed `PG_SYNC_KILLS` times (10).
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, test } from 'node:test';
import { Canaries, filesBelow } from '../agents/secrets.mjs';
import { SERVICE_SECRET, STAND_IN, harness, isReal } from './harness.mjs';
import { ADMIN, SINK_SECRET, Server, folder } from './native-server.mjs';
import { Changes, FAULTS, REPLACED, SILENCE, brief, changedKey, elsewhere, loggedTable, passedByCaches, rotate, suffer, until } from './scenes.mjs';

const KILLS = Number(process.env.PG_SYNC_KILLS ?? 10);

const these = harness();
const { sql, together } = these;

/** A sink as a session is one: it keeps the last number that it has, refuses what it has not got to, and forgets nothing. */
class Sink {
  constructor() {
    this.seen = new Map();
    /** What becomes of the next requests: a status, or `drop` once it was taken. */
    this.moods = [];
    this.bodies = [];
  }

  async start() {
    this.server = http.createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => { body += chunk; }).on('end', () => this.take(request, body, response));
    }).listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${this.server.address().port}/wakes`;
    after(() => { this.server.closeAllConnections(); this.server.close(); });
    return this;
  }

  take(request, body, response) {
    const [, t, v1] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(request.headers['x-logseq-signature']) ?? [];
    assert.equal(v1, crypto.createHmac('sha256', SINK_SECRET).update(`${t}.${body}`).digest('hex'));
    const mood = this.moods.shift();
    if (typeof mood === 'number') return response.writeHead(mood).end();
    const told = JSON.parse(body);
    const id = `${told.subscription_id}:${told.incarnation}`;
    const has = this.seen.get(id) ?? { to: told.after_seq, keys: new Set() };
    this.seen.set(id, has);
    let answer = [200, {}];
    if (has.keys.has(told.key)) {
      answer = [200, { duplicate: true }];
    } else if (told.type === 'pg_sync.change' && told.after_seq > has.to) {
      answer = [409, { to_seq: has.to }];
    } else {
      has.keys.add(told.key);
      if (told.type === 'pg_sync.change') has.to = told.to_seq;
      this.bodies.push(told);
    }
    if (mood === 'drop') return response.destroy();
    return response.writeHead(answer[0], { 'content-type': 'application/json' }).end(JSON.stringify(answer[1]));
  }

  /** Changes of wakes that were told whole. */
  changes(id) {
    return this.bodies.filter((body) => body.type === 'pg_sync.change' && (!id || body.subscription_id === id)).flatMap((body) => body.changes);
  }

  types() {
    return this.bodies.map(({ type }) => type);
  }
}

const config = (sink, observations, connection = '', more = '') => `
[pg_sync]
sink_url = "${sink.url}"
sink_secret_file = "${folder}/sink.secret"
max_wakes = 1000000
${more}
[pg_sync.connections.main]
url = "${these.url}"
secret_file = "${folder}/service.secret"
${connection}
${observations.map((observation) => `[[pg_sync.observations]]\nconnection = "main"\n${observation}`).join('\n')}
`;

test('a wake for an insert, and what it says; the end does not wait for what is asked (fact 31); the secret is in no file and no log', async () => {
  const table = await these.table('id int PRIMARY KEY, status text');
  await sql(`INSERT INTO ${table} VALUES (1, 'there before')`);
  if (!isReal) these.service.options.secret = SERVICE_SECRET;
  const sink = await new Sink().start();
  const server = new Server('first', config(sink, [
    `id = "all"\ntable = "${table}"\nreplica = "full"`,
    `id = "paid"\ntable = "${table}"\nreplica = "full"\nwake = { ops = ["update"], filter = { status = "paid" } }`,
    `id = "nowhere"\ntable = "no_such_table"`,
  ]));
  await server.start();
  try {
    const { subscription_id: all, source_id } = await server.live('all');
    const { subscription_id: paid } = await server.live('paid');
    await sql(`INSERT INTO ${table} VALUES (2, 'open')`);
    await sql(`UPDATE ${table} SET status = 'paid' WHERE id = 2`);
    await until(() => sink.changes(all).length === 2 && sink.changes(paid).length === 1, () => JSON.stringify(sink.bodies));
    const [first] = sink.changes(all);
    assert.deepEqual([first.operation, first.key, first.value], ['insert', `"public"."${table}"/"2"`, { id: '2', status: 'open' }]);
    assert.deepEqual(sink.changes(paid)[0].old_value, { status: 'open' });
    assert.ok(sink.bodies.every((body) => body.source_id === source_id && body.table === table));
    assert.ok([401, 404].includes((await server.list({})).status), 'for others there is no list');
    const nowhere = (await server.list()).observations.find(({ id }) => id === 'nowhere');
    assert.equal(nowhere.state, 'ended');
    assert.match(server.log, /nowhere is not observed: the service answers 400/);
    const ending = Date.now();
    if (!isReal) these.service.options.longPollMs = 30_000;
    await sql(`INSERT INTO ${table} VALUES (3, 'open')`);
    await until(() => sink.changes(all).length === 3, () => 'the third');
    await new Promise((done) => setTimeout(done, 300));
    await server.kill('SIGTERM');
    assert.equal(server.child.exitCode, 0, server.log);
    assert.ok(Date.now() - ending < 15_000, 'a long poll was under way');
    const [files, canaries] = [filesBelow(server.data), new Canaries({ service: SERVICE_SECRET, sink: SINK_SECRET })];
    assert.ok(Object.values(files).some((text) => text.includes(source_id)));
    assert.deepEqual(canaries.found({ log: server.log, ...files }), []);
    // The search would find it in an address, as it is asked.
    if (!isReal) assert.deepEqual(canaries.in(these.service.requests.find(({ query }) => query.secret).url), ['service']);
  } finally {
    if (!isReal) Object.assign(these.service.options, { secret: undefined, longPollMs: 500 });
  }
});

test('a redirect is an answer: nobody is led elsewhere', STAND_IN, async () => {
  const table = await these.table('id int PRIMARY KEY');
  const place = await elsewhere();
  const sink = await new Sink().start();
  const server = new Server('redirect', config(sink, [`id = "all"\ntable = "${table}"`], 'mode = "interval"\npoll_ms = 100'));
  await server.start();
  await server.live('all');
  these.service.faults.script([301, 302, 303, 307, 308].map((status) => ({ way: 'status', status, headers: { location: place.url } })));
  await until(async () => (await server.list()).observations[0].state === 'blocked', () => 'blocked');
  await until(() => sink.types().includes('pg_sync.blocked'), () => 'and told');
  assert.deepEqual([sink.bodies.at(-1).reason, sink.bodies.at(-1).status, place.led], ['refused', 303, 0]);
  place.close();
  these.service.faults.list = [];
  await server.kill('SIGTERM');
});

/** What the log of a source holds after a number, page by page. */
async function logged(server, source, after, to) {
  const all = [];
  for (let at = after; at < to;) {
    const answer = await fetch(`${server.base}/pg-sync/${source}/changes?after=${at}&limit=500`, { headers: { 'x-db-sync-admin-token': ADMIN } });
    const { changes, next_after: next } = await answer.json();
    assert.ok(answer.ok && changes.length > 0, `${answer.status} after ${at}`);
    all.push(...changes.filter(({ seq }) => seq <= to));
    at = next;
  }
  return all;
}

/** How large the transactions between two kills are: in every fifth round one of 1,000. */
const sizes = (kill, random) => [1, 10, kill % 5 === 0 ? 1_000 : 1, [1, 10][random(2)]];

test(`killed ${KILLS} times: nothing is missing, nothing comes twice, order is kept, and the official client says the same`, async () => {
  const { table, committed } = await loggedTable(these);
  const sink = await new Sink().start();
  const server = new Server('killed', config(sink, [`id = "all"\ntable = "${table}"\nreplica = "full"`]));
  await server.start();
  const { source_id: source } = await server.live('all');
  const official = these.follow({ table, replica: 'full' }, { offset: 'now', log: 'changes_only', goesOn: true });
  await official.upToDate();
  const changes = new Changes(table, { ids: 400 });
  const random = (bound) => changes.random(bound);
  const told = [];
  let taken = 0;
  let has = 0;
  /** Takes what the sink was told; what a wake has no room for is read from the log of a server that runs. */
  const take = async () => {
    for (; taken < sink.bodies.length; taken += 1) {
      const wake = sink.bodies[taken];
      assert.deepEqual([wake.type, wake.after_seq], ['pg_sync.change', has], 'each wake goes on where the one before ended');
      const all = wake.more ? await logged(server, source, has, wake.to_seq) : wake.changes;
      assert.deepEqual(all.slice(0, wake.changes.length), wake.changes);
      assert.deepEqual([all.length, Object.values(wake.counts).reduce((a, b) => a + b)], [wake.to_seq - has, wake.to_seq - has]);
      told.push(...all);
      has = wake.to_seq;
    }
  };
  const caughtUp = () => until(async () => { await take(); return told.length >= changes.number; }, () => `${told.length} of ${changes.number} changes: ${server.log}`);
  for (let kill = 0; kill < KILLS; kill += 1) {
    for (const size of sizes(kill, random)) await together(changes.some(size));
    const fails = random(2) === 0;
    if (fails) sink.moods.push(...[[500], ['drop'], ['drop', 503]][random(3)]);
    // At any moment: while it is told, while it tells, or before.
    await new Promise((done) => setTimeout(done, random(300)));
    await server.kill();
    await together(changes.some(1 + random(5)));
    await server.start();
    // The log holds 10,000.
    if (fails || changes.number - told.length > 5_000) await caughtUp();
  }
  await together(changes.some(1));
  await caughtUp();
  const expected = await committed();
  assert.deepEqual(told.map(brief), expected);
  await official.first(expected.length);
  const ours = told.map(({ operation, key, value }) => [operation, key, value.id, value.n]);
  assert.deepEqual(official.changes.map(({ operation, key, value }) => [operation, key, String(value.id), String(value.n)]), ours);
  official.stop();
  await server.kill('SIGTERM');
});

test('what a wake does not hold is read from the log', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const sink = await new Sink().start();
  const server = new Server('more', config(sink, [`id = "all"\ntable = "${table}"`]));
  await server.start();
  const { source_id } = await server.live('all');
  const read = async (query, headers = { 'x-db-sync-admin-token': ADMIN }) => {
    const answer = await fetch(`${server.base}/pg-sync/${source_id}/changes${query}`, { headers });
    return { status: answer.status, ...(await answer.json()) };
  };
  const waits = read('?wait=20');
  await together(Array.from({ length: 120 }, (_, id) => [`INSERT INTO ${table} VALUES (${id})`]));
  const first = await waits;
  assert.deepEqual([first.status, first.source_id, first.first_seq], [200, source_id, 1]);
  await until(() => sink.bodies.some(({ more }) => more), () => 'a wake');
  const [wake] = sink.bodies;
  assert.deepEqual([wake.counts.insert, wake.changes.length], [120, 50]);
  const told = [];
  for (let after = wake.after_seq; after < wake.to_seq;) {
    const { changes, next_after } = await read(`?after=${after}&limit=50`);
    told.push(...changes);
    after = next_after;
  }
  assert.deepEqual(told.map(({ value }) => value.id), Array.from({ length: 120 }, (_, id) => String(id)));
  assert.deepEqual(told.slice(0, 50), wake.changes);
  assert.deepEqual((await read('?after=120&wait=1')).changes, [], 'an empty list at the end of the time');
  assert.deepEqual((await read('?limit=501')).fields, ['limit']);
  // Whoever is not the operator is handed on to the agents service, which is not there.
  const { status } = await fetch(`${server.base}/pg-sync/${source_id}/changes`);
  assert.ok([401, 404, 503].includes(status), `nobody else reads it: ${status}`);
  await server.kill('SIGTERM');
});

for (const [what, change] of REPLACED) test(`a table that is ${what}: the gap is told, and what follows comes`, async () => {
  const table = await these.table('id int PRIMARY KEY');
  const sink = await new Sink().start();
  const server = new Server(`gap-${table}`, config(sink, [`id = "all"\ntable = "${table}"`], 'mode = "interval"\npoll_ms = 100'));
  await server.start();
  await server.live('all');
  await sql(`INSERT INTO ${table} VALUES (1)`);
  await until(() => sink.changes().length === 1, () => 'the first');
  await sql(change(table));
  await until(() => sink.types().includes('pg_sync.gap'), () => 'a gap');
  const gap = sink.bodies.find(({ type }) => type === 'pg_sync.gap');
  assert.deepEqual([gap.reason, gap.from_seq, gap.count], ['must_refetch', 1, 1]);
  await sql(`INSERT INTO ${table} VALUES (2)`);
  await until(() => sink.changes().length === 2, () => 'the second');
  const [seen] = (await server.list()).observations;
  assert.deepEqual([seen.gaps, seen.last_seq, seen.sent_seq, seen.pending], [1, 2, 2, 0]);
  await server.kill('SIGTERM');
});

test('a changed primary key is a delete and an insert', async () => {
  const table = await these.table(changedKey.columns);
  await sql(changedKey.before(table));
  const sink = await new Sink().start();
  const server = new Server('key', config(sink, [`id = "all"\ntable = "${table}"`]));
  await server.start();
  await server.live('all');
  await sql(changedKey.change(table));
  await until(() => sink.changes().length === 2, () => 'both');
  const [gone, come] = sink.changes();
  assert.deepEqual([[gone.operation, gone.key], [come.operation, come.key]], [['delete', changedKey.keys(table)[0]], ['insert', changedKey.keys(table)[1]]]);
  assert.deepEqual([come.value, gone.tx === come.tx, gone.op < come.op], [{ a: 'x"/y', b: '2', note: 'n' }, true, true]);
  await server.kill('SIGTERM');
});

test('logs that are replaced while rows change and the server is killed: whoever goes by the differences has the table', STAND_IN, async () => {
  const table = await these.table('id int PRIMARY KEY, n int, flag bool, text text');
  const rows = async () => (await sql(`SELECT id::text, n::text, flag, text FROM ${table}`)).rows.map(({ id, n, flag, text }) => [id, { id, n, flag: String(flag), text }]);
  // Larger than what PostgreSQL keeps in the row.
  const large = () => crypto.randomBytes(4_000).toString('hex');
  const random = (bound) => changes.random(bound);
  // A large text that is not changed is not told with the row.
  const columns = (number) => [number % 2 === 0, random(3) === 0 ? large() : `${number}`];
  const changes = new Changes(table, { seed: 23, ids: 40, more: columns });
  await together(changes.some(30));
  const has = new Map(await rows());
  const sink = await new Sink().start();
  const server = new Server('diff', config(sink, [`id = "all"\ntable = "${table}"\non_gap = "diff"`], 'mode = "interval"\npoll_ms = 100'));
  await server.start();
  await server.live('all');
  const gaps = async () => (await server.list()).observations[0].gaps;
  for (let round = 1; round <= 12; round += 1) {
    const isDown = round % 3 === 0;
    if (isDown) await server.kill();
    await together(changes.some(1 + random(6)));
    rotate(these);
    // Some come before the new log ends, some between its end and the rows, some after both.
    for (let more = random(4); more > 0; more -= 1) await together(changes.some(1));
    if (isDown) await server.start();
    for (let more = random(4); more > 0; more -= 1) {
      await new Promise((done) => setTimeout(done, random(150)));
      await together(changes.some(1));
    }
    await until(async () => await gaps() >= round, () => `gap ${round}: ${server.log}`);
    await server.live('all');
  }
  await sql(`TRUNCATE ${table}`);
  changes.emptied();
  await until(async () => await gaps() > 12, () => 'the last gap');
  await together(changes.some(3));
  const apply = () => {
    const table = new Map(has);
    for (const { operation, key, value } of sink.changes()) {
      const [, id] = /"(\d+)"$/.exec(key);
      if (operation === 'delete') table.delete(id);
      else table.set(id, { ...table.get(id), ...value });
    }
    // Columns in the order of the query, whatever the order in which they were told.
    return JSON.stringify([...table].map(([id, { n, flag, text }]) => [id, { id, n, flag, text }]).sort());
  };
  const expected = JSON.stringify((await rows()).sort());
  await until(() => apply() === expected, () => `the table: ${apply().length} and ${expected.length} characters`);
  assert.ok(sink.bodies.every(({ type, more }) => type === 'pg_sync.change' && !more), JSON.stringify(sink.types()));
  const differences = sink.changes().filter(({ synthetic }) => synthetic);
  assert.ok(differences.length >= 12, `${differences.length}`);
  assert.deepEqual([...new Set(differences.map(({ operation }) => operation))].sort(), ['delete', 'insert', 'update']);
  const pairs = sink.changes().filter(({ tx }) => tx).map(({ tx, op }) => `${tx}_${op}`);
  assert.equal(new Set(pairs).size, pairs.length, 'nothing comes twice');
  // A service without such rows: the gap is told.
  these.service.faults.script([{ way: 'rotated' }, { way: 'none' }, { way: 'status', status: 400 }]);
  await until(() => sink.types().includes('pg_sync.gap'), () => 'a gap');
  const gap = sink.bodies.find(({ type }) => type === 'pg_sync.gap');
  assert.deepEqual([gap.reason, gap.count, gap.diff], ['must_refetch', 1, 'unavailable']);
  await server.kill('SIGTERM');
});

test('a service that fails is back', { ...STAND_IN, concurrency: true }, async (context) => {
  const plays = (name, faults) => context.test(name, async () => {
    const table = await these.table('id int PRIMARY KEY');
    const sink = await new Sink().start();
    const server = new Server(`faults-${table}`, config(sink, [`id = "all"\ntable = "${table}"`], 'mode = "interval"\npoll_ms = 100'));
    await server.start();
    await server.live('all');
    await suffer(these, table, faults, (count, when) => until(() => sink.changes().length >= count, () => `the change ${when}: ${server.log}`));
    assert.deepEqual(sink.changes().map(({ value }) => value.id), faults.map((_, at) => String(at)));
    assert.ok(sink.types().every((type) => type === 'pg_sync.change'));
    await server.kill('SIGTERM');
  });
  await Promise.all([plays('in every way', FAULTS), plays('by saying nothing', SILENCE)]);
});

test('no request is answered from a cache on the way', STAND_IN, () => {
  const { live, others } = passedByCaches(these.service);
  assert.ok(live > 0 && others > 10, `${live} and ${others}`);
});
