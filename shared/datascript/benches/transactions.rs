//! Transactions in memory, and the rows that they lead to: `cargo bench -p datascript --bench transactions`. The figures are
//! for all transactions or rows of a run; the rate beside them is that of a single one.
#![expect(clippy::expect_used, reason = "a benchmark that meets something unexpected is to stop")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use datascript::{Addr, Attrs, Conn, Db, Index, Nodes, Pattern, Row, Storage, StorageError, Value, with};
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// Blocks of the graph.
const BLOCKS: u32 = 20_000;
/// Transactions of one batch, after which the rows are written.
const BATCH: u32 = 50;

/// The table `kvs`, with a count of what was read.
#[derive(Default)]
struct Kvs {
    rows: RefCell<HashMap<Addr, Row>>,
    loads: Cell<u32>,
}

impl Storage for Kvs {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        self.loads.set(self.loads.get() + 1);
        Ok(self.rows.borrow().get(&addr).cloned())
    }
}

impl Kvs {
    /// Stores what was written; the number of rows.
    fn store(&self, conn: &mut Conn) -> u32 {
        let writes = conn.take_writes().expect("all can be stored");
        let mut rows = self.rows.borrow_mut();
        let count = u32::try_from(writes.rows.len()).expect("few rows");
        rows.extend(writes.rows.into_iter().map(|row| (row.addr, row)));
        for addr in writes.deleted {
            rows.remove(&addr);
        }
        count
    }
}

fn apply(db: &Db, items: &[Value]) -> Db {
    with(db, items).expect("a valid transaction").db_after
}

/// A graph with its page and no block.
fn begun(storage: Option<Rc<dyn Storage>>) -> Db {
    let attrs = Attrs::new(&[]);
    let schema = support::schema(Rc::clone(&attrs));
    let nodes = Rc::new(Nodes::new(storage, attrs, Nodes::DEFAULT_BUDGET));
    apply(&Db::empty(nodes, schema), &[support::page()])
}

/// A graph of all blocks in a row store that holds it.
fn stored() -> (Rc<Kvs>, Conn) {
    let kvs = Rc::new(Kvs::default());
    let storage: Rc<dyn Storage> = Rc::<Kvs>::clone(&kvs);
    let db = (1..=BLOCKS).fold(begun(Some(storage)), |db, number| apply(&db, &support::block(number)));
    let mut conn = Conn::create(db);
    kvs.store(&mut conn);
    (kvs, conn)
}

/// New blocks, one after another, in a graph that was never stored.
#[divan::bench(sample_count = 10)]
fn in_memory(bencher: Bencher<'_, '_>) {
    let transactions: Vec<Vec<Value>> = (1..=BLOCKS).map(support::block).collect();
    bencher
        .counter(ItemsCount::new(BLOCKS))
        .with_inputs(|| begun(None))
        .bench_local_values(|db| transactions.iter().fold(db, |db, items| apply(&db, items)));
}

/// A batch of new blocks in a stored graph, and its rows.
#[divan::bench(sample_count = 40, sample_size = 1)]
fn batch_and_its_rows(bencher: Bencher<'_, '_>) {
    let (kvs, mut conn) = stored();
    let mut number = BLOCKS;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            number += 1;
            let report = with(conn.db(), &support::block(number)).expect("a valid transaction");
            conn.install(report);
        }
        kvs.store(&mut conn)
    });
}

/// All rows of the three indexes are read.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn scan(bencher: Bencher<'_, '_>) {
    let (kvs, conn) = stored();
    let scan = || {
        conn.nodes().clear();
        let loads = kvs.loads.get();
        for index in [Index::Eavt, Index::Aevt, Index::Avet] {
            let mut slice = conn.db().datoms(index, &Pattern::ALL).scanning();
            while slice.next_ref().expect("sound rows").is_some() {}
        }
        kvs.loads.get() - loads
    };
    bencher.counter(ItemsCount::new(scan())).bench_local(scan);
}
