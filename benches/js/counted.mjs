// A storage of objects that counts what is written into it, for modules that take a worker's place: `counting.mjs` and `counting-bridges.mjs`.
// Rows are those that SQLite says were written; alarms are set as ever, and each costs a row, as Cloudflare bills it.
const written = { rows: 0, bytes: 0 };
const open = new Set();

function settle() {
  for (const cursor of open) written.rows += cursor.rowsWritten;
  open.clear();
}

/** Rows that were written so far, and bytes of the texts in them. */
export function tally() {
  settle();
  return { ...written };
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

/** What an object is constructed with, with a storage that counts. */
export function counted(context) {
  const { storage } = context;
  const { sql } = storage;
  const exec = (text, ...values) => {
    const cursor = sql.exec(text, ...values);
    if (!text.startsWith('SELECT')) {
      for (const value of values) if (typeof value === 'string') written.bytes += value.length;
      open.add(cursor);
      if (open.size > 500) settle();
    }
    return cursor;
  };
  const setAlarm = (at) => {
    written.rows += 1;
    return storage.setAlarm(at);
  };
  return wrapped(context, { storage: wrapped(storage, { sql: wrapped(sql, { exec }), setAlarm }) });
}
