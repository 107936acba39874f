// Reads the rows of graphs with transit-js alone and tells what they hold.
//
// One JSON line in, `{"rows": [[address, content, addresses], …]}`, one out: `{"eavt", "aevt", "avet"}`, digests of the
// facts with the tail replayed (of AVET without), or `{"error"}`. A line `{"log", "before", "after", "schema"}` is answered by
// `odd-log.mjs`. Driven by `simulation odd`.
import readline from 'node:readline';
import transit from 'transit-js';
import { replay } from './odd-log.mjs';

// Clients keep the text of any uuid; transit-js by itself changes a malformed one.
const reader = transit.reader('json', { handlers: { u: (text) => transit.tagged('u', text.toLowerCase()) } });
const isUuid = (v) => transit.isTaggedValue(v) && v.tag === 'u';
const keyword = transit.keyword;
const ROW_BYTES = 2_000_000;
/** From this length of a text, a node's last key may differ from its last child's greatest key. */
const LONG_TEXT = 8000;
const NODE_KEYS = 32;

const fail = (text) => { throw new Error(text); };
const sized = (mark, text) => `${mark}${text.length}:${text}`;
const name = (key) => key.toString().slice(1);
const items = (xs) => Array.from(xs, canonical);

/** The iterators of transit-js fail on some collections as keys. */
function entries(v, text) {
  const texts = [];
  v.forEach((x, key) => texts.push(text(x, key)));
  return texts.sort().join(',');
}

