// An independent reader: downloads snapshots from the running server, decodes every row with transit-js, loads what it
// finds into npm datascript and compares that with the server's own answers.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';
import d from 'datascript';
import { describe as describeDb } from './checksum.mjs';
import { indexedAttributes, npmSchema, plain, readRows, tail, treeDatoms } from './rows.mjs';
import { connect } from './server.mjs';

let person;
before(async () => { person = await connect(); });
after(() => person.close());

/** Small seeded generator: a failing run can be repeated with SEED. */
const seed = Number(process.env.SEED || Math.floor(Math.random() * 2 ** 31));
function random(state) {
  let a = state >>> 0;
  return (n) => {
    a = (a + 0x6d2b79f5) >>> 0;
    let x = a;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 4294967296) * n);
  };
}

const TITLES = ['plain', 'ünïcödé', '日本語', '😀 astral', '\ue000 private use', '~tilde', '^caret', '`tick', '"quoted" \\ back', 'line\nbreak', '', ' ', '\u2028', '~:not/a-keyword'];
const at = (id) => ['~:block/uuid', `~u${id}`];
const add = (e, a, v) => ['~:db/add', e, `~:${a}`, v];
const stamps = (e) => [add(e, 'block/created-at', 1755000000000), add(e, 'block/updated-at', 1755000000000)];
const newPage = (id, title) => [add(id, 'block/uuid', `~u${id}`), add(id, 'block/title', title), add(id, 'block/name', title.toLowerCase()), ...stamps(id), add(id, 'block/tags', '~:logseq.class/Page')];
const newBlock = (id, page, parent, order, title) => [add(id, 'block/uuid', `~u${id}`), add(id, 'block/title', title), add(id, 'block/parent', at(parent)), add(id, 'block/page', at(page)), add(id, 'block/order', order), ...stamps(id)];

/** Texts in items are raw: Transit escapes those that begin with its own marks. */
const escaped = (text) => (/^[~^`]/.test(text) ? `~${text}` : text);

/** Random edits over a few pages; returns after `steps` transactions. */
async function edit(graph, rand, steps, state) {
  const pick = (xs) => xs[rand(xs.length)];
  for (let i = 0; i < steps; i++) {
    const choice = rand(10); const page = pick(state.pages); const mine = state.blocks.filter((b) => b.page === page);
    if (choice < 5 || mine.length < 5) {
      const count = 1 + rand(6);
      const items = [];
      for (let k = 0; k < count; k++) {
        const id = crypto.randomUUID(); const parent = mine.length && rand(2) ? pick(mine).id : page;
        items.push(...newBlock(id, page, parent, `a${rand(9)}V`, escaped(`${pick(TITLES)}${rand(1000)}`)));
        state.blocks.push({ id, page, parent });
      }
      await graph.transact('insert-blocks', items);
    } else if (choice < 7) {
      await graph.transact('save-block', [add(at(pick(mine).id), 'block/title', escaped(pick(TITLES)))]);
    } else if (choice === 7) {
      await graph.transact('set-block-property', [add(at(pick(mine).id), 'logseq.property/status', '~:logseq.property/status.done'), add(at(pick(mine).id), 'block/tags', '~:logseq.class/Task')]);
    } else {
      const gone = new Set([pick(mine).id]);
      for (let grown = true; grown;) {
        grown = false;
        for (const b of state.blocks) if (!gone.has(b.id) && gone.has(b.parent)) { gone.add(b.id); grown = true; }
      }
      await graph.transact('delete-blocks', [...gone].map((id) => ['~:db/retractEntity', at(id)]));
      state.blocks = state.blocks.filter((b) => !gone.has(b.id));
    }
  }
}

const key = ([e, a, v, tx]) => JSON.stringify([e, plain(a), plain(v), tx]);

/** What a reader of the rows ends up with: the EAVT tree, then the tail replayed over it. */
function current(rows) {
  const facts = new Map();
  const id = ([e, a, v]) => JSON.stringify([e, plain(a), plain(v)]);
  for (const x of treeDatoms(rows, 'eavt')) facts.set(id(x), x);
  for (const transaction of tail(rows)) for (const x of transaction) { if (x[3] < 0) facts.delete(id(x)); else facts.set(id(x), x); }
  return [...facts.values()];
}

async function check(graph) {
  const { frames, declared } = await graph.rows();
  const rows = readRows(frames);
  assert.equal(rows.size, declared, 'as many rows as announced');
  const eavt = treeDatoms(rows, 'eavt').map(key); const aevt = treeDatoms(rows, 'aevt').map(key); const avet = treeDatoms(rows, 'avet');
  assert.deepEqual([...aevt].sort(), [...eavt].sort(), 'AEVT holds what EAVT holds');
  const all = new Set(eavt);
  const indexed = indexedAttributes(rows);
  for (const x of avet) {
    assert.ok(all.has(key(x)), `AVET datom ${key(x)} is in EAVT`);
    assert.ok(indexed.has(plain(x[1])), `${plain(x[1])} is indexed`);
  }
  const schema = npmSchema(rows);
  const datoms = current(rows);
  const db = d.init_db(datoms.map(([e, a, v, tx]) => [e, plain(a), plain(v), tx]), schema);
  assert.equal(d.datoms(db, ':eavt').length, datoms.length);
  const own = describeDb(db);
  const theirs = await graph.diagnostics();
  assert.deepEqual(own.blocks, theirs.blocks, 'the reader sees the blocks the server sees');
  const stored = await graph.person.json('GET', `/sync/${graph.id}/pull?since=${graph.t}`);
  assert.deepEqual([theirs.checksum, stored.checksum ?? own.checksum], [own.checksum, own.checksum], 'checksum recomputed by the reader');
  return datoms.length;
}

test('the standard initial graph reads back', async () => {
  const graph = await person.graph();
  assert.equal(await check(graph), 2390);
});

test(`a graph edited at random reads back after every stretch (SEED=${seed})`, { timeout: 300_000 }, async () => {
  const graph = await person.graph();
  const rand = random(seed);
  const state = { pages: [crypto.randomUUID(), crypto.randomUUID(), crypto.randomUUID()], blocks: [] };
  // The first transaction also sets the checksum, which an upload without one leaves absent.
  await graph.transact('create-page', ...state.pages.map((p, i) => newPage(p, `Reader page ${i}`)));
  for (const steps of [1, 2, 3, 30, 60, 120]) {
    await edit(graph, rand, steps, state);
    await check(graph);
  }
});

test('values of every type survive the rows', async () => {
  const graph = await person.graph();
  const page = crypto.randomUUID();
  await graph.transact('create-page', newPage(page, 'Values'));
  const values = [1, -1, 0.5, 1e21, -2.5e-7, 4294967296, true, false, 'text', '~:logseq.class/Page', `~u${page}`, '~m1755000000000', ['^ ', '~:a', [1, [2]]], ['~#set', [1, 2]], ['~#list', [1, 'x']], [1, [2, null]]];
  for (const [i, v] of values.entries()) await graph.transact('db-migrate', [add(at(page), `test.values/v${i}`, v)]);
  await graph.transact('save-block', [add(at(page), 'block/updated-at', 1755000000001)]);
  await check(graph);
  const rows = readRows((await graph.rows()).frames);
  const found = current(rows).filter((x) => plain(x[1]).startsWith(':test.values/'));
  assert.equal(found.length, values.length);
});
