// Transactions of 7 datoms a second in memory with npm datascript: the yardstick of `cargo xtask bench`.
// Prints one JSON object. The work is that of src/workload.rs: pages of 100 blocks, text references, lookup refs.
import d from 'datascript';

const count = Number(process.argv[2] || 4000);
const schema = {
  'block/uuid': { ':db/unique': ':db.unique/identity' },
  'block/parent': { ':db/valueType': ':db.type/ref', ':db/index': true },
  'block/page': { ':db/valueType': ':db.type/ref', ':db/index': true },
  'block/tags': { ':db/valueType': ':db.type/ref', ':db/cardinality': ':db.cardinality/many' },
  'block/title': { ':db/index': true }, 'block/name': { ':db/index': true }, 'block/order': { ':db/index': true },
  'block/created-at': { ':db/index': true }, 'block/updated-at': { ':db/index': true },
};
/** The same generator as in the native part: splitmix-like, so that UUIDs spread over the index. */
let state = 1n;
function uuid() {
  const next = () => { state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n); return state.toString(16).padStart(16, '0'); };
  const h = next() + next();
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-8${h.slice(17, 20)}-${h.slice(20, 32)}`;
}
const order = (i) => `a${String.fromCharCode(48 + Math.floor(i / 10))}${i % 10}V`;

function run(n) {
  state = 1n;
  const conn = d.create_conn(schema); const txs = []; let page;
  for (let i = 0; i < n; i++) {
    if (i % 100 === 0) {
      page = uuid();
      txs.push([[':db/add', -1, 'block/uuid', page], [':db/add', -1, 'block/name', `page ${i}`], [':db/add', -1, 'block/title', `page ${i}`]]);
    }
    const id = uuid();
    txs.push([
      [':db/add', -1, 'block/uuid', id], [':db/add', -1, 'block/title', `the quick brown fox jumps over block ${i}`],
      [':db/add', -1, 'block/parent', ['block/uuid', page]], [':db/add', -1, 'block/page', ['block/uuid', page]],
      [':db/add', -1, 'block/order', order(i % 100)], [':db/add', -1, 'block/created-at', 1755000000000 + i], [':db/add', -1, 'block/updated-at', 1755000000000 + i],
    ]);
  }
  const start = process.hrtime.bigint();
  for (const tx of txs) d.transact(conn, tx);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (d.datoms(d.db(conn), ':eavt').length < n * 7) throw new Error('lost datoms');
  return n / seconds;
}

run(Math.min(count, 1000)); // warm-up: let the optimising compiler see it
const rates = [run(count), run(count), run(count)].sort((a, b) => a - b);
console.log(JSON.stringify({ part: 'npm-datascript', transactionsPerSecond: rates[1], min: rates[0], max: rates[2] }));
