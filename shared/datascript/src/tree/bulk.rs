//! Bulk load (datascript.md 5.6).

use super::Tree;
use super::chunks::WIDTH;
use super::node::{Inner, Leaf, Slot};
use crate::datom::Datom;

/// Entries of a node when many are left: between the smallest and the greatest fill.
const FILL: usize = WIDTH * 3 / 4;

/// How many of `rest` entries the next node takes.
fn cut(rest: usize) -> usize {
    if rest <= WIDTH {
        rest
    } else if rest >= FILL + WIDTH / 2 {
        FILL
    } else {
        rest / 2
    }
}

/// Cuts into nodes, each with its greatest datom.
fn level<T, N: FromIterator<T>>(
    items: Vec<T>,
    last: impl Fn(&T) -> &Datom,
    slot: impl Fn(N) -> Slot,
) -> Vec<(Slot, Datom)> {
    let mut rest = items.len();
    let mut items = items.into_iter();
    let mut nodes = Vec::with_capacity(rest / FILL + 1);
    while rest > 0 {
        let size = cut(rest);
        rest -= size;
        let Some(key) = items.as_slice().get(size - 1).map(|item| last(item).clone()) else { break };
        nodes.push((slot(items.by_ref().take(size).collect()), key));
    }
    nodes
}

impl Tree {
    /// A tree of datoms that are sorted in the index's order, without duplicates.
    pub fn from_sorted(datoms: Vec<Datom>) -> Self {
        let count = datoms.len();
        let mut shift = 0;
        let mut nodes = level::<Datom, Leaf>(datoms, |datom| datom, Slot::new_leaf);
        while nodes.len() > 1 {
            nodes = level::<(Slot, Datom), Inner>(nodes, |(_, key)| key, Slot::new_inner);
            shift += 1;
        }
        match nodes.pop() {
            Some((root, _)) => Self { root, shift, count, freed: Vec::new() },
            None => Self::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_leave_no_small_rest() {
        for (len, expected) in [
            (1, &[1][..]),
            (32, &[32]),
            (33, &[16, 17]),
            (39, &[19, 20]),
            (40, &[24, 16]),
            (64, &[24, 24, 16]),
            (57, &[24, 16, 17]),
        ] {
            let mut rest = len;
            let mut sizes = Vec::new();
            while rest > 0 {
                sizes.push(cut(rest));
                rest -= cut(rest);
            }
            assert_eq!(sizes, expected, "{len}");
        }
    }
}
