// The tables of a database, what is in them, and what is committed to them.
import pg from 'pg';
import { readLine } from './decoding.mjs';

const SLOT = 'shape_lite';
/** As the service sets them on its connection: they decide how values look. */
const SETTINGS = `SET DateStyle = 'ISO, DMY'; SET TimeZone = 'UTC'; SET IntervalStyle = 'iso_8601'; SET extra_float_digits = 1; SET bytea_output = 'hex';`;
const asText = { getTypeParser: () => (text) => text };
const quote = (name) => `"${name.replaceAll('"', '""')}"`;

export class Source {
  static async open(url) {
    const source = new Source();
    const connect = async () => {
      const client = new pg.Client({ connectionString: url, types: asText });
      client.on('error', () => {});
      await client.connect();
      await client.query(SETTINGS);
      return client;
    };
    [source.changes, source.rows] = [await connect(), await connect()];
    const { rows } = await source.changes.query('SELECT 1 FROM pg_replication_slots WHERE slot_name = $1', [SLOT]);
    if (rows.length === 0) await source.changes.query(`SELECT pg_create_logical_replication_slot($1, 'test_decoding')`, [SLOT]);
    return source;
  }

  async close() {
    await Promise.all([this.changes.end(), this.rows.end()]);
  }

  /** One after the other: a snapshot is a transaction of its connection. */
  alone(work) {
    const result = (this.busy ?? Promise.resolve()).then(work);
    this.busy = result.catch(() => {});
    return result;
  }

  /** What was committed since this was asked: `{xid, tx, changes}`, each change with its place `at`. */
  async read() {
    const { rows } = await this.changes.query(`SELECT lsn, xid, data FROM pg_logical_slot_get_changes($1, NULL, NULL)`, [SLOT]);
    const transactions = [];
    let changes = [];
    for (const { lsn, xid, data } of rows) {
      if (data.startsWith('BEGIN')) changes = [];
      else if (data.startsWith('COMMIT')) transactions.push({ xid: BigInt(xid), tx: position(lsn), changes });
      else changes.push({ ...readLine(data), at: changes.length });
    }
    return transactions;
  }

  /** A table by the name that a request gives it, or undefined. */
  async table(name) {
    return this.alone(async () => {
      let oid;
      try {
        ({ rows: [{ oid }] } = await this.rows.query(`SELECT to_regclass($1)::oid AS oid`, [name]));
      } catch {
        return undefined;
      }
      return oid ? this.describe(oid) : undefined;
    });
  }

  async describe(oid) {
    const { rows: [relation] } = await this.rows.query(
      `SELECT n.nspname AS schema, c.relname AS name, c.relreplident AS identity FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1 AND c.relkind IN ('r', 'p')`, [oid]);
    if (!relation) return undefined;
    const { rows: columns } = await this.rows.query(
      `SELECT a.attname AS name, COALESCE(e.typname, t.typname) AS type, a.attndims AS dims, a.attnotnull AS not_null,
         array_position(i.indkey::int2[], a.attnum) AS key_at
       FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
       LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
       WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, [oid]);
    const keyed = columns.filter(({ key_at }) => key_at !== null).sort((a, b) => a.key_at - b.key_at);
    return { oid, ...relation, columns, key: (keyed.length ? keyed : columns).map(({ name }) => name) };
  }

  /** Old rows are needed whole; the service asks for them itself. */
  async watch(table) {
    if (table.identity === 'f') return;
    await this.alone(() => this.rows.query(`ALTER TABLE ${quote(table.schema)}.${quote(table.name)} REPLICA IDENTITY FULL`));
  }

  /** Rows as texts, and which transactions they show. */
  async snapshot(table, { where, params, orderBy, limit, offset } = {}) {
    const values = Object.entries(params ?? {}).sort(([a], [b]) => a - b).map(([, value]) => value);
    const text = [
      `SELECT ${table.columns.map(({ name }) => quote(name)).join(', ')} FROM ${quote(table.schema)}.${quote(table.name)}`,
      where?.trim() && `WHERE ${where}`, orderBy && `ORDER BY ${orderBy}`, limit && `LIMIT ${Number(limit)}`, offset && `OFFSET ${Number(offset)}`,
    ].filter(Boolean).join(' ');
    return this.alone(async () => {
      await this.rows.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      try {
        const { rows: [{ snapshot, lsn }] } = await this.rows.query('SELECT pg_current_snapshot() AS snapshot, pg_current_wal_lsn() AS lsn');
        const { rows } = await this.rows.query(text, values);
        const [xmin, xmax, xip] = snapshot.split(':');
        return { rows: rows.map((row) => asInLog(table, row)), snapshot: { xmin, xmax, xip_list: xip ? xip.split(',') : [] }, lsn: String(position(lsn)) };
      } finally {
        await this.rows.query('ROLLBACK');
      }
    });
  }
}

/** Values as PostgreSQL writes them, but for those that the plugin writes otherwise. */
function asInLog(table, row) {
  const booleans = { t: 'true', f: 'false' };
  const one = ({ name, type, dims }) => [name, type === 'bool' && dims === '0' ? booleans[row[name]] ?? null : row[name]];
  return Object.fromEntries(table.columns.map(one));
}

/** `16/B374D848` as a number. */
function position(lsn) {
  const [high, low] = lsn.split('/').map((part) => BigInt(`0x${part}`));
  return (high << 32n) + low;
}
