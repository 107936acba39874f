// A receiver of notifications (agents.md 20.3) on loopback, as somebody would run one, but one that fails in every way that the
// network and servers know. Each path behaves by a list: what becomes of its first request, of its second and so on, or of the first
// attempt of each notification; then all is well.
//
// It checks signatures twice: with HMAC-SHA-256 of node:crypto, and with the library of Standard Webhooks.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import { Webhook } from 'standardwebhooks';

/** What becomes of a request. Each gets the response, and what makes the receiver forget it. */
const WAYS = {
  well: (response) => response.writeHead(204).end(),
  error: (response) => response.writeHead(500).end('no'),
  /** The connection ends without an answer. */
  drop: (response) => response.socket.destroy(),
  /** Half of an answer's head, and the connection ends. */
  cut: (response) => response.socket.end('HTTP/1.1 200 O'),
  /** An answer that comes after the sender has given up. */
  late: (response) => { setTimeout(() => response.writeHead(200).end(), 12_000).unref(); },
  /** Nothing, ever. */
  hold: () => {},
  /** A body without an end: it is nobody's business. */
  endless: (response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write('x'.repeat(1000)), 10);
    response.once('close', () => clearInterval(timer));
  },
  redirect: (response) => response.writeHead(307, { location: '/elsewhere' }).end(),
  gone: (response) => response.writeHead(410).end(),
};

export class Receiver {
  /** `port`: that of a receiver that was stopped, to take its place. */
  static async start(port = 0) {
    const receiver = Object.assign(new Receiver(), { got: [], ways: new Map() });
    await receiver.listen(port);
    return receiver;
  }

  async listen(port = this.port) {
    this.http = http.createServer((request, response) => this.answer(request, response).catch(() => response.destroy()));
    await new Promise((resolve, reject) => { this.http.once('error', reject).listen(port, '127.0.0.1', resolve); });
    this.port = this.http.address().port;
  }

  url(path) {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** What becomes of the next requests to a path. */
  plan(path, ...ways) {
    this.ways.set(path, ways);
  }

  /** What becomes of the attempts of each notification that comes to a path. */
  planEach(path, ...ways) {
    this.ways.set(path, { of: (id) => ways[this.at(path).filter((it) => it.headers['webhook-id'] === id).length] });
  }

  async answer(request, response) {
    const at = Date.now();
    const body = (await request.setEncoding('utf8').toArray()).join('');
    const plan = this.ways.get(request.url);
    const way = (Array.isArray(plan) ? plan.shift() : plan?.of(request.headers['webhook-id'])) ?? 'well';
    this.got.push({ at, path: request.url, method: request.method, headers: request.headers, body, way });
    WAYS[way](response);
  }

  /** Everything that came to a path. */
  at(path) {
    return this.got.filter((it) => it.path === path);
  }

  /** What the receiver does because of what came: once for each id, whatever is sent again. Its data, in the order in which it came first. */
  effects(path) {
    const known = new Map();
    for (const { headers, body } of this.at(path)) {
      const before = known.get(headers['webhook-id']);
      if (before) assert.equal(body, before, 'what is sent again is the same');
      else known.set(headers['webhook-id'], body);
    }
    return [...known.values()].map((body) => JSON.parse(body));
  }

  /** Nobody is there any more: connections are refused. */
  async stop() {
    this.http.closeAllConnections();
    await new Promise((resolve) => { this.http.close(resolve); });
  }
}

/** Whether something that came was signed with this secret, and now. */
export function assertSigned({ headers, body, at }, secret) {
  const [id, seconds] = [headers['webhook-id'], headers['webhook-timestamp']];
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const expected = crypto.createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64');
  assert.equal(headers['webhook-signature'], `v1,${expected}`);
  assert.ok(Math.abs(Number(seconds) - at / 1000) < 20, `signed at ${seconds}, came at ${at}`);
  assert.deepEqual(new Webhook(secret).verify(body, headers), JSON.parse(body));
  assert.throws(() => new Webhook(secret).verify(`${body} `, headers));
  assert.equal(JSON.parse(body).id, id);
}
