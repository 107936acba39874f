// One shape: a part of a table as a log.
import crypto from 'node:crypto';
import { UNCHANGED } from './decoding.mjs';
import { compile } from './where.mjs';

const quote = (name) => `"${name.replaceAll('"', '""')}"`;

/** What makes a shape another one. Columns are sorted: their order does not. */
export function identity({ table, where, params, columns, replica, log }) {
  return JSON.stringify([table.oid, where ?? null, params ?? null, columns ? [...columns].sort() : null, replica, log]);
}

/** An offset as two numbers that compare: commit, and place within it. Undefined for anything else. */
export function place(offset) {
  const [, tx, op] = /^(\d+)_(\d+|inf)$/.exec(offset) ?? [];
  return tx && [BigInt(tx), op === 'inf' ? Infinity : Number(op)];
}

export const isAfter = (a, b) => a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);

/** The place after the rows that were there, and before all changes. */
export const START = '0_inf';

export class Shape {
  constructor(definition) {
    Object.assign(this, definition);
    const hash = parseInt(crypto.createHash('sha256').update(identity(definition)).digest('hex').slice(0, 7), 16);
    this.handle = `${hash}-${Date.now()}${String(process.hrtime.bigint() % 1000n).padStart(3, '0')}`;
    this.types = Object.fromEntries(definition.table.columns.map(({ name, type }) => [name, type]));
    this.names = definition.columns ?? definition.table.columns.map(({ name }) => name);
    this.matches = compile(definition.where, definition.params ?? {}, this.types);
    /** Rows that were there, as messages. */
    this.rows = [];
    this.items = [];
    /** Transactions that came before it was known which of them the snapshot shows. */
    this.early = [];
  }

  /** The snapshot is taken: what it shows is no change. */
  begin({ rows, snapshot }) {
    this.snapshot = snapshot;
    this.rows = rows.map((row) => ({
      key: this.key(row), value: this.pick(row), headers: { operation: 'insert', relation: [this.table.schema, this.table.name] },
    }));
    for (const transaction of this.early.splice(0)) this.take(transaction);
  }

  /** Takes in a transaction; tells whether there is something new. */
  take(transaction) {
    if (!this.snapshot) {
      this.early.push(transaction);
      return false;
    }
    if (isShown(transaction.xid, this.snapshot)) return false;
    const messages = transaction.changes
      .filter(({ tables: [[schema, name]] }) => schema === this.table.schema && name === this.table.name)
      .flatMap((change) => this.messages(change));
    messages.forEach(({ op, ...message }, at) => {
      const { headers } = message;
      Object.assign(headers, { relation: [this.table.schema, this.table.name], lsn: String(transaction.tx), op_position: op, txids: [Number(transaction.xid)] });
      if (at === messages.length - 1) headers.last = true;
      this.items.push({ place: [transaction.tx, op], offset: `${transaction.tx}_${op}`, message });
    });
    return messages.length > 0;
  }

  /** What a change is within this shape: rows come into it and leave it. */
  messages({ kind, old, next, at }) {
    const op = at * 2;
    const before = old && this.whole(old);
    // A large value that was not changed is only known from the row before.
    const after = next && Object.fromEntries(Object.entries(this.whole(next)).map(([name, value]) => [name, value === UNCHANGED ? before?.[name] ?? null : value]));
    const isBefore = kind !== 'INSERT' && this.matches(before);
    const isAfterwards = kind !== 'DELETE' && this.matches(after);
    if (!isBefore && !isAfterwards) return [];
    if (!isBefore) return [{ op, key: this.key(after), value: this.pick(after), headers: { operation: 'insert' } }];
    const removal = { key: this.key(before), value: this.replica === 'full' ? this.pick(before) : this.keyColumns(before) };
    if (!isAfterwards) return [{ op, ...removal, headers: { operation: 'delete' } }];
    if (removal.key !== this.key(after)) {
      return [
        { op, ...removal, headers: { operation: 'delete', key_change_to: this.key(after) } },
        { op: op + 1, key: this.key(after), value: this.pick(after), headers: { operation: 'insert', key_change_from: removal.key } },
      ];
    }
    const changed = this.names.filter((name) => next[name] !== UNCHANGED && before[name] !== after[name]);
    if (changed.length === 0) return [];
    const only = (row, names) => Object.fromEntries(names.map((name) => [name, row[name]]));
    if (this.replica !== 'full') {
      return [{ op, key: removal.key, value: { ...this.keyColumns(after), ...only(after, changed) }, headers: { operation: 'update' } }];
    }
    const known = this.names.filter((name) => next[name] !== UNCHANGED);
    return [{ op, key: removal.key, value: only(after, known), old_value: only(before, changed), headers: { operation: 'update' } }];
  }

  /** With the columns that are null, which are left out of old rows. */
  whole(row) {
    return Object.fromEntries(this.table.columns.map(({ name }) => [name, row[name] === undefined ? null : row[name]]));
  }

  pick(row) {
    return Object.fromEntries(this.names.map((name) => [name, row[name]]));
  }

  keyColumns(row) {
    return Object.fromEntries(this.table.key.map((name) => [name, row[name]]));
  }

  key(row) {
    const values = this.table.key.map((name) => quote(String(row[name])));
    return [`${quote(this.table.schema)}.${quote(this.table.name)}`, ...values].join('/');
  }

  /** Where the log ends. */
  get end() {
    return this.items.at(-1)?.offset ?? START;
  }

  /** At most `limit` items after an offset, and whether these are all. */
  after(offset, limit) {
    const from = place(offset);
    const rest = this.items.filter((item) => isAfter(item.place, from));
    return { items: rest.slice(0, limit), isAll: rest.length <= limit };
  }
}

/** Whether a snapshot shows a transaction. */
function isShown(xid, { xmin, xmax, xip_list }) {
  return xid < BigInt(xmin) || (xid < BigInt(xmax) && !xip_list.includes(String(xid)));
}
