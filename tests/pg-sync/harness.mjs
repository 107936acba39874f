// What the tests of shapes share: a database, a service over it, the official client, and waiting for what comes.
//
// Without more the service is the stand-in. `ELECTRIC_URL` (its `/v1/shape`), `DATABASE_URL` (the same database, for a superuser) and, where it asks for one,
// `ELECTRIC_SECRET` name the real one: then cases that need a hook of the stand-in say so, and are skipped.
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { ShapeStream } from '@electric-sql/client';
import pg from 'pg';
import { startPostgres } from './postgres.mjs';
import { canary } from '../agents/secrets.mjs';
import { startShapeLite } from './shape-lite/service.mjs';

/** Whether the tests run against the real service. */
export const isReal = process.env.ELECTRIC_URL !== undefined;

/** Options of a case that needs the stand-in: it lets things go wrong, or looks at what it was asked. */
export const STAND_IN = { skip: isReal && 'needs the stand-in of the service' };

/** What opens the service for bridges. In an address it is written otherwise, and in one way alone, so that the search for it finds it there. */
export const SERVICE_SECRET = process.env.ELECTRIC_SECRET ?? `${canary('shapes-')}/+&=`;

/** What the real service wants to see of everybody; the stand-in asks for it only where a test says so. */
const opening = isReal && process.env.ELECTRIC_SECRET ? { secret: process.env.ELECTRIC_SECRET } : {};

const LIMIT_MS = 120_000;

/** Registers database and service for a file of tests, and what it does first. */
export function harness(prepare = async () => {}) {
  const these = { tables: 0 };
  before(async () => {
    these.postgres = isReal ? { url: process.env.DATABASE_URL, stop: async () => {} } : await startPostgres();
    these.client = new pg.Client({ connectionString: these.postgres.url });
    await these.client.connect();
    if (!isReal) these.service = await startShapeLite(these.postgres.url, { longPollMs: 500, beyondMs: 300, drainMs: 20, schemaMs: 100 });
    these.url = isReal ? process.env.ELECTRIC_URL : these.service.url;
    await prepare();
  });
  after(async () => {
    these.streams?.forEach((stream) => stream.stop());
    await these.service?.close();
    await these.client?.end();
    await these.postgres?.stop();
  });
  these.sql = (text, values) => these.client.query(text, values);
  /** Makes a table with these columns; tells its name. */
  these.table = async (columns) => {
    these.tables += 1;
    const name = `t${process.pid}_${these.tables}`;
    await these.sql(`CREATE TABLE ${name} (${columns})`);
    return name;
  };
  /** All in one transaction. */
  these.together = async (statements) => {
    await these.sql('BEGIN');
    for (const [text, values] of statements) await these.sql(text, values);
    await these.sql('COMMIT');
  };
  these.follow = (params, more = {}) => {
    const follower = new Follower(these.url, { ...opening, ...params }, more);
    (these.streams ??= []).push(follower);
    return follower;
  };
  /** One request. */
  these.ask = (query, init = {}) => fetch(`${these.url}?${new URLSearchParams({ ...opening, ...query })}`, init);
  return these;
}

/** The official client, and everything that it says. */
class Follower {
  constructor(url, params, { goesOn, ...options }) {
    this.abort = new AbortController();
    this.messages = [];
    this.errors = [];
    this.waiting = new Set();
    this.stream = new ShapeStream({
      url, params, signal: this.abort.signal, backoffOptions: { initialDelay: 20, maxDelay: 200, multiplier: 2 },
      onError: (error) => {
        this.errors.push(error);
        this.waiting.forEach((wake) => wake());
        // An object makes it try again.
        return goesOn ? {} : undefined;
      },
      ...options,
    });
    this.stream.subscribe((messages) => {
      this.messages.push(...messages);
      this.waiting.forEach((wake) => wake());
    });
  }

  stop() {
    this.abort.abort();
  }

  /** Changes so far: operation, key and value. */
  get changes() {
    return this.messages.filter(({ headers }) => headers.operation).map(({ key, value, old_value, headers }) => ({ operation: headers.operation, key, value, ...(old_value && { old_value }), headers }));
  }

  controls(name) {
    return this.messages.filter(({ headers }) => headers.control === name);
  }

  async until(isThere, what) {
    const end = Date.now() + LIMIT_MS;
    while (!isThere()) {
      if (Date.now() > end) assert.fail(`${what} did not come: ${JSON.stringify(this.messages)} ${this.errors}`);
      await new Promise((done) => {
        const timer = setTimeout(done, 1_000);
        const wake = () => { clearTimeout(timer); this.waiting.delete(wake); done(); };
        this.waiting.add(wake);
      });
    }
  }

  async upToDate(times = 1) {
    await this.until(() => this.controls('up-to-date').length >= times, 'up-to-date');
    return this;
  }

  /** The first so many changes. */
  async first(count) {
    await this.until(() => this.changes.length >= count, `${count} changes`);
    return this.changes;
  }
}

/** Changes as operation and key, or with a value. */
export const brief = (changes) => changes.map(({ operation, value }) => [operation, value.id]);
