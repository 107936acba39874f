//! How many attribute names a graph may have (sync.md 7.5).

use datascript::attrs::{Mark, NameCount};
use datascript::{Attr, Attrs, Datom, Db, Index, Pattern};
use protocol::limits::{ATTRIBUTE_NAMES, ATTRIBUTE_NAMES_BYTES};

use super::failure::Failure;

/// The attribute names of an open graph.
///
/// The interner knows the names that were read and those that entries brought in. Names of a refused entry are forgotten
/// again; an accepted one may bring in more names than it leaves in the graph, so that both are bounded.
#[derive(Debug)]
pub(crate) struct Names {
    /// Names known when the graph was opened.
    opened: NameCount,
    /// Names known when the batch began.
    begun: NameCount,
    /// Attributes with facts at most, once they were counted: those whose facts went since are among them.
    in_use: Option<NameCount>,
    /// Whether this batch has counted them.
    counted: bool,
}

/// Names before an entry.
pub(super) struct Before {
    mark: Mark,
    known: usize,
    in_use: Option<NameCount>,
}

impl Names {
    pub(crate) fn new(attrs: &Attrs) -> Self {
        Self { opened: attrs.count(), begun: attrs.count(), in_use: None, counted: false }
    }

    /// Whether so many names came up since the graph was opened that it should be opened again, which leaves those behind
    /// that no fact has any more. To be asked between batches only: what is pending would be lost.
    pub(crate) fn are_too_many(&self, attrs: &Attrs) -> bool {
        pass_limits(since(self.opened, attrs))
    }

    /// Begins a batch.
    pub(super) fn begin_batch(&mut self, attrs: &Attrs) {
        self.begun = attrs.count();
        self.counted = false;
        attrs.allow(self.begun.names + ATTRIBUTE_NAMES);
    }

    /// Begins an entry.
    pub(super) fn begin_entry(&self, attrs: &Attrs) -> Before {
        Before { mark: attrs.mark(), known: attrs.len(), in_use: self.in_use }
    }

    /// Forgets what a refused entry brought in. True: numbers of attributes were given back, so that caches with attributes as keys must be cleared.
    pub(super) fn roll_back(&mut self, attrs: &Attrs, before: &Before) -> bool {
        self.in_use = before.in_use;
        attrs.forget_after(before.mark)
    }

    /// Takes in the facts of a transaction on `db`, which may be refused for its names.
    ///
    /// The usual one brings in none and costs a comparison. The first new name after the graph was opened costs a descent
    /// of AEVT for each attribute that the graph has; where there seem to be too many, a batch counts them once more.
    pub(super) fn admit(
        &mut self,
        before: &Before,
        db: &Db,
        facts: &[Datom],
    ) -> Result<Result<(), Failure>, datascript::Error> {
        let attrs = db.attrs();
        if attrs.len() == before.known {
            return Ok(Ok(()));
        }
        if pass_limits(since(self.begun, attrs)) {
            return Ok(Err(Failure::too_many_names()));
        }
        let is_new = |attr: &Attr| attr.index() >= before.known;
        let mut brought: Vec<Attr> = facts.iter().map(|datom| datom.a).filter(is_new).collect();
        brought.sort_unstable_by_key(|attr| attr.index());
        brought.dedup();
        let mut new = NameCount::default();
        for attr in brought {
            // A name that was read from the rows meanwhile is new to memory, not to the graph.
            if db.first(Index::Aevt, &Pattern::a(attr))?.is_none() {
                new.names += 1;
                new.bytes += attrs.keyword(attr).as_str().len();
            }
        }
        if new.names > 0 {
            let known = self.in_use.filter(|in_use| self.counted || !pass_limits(sum(*in_use, new)));
            let in_use = if let Some(known) = known {
                known
            } else {
                self.counted = true;
                db.count_attrs(ATTRIBUTE_NAMES)?
            };
            let in_use = sum(in_use, new);
            if pass_limits(in_use) {
                return Ok(Err(Failure::too_many_names()));
            }
            self.in_use = Some(in_use);
        }
        Ok(Ok(()))
    }
}

fn pass_limits(count: NameCount) -> bool {
    count.names > ATTRIBUTE_NAMES || count.bytes > ATTRIBUTE_NAMES_BYTES
}

fn sum(a: NameCount, b: NameCount) -> NameCount {
    NameCount { names: a.names + b.names, bytes: a.bytes + b.bytes }
}

/// Names that came up since there were so many.
fn since(then: NameCount, attrs: &Attrs) -> NameCount {
    let now = attrs.count();
    NameCount { names: now.names.saturating_sub(then.names), bytes: now.bytes.saturating_sub(then.bytes) }
}
