// A server of the older dialect (agents.md 4.6), written from its documented contract: sessions, messages whose answer is the
// event stream of the turn, events by number, permissions. Its agent carries out the orders `say`, `wait`, `ask` and
// `fail` of agent.mjs.
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './processes.mjs';

export class LegacyServer {
  static async start() {
    const server = new LegacyServer();
    server.port = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    server.http = http.createServer((request, response) => server.answer(request, response).catch(() => response.destroy()));
    await new Promise((resolve) => { server.http.listen(server.port, '127.0.0.1', resolve); });
    return server;
  }

  constructor() {
    /** id -> {events, listeners, replies}. */
    this.sessions = new Map();
    /** Texts of the messages that came. */
    this.messages = [];
    /** Ids of sessions that were terminated. */
    this.terminated = [];
  }

  async answer(request, response) {
    const body = JSON.parse((await request.setEncoding('utf8').toArray()).join('') || 'null');
    const url = new URL(request.url, this.url);
    const json = (status, value) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (url.pathname === '/v1/health') return json(200, { status: 'ok' });
    const [, id, rest = ''] = /^\/v1\/sessions\/([^/]+)(\/.*)?$/.exec(url.pathname) ?? [];
    // The newer dialect's paths are unknown here.
    if (!id) return response.writeHead(404).end();
    const name = decodeURIComponent(id);
    if (request.method === 'POST' && rest === '') {
      if (this.sessions.has(name)) return json(409, { type: 'urn:sandbox-agent:error:session_already_exists', title: 'Session Already Exists', status: 409 });
      this.sessions.set(name, { agent: body.agent, events: [], listeners: new Set(), replies: new Map() });
      return json(200, { healthy: true, nativeSessionId: `native-${name}` });
    }
    const session = this.sessions.get(name);
    if (!session) return json(404, { type: 'urn:sandbox-agent:error:session_not_found', title: 'Session Not Found', status: 404 });
    const [, permission] = /^\/permissions\/([^/]+)\/reply$/.exec(rest) ?? [];
    if (permission) {
      session.replies.get(decodeURIComponent(permission))?.(body.reply);
      return response.writeHead(204).end();
    }
    switch (`${request.method} ${rest}`) {
      case 'POST /messages/stream': {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        this.listen(session, response, session.events.length, true);
        return this.turn(name, session, body.message);
      }
      case 'GET /events': {
        const offset = Number(url.searchParams.get('offset') ?? 0); const limit = Number(url.searchParams.get('limit') ?? 1000);
        const events = session.events.filter((event) => event.sequence > offset);
        return json(200, { events: events.slice(0, limit), hasMore: events.length > limit });
      }
      case 'GET /events/sse': {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        return this.listen(session, response, Number(url.searchParams.get('offset') ?? 0), false);
      }
      case 'POST /terminate':
        this.terminated.push(name);
        this.tell(name, session, 'session.ended', { reason: 'terminated', terminated_by: 'daemon' });
        this.sessions.delete(name);
        return response.writeHead(204).end();
      default:
        return response.writeHead(404).end();
    }
  }

  /** Sends the events after a number, and those that come; a turn's stream ends with the event that ends it. */
  listen(session, response, offset, ends) {
    const send = (event) => {
      response.write(`data: ${JSON.stringify(event)}\n\n`);
      const over = ['session.ended', 'error', 'agent.unparsed', 'permission.requested', 'question.requested'].includes(event.type)
        || (event.type === 'item.completed' && event.data.item.role === 'assistant');
      if (ends && over) { session.listeners.delete(send); response.end(); }
    };
    session.events.filter((event) => event.sequence > offset).forEach(send);
    session.listeners.add(send);
    response.once('close', () => session.listeners.delete(send));
  }

  tell(name, session, type, data) {
    const sequence = session.events.length + 1;
    const event = {
      event_id: `event-${sequence}`, sequence, time: new Date().toISOString(), session_id: name, native_session_id: `native-${name}`,
      source: 'agent', synthetic: false, type, data,
    };
    session.events.push(event);
    for (const send of [...session.listeners]) send(event);
  }

  async turn(name, session, message) {
    this.messages.push(message);
    const item_id = `item-${this.messages.length}`;
    const item = (status, text) => ({ item: { item_id, kind: 'message', role: 'assistant', content: [{ type: 'text', text }], status } });
    this.tell(name, session, 'item.started', item('in_progress', ''));
    let said = '';
    const say = (text) => { said += text; this.tell(name, session, 'item.delta', { item_id, delta: text }); };
    for (const order of message.split(';').map((it) => it.trim()).filter(Boolean)) {
      const [verb, rest = ''] = order.split(/ (.*)/s);
      if (verb === 'say') say(rest);
      else if (verb === 'wait') await sleep(Number(rest));
      else if (verb === 'fail') return this.tell(name, session, 'error', { message: 'the agent failed as it was told to' });
      else if (verb === 'ask') {
        const permission_id = `permission-${session.events.length}`;
        const replied = new Promise((resolve) => { session.replies.set(permission_id, resolve); });
        this.tell(name, session, 'permission.requested', { permission_id, action: 'touch a file', status: 'requested' });
        const reply = await replied;
        this.tell(name, session, 'permission.resolved', { permission_id, action: 'touch a file', status: reply });
        say(reply);
      }
    }
    return this.tell(name, session, 'item.completed', item('completed', said));
  }

  async stop() {
    this.http.closeAllConnections();
    await new Promise((resolve) => { this.http.close(resolve); });
  }
}
