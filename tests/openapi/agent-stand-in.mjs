// A runtime that takes every agent and every prompt, and says nothing but that it is done: sessions of any form can be made with it.
import http from 'node:http';

const results = {
  initialize: () => ({ protocolVersion: 1, agentCapabilities: {} }),
  'session/new': () => ({ sessionId: 'r1' }),
  'session/prompt': () => ({ stopReason: 'end_turn' }),
};

/** Listens; `url` is where. */
export async function start() {
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
      const { pathname } = new URL(request.url, 'http://runtime');
      if (pathname === '/v1/health') return response.writeHead(200).end('{"status":"ok"}');
      if (!pathname.startsWith('/v1/acp')) return response.writeHead(404).end();
      if (request.method === 'GET') return response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': here\n\n');
      if (request.method === 'DELETE') return response.writeHead(204).end();
      const { id, method } = JSON.parse(Buffer.concat(chunks).toString());
      if (id === undefined) return response.writeHead(202).end();
      return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result: results[method]?.() ?? {} }));
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => { server.closeAllConnections(); server.close(); } };
}
