// Stands between the worker and its platform, and makes the platform fail, answer late or never answer, by order.
// The worker is the built bundle as it is; only what it is given is wrapped. Front worker and graphs share this module.
//
// Orders come and go over HTTP, below a path that the worker does not have:
//   PUT    /faults/orders   an order is added
//   GET    /faults/orders   the orders, with how often each is still to be carried out
//   GET    /faults/calls    what was called since the orders were last cleared
//   DELETE /faults/orders   withdraws all orders; calls that hang fail, and the list of calls is cleared
import * as bundle from './index.js';

/** Orders, the oldest first. The fields are those of `Order` in tests/faults/src/order.rs. */
let orders = [];
/** Calls since the orders were cleared: `{ at, text, graph }`. */
let calls = [];

/** The most calls that are kept. A sweep looks at some hundred. */
const MAX_CALLS = 20_000;

/** Notes a call, and the order that it is for, if there is one. */
function ordered(at, text, graph = null) {
  if (calls.length < MAX_CALLS) calls.push({ at, text, graph });
  for (const order of orders) {
    const meant = order.at === at && (order.graph ?? graph) === graph && new RegExp(order.matching).test(text);
    if (!meant || order.times === 0) continue;
    if (order.skip > 0) {
      order.skip -= 1;
    } else {
      order.times -= 1;
      return order;
    }
  }
  return null;
}

/** A call that gives its answer at once. */
function call(at, text, graph, effect) {
  const order = ordered(at, text, graph);
  if (!order) return effect();
  if (order.after) effect();
  throw new Error(order.message);
}

/** A call whose answer is awaited. */
async function asked(at, text, graph, effect) {
  const order = ordered(at, text, graph);
  if (!order) return effect();
  const answer = order.after ? await effect() : undefined;
  switch (order.does) {
    case 'fail':
      throw new Error(order.message);
    case 'wait':
      await scheduler.wait(order.ms);
      return order.after ? answer : effect();
    case 'hang':
      // A timer, because the runtime cancels a request that nothing can answer any more.
      while (orders.includes(order)) await scheduler.wait(20);
      throw new Error(order.message);
    case 'nothing':
      return [];
    default:
      throw new Error(`no such fault: ${order.does}`);
  }
}

/** `target` with some of its members replaced. Methods of the platform insist on being called on their own object. */
function wrapped(target, members) {
  return new Proxy(target, {
    get(target, name) {
      if (Object.hasOwn(members, name)) return members[name];
      const value = Reflect.get(target, name, target);
      return typeof value === 'function' && name !== 'constructor' ? value.bind(target) : value;
    },
  });
}

/** What a wrapped object stands for. */
const originals = new WeakMap();

// ---- D1

function d1(database, replica) {
  const batch = (statements) => {
    const texts = statements.map((statement) => originals.get(statement).text);
    return asked('d1', texts.join('; '), null, () => database.batch(statements.map((one) => originals.get(one).statement)));
  };
  return wrapped(database, {
    prepare: (text) => statementOf(database.prepare(text), text, replica),
    batch,
    withSession: (constraint) => d1(database.withSession(constraint), constraint !== 'first-primary'),
  });
}

/** A statement; in a session that may use any copy it is marked as such. */
function statementOf(statement, text, replica) {
  const name = replica ? `replica: ${text}` : text;
  const run = (method) => (...options) => asked('d1', name, null, () => statement[method](...options));
  const proxy = wrapped(statement, {
    bind: (...values) => statementOf(statement.bind(...values), text, replica),
    run: run('run'),
    all: run('all'),
    raw: run('raw'),
    first: run('first'),
  });
  originals.set(proxy, { statement, text });
  return proxy;
}

// ---- R2

function r2(bucket) {
  const one = (method) => (key, ...rest) => asked('r2', `${method} ${key}`, null, () => bucket[method](key, ...rest));
  const multipart = (upload) => wrapped(upload, {
    uploadPart: (number, ...rest) => asked('r2', `part ${number} ${upload.key}`, null, () => upload.uploadPart(number, ...rest)),
    abort: () => asked('r2', `abort ${upload.key}`, null, () => upload.abort()),
    complete: (parts) => asked('r2', `complete ${upload.key}`, null, () => upload.complete(parts)),
  });
  return wrapped(bucket, {
    get: one('get'),
    put: one('put'),
    delete: one('delete'),
    list: (options) => asked('r2', `list ${options?.prefix}`, null, () => bucket.list(options)),
    createMultipartUpload: async (key, ...rest) =>
      multipart(await asked('r2', `begin ${key}`, null, () => bucket.createMultipartUpload(key, ...rest))),
    resumeMultipartUpload: (key, id) => multipart(bucket.resumeMultipartUpload(key, id)),
  });
}

