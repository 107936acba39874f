// Takes the sync worker's place and counts what its graphs write: `cargo xtask serve --worker sync --wrapper counting.mjs`.
//   GET /written    rows that SQLite says were written, and bytes of the texts in them
// Alarms are set as ever, and each costs a row, as Cloudflare bills it.
import * as bundle from './index.js';

let rows = 0;
let bytes = 0;
const open = new Set();

function settle() {
  for (const cursor of open) rows += cursor.rowsWritten;
  open.clear();
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

function counted(context) {
  const { storage } = context;
  const { sql } = storage;
  const exec = (text, ...values) => {
    const cursor = sql.exec(text, ...values);
    if (!text.startsWith('SELECT')) {
      for (const value of values) if (typeof value === 'string') bytes += value.length;
      open.add(cursor);
      if (open.size > 500) settle();
    }
    return cursor;
  };
  const setAlarm = (at) => {
    rows += 1;
    return storage.setAlarm(at);
  };
  return wrapped(context, { storage: wrapped(storage, { sql: wrapped(sql, { exec }), setAlarm }) });
}

/** The graph's object, given a storage that counts. */
export class SyncDO {
  #object;

  constructor(context, env) {
    this.#object = new bundle.SyncDO(counted(context), env);
  }

  fetch(request) {
    return this.#object.fetch(request);
  }

  alarm() {
    return this.#object.alarm();
  }

  webSocketMessage(socket, message) {
    return this.#object.webSocketMessage(socket, message);
  }

  webSocketClose(socket, code, reason, wasClean) {
    return this.#object.webSocketClose(socket, code, reason, wasClean);
  }

  webSocketError(socket, error) {
    return this.#object.webSocketError(socket, error);
  }
}

export default class extends bundle.default {
  async fetch(request) {
    if (new URL(request.url).pathname !== '/written') return super.fetch(request);
    settle();
    return Response.json({ rows, bytes });
  }
}
