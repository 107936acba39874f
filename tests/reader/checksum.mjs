// The graph checksum (sync.md 12) over an npm datascript database whose attributes are `:ns/name` texts.
import d from 'datascript';

const digest = (units, state) => {
  let [f, k] = state;
  for (let i = 0; i < units.length; i++) {
    const c = units.charCodeAt(i);
    f = Math.imul(f ^ c, 16777619) >>> 0;
    k = (Math.imul(k, 33) + c) >>> 0;
  }
  return [f, k];
};
const tuple = (uuid, attribute, value) => digest(`${uuid}\x1f${attribute}\x1f${value ?? ''}`, [2166136261, 5381]);
const hex = (n) => n.toString(16).padStart(8, '0');

/** Blocks as the diagnostics route lists them, and the checksum, both from scratch. */
export function describe(db) {
  const values = (e, a) => d.datoms(db, ':eavt', e, a).map((x) => x.v);
  const first = (e, a) => values(e, a)[0];
  const uuidOf = (e) => first(e, ':block/uuid')?.replace(/^#uuid /, '') ?? null;
  const pageClasses = new Set(['Page', 'Journal', 'Tag', 'Property'].map((n) => d.datoms(db, ':avet', ':db/ident', `:logseq.class/${n}`)[0]?.e));
  const eligible = (e) => !first(e, ':logseq.property/built-in?')
    && (values(e, ':block/tags').some((t) => pageClasses.has(t)) || first(e, ':block/page') !== undefined || first(e, ':block/name') !== undefined);
  const blocks = []; let sum = [0, 0];
  for (const { e } of d.datoms(db, ':avet', ':block/uuid')) {
    if (!eligible(e)) continue;
    const uuid = uuidOf(e);
    const ref = (a) => (first(e, a) === undefined ? null : uuidOf(first(e, a)));
    const block = { uuid, parent: ref(':block/parent'), page: ref(':block/page'), order: first(e, ':block/order') ?? null, title: first(e, ':block/title') ?? null, name: first(e, ':block/name') ?? null };
    blocks.push(block);
    for (const name of ['uuid', 'parent', 'page', 'order', 'title', 'name']) {
      if (first(e, `:block/${name}`) === undefined) continue;
      const [f, k] = tuple(uuid, `:block/${name}`, block[name]);
      sum = [(sum[0] + f) >>> 0, (sum[1] + k) >>> 0];
    }
  }
  return { checksum: hex(sum[0]) + hex(sum[1]), blocks: blocks.sort((a, b) => (a.uuid < b.uuid ? -1 : 1)) };
}
