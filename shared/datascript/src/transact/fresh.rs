//! What is known of the newest entity without asking the indexes.

use arrayvec::ArrayVec;

use crate::attrs::Attr;
use crate::datom::Eid;

/// Attributes that are remembered; with more than that the indexes are asked again.
const MEMORY: usize = 16;

/// The entity that was made last in this pass, and every attribute under which it was given facts: under any other one it
/// has none, so an assertion need not look for a value to replace. Most transactions give an entity its facts in a row.
#[derive(Default)]
pub(super) struct Fresh {
    eid: Eid,
    attrs: ArrayVec<Attr, MEMORY>,
}

impl Fresh {
    /// Starts over with an entity that has no facts; the indexes were asked about that.
    pub(super) fn begin(&mut self, eid: Eid) {
        self.eid = eid;
        self.attrs.clear();
    }

    /// Whether the entity certainly has no fact under the attribute. From now on it counts as having one.
    pub(super) fn is_first(&mut self, eid: Eid, attr: Attr) -> bool {
        if eid != self.eid || self.attrs.contains(&attr) {
            return false;
        }
        if self.attrs.try_push(attr).is_err() {
            // Entity 0 does not exist: nothing is fresh until the next new entity.
            self.eid = 0;
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_first_once() {
        let mut fresh = Fresh::default();
        assert!(!fresh.is_first(7, Attr::new(1)));
        fresh.begin(7);
        assert!(fresh.is_first(7, Attr::new(1)));
        assert!(!fresh.is_first(7, Attr::new(1)));
        assert!(!fresh.is_first(8, Attr::new(2)));
        fresh.begin(8);
        assert!((0..16).all(|attr| fresh.is_first(8, Attr::new(attr))));
        assert!(!fresh.is_first(8, Attr::new(16)));
        assert!(!fresh.is_first(8, Attr::new(17)), "too many to remember");
    }
}
