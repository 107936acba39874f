// The yardstick for the running worker: a bare Durable Object under the same workerd that stores each row of a message
// and answers. `node bare-object.mjs --port N --data DIR`; SIGTERM ends it.
import { Miniflare } from 'miniflare';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { port: { type: 'string' }, data: { type: 'string' } } });
const script = `
export class Bare {
  constructor(state) {
    this.state = state; this.sql = state.storage.sql;
    this.sql.exec('create table if not exists tx_log (t integer primary key, tx text not null, created_at integer, outliner_op text)');
    this.t = this.sql.exec('select coalesce(max(t), 0) t from tx_log').one().t;
  }
  fetch() {
    const [client, server] = Object.values(new WebSocketPair());
    this.state.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }
  webSocketMessage(socket, text) {
    const { rows } = JSON.parse(text);
    for (const row of rows) this.sql.exec('insert into tx_log (t, tx, created_at, outliner_op) values (?, ?, ?, ?)', ++this.t, row, Date.now(), 'insert-blocks');
    socket.send('{"type":"ok","t":' + this.t + '}');
  }
  webSocketClose(socket, code) { socket.close(code === 1005 ? 1000 : code); }
}
export default {
  fetch(request, env) {
    const { pathname } = new URL(request.url);
    if (pathname === '/health') return new Response('ok');
    return env.BARE.get(env.BARE.idFromName(pathname)).fetch(request);
  },
};`;
const port = Number(values.port);
// Requests go straight to the worker, as in `cargo xtask serve`, without Miniflare's own entry worker.
const server = new Miniflare({
  host: '127.0.0.1', port: 0, cf: false,
  workers: [{
    name: 'bare', modules: true, script, compatibilityDate: '2026-04-26', durableObjects: { BARE: { className: 'Bare', useSQLite: true } },
    unsafeDirectSockets: [{ host: '127.0.0.1', port }],
  }],
  durableObjectsPersist: values.data,
});
await server.ready;
// Miniflare's own signal handler ends this process before workerd has ended.
for (const signal of ['SIGTERM', 'SIGINT']) process.removeAllListeners(signal).on(signal, async () => { await server.dispose(); process.exit(0); });
