// A stand-in for Electric's shape service, over a real PostgreSQL, written from the published protocol (pg-sync.md 2.8, 6.2). It is not that service: its
// timing, its limits of admission and the exact cases of its 409 are not known here. What it answers is held against the official client and the
// published description by the tests beside it, which also run against the real one.
import http from 'node:http';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { answerGet } from './answers.mjs';
import { Faults } from './faults.mjs';
import { Shape, identity } from './shape.mjs';
import { Source } from './source.mjs';

const DEFAULTS = {
  port: 0, secret: undefined,
  /** How long a long poll waits, an offset beyond the end, and a stream of events lives. */
  longPollMs: 20_000, beyondMs: 10_000, sseMs: 60_000, keepAliveMs: 21_000,
  /** Most changes in one answer. */
  chunk: 1_000,
  drainMs: 50, schemaMs: 500,
};

export async function startShapeLite(databaseUrl, options = {}) {
  const service = new Service({ ...DEFAULTS, ...options });
  service.source = await Source.open(databaseUrl);
  await service.listen();
  return service;
}

class Service {
  constructor(options) {
    this.options = options;
    this.shapes = new Map();
    this.faults = new Faults(this);
    this.waiting = new Set();
    /** Requests that came, newest last: `{url, query, headers, at, fault?}`, the time in milliseconds. */
    this.requests = [];
  }

  async listen() {
    this.server = http.createServer((request, response) => {
      this.respond(request, response).catch((error) => {
        if (!response.headersSent) send(response, 500, { message: error.message });
        else response.destroy();
      });
    });
    this.server.listen(this.options.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${this.server.address().port}/v1/shape`;
    this.stopping = new AbortController();
    this.loops = [this.repeat(this.options.drainMs, () => this.drain()), this.repeat(this.options.schemaMs, () => this.checkSchemas())];
  }

  /** Does something until the service is closed, with pauses. The next time begins after the one before has ended: on a slow machine nothing piles up. */
  async repeat(pauseMs, work) {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await work().catch(() => {});
      await sleep(pauseMs, undefined, { signal }).catch(() => {});
    }
  }

  async close() {
    this.stopping.abort();
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
    await Promise.all([...this.loops, this.draining?.catch(() => {})]);
    await this.source.close();
  }

  /** Takes in what was committed. One reading at a time; who asks meanwhile waits for the next. */
  drain() {
    const next = (this.draining ?? Promise.resolve()).catch(() => {}).then(async () => {
      for (const transaction of await this.source.read()) {
        const emptied = transaction.changes.filter(({ kind }) => kind === 'TRUNCATE').flatMap(({ tables }) => tables);
        for (const shape of [...this.shapes.values()]) {
          if (emptied.some(([schema, name]) => schema === shape.table.schema && name === shape.table.name)) this.forget(shape);
          else shape.take(transaction);
        }
      }
      this.waiting.forEach((wake) => wake());
    });
    this.draining = next;
    return next;
  }

  /** A table that is another one by now has no shapes any more. */
  async checkSchemas() {
    const tables = new Map();
    for (const shape of [...this.shapes.values()]) {
      const { oid } = shape.table;
      if (!tables.has(oid)) tables.set(oid, await this.source.alone(() => this.source.describe(oid)));
      const table = tables.get(oid);
      const columns = (of) => JSON.stringify([of?.schema, of?.name, of?.columns]);
      if (columns(table) !== columns(shape.table)) this.forget(shape);
    }
  }

  /** The log is thrown away: requests with its handle are answered 409. */
  forget(shape) {
    this.shapes.delete(identity(shape));
    shape.isGone = true;
    this.waiting.forEach((wake) => wake());
  }

  /** The shape of a definition, made when there is none. */
  async shape(definition) {
    const name = identity(definition);
    const found = this.shapes.get(name);
    if (found) return found.ready;
    const shape = new Shape(definition);
    this.shapes.set(name, shape);
    shape.ready = (async () => {
      await this.source.watch(definition.table);
      const { rows, snapshot } = await this.source.snapshot(definition.table, definition);
      shape.begin({ rows: definition.log === 'full' ? rows : [], snapshot });
      return shape;
    })();
    shape.ready.catch(() => this.shapes.delete(name));
    return shape.ready;
  }

  /** Waits until something was committed or forgotten, at most so long; tells whether it was. */
  async news(isThere, ms) {
    const end = Date.now() + ms;
    while (!isThere()) {
      const left = end - Date.now();
      if (left <= 0) return false;
      await new Promise((done) => {
        const wake = () => {
          clearTimeout(timer);
          this.waiting.delete(wake);
          done();
        };
        const timer = setTimeout(wake, left);
        this.waiting.add(wake);
      });
    }
    return true;
  }

  async respond(request, response) {
    const url = new URL(request.url, this.url);
    if (url.pathname === '/v1/health') return send(response, 200, { status: 'active' });
    if (url.pathname !== '/v1/shape') return send(response, 404, { message: 'Not found' });
    const query = url.searchParams;
    const kept = { url: request.url, query: Object.fromEntries(query), headers: request.headers, at: Date.now() };
    this.requests.push(kept);
    if (await this.faults.strike(request, response, kept)) return undefined;
    if (this.options.secret !== undefined && ![query.get('secret'), query.get('api_secret')].includes(this.options.secret)) {
      return send(response, 401, { message: 'Unauthorized - Invalid API secret' });
    }
    if (!['GET', 'POST', 'DELETE', 'HEAD'].includes(request.method)) return send(response, 405, { message: 'Method not allowed' });
    return answerGet(this, request, response, query);
  }
}

/** An error, or anything else that no cache keeps. */
export function send(response, status, body, headers = {}) {
  const text = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', 'surrogate-control': 'no-store', ...headers });
  response.end(text);
}
