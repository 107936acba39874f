// The official client against the shape service: what it makes of the answers is what is right (pg-sync.md 6.2). The service is a stand-in unless ELECTRIC_URL
// names the real one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STAND_IN, brief, harness } from './harness.mjs';
import { REPLACED, changedKey } from './scenes.mjs';

const these = harness();
const { sql, together } = these;

const full = (table, more = {}) => ({ table, replica: 'full', ...more });

test('rows that are there, then what changes', async () => {
  const table = await these.table('id int PRIMARY KEY, name text');
  await sql(`INSERT INTO ${table} VALUES (1, 'one'), (2, NULL)`);
  const follower = these.follow({ table });
  await follower.upToDate();
  assert.deepEqual(brief(follower.changes).sort(), [['insert', 1], ['insert', 2]]);
  await sql(`INSERT INTO ${table} VALUES (3, 'three')`);
  await sql(`UPDATE ${table} SET name = 'uno' WHERE id = 1`);
  await sql(`DELETE FROM ${table} WHERE id = 2`);
  assert.deepEqual(brief(await follower.first(5)).slice(2), [['insert', 3], ['update', 1], ['delete', 2]]);
  const [{ headers }] = follower.changes.slice(2);
  assert.match(headers.lsn, /^\d+$/);
  assert.deepEqual([headers.relation, headers.op_position, headers.last], [['public', table], 0, true]);
});

test('from now on, interrupted, and on: what was missed comes, and nothing else', async () => {
  const table = await these.table('id int PRIMARY KEY');
  await sql(`INSERT INTO ${table} VALUES (1)`);
  const first = these.follow({ table }, { offset: 'now', log: 'changes_only' });
  await first.upToDate();
  await sql(`INSERT INTO ${table} VALUES (2)`);
  await first.first(1);
  await first.upToDate(2);
  const { lastOffset: offset, shapeHandle: handle } = first.stream;
  first.stop();
  await sql(`INSERT INTO ${table} VALUES (3)`);
  const second = these.follow({ table }, { offset, handle, log: 'changes_only' });
  await second.first(1);
  await second.upToDate();
  assert.deepEqual([brief(first.changes), brief(second.changes)], [[['insert', 2]], [['insert', 3]]]);
});

test('a quiet table: its offset is one to go on from', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const first = these.follow({ table }, { offset: 'now', log: 'changes_only' });
  await first.upToDate();
  const { lastOffset: offset, shapeHandle: handle } = first.stream;
  assert.equal(offset, '0_inf');
  first.stop();
  await sql(`INSERT INTO ${table} VALUES (1)`);
  const second = these.follow({ table }, { offset, handle, log: 'changes_only' });
  assert.deepEqual(brief(await second.first(1)), [['insert', 1]]);
});

test('another log mode is another log', async () => {
  const table = await these.table('id int PRIMARY KEY');
  await sql(`INSERT INTO ${table} VALUES (1)`);
  const first = these.follow({ table }, { offset: 'now', log: 'changes_only' });
  await first.upToDate();
  const { lastOffset: offset, shapeHandle: handle } = first.stream;
  first.stop();
  const second = these.follow({ table }, { offset, handle, log: 'full' });
  await second.until(() => second.controls('must-refetch').length > 0, 'must-refetch');
  assert.deepEqual(brief(await second.first(1)), [['insert', 1]], 'it begins anew and reports every row as an insert');
});

test('what an update carries', async () => {
  const table = await these.table('id int PRIMARY KEY, a text, b text');
  await sql(`INSERT INTO ${table} VALUES (1, 'a', 'b')`);
  const [part, whole] = [{ table }, full(table)].map((params) => these.follow(params, { offset: 'now', log: 'changes_only' }));
  await Promise.all([part.upToDate(), whole.upToDate()]);
  await sql(`UPDATE ${table} SET a = 'A'`);
  await sql(`DELETE FROM ${table}`);
  const shown = (changes) => changes.map(({ operation, value, old_value }) => [operation, value, old_value]);
  assert.deepEqual(shown(await part.first(2)), [['update', { id: 1, a: 'A' }, undefined], ['delete', { id: 1 }, undefined]]);
  assert.deepEqual(shown(await whole.first(2)), [['update', { id: 1, a: 'A', b: 'b' }, { a: 'a' }], ['delete', { id: 1, a: 'A', b: 'b' }, undefined]]);
});

