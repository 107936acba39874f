// What the protocol of shapes says about requests, answers and headers (pg-sync.md 2.8), and what the published description of Electric's API says (`electric-api.yaml`, among
// the vectors). Against the stand-in, or the real service with ELECTRIC_URL.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import Ajv from 'ajv/dist/2020.js';
import yaml from 'yaml';
import { STAND_IN, harness, isReal } from './harness.mjs';

let table;
let api;

const these = harness(async () => {
  const golden = path.resolve(process.env.GOLDEN_DIR ?? 'tests/reference/golden');
  api = yaml.parse(fs.readFileSync(path.join(golden, 'electric-api.yaml'), 'utf8'), { merge: true });
  table = await these.table('id int PRIMARY KEY, name varchar(8), tags text[]');
});
const { sql, ask } = these;

const json = async (answer) => [answer, await answer.json()];
const place = (answer) => ({ handle: answer.headers.get('electric-handle'), offset: answer.headers.get('electric-offset') });
const now = async (more = {}) => json(await ask({ table, offset: 'now', log: 'changes_only', ...more }));
const isUpToDate = ({ headers }) => headers.control === 'up-to-date';

/** Fails unless a body is what the description says of this status. */
function described(method, status, body) {
  const { schema } = api.paths['/v1/shape'][method].responses[status].content['application/json'];
  const check = new Ajv({ strict: false, validateFormats: false }).compile(schema);
  assert.ok(check(body), `${method} ${status}: ${JSON.stringify(check.errors)} ${JSON.stringify(body)}`);
}

/** Fails unless the headers that the description names are there, but for these. */
function describedHeaders(status, answer, absent) {
  for (const name of Object.keys(api.paths['/v1/shape'].get.responses[status].headers ?? {})) {
    assert.equal(answer.headers.has(name), !absent.includes(name), name);
  }
}

test('the beginning: rows, and the snapshot that they are of', async () => {
  await sql(`INSERT INTO ${table} VALUES (1, 'a', '{x}')`);
  const [answer, body] = await json(await ask({ table, offset: '-1', handle: 'ignored' }));
  assert.equal(answer.status, 200);
  described('get', 200, body);
  describedHeaders(200, answer, ['electric-cursor', 'electric-up-to-date']);
  assert.equal(answer.headers.get('cache-control'), 'public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746');
  assert.match(place(answer).handle, /^\d+-\d{16}$/);
  assert.match(place(answer).offset, /^0_(\d+|inf)$/);
  const end = body.at(-1).headers;
  assert.equal(end.control, 'snapshot-end');
  assert.ok(BigInt(end.xmin) <= BigInt(end.xmax) && Array.isArray(end.xip_list));
  assert.ok(!body.some(isUpToDate));
  assert.ok(body.slice(0, -1).every(({ headers }) => headers.lsn === undefined && headers.op_position === undefined), 'rows of a snapshot stand nowhere in the log');
  const schema = JSON.parse(answer.headers.get('electric-schema'));
  assert.deepEqual([schema.id.type, schema.id.pk_index, schema.tags.dims], ['int4', 0, 1]);
});

test('the end, and what follows it', async () => {
  const [answer, body] = await now();
  described('get', 200, body);
  describedHeaders(200, answer, ['electric-cursor']);
  assert.equal(answer.headers.get('cache-control'), 'public, max-age=60, stale-while-revalidate=300');
  assert.ok(body.length === 1 && isUpToDate(body[0]));
  const from = place(answer);
  await sql(`INSERT INTO ${table} VALUES (2, 'b', NULL)`);
  let more;
  do more = await json(await ask({ table, log: 'changes_only', live: 'true', cursor: '', ...from }));
  while (more[1].length === 1);
  const [live, changes] = more;
  described('get', 200, changes);
  describedHeaders(200, live, ['electric-schema']);
  assert.equal(live.headers.get('cache-control'), 'public, max-age=5, stale-while-revalidate=5');
  assert.match(live.headers.get('electric-cursor'), /^\d+$/);
  const [{ key, value, headers }] = changes;
  assert.deepEqual([key, value], [`"public"."${table}"/"2"`, { id: '2', name: 'b', tags: null }]);
  assert.equal(place(live).offset, `${headers.lsn}_${headers.op_position}`);
  assert.ok(isUpToDate(changes.at(-1)));
  // The same by catching up, again and again.
  for (let time = 0; time < 2; time += 1) {
    const [again, body] = await json(await ask({ table, log: 'changes_only', ...from }));
    assert.deepEqual(body.slice(0, 1), changes.slice(0, 1));
    assert.equal(again.headers.get('etag'), `"${from.handle}:${from.offset}:${place(live).offset}"`);
    const unchanged = await ask({ table, log: 'changes_only', ...from }, { headers: { 'if-none-match': again.headers.get('etag') } });
    assert.deepEqual([unchanged.status, await unchanged.text()], [304, '']);
  }
});

test('a long poll ends with up-to-date', async () => {
  const [answer] = await now();
  const begin = Date.now();
  const [live, body] = await json(await ask({ table, log: 'changes_only', live: 'true', ...place(answer) }));
  assert.equal(live.status, 200);
  assert.deepEqual(body.map(isUpToDate), [true]);
  assert.deepEqual(place(live), place(answer));
  assert.ok(Date.now() - begin >= (isReal ? 15_000 : 450));
});

