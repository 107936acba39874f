//! Which attributes may refer to an entity.
//!
//! Retracting an entity takes away what refers to it, through whatever attribute (datascript.md 9.8). Asking AVET for every
//! reference attribute and entity costs their product. Where an attribute was asked about in vain again and again, all of
//! its references are read instead, if they are few compared with that; from then on it costs nothing to ask. So many
//! retractions cost a few looks at each attribute and one at each of the references, and no more.

use std::collections::BTreeSet;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::attrs::Attr;
use crate::datom::Eid;

/// An attribute is looked at as a whole when it was asked in vain so many times, and whenever that number doubled.
const PATIENCE: usize = 16;
/// References that are read for each question in vain: reading one is so much cheaper than asking.
const READ_PER_MISS: usize = 4;
/// References remembered together. Beyond that memory starts anew.
const CAPACITY: usize = 1 << 16;

/// What is remembered for one line of database values: each made from the one before it. Held by the graph's nodes.
///
/// What is known of an attribute is never too little: every reference that is added is noted, and none is taken out when it
/// is removed. That holds for the value named by `line` and what is made of it; another one starts with nothing.
#[derive(Debug, Default)]
pub(crate) struct Referrers {
    /// The latest database value that this holds for.
    line: u64,
    /// How often attributes were forgotten: their numbers are given out again.
    forgotten: u32,
    /// The reference attributes that `asked` and `places` are about.
    refs: Rc<Vec<Attr>>,
    /// Attributes that have to be asked, in the order of `refs`.
    asked: Vec<Asked>,
    /// Attributes all of whose references are known, with their places in `refs`: none where they are no references now.
    places: FxHashMap<Attr, Option<usize>>,
    /// Targets and attributes of the known references.
    known: BTreeSet<(Eid, u32)>,
}

/// An attribute that has to be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) attr: Attr,
    pub(crate) place: usize,
    misses: usize,
}

impl Referrers {
    /// Goes on with a database value. Unless it was made of the latest one that this is about, nothing is known of it.
    pub(crate) fn begin(&mut self, line: u64, forgotten: u32) {
        if (self.line, self.forgotten) != (line, forgotten) || self.known.len() > 2 * CAPACITY {
            *self = Self { line, forgotten, ..Self::default() };
        }
    }

    /// The value at hand became another one, all of whose new references were noted.
    pub(crate) fn advance(&mut self, line: u64) {
        self.line = line;
    }

    /// Goes by the reference attributes as they are now. True: they changed, which took a look at each.
    pub(crate) fn follow(&mut self, refs: &Rc<Vec<Attr>>) -> bool {
        if Rc::ptr_eq(&self.refs, refs) {
            return false;
        }
        self.refs = Rc::clone(refs);
        self.asked.clear();
        for place in self.places.values_mut() {
            *place = None;
        }
        for (place, attr) in self.refs.iter().enumerate() {
            match self.places.get_mut(attr) {
                Some(known) => *known = Some(place),
                None => self.asked.push(Asked { attr: *attr, place, misses: 0 }),
            }
        }
        true
    }

    /// The attributes through which an entity may be referred to, as far as all of their references are known; with their
    /// places among the reference attributes.
    pub(crate) fn known(&self, target: Eid) -> impl Iterator<Item = (usize, Attr)> {
        let attrs = self.known.range((target, 0)..=(target, u32::MAX)).map(|(_, attr)| Attr(*attr));
        attrs.filter_map(|attr| self.places.get(&attr).copied().flatten().map(|place| (place, attr)))
    }

    /// The attributes that have to be asked.
    pub(crate) fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Notes that the attribute at `at` among those asked was asked in vain. Some: so many of its references are worth
    /// reading now.
    pub(crate) fn miss(&mut self, at: usize) -> Option<usize> {
        let asked = self.asked.get_mut(at)?;
        asked.misses += 1;
        (asked.misses >= PATIENCE && asked.misses.is_power_of_two()).then_some(asked.misses * READ_PER_MISS)
    }

    /// Takes in all references of attributes, with the places of these: they have to be asked no more.
    pub(crate) fn learn(&mut self, learned: &[(usize, Attr, Vec<Eid>)]) {
        if learned.is_empty() {
            return;
        }
        for (place, attr, targets) in learned {
            if self.known.len() + targets.len() > CAPACITY {
                // Old knowledge makes room: these attributes have to be asked again, which earns the right to read them.
                let (line, forgotten) = (self.line, self.forgotten);
                let refs = Rc::clone(&self.refs);
                *self = Self { line, forgotten, ..Self::default() };
                self.follow(&refs);
                return;
            }
            self.places.insert(*attr, Some(*place));
            self.known.extend(targets.iter().map(|target| (*target, attr.0)));
        }
        self.asked.retain(|asked| !self.places.contains_key(&asked.attr));
    }

    /// Notes a fact that is added.
    #[inline]
    pub(crate) fn note(&mut self, attr: Attr, target: impl FnOnce() -> Option<Eid>) {
        if !self.places.is_empty()
            && self.places.contains_key(&attr)
            && let Some(target) = target()
        {
            self.known.insert((target, attr.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knowledge_is_of_one_line() {
        let refs = Rc::new(vec![Attr(1), Attr(2)]);
        let mut referrers = Referrers::default();
        referrers.begin(1, 0);
        assert!(referrers.follow(&refs) && !referrers.follow(&refs));
        referrers.learn(&[(0, Attr(1), vec![7])]);
        referrers.note(Attr(1), || Some(8));
        referrers.note(Attr(2), || Some(8));
        assert_eq!(referrers.asked().len(), 1);
        let known = |referrers: &Referrers| -> Vec<_> { [7, 8].iter().flat_map(|e| referrers.known(*e)).collect() };
        assert_eq!(known(&referrers), [(0, Attr(1)), (0, Attr(1))]);
        referrers.advance(2);
        referrers.begin(2, 0);
        assert_eq!(known(&referrers).len(), 2);
        referrers.follow(&Rc::new(vec![Attr(2)]));
        assert_eq!(known(&referrers), []);
        referrers.follow(&refs);
        assert_eq!(known(&referrers).len(), 2);
        referrers.begin(1, 0);
        assert_eq!((known(&referrers).len(), referrers.asked().len()), (0, 0));
    }

    #[test]
    fn attributes_are_read_when_they_were_asked_in_vain() {
        let mut referrers = Referrers::default();
        referrers.follow(&Rc::new(vec![Attr(1)]));
        let read: Vec<_> = (1..=64).filter_map(|count| referrers.miss(0).map(|most| (count, most))).collect();
        assert_eq!(read, [(16, 64), (32, 128), (64, 256)]);
        assert_eq!(referrers.miss(1), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut referrers = Referrers::default();
        referrers.follow(&Rc::new((0..9).map(Attr).collect()));
        let targets: Vec<Eid> = (1..=10_000).collect();
        for attr in 0..9 {
            referrers.learn(&[(attr as usize, Attr(attr), targets.clone())]);
            assert!(referrers.known.len() <= CAPACITY);
        }
        assert_eq!(referrers.asked().len(), 7);
    }
}
