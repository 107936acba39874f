// Scenes that the tests of the official client, of the native server's bridges and of the worker's play alike (pg-sync.md 6.3).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';

/** Waits until there is something, and gives it. */
export async function until(isThere, what, limitMs = 120_000) {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await isThere();
    if (found) return found;
    if (Date.now() > end) assert.fail(`${what()} did not come`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Changes of a table whose rows have a number `n`: inserts, updates and deletes of a few rows, the same each time. */
export class Changes {
  #state;
  #present = new Set();

  /** `ids`: how many rows there may be. `more`: values of further columns of a new row, of its number. */
  constructor(table, { seed = 17, ids, more = () => [] }) {
    Object.assign(this, { table, ids, more, number: 0 });
    this.#state = seed;
  }

  random(bound) {
    this.#state = (this.#state * 48_271) % 2_147_483_647;
    return this.#state % bound;
  }

  /** The next change, as a statement. */
  next() {
    this.number += 1;
    const id = this.random(this.ids);
    if (!this.#present.has(id)) {
      this.#present.add(id);
      const values = [id, this.number, ...this.more(this.number)];
      return [`INSERT INTO ${this.table} VALUES (${values.map((_, at) => `$${at + 1}`)})`, values];
    }
    if (this.random(3) > 0) return [`UPDATE ${this.table} SET n = $2 WHERE id = $1`, [id, this.number]];
    this.#present.delete(id);
    return [`DELETE FROM ${this.table} WHERE id = $1`, [id]];
  }

  /** So many of them. */
  some(count) {
    return Array.from({ length: count }, () => this.next());
  }

  /** All rows are gone. */
  emptied() {
    this.#present.clear();
  }
}

/** A table `(id, n)` with what was committed to it, as a trigger writes it down: operation, id and number, in their order. */
export async function loggedTable({ table: make, sql }) {
  const table = await make('id int PRIMARY KEY, n int');
  await sql(`CREATE TABLE ${table}_log (at bigserial PRIMARY KEY, operation text, id int, n int)`);
  await sql(`CREATE FUNCTION ${table}_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO ${table}_log (operation, id, n) VALUES (lower(TG_OP), COALESCE(NEW.id, OLD.id), COALESCE(NEW.n, OLD.n)); RETURN NULL; END $$`);
  await sql(`CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION ${table}_note()`);
  const committed = async () => (await sql(`SELECT operation, id::text, n::text FROM ${table}_log ORDER BY at`)).rows.map(({ operation, id, n }) => [operation, id, n]);
  return { table, committed };
}

/** A change as the log of such a table has it. */
export const brief = ({ operation, value }) => [operation, value.id, value.n];

/** Tables whose log is replaced: what becomes of one, and by which statement. */
export const REPLACED = [['emptied', (table) => `TRUNCATE ${table}`], ['another one', (table) => `ALTER TABLE ${table} ADD COLUMN more text`]];

/** A row whose primary key is changed: its table, what is there, what is done, and the key of the row that is gone and of the one that has come. */
export const changedKey = {
  columns: 'a text, b int, note text, PRIMARY KEY (a, b)',
  before: (table) => `INSERT INTO ${table} VALUES ('x"/y', 1, 'n')`,
  change: (table) => `UPDATE ${table} SET b = 2`,
  keys: (table) => [1, 2].map((b) => `"public"."${table}"/"x""/y"/"${b}"`),
};

const BUSY = { headers: { 'retry-after': '3' }, body: { code: 'concurrent_request_limit_exceeded', message: 'busy' } };

/** What goes wrong with a request that follows a table, and how long no other may come after it, in milliseconds. */
export const FAULTS = [
  [{ way: 'status', status: 503, ...BUSY }, 3_000],
  [{ way: 'status', status: 429, ...BUSY }, 3_000],
  [{ way: 'status', status: 500 }, 800],
  [{ way: 'reset' }, 800],
  [{ way: 'cut' }, 800],
  [{ way: 'garbage' }, 800],
  [{ way: 'slow', ms: 1 }, 0],
  [{ way: 'status', status: 401 }, 0],
  [{ way: 'status', status: 400 }, 800],
];
/** The service takes a request and says nothing: whoever asks gives up after 45 s, and tries again a little later. */
export const SILENCE = [[{ way: 'hang' }, 44_900]];

/**
 * Each of these faults meets a request about a table that a bridge follows, for which a row was just inserted. `arrived` waits until so many changes have come. No request
 * comes before its time.
 */
export async function suffer({ service, sql }, table, faults, arrived) {
  for (const [at, [fault, pauseMs]] of faults.entries()) {
    const its = { ...fault, of: of(table), before: () => sql(`INSERT INTO ${table} VALUES (${at})`) };
    service.faults.script([its]);
    await arrived(at + 1, `after ${fault.status ?? fault.way}`);
    const asked = () => service.requests.filter(({ query }) => query.table === table);
    const met = asked().findIndex(({ fault }) => fault === its);
    const next = await until(() => asked()[met + 1], () => 'the next request');
    const pause = next.at - asked()[met].at;
    assert.ok(pause >= pauseMs, `after ${fault.status ?? fault.way} the next request came ${pause} ms later`);
  }
}

/** By which the requests about a table are known: the name of one begins that of another. */
export const of = (table) => `table=${table}&`;

/** Fails unless every request of bridges passes by caches on its way, but for those that wait for changes: those say where they are (pg-sync.md 4.7). */
export function passedByCaches({ requests }) {
  const asked = requests.filter(({ query }) => query.electric_agents_principal_id);
  const busters = asked.map(({ query }) => query['cache-buster']).filter(Boolean);
  const isLive = ({ query }) => query.live === 'true';
  for (const request of asked) {
    assert.equal(request.headers['if-none-match'], undefined);
    assert.equal(request.headers['cache-control'], isLive(request) ? undefined : 'no-cache', request.url);
    assert.equal(request.query['cache-buster'] === undefined, isLive(request), request.url);
  }
  assert.equal(new Set(busters).size, busters.length, 'each has a name of its own');
  return { live: asked.filter(isLive).length, others: busters.length };
}

/** All logs of the service are replaced. */
export const rotate = ({ service }) => [...service.shapes.values()].forEach((shape) => service.forget(shape));

/** A server that nobody is to be led to; it counts who comes. */
export async function elsewhere() {
  const place = { led: 0 };
  const server = http.createServer((_, response) => { place.led += 1; response.end('[]'); }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  place.url = `http://127.0.0.1:${server.address().port}/v1/shape`;
  place.close = () => server.close();
  return place;
}
