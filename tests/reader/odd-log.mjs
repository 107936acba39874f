// Applies logged transactions to the facts before them with npm datascript, and compares with the facts after (sync.md D-66).
//
// Values are opaque texts here, the same text for equal values; references stay references. Entities are identified by
// their names, as their numbers differ from copy to copy.
import d from 'datascript';
import transit from 'transit-js';

const UUID = ':block/uuid';
const IDENT = ':db/ident';
const name = (keyword) => keyword.toString().replace(/^:?/, ':');

/** The schema for npm datascript, given `[ref, many, component, identity, unique]`. */
function schemaOf(flags) {
  const attribute = ([ref, many, component, identity, unique]) => ({
    ...(ref ? { ':db/valueType': ':db.type/ref' } : {}),
    ...(many ? { ':db/cardinality': ':db.cardinality/many' } : {}),
    ...(component && ref ? { ':db/isComponent': true } : {}),
    ...(identity ? { ':db/unique': ':db.unique/identity' } : unique ? { ':db/unique': ':db.unique/value' } : {}),
  });
  const names = { [UUID]: [false, false, false, true, true], [IDENT]: [false, false, false, true, true], ...flags };
  return Object.fromEntries(Object.entries(names).map(([attr, of]) => [attr, attribute(of)]));
}

/** Every fact as one text. */
function told(datoms, isRef) {
  const names = new Map();
  for (const attr of [IDENT, UUID]) for (const x of datoms) if (x.a === attr) names.set(x.e, x.v);
  const named = (e) => names.get(e) ?? `number ${e}`;
  return new Set(datoms.map(({ e, a, v }) => `${named(e)} ${a} ${isRef(a) ? named(v) : v}`));
}

export function replay({ schema: flags, before, after, log }, { read, canonical: exact }) {
  // Lists and vectors of equal elements are one value.
  const canonical = (v) => exact(v).replaceAll('(', '[').replaceAll(')', ']');
  const schema = schemaOf(flags);
  const isRef = (a) => schema[a]?.[':db/valueType'] === ':db.type/ref';
  const datom = ([e, a, v, tx]) => ({ e, a: name(a), v: isRef(name(a)) ? v : canonical(v), tx });

  /** An entity in a form for npm datascript: a number, a tempid or a lookup ref. */
  function entity(x) {
    if (typeof x === 'number' || typeof x === 'string') return x;
    if (transit.isKeyword(x)) return [IDENT, canonical(x)];
    if (Array.isArray(x) && x.length === 2) return [name(x[0]), canonical(x[1])];
    throw new Error(`an entity that is none: ${canonical(x)}`);
  }
  function item(x) {
    const [op, e, a, v] = x;
    if (x.length === 2) return [name(op), entity(e)];
    return [name(op), entity(e), name(a), isRef(name(a)) ? entity(v) : canonical(v)];
  }

  let db = d.init_db(read(before).map(datom).map(({ e, a, v, tx }) => [e, a, v, tx]), schema);
  for (const tx of log) db = d.db_with(db, read(tx).map(item));
  const ours = told(d.datoms(db, ':eavt').map(({ e, a, v }) => ({ e, a, v })), isRef);
  const theirs = told(read(after).map(datom), isRef);
  const only = (here, there) => [...here].filter((fact) => !there.has(fact)).slice(0, 3);
  const [missing, extra] = [only(theirs, ours), only(ours, theirs)];
  if (missing.length + extra.length > 0) throw new Error(`only in the graph ${JSON.stringify(missing)}, only by the log ${JSON.stringify(extra)}: ${log.join(' ')}`);
  return { replayed: log.length };
}