test('rows come into a part of a table and leave it', async () => {
  const table = await these.table('id int PRIMARY KEY, status text, amount numeric, note text');
  await sql(`INSERT INTO ${table} VALUES (1, 'paid', 100, 'n'), (2, 'open', 100, 'n'), (3, 'paid', 1, 'n')`);
  const follower = these.follow(full(table, { where: `status = $1 AND amount >= 10.5`, params: ['paid'], columns: ['id', 'amount'] }));
  await follower.upToDate();
  assert.deepEqual(follower.changes.map(({ value }) => value), [{ id: 1, amount: '100' }]);
  await sql(`UPDATE ${table} SET status = 'paid' WHERE id = 2`);
  await sql(`UPDATE ${table} SET amount = 5 WHERE id = 1`);
  await sql(`UPDATE ${table} SET note = 'not a column of it' WHERE id = 2`);
  await sql(`INSERT INTO ${table} VALUES (4, 'paid', 3, 'n'), (5, 'paid', 11, 'n')`);
  await sql(`DELETE FROM ${table} WHERE id IN (3, 5)`);
  await follower.first(5);
  await sql(`INSERT INTO ${table} VALUES (6, 'paid', 12, 'n')`);
  assert.deepEqual(brief(await follower.first(6)).slice(1), [['insert', 2], ['delete', 1], ['insert', 5], ['delete', 5], ['insert', 6]]);
});

test('a changed primary key is a delete and an insert', async () => {
  const table = await these.table(changedKey.columns);
  await sql(changedKey.before(table));
  const follower = these.follow(full(table), { offset: 'now', log: 'changes_only' });
  await follower.upToDate();
  await sql(changedKey.change(table));
  const [gone, come] = await follower.first(2);
  assert.deepEqual([gone.operation, come.operation], ['delete', 'insert']);
  assert.deepEqual([gone.key, come.key], changedKey.keys(table));
  assert.deepEqual([gone.headers.key_change_to, come.headers.key_change_from], [come.key, gone.key]);
  assert.equal(gone.headers.lsn, come.headers.lsn);
  assert.ok(gone.headers.op_position < come.headers.op_position);
});

test('a large column that was not changed is left out', async () => {
  const table = await these.table('id int PRIMARY KEY, n int, large text');
  await sql(`ALTER TABLE ${table} ALTER large SET STORAGE EXTERNAL`);
  await sql(`INSERT INTO ${table} VALUES (1, 1, repeat('x', 20000))`);
  const follower = these.follow({ table }, { offset: 'now', log: 'changes_only' });
  await follower.upToDate();
  await sql(`UPDATE ${table} SET n = 2`);
  await sql(`UPDATE ${table} SET large = repeat('y', 20000)`);
  const [first, second] = await follower.first(2);
  assert.deepEqual(first.value, { id: 1, n: 2 });
  assert.deepEqual(second.value, { id: 1, large: 'y'.repeat(20_000) });
});

test('what is rolled back did not happen', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const follower = these.follow({ table }, { offset: 'now', log: 'changes_only' });
  await follower.upToDate();
  await sql('BEGIN');
  await sql(`INSERT INTO ${table} VALUES (1)`);
  await sql('ROLLBACK');
  await sql(`INSERT INTO ${table} VALUES (2)`);
  assert.deepEqual(brief(await follower.first(1)), [['insert', 2]]);
});

for (const [what, change] of REPLACED) {
  test(`a table that is ${what}: the log is replaced`, async () => {
    const [table, other] = [await these.table('id int PRIMARY KEY'), await these.table('id int PRIMARY KEY')];
    const [follower, beside] = [table, other].map((name) => these.follow({ table: name }, { offset: 'now', log: 'changes_only' }));
    await Promise.all([follower.upToDate(), beside.upToDate()]);
    const { shapeHandle } = follower.stream;
    await sql(change(table));
    await follower.until(() => follower.controls('must-refetch').length > 0, 'must-refetch');
    await follower.until(() => follower.stream.shapeHandle !== shapeHandle, 'another handle');
    await sql(`INSERT INTO ${other} VALUES (1)`);
    await beside.first(1);
    assert.equal(beside.controls('must-refetch').length, 0);
  });
}

