//! Labels of attributes: integers in the order of the names.

use std::cell::{Cell, OnceCell};

use super::Attr;

/// Labels at hand: more than the attributes of usual graphs.
const FIRST: usize = 1024;
/// Further segments, each as long as everything before it: enough for every number that an [`Attr`] can have.
const SEGMENTS: usize = 22;

/// A label for each attribute, in cells that never move. Every comparison of attributes reads the
/// current labels, and a change of labels never changes the order of two attributes.
pub(super) struct Labels {
    first: [Cell<u64>; FIRST],
    further: [OnceCell<Box<[Cell<u64>]>>; SEGMENTS],
}

impl Default for Labels {
    fn default() -> Self {
        Self { first: [const { Cell::new(u64::MAX) }; FIRST], further: Default::default() }
    }
}

fn segment(len: usize) -> Box<[Cell<u64>]> {
    (0..len).map(|_| Cell::new(u64::MAX)).collect()
}

impl Labels {
    /// The label of an attribute; the greatest one if it has none.
    #[inline]
    pub(super) fn get(&self, attr: Attr) -> u64 {
        match self.first.get(attr.index()) {
            Some(cell) => cell.get(),
            None => self.get_further(attr),
        }
    }

    #[cold]
    fn get_further(&self, attr: Attr) -> u64 {
        let (segment, place) = locate(attr);
        let cell = self.further.get(segment).and_then(OnceCell::get).and_then(|labels| labels.get(place));
        cell.map_or(u64::MAX, Cell::get)
    }

    /// Gives the attribute at `place` of the ascending list a label between those of its neighbours; where there is no
    /// room, all attributes get new ones.
    pub(super) fn place(&self, sorted: &[Attr], place: usize) {
        let Some(attr) = sorted.get(place) else { return };
        let label_at = |place: usize| sorted.get(place).map(|attr| self.get(*attr));
        let low = place.checked_sub(1).and_then(label_at).unwrap_or(0);
        let high = label_at(place + 1).unwrap_or(u64::MAX);
        let middle = low + high.saturating_sub(low) / 2;
        if middle > low && middle < high {
            self.set(*attr, middle);
        } else {
            self.spread(sorted);
        }
    }

    /// Spreads the labels of all attributes evenly.
    fn spread(&self, sorted: &[Attr]) {
        let step = u64::MAX / (sorted.len() as u64 + 1);
        let mut label = 0;
        for attr in sorted {
            label += step;
            self.set(*attr, label);
        }
    }

    fn set(&self, attr: Attr, label: u64) {
        if let Some(cell) = self.first.get(attr.index()) {
            cell.set(label);
            return;
        }
        let (number, place) = locate(attr);
        let Some(labels) = self.further.get(number) else { return };
        if let Some(cell) = labels.get_or_init(|| segment(FIRST << number)).get(place) {
            cell.set(label);
        }
    }
}

/// The further segment of an attribute's label, and the place in it. Only for attributes beyond the first ones.
fn locate(attr: Attr) -> (usize, usize) {
    let segment = (attr.index() / FIRST).max(1).ilog2() as usize;
    (segment, attr.index() - (FIRST << segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_hold_all_numbers_without_gaps() {
        let mut expected = (0, 0);
        for number in 1024..100_000 {
            assert_eq!(locate(Attr(number)), expected);
            let (segment, place) = expected;
            expected = if place + 1 == FIRST << segment { (segment + 1, 0) } else { (segment, place + 1) };
        }
        assert_eq!(locate(Attr(u32::MAX)).0, SEGMENTS - 1);
    }
}
