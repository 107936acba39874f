// One person's access to the server under test: tokens, a graph with the standard initial content, batches, snapshots.
//
//   BASE_URL   server under test (http://127.0.0.1:8787)
//   JWKS_PORT  loopback port of the key set that the server is configured with (8799)
//   ISSUER, CLIENT_ID, SIGNING_KEY   as in the conformance suite
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import { fileURLToPath } from 'node:url';
import { serveJwks, signToken, signingKey } from '../reference/tools/common.mjs';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
const golden = path.resolve(root, process.env.GOLDEN_DIR || 'tests/reference/golden');
const base = (process.env.BASE_URL || 'http://127.0.0.1:8787').replace(/\/$/, '');

export async function connect() {
  const signing = signingKey(process.env.SIGNING_KEY);
  const keys = await serveJwks(signing, Number(process.env.JWKS_PORT || 8799));
  const user = `reader-${crypto.randomUUID()}`;
  const now = Math.floor(Date.now() / 1000);
  const token = signToken(signing, {
    sub: user, email: `${user}@example.test`, iss: process.env.ISSUER || 'https://issuer.test/pool',
    aud: process.env.CLIENT_ID || 'client-under-test', iat: now, exp: now + 3600,
  });
  return new Person(token, keys);
}

class Person {
  constructor(token, keys) { this.token = token; this.keys = keys; }

  async request(method, where, { body, type = 'application/json' } = {}) {
    const headers = { authorization: `Bearer ${this.token}`, ...(body ? { 'content-type': type } : {}) };
    const answer = await fetch(base + where, { method, headers, body });
    if (!answer.ok) throw new Error(`${method} ${where}: ${answer.status} ${await answer.text()}`);
    return answer;
  }

  async json(method, where, body) {
    return (await this.request(method, where, { body: body && JSON.stringify(body) })).json();
  }

  /** A new graph with the standard initial content. */
  async graph() {
    const made = await this.json('POST', '/graphs', { 'graph-name': crypto.randomUUID(), 'graph-e2ee?': false, 'graph-ready-for-use?': false });
    const graph = new Graph(this, made['graph-id']);
    const frames = zlib.gunzipSync(fs.readFileSync(path.join(golden, 'server/bodies/base.frames.gz')));
    await this.request('POST', `/sync/${graph.id}/snapshot/upload?reset=true&finished=true`, { body: frames, type: 'application/transit+json' });
    return graph;
  }

  close() { this.keys.close(); }
}

class Graph {
  constructor(person, id) { this.person = person; this.id = id; this.t = 0; }

  /** Sends lists of items, one entry each; all must be accepted. */
  async transact(op, ...entries) {
    const txs = entries.map((items) => ({ tx: JSON.stringify(items), 'outliner-op': op, 'tx-id': crypto.randomUUID() }));
    const answer = await this.person.json('POST', `/sync/${this.id}/tx/batch`, { 't-before': this.t, txs });
    if (answer.type !== 'tx/batch/ok') throw new Error(`rejected: ${JSON.stringify(answer)}`);
    this.t = answer.t;
    return answer;
  }

  diagnostics() { return this.person.json('GET', `/sync/${this.id}/checksum/diagnostics`); }

  /** The rows of the stream that the descriptor names, as stored: [address, content, addresses]. */
  async rows() {
    const { url } = await this.person.json('GET', `/sync/${this.id}/snapshot/download`);
    const answer = await this.person.request('GET', new URL(url).pathname);
    let bytes = Buffer.from(await answer.arrayBuffer());
    while (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = zlib.gunzipSync(bytes);
    const rows = [];
    for (let at = 0; at < bytes.length;) {
      const length = bytes.readUInt32BE(at);
      rows.push(bytes.subarray(at + 4, at + 4 + length).toString('utf8'));
      at += 4 + length;
    }
    return { frames: rows, declared: Number(answer.headers.get('x-snapshot-row-count')) };
  }
}