/** Values of many types: a row that was there and one that came are told in the same way. */
const VALUES = `
  '-9223372036854775808'::int8, 1.10::numeric(30,2), 0.1::float8, 'NaN'::float8, true, false, E'it''s "quoted"\\n\\\\ [x]:''y'' null 😀'::text, ''::text, 'null'::text,
  '\\x00ff'::bytea, '2026-02-01 03:04:05.6+02'::timestamptz, '2026-02-01'::date, '1 year 2 days 03:04:05'::interval, '{"b": 1, "a": [null, "x y"]}'::jsonb,
  ARRAY['a b', NULL, 'c"d', '[e]:f']::text[], '{{1,2},{3,4}}'::int[], 'a'::char(5), B'101'::bit(3), '5a0a5a0a-5a0a-4a0a-8a0a-5a0a5a0a5a0a'::uuid, NULL::text`;

test('values are texts, the same in a snapshot and in the log', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const types = ['int8', 'numeric(30,2)', 'float8', 'float8', 'bool', 'bool', 'text', 'text', 'text', 'bytea', 'timestamptz', 'date', 'interval', 'jsonb', 'text[]', 'int[]', 'char(5)', 'bit(3)', 'uuid', 'text'];
  await sql(`ALTER TABLE ${table} ${types.map((type, at) => `ADD COLUMN "C ${at}" ${type}`).join(', ')}`);
  await sql(`INSERT INTO ${table} SELECT 1, ${VALUES}`);
  // As they are sent: the client's parser reads some types.
  const parser = Object.fromEntries(['int8', 'float8', 'bool', 'jsonb', 'int4', 'text'].map((type) => [type, (text) => text]));
  const follower = these.follow({ table }, { parser });
  await follower.upToDate();
  await sql(`INSERT INTO ${table} SELECT 2, ${VALUES}`);
  const [before, after] = (await follower.first(2)).map(({ value: { id, ...value } }) => value);
  assert.deepEqual(after, before);
  assert.deepEqual(Object.values(after).slice(0, 14), [
    '-9223372036854775808', '1.10', '0.1', 'NaN', 'true', 'false', `it's "quoted"\n\\ [x]:'y' null 😀`, '', 'null', '\\x00ff', '2026-02-01 01:04:05.6+00', '2026-02-01', 'P1Y2DT3H4M5S',
    '{"a": [null, "x y"], "b": 1}',
  ]);
});

test('rows that come while a shape is made come once', async () => {
  const table = await these.table('id serial PRIMARY KEY');
  let isOver = false;
  const writing = (async () => {
    while (!isOver) await sql(`INSERT INTO ${table} DEFAULT VALUES`);
  })();
  const followers = [];
  try {
    for (const part of [`id > 0`, `id > -1`, `id > -2`, `id > -3`]) {
      followers.push(these.follow({ table, where: part }));
      await followers.at(-1).first(1);
    }
  } finally {
    isOver = true;
    await writing;
  }
  const { rows: [{ count }] } = await sql(`SELECT count(*)::int AS count FROM ${table}`);
  for (const follower of followers) {
    await follower.first(count);
    await follower.upToDate(follower.controls('up-to-date').length + 1);
    assert.deepEqual(brief(follower.changes).map(([, id]) => id).sort((a, b) => a - b), Array.from({ length: count }, (_, at) => at + 1));
  }
});

test('server-sent events', async () => {
  const table = await these.table('id int PRIMARY KEY');
  const follower = these.follow({ table }, { offset: 'now', log: 'changes_only', liveSse: true });
  await follower.upToDate();
  for (const id of [1, 2, 3]) await sql(`INSERT INTO ${table} VALUES (${id})`);
  assert.deepEqual(brief(await follower.first(3)), [['insert', 1], ['insert', 2], ['insert', 3]]);
});