test('what makes another shape', async () => {
  const handle = async (more) => place((await now(more))[0]).handle;
  const own = await handle();
  assert.equal(await handle(), own);
  assert.equal(await handle({ handle: 'ignored' }), own);
  assert.equal(await handle({ columns: 'name,id' }), await handle({ columns: 'id,"name"' }), 'the order of columns does not');
  const others = [{ log: 'full' }, { replica: 'full' }, { where: 'id > 1' }, { where: 'id > $1', 'params[1]': '1' }, { where: 'id > $1', 'params[1]': '2' }, { columns: 'id' }];
  const handles = await Promise.all(others.map(handle));
  assert.equal(new Set([own, ...handles]).size, others.length + 1);
});

test('a foreign handle: the log has to be fetched again', async () => {
  const [{ headers }] = await now();
  for (const query of [{ handle: '1-1', log: 'changes_only' }, { handle: headers.get('electric-handle'), log: 'full' }]) {
    const [answer, body] = await json(await ask({ table, offset: '0_inf', ...query }));
    assert.equal(answer.status, 409);
    described('get', 409, body);
    assert.equal(body[0].headers.control, 'must-refetch');
    assert.equal(answer.headers.get('cache-control'), 'public, max-age=60, must-revalidate');
    assert.match(place(answer).handle, /^\d+-\d+$/);
  }
});

test('requests that are wrong', async () => {
  const [answer] = await now();
  const { handle, offset } = place(answer);
  const beyond = `${BigInt(offset.split('_')[0]) + 1_000_000n}_0`;
  for (const [query, field] of [
    [{ offset: '-1' }, 'table'],
    [{ table: 'no_such_table', offset: '-1' }, 'table'],
    [{ table }, 'offset'],
    [{ table, offset: 'x' }, 'offset'],
    [{ table, offset }, 'handle'],
    [{ table, offset: 'now', live: 'true' }, 'live'],
    [{ table, offset: '-1', live: 'true' }, 'live'],
    [{ table, offset: 'now', live_sse: 'true' }, 'live_sse'],
    [{ table, offset: 'now', columns: 'id,nope' }, 'columns'],
    [{ table, offset: 'now', where: 'nope = 1' }, 'where'],
    [{ table, offset: 'now', log: 'some' }, 'log'],
    [{ table, offset: beyond, handle, log: 'changes_only' }, 'offset'],
  ]) {
    const [refused, body] = await json(await ask(query));
    assert.equal(refused.status, 400, JSON.stringify(query));
    assert.ok(body.message && body.errors[field], `${JSON.stringify(query)}: ${JSON.stringify(body)}`);
    assert.match(refused.headers.get('cache-control'), /no-store/);
    assert.equal(refused.headers.get('surrogate-control'), 'no-store');
  }
});

test('a part of the rows', async () => {
  const query = { table, offset: 'now', log: 'changes_only', subset__where: 'id <= 2', subset__order_by: 'id', subset__limit: '5' };
  const [answer, body] = await json(await ask(query));
  assert.equal(answer.status, 200);
  described('post', 200, body);
  assert.deepEqual(body.data.map(({ value }) => value.id), ['1', '2']);
  assert.deepEqual([answer.headers.get('cache-control'), answer.headers.get('electric-snapshot')], ['no-cache', 'true']);
  const [posted, same] = await json(await ask({ table, offset: 'now', log: 'changes_only' }, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ where: 'id <= $1', params: { 1: '2' }, order_by: 'id', limit: 5 }) }));
  assert.deepEqual([posted.status, same.data.map(({ value }) => value)], [200, body.data.map(({ value }) => value)]);
  const [refused] = await json(await ask({ table, offset: 'now', log: 'changes_only', subset__limit: '5' }));
  assert.equal(refused.status, 400);
});

test('every described parameter is taken', async () => {
  const values = { table, offset: 'now', live: 'false', live_sse: 'false', experimental_live_sse: 'false', cursor: '1', handle: 'ignored', where: 'id > 0', params: undefined, columns: 'id', queryable_columns: 'id', replica: 'full', log: 'full' };
  for (const { name } of api.paths['/v1/shape'].get.parameters.filter((parameter) => parameter.in === 'query' && !parameter.name.startsWith('subset__'))) {
    assert.ok(name in values, `the description has ${name}`);
    const answer = await ask({ table, offset: 'now', ...(values[name] !== undefined && { [name]: values[name] }) });
    assert.equal(answer.status, 200, `${name}: ${await answer.text()}`);
  }
});

test('a log that is deleted is gone', STAND_IN, async () => {
  const [answer] = await now({ where: 'id > 7' });
  const { handle } = place(answer);
  assert.equal((await ask({ table, handle }, { method: 'DELETE' })).status, 202);
  const other = await these.table('id int PRIMARY KEY');
  assert.equal((await ask({ table: other }, { method: 'DELETE' })).status, 404);
  assert.equal((await ask({ table, where: 'id > 7', log: 'changes_only', offset: '0_inf', handle })).status, 409);
});

test('who may ask', STAND_IN, async () => {
  these.service.options.secret = 'open sesame';
  try {
    for (const [query, status] of [[{}, 401], [{ secret: 'x' }, 401], [{ secret: 'open sesame' }, 200], [{ api_secret: 'open sesame' }, 200]]) {
      assert.equal((await ask({ table, offset: 'now', ...query })).status, status);
    }
  } finally {
    these.service.options.secret = undefined;
  }
});

test('too many requests are answered as described', STAND_IN, async () => {
  const body = { message: 'busy' };
  these.service.faults.script([{ way: 'status', status: 429, headers: { 'retry-after': '5' }, body }]);
  const [answer, told] = await json(await ask({ table, offset: 'now' }));
  assert.deepEqual([answer.status, answer.headers.get('retry-after')], [429, '5']);
  described('get', 429, told);
});
