//! Interned attributes of one graph, and their order.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use rustc_hash::FxHashMap;
use transit::Keyword;

use crate::value::compare_utf16;

/// An attribute keyword as a small integer. Means something only together with the [`Attrs`] that gave it out.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct Attr(pub(crate) u32);

impl Attr {
    /// The attribute at `index` of the preset list given to [`Attrs::new`].
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Position in tables indexed by attribute.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Interner of attribute keywords: append-only, one per graph, shared by every database value of that graph.
///
/// Entries are never dropped, not even those that only a rejected transaction brought in; [`Attrs::len`] lets the owner
/// of a graph notice a client that abuses this, and reopen the graph with a fresh interner.
pub struct Attrs {
    inner: RefCell<Inner>,
}

struct Inner {
    keywords: Vec<Keyword>,
    by_text: FxHashMap<Keyword, Attr>,
    /// Every attribute in `cmpAttr` order.
    sorted: Vec<Attr>,
    /// Label of each attribute; labels grow in `cmpAttr` order. Slots beyond the known attributes are spare.
    labels: Rc<[Cell<u64>]>,
}

/// The order of attributes as integers: a cheap handle to take once per tree operation.
///
/// A handle knows the attributes that were interned before it was taken.
#[derive(Clone)]
pub struct Ranks(Rc<[Cell<u64>]>);

impl Ranks {
    /// Compares in `cmpAttr` order (datascript.md 3.3): no namespace first, then namespace, then name, by UTF-16 units.
    #[inline]
    pub fn cmp(&self, a: Attr, b: Attr) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        self.label(a).cmp(&self.label(b))
    }

    #[inline]
    fn label(&self, attr: Attr) -> u64 {
        self.0.get(attr.index()).map_or(u64::MAX, Cell::get)
    }
}

/// `cmpAttr` of datascript.md 3.3 over keyword texts.
pub fn compare_attrs(a: &Keyword, b: &Keyword) -> Ordering {
    match (a.namespace(), b.namespace()) {
        (None, None) => compare_utf16(a.name(), b.name()),
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(left), Some(right)) => compare_utf16(left, right).then_with(|| compare_utf16(a.name(), b.name())),
    }
}

impl Attrs {
    /// An interner in which `preset[i]` is `Attr::new(i)`. A text that repeats an earlier one gets an attribute that no
    /// lookup finds.
    pub fn new(preset: &[&str]) -> Rc<Self> {
        let mut inner = Inner {
            keywords: Vec::with_capacity(preset.len()),
            by_text: FxHashMap::default(),
            sorted: Vec::new(),
            labels: Rc::from(Vec::new()),
        };
        for text in preset {
            inner.push(Keyword::new(text));
        }
        Rc::new(Self { inner: RefCell::new(inner) })
    }

    /// The attribute of that text (without the colon), if it was ever interned.
    #[inline]
    pub fn get(&self, text: &str) -> Option<Attr> {
        self.inner.borrow().by_text.get(text).copied()
    }

    /// The attribute of that keyword, interned now if it is new.
    pub fn intern(&self, keyword: &Keyword) -> Attr {
        if let Some(attr) = self.get(keyword.as_str()) {
            return attr;
        }
        self.inner.borrow_mut().push(keyword.clone())
    }

    /// Interns a text.
    pub fn intern_str(&self, text: &str) -> Attr {
        match self.get(text) {
            Some(attr) => attr,
            None => self.inner.borrow_mut().push(Keyword::new(text)),
        }
    }

    /// The keyword of an attribute. Of an attribute of another interner it may be any keyword, or the empty one.
    pub fn keyword(&self, attr: Attr) -> Keyword {
        self.inner.borrow().keywords.get(attr.index()).cloned().unwrap_or_else(|| Keyword::new(""))
    }

    /// The order over all attributes known now.
    #[inline]
    pub fn ranks(&self) -> Ranks {
        Ranks(Rc::clone(&self.inner.borrow().labels))
    }

    /// How many attributes are known.
    pub fn len(&self) -> usize {
        self.inner.borrow().keywords.len()
    }

