// Takes the agents worker's place and counts what its bridges cost: `cargo xtask serve --worker agents --wrapper counting-bridges.mjs`.
//   GET /cost    requests of the objects of bridges (alarms too), rows that SQLite says were written (an alarm that is set is one), and milliseconds
//                in which an object could not rest: while it was asked, and while a request of its own to a shape service was under way.
import * as bundle from './index.js';

export * from './index.js';

let requests = 0;
let rows = 0;
let busyMs = 0;
const open = new Set();

function settle() {
  for (const cursor of open) rows += cursor.rowsWritten;
  open.clear();
}

async function timed(work) {
  const begun = Date.now();
  try {
    return await work();
  } finally {
    busyMs += Date.now() - begun;
  }
}

const fetchOutside = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const request = new Request(input, init);
  // Sessions have requests of their own.
  if (new URL(request.url).pathname !== '/v1/shape') return fetchOutside(request);
  return timed(async () => {
    const answer = await fetchOutside(request);
    // The answer is there when its body is.
    return new Response(await answer.arrayBuffer(), answer);
  });
};

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

function counted(context) {
  const { storage } = context;
  const { sql } = storage;
  const exec = (text, ...values) => {
    const cursor = sql.exec(text, ...values);
    if (!text.startsWith('SELECT')) open.add(cursor);
    if (open.size > 500) settle();
    return cursor;
  };
  const setAlarm = (at) => {
    rows += 1;
    return storage.setAlarm(at);
  };
  return wrapped(context, { storage: wrapped(storage, { sql: wrapped(sql, { exec }), setAlarm }) });
}

/** The object of a bridge, given a storage that counts. */
export class PgSyncBridgeDO {
  #object;

  constructor(context, env) {
    this.#object = new bundle.PgSyncBridgeDO(counted(context), env);
  }

  fetch(request) {
    requests += 1;
    return timed(() => this.#object.fetch(request));
  }

  alarm() {
    requests += 1;
    return timed(() => this.#object.alarm());
  }
}

export default class extends bundle.default {
  async fetch(request) {
    if (new URL(request.url).pathname !== '/cost') return super.fetch(request);
    settle();
    return Response.json({ requests, rows, busyMs });
  }
}
