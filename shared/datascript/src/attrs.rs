//! Interned attributes of one graph, and their order.

mod labels;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use transit::Keyword;

use crate::value::compare_utf16;
use labels::Labels;

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

/// Interner of attribute keywords: one per graph, shared by every database value of that graph.
///
/// Names that a refused entry brought in can be [forgotten](Attrs::forget_after); all others stay until the graph is
/// opened anew.
pub struct Attrs {
    inner: RefCell<Inner>,
    labels: Rc<Labels>,
    /// Names that transactions may make known.
    most: Cell<usize>,
    /// How often names were forgotten.
    forgotten: Cell<u32>,
}

#[derive(Default)]
struct Inner {
    keywords: Vec<Keyword>,
    by_text: keyed::Map<Keyword, Attr>,
    /// Every attribute in `cmpAttr` order.
    sorted: Vec<Attr>,
    /// Attributes below this number may stand in cached nodes, which outlive the entry that loaded them.
    stored: usize,
    /// Bytes of all names.
    bytes: usize,
}

/// How many names there are, and their bytes together.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct NameCount {
    /// Names.
    pub names: usize,
    /// Bytes of their texts.
    pub bytes: usize,
}

/// How many attributes were known at a moment; see [`Attrs::forget_after`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// The order of attributes as integers: a cheap handle to take once per tree operation.
///
/// All handles of one interner look at the same labels. So a handle knows the attributes that were interned after it was
/// taken, and none can hold an order that has changed since.
#[derive(Clone)]
pub struct Ranks(Rc<Labels>);

impl Ranks {
    /// Compares in `cmpAttr` order (datascript.md 3.3): no namespace first, then namespace, then name, by UTF-16 units.
    #[inline]
    pub fn cmp(&self, a: Attr, b: Attr) -> Ordering {
        if a == b {
            return Ordering::Equal;
        }
        self.0.get(a).cmp(&self.0.get(b))
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
        let labels = Rc::new(Labels::default());
        let mut inner = Inner::default();
        for text in preset {
            inner.push(Keyword::new(text), &labels);
        }
        Rc::new(Self { inner: RefCell::new(inner), labels, most: Cell::new(usize::MAX), forgotten: Cell::new(0) })
    }

    /// The attribute of that text (without the colon), if it is interned.
    #[inline]
    pub fn get(&self, text: &str) -> Option<Attr> {
        self.inner.borrow().by_text.get(text).copied()
    }

    /// The attribute of that keyword, interned now if it is new.
    pub fn intern(&self, keyword: &Keyword) -> Attr {
        if let Some(attr) = self.get(keyword.as_str()) {
            return attr;
        }
        self.inner.borrow_mut().push(keyword.clone(), &self.labels)
    }

    /// Interns a text.
    pub fn intern_str(&self, text: &str) -> Attr {
        match self.get(text) {
            Some(attr) => attr,
            None => self.inner.borrow_mut().push(Keyword::new(text), &self.labels),
        }
    }

    /// Interns the text of an attribute that was read from a row: it is not forgotten, as what was read may be kept.
    pub(crate) fn intern_stored(&self, text: &str) -> Attr {
        let attr = self.intern_str(text);
        let mut inner = self.inner.borrow_mut();
        inner.stored = inner.stored.max(attr.index() + 1);
        attr
    }

    /// The attributes known now.
    pub fn mark(&self) -> Mark {
        Mark(self.len())
    }

    /// Forgets the attributes that came in after the mark, and tells whether there were any. Those that were read from
    /// rows meanwhile stay, with all that came in before them.
    ///
    /// Whoever remembers something by attribute has to forget it too: the numbers are given out again.
    pub fn forget_after(&self, mark: Mark) -> bool {
        let forgets = self.inner.borrow_mut().truncate(mark.0);
        if forgets {
            self.forgotten.set(self.forgotten.get().wrapping_add(1));
        }
        forgets
    }

    /// How often names were forgotten, and their numbers given out again.
    pub(crate) fn forgotten(&self) -> u32 {
        self.forgotten.get()
    }

