// A runtime that does nothing by itself: it takes prompts, and its event streams carry what the measuring program gives them.
// It speaks as much of sandbox-agent's newer dialect (agents.md 4.2) as a session needs.
import http from 'node:http';

/** Messages that a stream which is opened again may ask for, as the real server keeps them. */
const RING = 1024;

export class Runtime {
  static async start() {
    const runtime = new Runtime();
    runtime.http = http.createServer((request, response) => runtime.answer(request, response).catch(() => response.destroy()));
    await new Promise((resolve) => { runtime.http.listen(0, '127.0.0.1', resolve); });
    runtime.url = `http://127.0.0.1:${runtime.http.address().port}`;
    return runtime;
  }

  constructor() {
    /** id -> {id, ring, next, streams}. */
    this.servers = new Map();
    /** What a prompt is answered with after so many milliseconds; null: never. */
    this.promptMs = 0;
  }

  async answer(request, response) {
    const json = (body) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    const { pathname } = new URL(request.url, this.url);
    if (pathname === '/v1/health') return json({ status: 'ok' });
    if (pathname === '/v1/acp') return json({ servers: [...this.servers.keys()].map((serverId) => ({ serverId, agent: 'claude', createdAtMs: 0 })) });
    const id = decodeURIComponent(pathname.replace('/v1/acp/', ''));
    if (request.method === 'DELETE') { this.servers.delete(id); return response.writeHead(204).end(); }
    if (request.method === 'GET') return this.stream(id, request, response);
    const call = JSON.parse((await request.setEncoding('utf8').toArray()).join(''));
    if (!this.servers.has(id)) this.servers.set(id, { id, ring: [], next: 1, streams: new Set() });
    switch (call.method) {
      case 'initialize': return json({ jsonrpc: '2.0', id: call.id, result: { protocolVersion: 1 } });
      case 'session/new': return json({ jsonrpc: '2.0', id: call.id, result: { sessionId: `runtime-${id}` } });
      case 'session/set_mode': return json({ jsonrpc: '2.0', id: call.id, result: {} });
      case 'session/prompt': {
        if (this.promptMs === null) return undefined;
        await new Promise((resolve) => { setTimeout(resolve, this.promptMs); });
        const result = { jsonrpc: '2.0', id: call.id, result: { stopReason: 'end_turn' } };
        this.emit(id, [result]);
        return json(result);
      }
      default: return response.writeHead(202).end();
    }
  }

  stream(id, request, response) {
    const server = this.servers.get(id);
    if (!server) return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    const after = Number(request.headers['last-event-id'] ?? 0);
    for (const [sequence, frame] of server.ring) if (sequence > after) response.write(frame);
    server.streams.add(response);
    response.once('close', () => server.streams.delete(response));
    return undefined;
  }

  /** Puts messages on the event stream of a server. */
  emit(id, messages) {
    const server = this.servers.get(id);
    let text = '';
    for (const message of messages) {
      const frame = `event: message\nid: ${server.next}\ndata: ${JSON.stringify(message)}\n\n`;
      server.ring.push([server.next, frame]);
      server.next += 1;
      text += frame;
    }
    if (server.ring.length > 2 * RING) server.ring = server.ring.slice(-RING);
    for (const stream of server.streams) stream.write(text);
  }

  /** A message that is stored and shown as it comes: the progress of a tool, numbered. */
  static progress(id, n) {
    const update = { sessionUpdate: 'tool_call_update', toolCallId: 'call', status: 'in_progress', rawOutput: { n, text: 'x'.repeat(200) } };
    return { jsonrpc: '2.0', method: 'session/update', params: { sessionId: `runtime-${id}`, update } };
  }

  stop() {
    this.http.closeAllConnections();
    this.http.close();
  }
}