// ---- Graphs, as the front worker sees them

function graphs(namespace) {
  return wrapped(namespace, {
    getByName(name) {
      const stub = namespace.getByName(name);
      const text = (request) => {
        const operation = request.headers.get('x-db-sync-operation') ?? '';
        return `${request.method} ${new URL(request.url).pathname} ${operation}`.trimEnd();
      };
      return wrapped(stub, { fetch: (request) => asked('graph', text(request), name, () => stub.fetch(request)) });
    },
  });
}

function environment(env) {
  return {
    ...env,
    DB: d1(env.DB, false),
    LOGSEQ_SYNC_ASSETS: r2(env.LOGSEQ_SYNC_ASSETS),
    LOGSEQ_SYNC_DO: graphs(env.LOGSEQ_SYNC_DO),
  };
}

// ---- What a graph itself has

function stateOf(context) {
  const graph = context.id.name;
  const { storage } = context;
  const { sql } = storage;
  const exec = (text, ...values) => call('sql', text, graph, () => sql.exec(text, ...values));
  // A commit that fails: everything is rolled back.
  const transactionSync = (work) =>
    storage.transactionSync(() => {
      const answer = work();
      call('commit', 'commit', graph, () => {});
      return answer;
    });
  const of = (method) => (...values) => call('state', method, graph, () => context[method](...values));
  return wrapped(context, {
    storage: wrapped(storage, {
      sql: wrapped(sql, { exec }),
      transactionSync,
      deleteAll: () => call('sql', 'delete all', graph, () => storage.deleteAll()),
    }),
    acceptWebSocket: of('acceptWebSocket'),
    getWebSockets: of('getWebSockets'),
    setWebSocketAutoResponse: of('setWebSocketAutoResponse'),
    waitUntil: of('waitUntil'),
    blockConcurrencyWhile: of('blockConcurrencyWhile'),
  });
}

/** The graph's object, given wrapped bindings. An event in it can be made to trap. */
export class SyncDO {
  #object;
  #graph;

  constructor(context, env) {
    this.#graph = context.id.name;
    this.#object = new bundle.SyncDO(stateOf(context), environment(env));
  }

  #event(text, effect) {
    const order = ordered('event', text, this.#graph);
    if (order?.does === 'trap') trap();
    return effect(this.#object);
  }

  fetch(request) {
    return this.#event(`${request.method} ${new URL(request.url).pathname}`, (object) => object.fetch(request));
  }

  alarm() {
    return this.#object.alarm();
  }

  webSocketMessage(socket, message) {
    return this.#event('message', (object) => object.webSocketMessage(socket, message));
  }

  webSocketClose(socket, code, reason, wasClean) {
    return this.#event('close', (object) => object.webSocketClose(socket, code, reason, wasClean));
  }

  webSocketError(socket, error) {
    return this.#event('error', (object) => object.webSocketError(socket, error));
  }
}

/** Ends the WebAssembly instance: an export of the bundle reads far beyond its memory. */
function trap() {
  const range = new bundle.R2Range();
  range.__wbg_ptr = 0xfffffff0;
  throw new Error(`read ${range.offset} beyond the memory`);
}

// ---- The front worker

export default class extends bundle.default {
  constructor(context, env) {
    super(context, environment(env));
  }

  async fetch(request) {
    const { pathname } = new URL(request.url);
    return pathname.startsWith('/faults/') ? control(request, pathname) : super.fetch(request);
  }
}

async function control(request, pathname) {
  switch (`${request.method} ${pathname}`) {
    case 'PUT /faults/orders':
      orders.push(await request.json());
      return Response.json({});
    case 'GET /faults/orders':
      return Response.json(orders);
    case 'GET /faults/calls':
      return Response.json(calls);
    case 'DELETE /faults/orders':
      orders = [];
      calls = [];
      return Response.json({});
    default:
      return Response.json({ error: 'no such order' }, { status: 404 });
  }
}
