//! Prints what operations of one tree cost in memory:
//! `cargo run --release -p datascript --example tree_ops [datoms]`.

use std::rc::Rc;
use std::time::Instant;

use datascript::{Attr, Attrs, Datom, Index, Nodes, Pattern, TX0, Tree, Value};

/// A generator of pseudo-random numbers (`SplitMix64`).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn report(what: &str, operations: u32, start: Instant) {
    let ns = start.elapsed().as_secs_f64() * 1e9 / f64::from(operations);
    println!("{what:<52} {ns:>8.0} ns");
}

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(140_000_u32);
    let attrs = Attrs::new(&["block/uuid", "block/title", "block/order", "block/page", "block/parent", "a/b", "a/c"]);
    let nodes = Nodes::new(None, Rc::clone(&attrs), usize::MAX);
    let datom = |i: u32| {
        let (e, a) = (i / 7, i % 7);
        let v = match a {
            0..=2 => Value::string(&format!("value {e} of {a}")),
            _ => Value::from(e),
        };
        Datom::new(e, Attr::new(a), v, TX0)
    };
    let datoms: Vec<Datom> = (0..count).map(datom).collect();
    let any = datom(0);
    let pick = |state: &mut u64| {
        let at = random(state) % u64::from(count);
        usize::try_from(at).ok().and_then(|at| datoms.get(at)).unwrap_or(&any)
    };
    for index in [Index::Eavt, Index::Aevt, Index::Avet] {
        println!("{index:?}, {count} datoms");
        let mut tree = Tree::empty();
        let start = Instant::now();
        for datom in &datoms {
            let _ = tree.insert(&nodes, index, datom.clone());
        }
        report("  insert, nothing else holds the tree", count, start);

        let mut tree = Tree::empty();
        let start = Instant::now();
        for transaction in datoms.chunks(7) {
            let before = tree.clone();
            for datom in transaction {
                let _ = tree.insert(&nodes, index, datom.clone());
            }
            drop(before);
        }
        report("  insert, the value of 7 inserts ago is held", count, start);

        let mut state = 1;
        let start = Instant::now();
        let mut found = 0;
        for _ in 0..count {
            let datom = pick(&mut state);
            let pattern = match index {
                Index::Avet => Pattern::av(datom.a, &datom.v),
                _ => Pattern::ea(datom.e, datom.a),
            };
            found += u32::from(tree.first(&nodes, index, &pattern).is_ok_and(|datom| datom.is_some()));
        }
        assert_eq!(found, count, "all are found");
        report("  first at random", count, start);

        let start = Instant::now();
        let mut slice = tree.slice(&nodes, index, &Pattern::ALL);
        while let Ok(Some(_)) = slice.next_ref() {}
        report("  iterate", count, start);

        let start = Instant::now();
        for _ in 0..count / 7 {
            let before = tree.clone();
            for _ in 0..7 {
                let datom = pick(&mut state);
                let _ = tree.remove(&nodes, index, datom);
            }
            drop(before);
        }
        report("  remove at random, likewise held", count, start);
    }
}
