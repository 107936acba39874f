// A shape service in memory for benchmarks: what a bridge asks of it, and nothing else. Each table is a log of inserts; a change is there as soon as it is
// made, so that what is measured is the bridge alone.
import http from 'node:http';

/** How long a live request waits, and how many changes an answer holds at most. */
const LONG_POLL_MS = 20_000;
const CHUNK = 1_000;

export class Shapes {
  static async start() {
    const shapes = new Shapes();
    shapes.tables = new Map();
    shapes.server = http.createServer({ noDelay: true }, (request, response) => shapes.respond(new URL(request.url, 'http://shapes'), response));
    shapes.server.keepAliveTimeout = 120_000;
    await new Promise((done) => shapes.server.listen(0, '127.0.0.1', done));
    shapes.url = `http://127.0.0.1:${shapes.server.address().port}/v1/shape`;
    return shapes;
  }

  table(name) {
    if (!this.tables.has(name)) this.tables.set(name, { items: [], waiting: new Set(), requests: 0, times: [] });
    return this.tables.get(name);
  }

  /** How often was asked for tables whose names begin so. */
  requestsFor(prefix) {
    return [...this.tables].filter(([name]) => name.startsWith(prefix)).reduce((sum, [, { requests }]) => sum + requests, 0);
  }

  /** How often a minute was asked for each of these tables since then, on average: from the first request to the last, whenever they came. */
  rate(names, since) {
    const one = (name) => {
      const times = this.table(name).times.filter((at) => at >= since);
      return times.length < 2 ? 0 : (60_000 * (times.length - 1)) / (times.at(-1) - times[0]);
    };
    return names.reduce((sum, name) => sum + one(name), 0) / names.length;
  }

  /** Commits inserts. */
  insert(name, count = 1) {
    const table = this.table(name);
    for (let i = 0; i < count; i += 1) {
      const id = String(table.items.length + 1);
      table.items.push(JSON.stringify({ key: `"public"."${name}"/"${id}"`, value: { id, status: 'open' }, headers: { operation: 'insert', lsn: id, op_position: 0, txids: [Number(id)] } }));
    }
    for (const wake of [...table.waiting]) wake();
  }

  respond({ searchParams: query }, response) {
    const table = this.table(query.get('table'));
    table.requests += 1;
    table.times.push(performance.now());
    const offset = query.get('offset');
    if (offset === 'now') return this.answer(response, table, table.items.length, false);
    const from = Number(offset.split('_')[0]);
    if (query.get('live') !== 'true' || table.items.length > from) return this.answer(response, table, from, query.get('live') === 'true');
    const done = () => {
      clearTimeout(timer);
      table.waiting.delete(done);
      this.answer(response, table, from, true);
    };
    const timer = setTimeout(done, LONG_POLL_MS);
    table.waiting.add(done);
    response.on('close', () => { clearTimeout(timer); table.waiting.delete(done); });
    return undefined;
  }

  answer(response, table, from, isLive) {
    const items = table.items.slice(from, from + CHUNK);
    const to = from + items.length;
    const isEnd = to === table.items.length;
    if (isEnd) items.push('{"headers":{"control":"up-to-date"}}');
    response.writeHead(200, {
      'content-type': 'application/json', 'electric-handle': 'h', 'electric-offset': `${to}_0`, ...(isEnd && { 'electric-up-to-date': '' }),
      ...(isLive ? { 'electric-cursor': '7' } : { 'electric-schema': '{"id":{"type":"int4"},"status":{"type":"text"}}' }),
    });
    response.end(`[${items.join(',')}]`);
  }

  stop() {
    this.server.closeAllConnections();
    this.server.close();
  }
}
