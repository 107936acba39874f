//! Labels of attributes: integers in the order of the names.

use std::cell::{Cell, OnceCell};

use super::Attr;

/// Labels of the first segment; each further segment has twice as many.
const FIRST: usize = 64;
/// Enough for every number that an [`Attr`] can have.
const SEGMENTS: usize = 27;

/// A label for each attribute, in cells that never move: whoever compares attributes sees every change at once, and no
/// change turns the order of two attributes round.
#[derive(Default)]
pub(super) struct Labels {
    segments: [OnceCell<Box<[Cell<u64>]>>; SEGMENTS],
}

impl Labels {
    /// The label of an attribute; the greatest one if it has none.
    #[inline]
    pub(super) fn get(&self, attr: Attr) -> u64 {
        let (segment, place) = locate(attr);
        let cell = self.segments.get(segment).and_then(OnceCell::get).and_then(|labels| labels.get(place));
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
        let (segment, place) = locate(attr);
        let Some(labels) = self.segments.get(segment) else { return };
        let labels = labels.get_or_init(|| (0..FIRST << segment).map(|_| Cell::new(u64::MAX)).collect());
        if let Some(cell) = labels.get(place) {
            cell.set(label);
        }
    }
}

/// The segment of an attribute's label, and the place in it.
#[inline]
fn locate(attr: Attr) -> (usize, usize) {
    let number = attr.index() as u64 + FIRST as u64;
    let segment = (number / FIRST as u64).ilog2();
    #[expect(clippy::cast_possible_truncation, reason = "the place is less than the attribute's number")]
    let place = (number - ((FIRST as u64) << segment)) as usize;
    (segment as usize, place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_hold_all_numbers_without_gaps() {
        let mut expected = (0, 0);
        for number in 0..100_000 {
            assert_eq!(locate(Attr(number)), expected);
            expected =
                if expected.1 + 1 == FIRST << expected.0 { (expected.0 + 1, 0) } else { (expected.0, expected.1 + 1) };
        }
        assert_eq!(locate(Attr(u32::MAX)).0, SEGMENTS - 1);
    }
}
