//! Trees against a sorted vector.

use std::cmp::Ordering;

use super::Tree;
use super::node::MIN_FILL;
use crate::attrs::Attr;
use crate::datom::Datom;
use crate::index::{Index, Pattern};
use crate::nodes::Nodes;
use crate::testing::{ATTR_COUNT, Rng, check, datoms, memory_nodes, same};

const INDEXES: [Index; 3] = [Index::Eavt, Index::Aevt, Index::Avet];

fn matches(index: Index, datom: &Datom, pattern: &Pattern<'_>, nodes: &Nodes) -> bool {
    let probe = Datom::new(
        pattern.e.unwrap_or(datom.e),
        pattern.a.unwrap_or(datom.a),
        pattern.v.cloned().unwrap_or_else(|| datom.v.clone()),
        datom.tx,
    );
    index.compare(datom, &probe, &nodes.attrs().ranks()) == Ordering::Equal
}

#[test]
fn random_changes_equal_those_of_a_sorted_vector() {
    for (seed, variety) in (0..12).zip([3, 50, 1000].into_iter().cycle()) {
        for index in INDEXES {
            let nodes = memory_nodes();
            let ranks = nodes.attrs().ranks();
            let mut rng = Rng(seed);
            let mut tree = Tree::empty();
            let mut model: Vec<Datom> = Vec::new();
            // First mostly growth, then mostly deletion down to nothing.
            for step in 0..6000_usize {
                let grow = if step < 3000 { rng.below(4) > 0 } else { rng.below(4) == 0 };
                let datom = if grow || model.is_empty() || rng.below(8) == 0 {
                    rng.datom(200, ATTR_COUNT, variety)
                } else {
                    model[rng.below(model.len())].clone()
                };
                let place = model.binary_search_by(|other| index.compare(other, &datom, &ranks));
                if grow {
                    assert_eq!(tree.insert(&nodes, index, datom.clone()).unwrap(), place.is_err());
                    if let Err(place) = place {
                        model.insert(place, datom);
                    }
                } else {
                    assert_eq!(tree.remove(&nodes, index, &datom).unwrap(), place.is_ok());
                    if let Ok(place) = place {
                        model.remove(place);
                    }
                }
                if step % 500 == 499 {
                    check(&tree, &nodes, index, MIN_FILL);
                    let all = datoms(&tree, &nodes, index);
                    assert!(all.len() == model.len() && all.iter().zip(&model).all(|(a, b)| same(a, b)));
                }
            }
            for datom in std::mem::take(&mut model) {
                assert!(tree.remove(&nodes, index, &datom).unwrap());
            }
            assert_eq!((tree.count(), tree.shift()), (0, 0));
            assert!(datoms(&tree, &nodes, index).is_empty());
        }
    }
}

#[test]
fn slices_select_what_a_filter_selects() {
    let nodes = memory_nodes();
    let ranks = nodes.attrs().ranks();
    let mut rng = Rng(7);
    for index in INDEXES {
        let mut model: Vec<Datom> = (0..2500).map(|_| rng.datom(60, ATTR_COUNT, 20)).collect();
        model.sort_by(|a, b| index.compare(a, b, &ranks));
        model.dedup_by(|a, b| index.compare(a, b, &ranks) == Ordering::Equal);
        let tree = Tree::from_sorted(model.clone());
        check(&tree, &nodes, index, MIN_FILL);
        for _ in 0..400 {
            let datom = rng.datom(62, ATTR_COUNT, 21);
            let (e, a, v) = (Some(datom.e), Some(datom.a), Some(&datom.v));
            let prefixes = match index {
                Index::Eavt => [(e, None, None), (e, a, None), (e, a, v)],
                Index::Aevt => [(None, a, None), (e, a, None), (e, a, v)],
                Index::Avet => [(None, a, None), (None, a, v), (e, a, v)],
            };
            for (e, a, v) in prefixes {
                let pattern = Pattern { e, a, v, tx: None };
                let expected: Vec<&Datom> =
                    model.iter().filter(|datom| matches(index, datom, &pattern, &nodes)).collect();
                let slice = || tree.slice(&nodes, index, &pattern);
                let up: Vec<Datom> = slice().map(Result::unwrap).collect();
                let scanned: Vec<Datom> = slice().scanning().map(Result::unwrap).collect();
                for found in [&up, &scanned] {
                    assert!(found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| same(a, b)));
                }
                assert_eq!(slice().total().unwrap(), expected.len());
                if v.is_none() && (index == Index::Avet || e.is_some() && a.is_some()) {
                    let start = rng.value(21);
                    let from: Vec<Datom> = slice().starting_at(start.clone()).map(Result::unwrap).collect();
                    let expected = expected.iter().filter(|datom| crate::value::compare(&datom.v, &start).is_ge());
                    assert_eq!(from.len(), expected.clone().count());
                    assert!(from.iter().zip(expected).all(|(a, b)| same(a, b)));
                }
                let first = tree.first(&nodes, index, &pattern).unwrap();
                assert_eq!(first.is_some(), !expected.is_empty());
                assert!(first.iter().zip(&expected).all(|(a, b)| same(a, b)));
            }
        }
    }
}

#[test]
fn a_clone_does_not_see_later_changes() {
    let nodes = memory_nodes();
    let mut rng = Rng(3);
    let mut versions: Vec<(Tree, Vec<Datom>)> = Vec::new();
    let mut tree = Tree::empty();
    for step in 0..2000 {
        if step % 100 == 0 {
            versions.push((tree.clone(), datoms(&tree, &nodes, Index::Eavt)));
        }
        let datom = rng.datom(100, ATTR_COUNT, 10);
        if rng.below(3) == 0 {
            tree.remove(&nodes, Index::Eavt, &datom).unwrap();
        } else {
            tree.insert(&nodes, Index::Eavt, datom).unwrap();
        }
    }
    for (version, content) in versions {
        check(&version, &nodes, Index::Eavt, MIN_FILL);
        let now = datoms(&version, &nodes, Index::Eavt);
        assert!(now.len() == content.len() && now.iter().zip(&content).all(|(a, b)| same(a, b)));
    }
}

#[test]
fn an_empty_tree_finds_nothing() {
    let nodes = memory_nodes();
    let mut tree = Tree::from_sorted(Vec::new());
    assert_eq!(tree.count(), 0);
    assert!(!tree.contains(&nodes, Index::Avet, &Pattern::a(Attr::new(0))).unwrap());
    assert!(!tree.remove(&nodes, Index::Avet, &Rng(0).datom(1, 1, 1)).unwrap());
    assert!(tree.slice(&nodes, Index::Avet, &Pattern::ALL).next().is_none());
}