test('a part of the rows, without the log', async () => {
  const table = await these.table('id int PRIMARY KEY, n int');
  await sql(`INSERT INTO ${table} SELECT i, i % 3 FROM generate_series(1, 10) AS i`);
  const follower = these.follow({ table }, { offset: 'now', log: 'changes_only' });
  await follower.upToDate();
  const { metadata, data } = await follower.stream.fetchSnapshot({ where: 'n = $1', params: { 1: '1' }, orderBy: 'id', limit: 2 });
  assert.deepEqual(data.map(({ value, headers }) => [headers.operation, value.id, value.n]), [['insert', 1, 1], ['insert', 4, 1]]);
  assert.ok(BigInt(metadata.xmin) <= BigInt(metadata.xmax) && Array.isArray(metadata.xip_list));
});

test('a transaction that is cut into several answers comes whole, in order', STAND_IN, async () => {
  const table = await these.table('id int PRIMARY KEY');
  const chunk = these.service.options.chunk;
  these.service.options.chunk = 3;
  try {
    const first = these.follow({ table }, { offset: 'now', log: 'changes_only' });
    await first.upToDate();
    await together(Array.from({ length: 20 }, (_, id) => [`INSERT INTO ${table} VALUES ($1)`, [id]]));
    assert.deepEqual(brief(await first.first(20)).map(([, id]) => id), Array.from({ length: 20 }, (_, id) => id));
    const lsns = new Set(first.changes.map(({ headers }) => headers.lsn));
    assert.equal(lsns.size, 1);
  } finally {
    these.service.options.chunk = chunk;
  }
});

const FAULTS = [
  [{ way: 'status', status: 503, headers: { 'retry-after': '1' }, body: { code: 'concurrent_request_limit_exceeded', message: 'busy' } }],
  [{ way: 'status', status: 429, headers: { 'retry-after': '1' }, body: { message: 'busy' } }],
  [{ way: 'status', status: 500 }, { way: 'status', status: 502 }],
  [{ way: 'reset' }, { way: 'reset' }],
  [{ way: 'cut' }],
  [{ way: 'slow', ms: 2 }],
];
for (const faults of FAULTS) {
  test(`the client goes on after ${faults.map(({ way, status }) => status ?? way).join(', ')}`, STAND_IN, async () => {
    const table = await these.table('id int PRIMARY KEY');
    const follower = these.follow({ table }, { offset: 'now', log: 'changes_only', goesOn: true });
    await follower.upToDate();
    these.service.faults.script(faults);
    for (const id of [1, 2, 3]) await sql(`INSERT INTO ${table} VALUES (${id})`);
    await follower.first(3);
    await follower.until(() => these.service.faults.list.length === 0, 'the faults');
    await sql(`INSERT INTO ${table} VALUES (4)`);
    assert.deepEqual(brief(await follower.first(4)).map(([, id]) => id), [1, 2, 3, 4]);
    follower.stop();
  });
}

for (const handle of [undefined, 'x-1']) {
  test(`409 ${handle ? 'with' : 'without'} a handle: the client begins anew`, STAND_IN, async () => {
    const table = await these.table('id int PRIMARY KEY');
    await sql(`INSERT INTO ${table} VALUES (1)`);
    const follower = these.follow({ table });
    await follower.upToDate();
    these.service.faults.script([{ way: 'rotated', handle }]);
    await follower.until(() => follower.controls('must-refetch').length > 0, 'must-refetch');
    await follower.first(2);
    assert.deepEqual(brief(follower.changes), [['insert', 1], ['insert', 1]]);
    follower.stop();
  });
}

for (const status of [400, 401]) {
  test(`${status}: the client says so and stops`, STAND_IN, async () => {
    const table = await these.table('id int PRIMARY KEY');
    these.service.faults.script([{ way: 'status', status }]);
    const follower = these.follow({ table });
    await follower.until(() => follower.errors.length > 0, 'an error');
    assert.equal(follower.errors[0].status, status);
    follower.stop();
  });
}
