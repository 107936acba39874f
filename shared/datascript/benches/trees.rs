//! Operations of one tree in memory: `cargo bench -p datascript --bench trees`. The figures are for all of the datoms; the
//! rate beside them is that of a single operation.
#![expect(clippy::expect_used, reason = "a benchmark that meets something unexpected is to stop")]

use std::rc::Rc;

use datascript::{Attr, Attrs, Datom, Index, Nodes, Pattern, TX0, Tree, Value};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Datoms of a tree: those of 20,000 entities.
const COUNT: u32 = 140_000;
const INDEXES: [Index; 3] = [Index::Eavt, Index::Aevt, Index::Avet];

/// Nodes without storage, and datoms in the order of EAVT.
fn data() -> (Rc<Nodes>, Vec<Datom>) {
    let attrs = Attrs::new(&["block/uuid", "block/title", "block/order", "block/page", "block/parent", "a/b", "a/c"]);
    let datom = |i: u32| {
        let (e, a) = (i / 7, i % 7);
        let v = match a {
            0..=2 => Value::string(&format!("value {e} of {a}")),
            _ => Value::from(e),
        };
        Datom::new(e, Attr::new(a), v, TX0)
    };
    (Nodes::in_memory(attrs), (0..COUNT).map(datom).collect())
}

fn full(nodes: &Nodes, index: Index, datoms: &[Datom]) -> Tree {
    let mut tree = Tree::empty();
    for datom in datoms {
        tree.insert(nodes, index, datom.clone()).expect("nothing to load");
    }
    tree
}

/// All datoms in an order that has nothing to do with any index: the step has no factor in common with their number.
fn shuffled(datoms: &[Datom]) -> impl Iterator<Item = &Datom> {
    let places = (0..datoms.len()).map(|n| n * 61_843 % datoms.len());
    places.filter_map(|place| datoms.get(place))
}

/// Nothing else holds the tree, so that its nodes are changed in place.
#[divan::bench(args = INDEXES, sample_count = 10)]
fn insert(bencher: Bencher<'_, '_>, index: Index) {
    let (nodes, datoms) = data();
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| full(&nodes, index, black_box(&datoms)));
}

/// The tree of seven datoms ago is held, as a transaction does: the paths to what changes are copied.
#[divan::bench(args = INDEXES, sample_count = 10)]
fn insert_by_copying(bencher: Bencher<'_, '_>, index: Index) {
    let (nodes, datoms) = data();
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        let mut tree = Tree::empty();
        for transaction in datoms.chunks(7) {
            let before = tree.clone();
            for datom in transaction {
                tree.insert(&nodes, index, datom.clone()).expect("nothing to load");
            }
            drop(before);
        }
        tree
    });
}

#[divan::bench(args = INDEXES, sample_count = 10)]
fn find_first(bencher: Bencher<'_, '_>, index: Index) {
    let (nodes, datoms) = data();
    let tree = full(&nodes, index, &datoms);
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        for datom in shuffled(&datoms) {
            let pattern = match index {
                Index::Avet => Pattern::av(datom.a, &datom.v),
                _ => Pattern::ea(datom.e, datom.a),
            };
            assert!(tree.first(&nodes, index, &pattern).expect("nothing to load").is_some());
        }
    });
}

#[divan::bench(args = INDEXES, sample_count = 10)]
fn iterate(bencher: Bencher<'_, '_>, index: Index) {
    let (nodes, datoms) = data();
    let tree = full(&nodes, index, &datoms);
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        let mut slice = tree.slice(&nodes, index, &Pattern::ALL);
        while let Some(datom) = slice.next_ref().expect("nothing to load") {
            black_box(datom);
        }
    });
}

/// As [`insert_by_copying`]: the tree of seven removals ago is held.
#[divan::bench(args = INDEXES, sample_count = 10)]
fn remove_by_copying(bencher: Bencher<'_, '_>, index: Index) {
    let (nodes, datoms) = data();
    let tree = full(&nodes, index, &datoms);
    bencher.counter(ItemsCount::new(COUNT)).with_inputs(|| tree.clone()).bench_local_values(|mut tree| {
        let mut before = tree.clone();
        for (n, datom) in shuffled(&datoms).enumerate() {
            if n % 7 == 0 {
                before = tree.clone();
            }
            tree.remove(&nodes, index, datom).expect("nothing to load");
        }
        (before, tree)
    });
}
