// Requests of the benchmarks to the running worker.
import crypto from 'node:crypto';
import fs from 'node:fs';
import zlib from 'node:zlib';
import WebSocket from 'ws';
import { serveJwks, signToken, signingKey } from '../../tests/reference/tools/common.mjs';

const ISSUER = 'https://issuer.test/pool';
const CLIENT = 'client-under-test';

/** Environment of a server that trusts `identity`. */
export const trusting = (port) => ({ COGNITO_ISSUER: ISSUER, COGNITO_CLIENT_ID: CLIENT, COGNITO_JWKS_URL: `http://127.0.0.1:${port}/jwks.json`, DB_SYNC_ADMIN_TOKEN: 'admin-secret' });

/** A person and the key set that vouches for them. */
export async function identity(port) {
  const signing = signingKey();
  const server = await serveJwks(signing, port);
  const sub = `bench-${crypto.randomUUID()}`; const now = Math.floor(Date.now() / 1000);
  return { token: signToken(signing, { sub, email: `${sub}@example.test`, iss: ISSUER, aud: CLIENT, iat: now, exp: now + 86400 }), close: () => server.close() };
}

export class Client {
  constructor(base, token) { this.base = base; this.auth = { authorization: `Bearer ${token}` }; this.token = token; }

  async request(method, path, body, headers = {}) {
    const r = await fetch(this.base + path, { method, body, headers: { ...this.auth, ...headers }, duplex: 'half' });
    if (!r.ok) throw new Error(`${method} ${path}: ${r.status} ${await r.text()}`);
    return r;
  }

  /** A new graph, uploaded from packed frames in requests as clients make them. */
  async graph(frames) {
    const made = await (await this.request('POST', '/graphs', JSON.stringify({ 'graph-name': crypto.randomUUID(), 'graph-e2ee?': false, 'graph-ready-for-use?': false }))).json();
    const id = made['graph-id'];
    await this.upload(id, frames);
    return id;
  }

  async upload(id, parts) {
    for (const [i, part] of parts.entries()) {
      const last = i === parts.length - 1;
      await this.request('POST', `/sync/${id}/snapshot/upload?reset=${i === 0}&finished=${last}`, part, { 'content-type': 'application/transit+json', 'content-encoding': 'gzip' });
    }
  }

  socket(path) {
    const ws = new WebSocket(`${this.base.replace(/^http/, 'ws')}${path}?token=${this.token}`, { perMessageDeflate: false, maxPayload: 1 << 30 });
    let waiting = null;
    ws.on('message', (data) => { const text = data.toString(); if (!waiting || /^\{"type":"(online-users|changed)"/.test(text)) return; const w = waiting; waiting = null; w(text); });
    const ask = (text) => new Promise((resolve) => { waiting = resolve; ws.send(text); });
    return new Promise((resolve, reject) => { ws.once('open', () => resolve({ ask, close: () => ws.terminate() })); ws.once('error', reject); });
  }
}

/** Packed requests of at most 500 rows and about 1 MB each, out of a packed stream of frames. */
export function* uploadParts(file) {
  const raw = zlib.gunzipSync(fs.readFileSync(file));
  const rows = [];
  for (let at = 0; at < raw.length;) { const n = raw.readUInt32BE(at); rows.push(...JSON.parse(raw.toString('utf8', at + 4, at + 4 + n))); at += 4 + n; }
  let part = []; let size = 0;
  const pack = () => { const payload = Buffer.from(JSON.stringify(part)); const head = Buffer.alloc(4); head.writeUInt32BE(payload.length); part = []; size = 0; return zlib.gzipSync(Buffer.concat([head, payload]), { level: 6 }); };
  for (const row of rows) {
    if (part.length === 500 || (part.length && size + row[1].length > 1e6)) yield pack();
    part.push(row); size += row[1].length + 20;
  }
  yield pack();
}

/** Items of a page and of a block, as clients send them. */
export const pageTx = (id, name) => JSON.stringify([['~:db/add', id, '~:block/uuid', `~u${id}`], ['^0', id, '~:block/name', name], ['^0', id, '~:block/title', name],
  ['^0', id, '~:block/created-at', 1755000000000], ['^0', id, '~:block/updated-at', 1755000000000], ['^0', id, '~:block/tags', '~:logseq.class/Page']]);
export const blockTx = (id, page, order, i) => `[["~:db/add","${id}","~:block/uuid","~u${id}"],["^0","${id}","~:block/title","the quick brown fox jumps over block ${i}"],`
  + `["^0","${id}","~:block/parent",["^1","~u${page}"]],["^0","${id}","~:block/page",["^1","~u${page}"]],["^0","${id}","~:block/order","${order}"],`
  + `["^0","${id}","~:block/created-at",${1755000000000 + i}],["^0","${id}","~:block/updated-at",${1755000000000 + i}]]`;