/** One text for equal values, whatever the order of sets and maps; different types give different texts. */
function canonical(v) {
  if (v === null) return 'nil';
  if (typeof v === 'boolean') return String(v);
  if (typeof v === 'number') return `n${v}`;
  if (typeof v === 'string') return sized('s', v);
  if (transit.isKeyword(v)) return sized('k', name(v));
  if (transit.isSymbol(v)) return sized('y', v.toString());
  if (isUuid(v)) return sized('u', v.rep);
  if (v instanceof Date) return `m${v.getTime()}`;
  if (Array.isArray(v)) return `[${items(v).join(',')}]`;
  if (transit.isSet(v)) return `#{${entries(v, (x) => canonical(x))}}`;
  if (transit.isMap(v)) return `{${entries(v, (x, key) => `${canonical(key)} ${canonical(x)}`)}}`;
  if (v instanceof Uint8Array) return sized('tb', Buffer.from(v).toString('base64'));
  if (transit.isTaggedValue(v)) {
    if (v.tag === 'list') return `(${items(v.rep).join(',')})`;
    return v.tag.length === 1 ? sized(`t${v.tag}`, v.rep) : `#${v.tag} ${canonical(v.rep)}`;
  }
  if (transit.isInteger(v)) return sized('ti', v.toString());
  return fail(`a value of no known type: ${typeof v}`);
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const parts = (text) => {
  const at = text.length > 1 ? text.indexOf('/') : -1;
  return at < 0 ? [0, '', text] : [1, text.slice(0, at), text.slice(at + 1)];
};
const compareNames = (a, b) => {
  const [x, y] = [parts(a), parts(b)];
  return compare(x[0], y[0]) || compare(x[1], y[1]) || compare(x[2], y[2]);
};

/** The order of two values where it is certain, else undefined. */
function compareValues(a, b) {
  if (typeof a === 'number' && typeof b === 'number') return Number.isNaN(a) !== Number.isNaN(b) ? undefined : compare(a, b);
  if (typeof a === typeof b && ['string', 'boolean'].includes(typeof a)) return compare(a, b);
  if (transit.isKeyword(a) && transit.isKeyword(b)) return compareNames(name(a), name(b));
  if (isUuid(a) && isUuid(b)) return compare(a.rep, b.rep);
  if (a instanceof Date && b instanceof Date) return compare(a.getTime(), b.getTime());
  return canonical(a) === canonical(b) ? 0 : undefined;
}

const COMPARE = { e: compare, a: compareNames, v: compareValues };
const ORDER = { eavt: 'eav', aevt: 'aev', avet: 'ave' };

/** The order of two datoms in an index; undefined where that of their values is not certain. */
function compareDatoms(index, a, b) {
  for (const field of ORDER[index]) {
    const order = COMPARE[field](a[field], b[field]);
    if (order !== 0) return order;
  }
  return compare(a.tx, b.tx);
}

function datom(x) {
  if (!Array.isArray(x) || x.length !== 4) fail('a datom that is no vector of four');
  const [e, a, v, tx] = x;
  if (!Number.isInteger(e) || !Number.isInteger(tx) || !transit.isKeyword(a) || v === null) fail('a malformed datom');
  return { e, a: name(a), v, tx };
}

const ordered = (index, before, after, what) => {
  const order = compareDatoms(index, before, after);
  if (order !== undefined && order >= 0) fail(`${index}: ${what}: ${before.e} ${before.a} ${canonical(before.v).slice(0, 60)} and ${after.e} ${after.a} ${canonical(after.v).slice(0, 60)}`);
};

class Graph {
  constructor(rows) {
    this.rows = new Map();
    for (const [address, content, addresses] of rows) {
      if (Buffer.byteLength(content) > ROW_BYTES) fail(`row ${address} is too long`);
      let decoded;
      try { decoded = reader.read(content); } catch (error) { fail(`row ${address} does not decode: ${error.message}`); }
      this.rows.set(address, { content: decoded, addresses: addresses === null ? null : JSON.parse(addresses) });
    }
    this.root = this.rows.get(0)?.content ?? fail('no root');
    if (!transit.isMap(this.root.get(keyword('schema')))) fail('no schema');
    this.reached = new Set();
  }

  /** The datoms of an index, in order. */
  tree(index) {
    const metadata = this.root.get(keyword(`${index}-metadata`));
    const out = [];
    this.walk(index, this.root.get(keyword(index)), metadata.get(keyword('shift')), true, out);
    const count = metadata.get(keyword('count'));
    if (out.length !== count) fail(`${index}: ${out.length} datoms, ${count} counted`);
    out.forEach((x, i) => { if (i > 0) ordered(index, out[i - 1], x, 'out of order'); });
    return out;
  }

  /** Appends what is below an address. */
  walk(index, address, level, isRoot, out) {
    if (this.reached.has(address)) fail(`${index}: row ${address} is reached twice`);
    this.reached.add(address);
    const row = this.rows.get(address) ?? fail(`${index}: no row ${address}`);
    const keys = row.content.get(keyword('keys')).map(datom);
    if (keys.length > NODE_KEYS || (keys.length === 0 && !isRoot)) fail(`${index}: row ${address} has ${keys.length} keys`);
    if (row.addresses === null) {
      if (level !== 0) fail(`${index}: a leaf at level ${level}`);
      for (const key of keys) out.push(key);
      return;
    }
    if (level === 0 || keys.length !== row.addresses.length) fail(`${index}: a malformed inner row ${address}`);
    row.addresses.forEach((child, i) => {
      const first = out.length;
      this.walk(index, child, level - 1, false, out);
      if (i > 0) ordered(index, keys[i - 1], out[first], 'a key of an inner node is not below the next child');
      // No short text is greater than a long text of the greatest character, and no search looks at a last key.
      if (index === 'avet' && i === keys.length - 1 && String(out.at(-1).v).length > LONG_TEXT) return;
      const order = compareDatoms(index, out.at(-1), keys[i]);
      if (order !== undefined && order > 0) fail(`${index}: a key of row ${address} is below its child`);
    });
  }

  /** The facts of an index, with the transactions since the last flush. */
  current(datoms) {
    const facts = new Map(datoms.map((x) => [fact(x), x]));
    for (const transaction of this.rows.get(1)?.content ?? []) {
      for (const x of transaction.map(datom)) {
        if (x.tx < 0) facts.delete(fact(x)); else facts.set(fact(x), x);
      }
    }
    return facts.values();
  }
}

const fact = ({ e, a, v }) => `${e} ${sized('k', a)} ${canonical(v)}`;

/** Two sums over the facts, in any order. */
function digest(datoms) {
  let [f, d] = [0, 0];
  for (const x of datoms) {
    const text = `${fact(x)} ${x.tx}`;
    let [h, k] = [2166136261, 5381];
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      h = Math.imul(h ^ unit, 16777619) >>> 0;
      k = (Math.imul(k, 33) + unit) >>> 0;
    }
    f = (f + h) >>> 0;
    d = (d + k) >>> 0;
  }
  return `${f.toString(16)}-${d.toString(16)}`;
}

function look(rows) {
  const graph = new Graph(rows);
  const [eavt, aevt, avet] = ['eavt', 'aevt', 'avet'].map((index) => graph.tree(index));
  return { eavt: digest(graph.current(eavt)), aevt: digest(graph.current(aevt)), avet: digest(avet) };
}

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  let answer;
  try {
    const question = JSON.parse(line);
    answer = question.log ? replay(question, { read: (text) => reader.read(text), canonical }) : look(question.rows);
  } catch (error) { answer = { error: error.message ?? String(error) }; }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
