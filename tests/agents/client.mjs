// A client of sessions: requests, and an event stream that is read to the end of what is awaited.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { TOKEN } from './processes.mjs';

/** How long an awaited event may take. */
const PATIENCE_MS = 60_000;

export class Client {
  constructor(base, token = TOKEN) {
    Object.assign(this, { base, token });
  }

  async ask(method, path, body, headers = {}) {
    const response = await fetch(this.base + path, {
      method,
      headers: { authorization: `Bearer ${this.token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    let json = null;
    try { json = text ? JSON.parse(text) : null; } catch { /* told by `text` */ }
    return { status: response.status, headers: response.headers, text, body: json };
  }

  /** Creates a session; the answer must be 200. */
  async create(more = {}) {
    const id = more['session-id'] ?? crypto.randomUUID();
    const created = await this.ask('POST', '/sessions', {
      'session-id': id, 'node-id': 'node', 'node-title': 'Fix the tests', content: 'Fix the tests', attachments: [],
      project: { id: 'project', title: 'Project', 'repo-url': 'https://github.com/acme/project' },
      agent: { provider: 'claude', 'permission-mode': 'default' }, ...more,
    });
    assert.equal(created.status, 200, created.text);
    return new Session(this, id, created.body);
  }
}

export class Session {
  constructor(client, id, created = null) {
    Object.assign(this, { client, id, created, path: `/sessions/${encodeURIComponent(id)}` });
  }

  ask(method, path, body, headers) {
    return this.client.ask(method, this.path + path, body, headers);
  }

  /** The body of an answer that must be 200. */
  async ok(method, path, body, headers) {
    const answer = await this.ask(method, path, body, headers);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`);
    return answer.body;
  }

  say(message, headers) {
    return this.ok('POST', '/messages', { message, kind: 'user' }, headers);
  }

  async status() {
    return (await this.ok('GET', '')).status;
  }

  async events(query = '') {
    return (await this.ok('GET', `/events${query}`)).events;
  }

  /** Opens the event stream; resolves when its head has come. */
  async stream({ lastEventId, query = '' } = {}) {
    const stop = new AbortController();
    const headers = { authorization: `Bearer ${this.client.token}`, accept: 'text/event-stream' };
    if (lastEventId !== undefined) headers['last-event-id'] = String(lastEventId);
    const response = await fetch(`${this.client.base}${this.path}/stream${query}`, { headers, signal: stop.signal });
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type'), /^text\/event-stream/);
    return new Stream(response, stop);
  }
}

/** Frames of an event stream: {id?, event?, data}. All that came are kept. */
export class Stream {
  constructor(response, stop) {
    Object.assign(this, { stop, frames: [], waiting: [], ended: false });
    this.reading = this.read(response.body).catch((error) => { if (error.name !== 'AbortError') this.failure = error; }).finally(() => {
      this.ended = true;
      for (const look of this.waiting) look();
    });
  }

  async read(body) {
    let text = '';
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) this.take(text.slice(0, end));
      for (const look of this.waiting) look();
    }
  }

  take(frame) {
    const fields = Object.fromEntries(frame.split('\n').filter((line) => line && !line.startsWith(':')).map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
    if (fields.data !== undefined) this.frames.push({ ...fields, ...(fields.id ? { id: Number(fields.id) } : {}), data: JSON.parse(fields.data) });
  }

  /** The first event, among those that came and that come, for which `test` holds. */
  until(test, what = String(test)) {
    return new Promise((resolve, reject) => {
      const give = (settle, value) => {
        clearTimeout(timer);
        this.waiting = this.waiting.filter((it) => it !== look);
        settle(value);
      };
      const late = () => give(reject, new Error(`${this.ended ? 'the stream ended' : 'nothing came'} before ${what}; there were ${this.types().join(', ')}`));
      const timer = setTimeout(late, PATIENCE_MS);
      const look = () => {
        const found = this.frames.find(({ data }) => test(data));
        if (found) give(resolve, found.data);
        else if (this.ended) late();
      };
      this.waiting.push(look);
      look();
    });
  }

  type(name, from = 0) {
    return this.until((event) => event.type === name && (event.cursor ?? Infinity) > from, `${name} after ${from}`);
  }

  types() {
    return this.frames.map(({ data }) => data.type);
  }

  /** The cursors of the stored events, in the order in which they came. */
  cursors() {
    return this.frames.flatMap(({ id }) => (id === undefined ? [] : [id]));
  }

  async close() {
    this.stop.abort();
    await this.reading;
  }
}

/** The text of an `item.completed`. */
export const textOf = (event) => event.data.item.content.filter((part) => part.type === 'text').map((part) => part.text).join('');

/** The update of an `agent.runtime` event, if it is one of this kind. */
export const updateOf = (event, kind) => (event.type === 'agent.runtime' && event.data.update?.sessionUpdate === kind ? event.data.update : null);

/** Polls until `yes` gives something. */
export async function eventually(what, yes, patience = PATIENCE_MS) {
  const until = Date.now() + patience;
  for (;;) {
    const found = await yes();
    if (found) return found;
    if (Date.now() > until) throw new Error(`never: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
}