    /// Whether no attribute is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Attrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attrs").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Inner {
    fn push(&mut self, keyword: Keyword) -> Attr {
        // 2^32 keywords do not fit into the memory of any process that gets here.
        let attr = Attr(u32::try_from(self.keywords.len()).unwrap_or(u32::MAX));
        let place =
            self.sorted.partition_point(|other| compare_attrs(self.text(*other), &keyword) != Ordering::Greater);
        self.sorted.insert(place, attr);
        self.by_text.entry(keyword.clone()).or_insert(attr);
        self.keywords.push(keyword);
        if !self.label_between(place, attr) {
            self.relabel();
        }
        attr
    }

    fn text(&self, attr: Attr) -> &Keyword {
        #[expect(clippy::indexing_slicing, reason = "`sorted` holds attributes of `keywords` only")]
        &self.keywords[attr.index()]
    }

    fn label_at(&self, place: usize) -> Option<u64> {
        self.sorted.get(place).and_then(|attr| self.labels.get(attr.index())).map(Cell::get)
    }

    /// Puts the label of the attribute at `place` between those of its neighbours; false if there is no room. Other
    /// labels stay as they are, so that handles taken earlier go on giving one order.
    fn label_between(&self, place: usize, attr: Attr) -> bool {
        let low = place.checked_sub(1).and_then(|before| self.label_at(before)).unwrap_or(0);
        let high = if place + 1 < self.sorted.len() { self.label_at(place + 1).unwrap_or(u64::MAX) } else { u64::MAX };
        let middle = low + high.saturating_sub(low) / 2;
        match self.labels.get(attr.index()) {
            Some(slot) if middle > low && middle < high => {
                slot.set(middle);
                true
            }
            _ => false,
        }
    }

    /// Spreads the labels evenly over a new array with room for as many attributes again.
    fn relabel(&mut self) {
        let count = self.sorted.len();
        let labels: Rc<[Cell<u64>]> = (0..(count * 2).max(64)).map(|_| Cell::new(u64::MAX)).collect();
        let step = u64::MAX / (count as u64 + 1);
        let mut label = 0;
        for attr in &self.sorted {
            label += step;
            if let Some(slot) = labels.get(attr.index()) {
                slot.set(label);
            }
        }
        self.labels = labels;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_their_index() {
        let attrs = Attrs::new(&["db/ident", "block/uuid", "title"]);
        assert_eq!(attrs.get("block/uuid"), Some(Attr::new(1)));
        assert_eq!(attrs.keyword(Attr::new(2)).as_str(), "title");
        assert_eq!(attrs.get("x"), None);
        assert_eq!(attrs.intern(&Keyword::new("x")), Attr::new(3));
        assert_eq!(attrs.intern(&Keyword::new("x")), Attr::new(3));
        assert_eq!(attrs.len(), 4);
        assert_eq!(attrs.keyword(Attr::new(99)).as_str(), "");
    }

    #[test]
    fn namespaces_come_after_bare_names_and_before_their_names() {
        let attrs = Attrs::new(&["b/a", "a/b", "z", "a/a", "a.b/a", ""]);
        let mut all: Vec<Attr> = (0..6).map(Attr::new).collect();
        let ranks = attrs.ranks();
        all.sort_by(|a, b| ranks.cmp(*a, *b));
        let texts: Vec<String> = all.iter().map(|a| attrs.keyword(*a).as_str().to_owned()).collect();
        assert_eq!(texts, ["", "z", "a/a", "a/b", "a.b/a", "b/a"]);
    }

    #[test]
    fn labels_keep_the_order_however_attributes_arrive() {
        let attrs = Attrs::new(&[]);
        let early = attrs.ranks();
        // Always into the same gap, then scattered: both force new labels.
        for i in (0..400).rev() {
            attrs.intern_str(&format!("gap/{i:05}"));
        }
        let mut seed = 1_u32;
        for _ in 0..400 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            attrs.intern_str(&format!("n{}/x{}", seed % 7, seed >> 8));
        }
        let ranks = attrs.ranks();
        for i in 0..attrs.len() {
            for j in 0..attrs.len() {
                let (a, b) = (Attr(u32::try_from(i).unwrap()), Attr(u32::try_from(j).unwrap()));
                assert_eq!(ranks.cmp(a, b), compare_attrs(&attrs.keyword(a), &attrs.keyword(b)));
            }
        }
        assert_eq!(early.cmp(Attr(0), Attr(0)), Ordering::Equal);
    }
}