    /// Allows so many names. A transaction that brings in more is refused when it does: each new name moves those after it
    /// in the order, so that very many in one entry would cost the square of their number.
    pub fn allow(&self, names: usize) {
        self.most.set(names);
    }

    /// Whether there are more names than allowed.
    pub(crate) fn are_too_many(&self) -> bool {
        self.len() > self.most.get()
    }

    /// The keyword of an attribute. Of an attribute of another interner it may be any keyword, or the empty one.
    pub fn keyword(&self, attr: Attr) -> Keyword {
        self.inner.borrow().keywords.get(attr.index()).cloned().unwrap_or_else(|| Keyword::new(""))
    }

    /// The order over all attributes.
    #[inline]
    pub fn ranks(&self) -> Ranks {
        Ranks(Rc::clone(&self.labels))
    }

    /// How many attributes are known, and the bytes of their names.
    pub fn count(&self) -> NameCount {
        let inner = self.inner.borrow();
        NameCount { names: inner.keywords.len(), bytes: inner.bytes }
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
    fn push(&mut self, keyword: Keyword, labels: &Labels) -> Attr {
        // 2^32 keywords do not fit into the memory of any process that gets here.
        let attr = Attr(u32::try_from(self.keywords.len()).unwrap_or(u32::MAX));
        let place =
            self.sorted.partition_point(|other| compare_attrs(self.text(*other), &keyword) != Ordering::Greater);
        self.sorted.insert(place, attr);
        self.by_text.entry(keyword.clone()).or_insert(attr);
        self.bytes += keyword.as_str().len();
        self.keywords.push(keyword);
        labels.place(&self.sorted, place);
        attr
    }

    fn truncate(&mut self, len: usize) -> bool {
        let len = len.max(self.stored);
        if len >= self.keywords.len() {
            return false;
        }
        for keyword in self.keywords.drain(len..) {
            self.bytes -= keyword.as_str().len();
            if self.by_text.get(&keyword).is_some_and(|attr| attr.index() >= len) {
                self.by_text.remove(&keyword);
            }
        }
        self.sorted.retain(|attr| attr.index() < len);
        true
    }

    fn text(&self, attr: Attr) -> &Keyword {
        #[expect(clippy::indexing_slicing, reason = "`sorted` holds attributes of `keywords` only")]
        &self.keywords[attr.index()]
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
        // The handle that was taken before any of them came in.
        in_order(&attrs, &early);
    }

    fn in_order(attrs: &Attrs, ranks: &Ranks) {
        for i in 0..attrs.len() {
            for j in 0..attrs.len() {
                let (a, b) = (Attr(u32::try_from(i).unwrap()), Attr(u32::try_from(j).unwrap()));
                assert_eq!(ranks.cmp(a, b), compare_attrs(&attrs.keyword(a), &attrs.keyword(b)));
            }
        }
    }

    #[test]
    fn names_after_a_mark_are_forgotten() {
        let attrs = Attrs::new(&["b", "d"]);
        let ranks = attrs.ranks();
        let mark = attrs.mark();
        assert!(!attrs.forget_after(mark), "nothing came in");
        for i in 0..300 {
            attrs.intern_str(&format!("a/{i}"));
        }
        attrs.intern_str("b");
        assert!(attrs.forget_after(mark));
        assert_eq!((attrs.len(), attrs.get("a/7"), attrs.get("b")), (2, None, Some(Attr(0))));
        assert_eq!(attrs.count(), NameCount { names: 2, bytes: 2 });
        assert_eq!(attrs.intern_str("c"), Attr(2));
        in_order(&attrs, &ranks);
    }

    #[test]
    fn names_from_rows_are_not_forgotten() {
        let attrs = Attrs::new(&["b"]);
        let mark = attrs.mark();
        for text in ["x", "y", "z"] {
            attrs.intern_str(text);
        }
        // A row that was loaded meanwhile speaks of one of them.
        attrs.intern_stored("y");
        assert!(attrs.forget_after(mark));
        assert_eq!((attrs.get("x"), attrs.get("y"), attrs.get("z")), (Some(Attr(1)), Some(Attr(2)), None));
        assert!(!attrs.forget_after(mark));
    }
}
