// Reads a snapshot with transit-js alone: frames, rows, the three trees, the tail.
import transit from 'transit-js';

const decode = (text) => transit.reader('json').read(text);
const keyword = (name) => transit.keyword(name);

/** Values in a form that `===` and JSON can compare; different types give different forms. */
export function plain(v) {
  if (v === null || ['string', 'number', 'boolean'].includes(typeof v)) return v;
  if (transit.isKeyword(v)) return `:${v.toString().replace(/^:/, '')}`;
  if (transit.isUUID(v)) return `#uuid ${v.toString()}`;
  if (v instanceof Date) return `#inst ${v.getTime()}`;
  if (Array.isArray(v)) return `[${v.map((x) => JSON.stringify(plain(x))).join(' ')}]`;
  if (transit.isMap(v)) return `{${[...v.entries()].map((kv) => JSON.stringify(kv.map(plain))).sort().join(' ')}}`;
  if (transit.isSet(v)) return `#{${[...v.values()].map((x) => JSON.stringify(plain(x))).sort().join(' ')}}`;
  if (transit.isTaggedValue(v)) return `#${v.tag} ${JSON.stringify(plain(v.rep))}`;
  return String(v);
}

/** All rows of a stream's frames, by address, decoded. Every row must decode. */
export function readRows(frames) {
  const rows = new Map();
  for (const frame of frames) {
    for (const [address, content, addresses] of decode(frame)) {
      rows.set(address, { content: decode(content), addresses: addresses === null ? null : JSON.parse(addresses) });
    }
  }
  return rows;
}

/** The datoms of one tree in index order, with the checks of a careful reader. */
export function treeDatoms(rows, name) {
  const root = rows.get(0).content;
  const { count, shift } = Object.fromEntries([...root.get(keyword(`${name}-metadata`)).entries()].map(([k, v]) => [k.toString().replace(/^:/, ''), v]));
  const out = [];
  const walk = (address, level) => {
    const row = rows.get(address);
    if (!row) throw new Error(`${name}: no row ${address}`);
    const keys = row.content.get(keyword('keys'));
    if (row.addresses === null) {
      if (level !== 0) throw new Error(`${name}: leaf ${address} at level ${level}`);
      out.push(...keys);
      return keys.at(-1);
    }
    if (level === 0 || keys.length !== row.addresses.length || keys.length > 32) throw new Error(`${name}: malformed node ${address}`);
    row.addresses.forEach((child, i) => {
      const last = walk(child, level - 1);
      if (JSON.stringify(last.map(plain)) !== JSON.stringify(keys[i].map(plain))) throw new Error(`${name}: key ${i} of ${address} is not its child's greatest datom`);
    });
    return keys.at(-1);
  };
  walk(root.get(keyword(name)), shift);
  if (out.length !== count) throw new Error(`${name}: ${out.length} datoms, ${count} counted`);
  return out;
}

/** The tail: transactions of [e a v tx], negative tx for a retraction. */
export const tail = (rows) => rows.get(1).content;

const isAttribute = ([key, spec]) => transit.isKeyword(key) && transit.isMap(spec);
const attributes = (rows) => [...rows.get(0).content.get(keyword('schema')).entries()].filter(isAttribute);
const has = (spec, name, ...values) => values.includes(plain(spec.get(keyword(name)) ?? null));

/** Names of the attributes that the stored schema indexes. */
export function indexedAttributes(rows) {
  const indexed = ([, spec]) => has(spec, 'db/index', true) || has(spec, 'db/unique', ':db.unique/identity', ':db.unique/value') || has(spec, 'db/valueType', ':db.type/ref');
  return new Set(attributes(rows).filter(indexed).map(([name]) => plain(name)));
}

/** The stored schema as far as npm datascript needs it to hold the same facts and look them up. */
export function npmSchema(rows) {
  const indexed = indexedAttributes(rows);
  return Object.fromEntries(attributes(rows).map(([name, spec]) => [plain(name), {
    ...(indexed.has(plain(name)) ? { ':db/index': true } : {}),
    ...(has(spec, 'db/cardinality', ':db.cardinality/many') ? { ':db/cardinality': ':db.cardinality/many' } : {}),
  }]));
}
