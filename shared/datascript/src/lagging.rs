//! An index that takes changes in later than they are made.
//!
//! A transaction touches one place of EAVT for each entity, but as many places of AEVT and AVET as it has attributes, and
//! wherever the value before the transaction is still in use, each place costs the copy of a path. Both indexes therefore
//! collect changes and take them in together: the paths are then copied once for many transactions. Changes are taken in
//! in the order in which they were made, so the nodes come out as if there had been no delay.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::datom::Datom;
use crate::error::Result;
use crate::index::{Index, Pattern};
use crate::nodes::Nodes;
use crate::tree::Tree;
use crate::value;

/// A tree and the changes that it has not taken in.
#[derive(Clone)]
pub(crate) struct Lagging {
    index: Index,
    /// Without the pending changes.
    tree: Tree,
    pending: Option<Rc<Batch>>,
    /// Changes of the transaction that is going on.
    open: Vec<Datom>,
    /// The tree with all changes, if a reader needed it.
    whole: OnceCell<Tree>,
}

/// Changes of one transaction: assertions, and retractions under the transaction id of the datom to remove.
struct Batch {
    changes: Vec<Datom>,
    /// Changes in this batch and those before it.
    total: usize,
    before: Option<Rc<Self>>,
}

/// Pending changes to a search of AVET are looked through one by one, so there are few.
const AVET_LIMIT: usize = 128;
/// AEVT is hardly ever read.
const AEVT_LIMIT: usize = 512;

impl Lagging {
    pub(crate) fn new(index: Index, tree: Tree) -> Self {
        Self { index, tree, pending: None, open: Vec::new(), whole: OnceCell::new() }
    }

    /// Notes a change: a datom to insert, or, where `added` is false, to remove.
    pub(crate) fn push(&mut self, nodes: &Nodes, change: Datom) -> Result<()> {
        self.adopt();
        self.open.push(change);
        if self.open.len() > self.limit() { self.settle(nodes).map(|_| ()) } else { Ok(()) }
    }

    /// Ends a transaction: takes the pending changes in if there are many.
    pub(crate) fn close(&mut self, nodes: &Nodes) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let total = self.open.len() + self.pending.as_ref().map_or(0, |batch| batch.total);
        if total > self.limit() {
            return self.settle(nodes).map(|_| ());
        }
        let changes = std::mem::take(&mut self.open);
        self.pending = Some(Rc::new(Batch { changes, total, before: self.pending.take() }));
        Ok(())
    }

    /// How many changes may be pending.
    fn limit(&self) -> usize {
        if self.index == Index::Avet { AVET_LIMIT } else { AEVT_LIMIT }
    }

    /// Takes all changes in. Should a node fail to load, all of them stay pending; that some were taken in does no harm, as
    /// the last change of a datom decides.
    pub(crate) fn settle(&mut self, nodes: &Nodes) -> Result<&mut Tree> {
        self.adopt();
        if !self.is_settled() {
            let mut tree = std::mem::replace(&mut self.tree, Tree::empty());
            let taken = self.take_in(&mut tree, nodes);
            self.tree = tree;
            taken?;
            self.forget();
        }
        Ok(&mut self.tree)
    }

    /// The tree with all changes.
    pub(crate) fn tree(&self, nodes: &Nodes) -> Result<&Tree> {
        if self.is_settled() {
            return Ok(&self.tree);
        }
        if let Some(tree) = self.whole.get() {
            return Ok(tree);
        }
        let mut tree = self.tree.clone();
        self.take_in(&mut tree, nodes)?;
        Ok(self.whole.get_or_init(|| tree))
    }

    /// A tree that has everything that matches the pattern: the one at hand, if no pending change concerns the search.
    pub(crate) fn tree_for(&self, nodes: &Nodes, pattern: &Pattern<'_>) -> Result<&Tree> {
        if self.whole.get().is_none() && !self.changes().any(|change| matches(change, pattern)) {
            return Ok(&self.tree);
        }
        self.tree(nodes)
    }

    /// The tree without what is pending: what there is to fall back on when nodes do not load.
    pub(crate) fn stale(&self) -> &Tree {
        &self.tree
    }

    /// Looks at the first datom that matches. Where at most one pending change concerns the search, and it is no removal,
    /// the tree need not take anything in for that.
    pub(crate) fn with_first<T>(
        &self,
        nodes: &Nodes,
        pattern: &Pattern<'_>,
        look: impl FnOnce(&Datom) -> T,
    ) -> Result<Option<T>> {
        if self.is_settled() {
            return self.tree.with_first(nodes, self.index, pattern, look);
        }
        if let Some(tree) = self.whole.get() {
            return tree.with_first(nodes, self.index, pattern, look);
        }
        let mut matching = self.changes().filter(|change| matches(change, pattern));
        match (matching.next(), matching.next()) {
            (None, _) => self.tree.with_first(nodes, self.index, pattern, look),
            (Some(change), None) if change.added => {
                let ranks = nodes.attrs().ranks();
                let first = self.tree.first(nodes, self.index, pattern)?;
                let first = first.filter(|first| self.index.compare(first, change, &ranks).is_lt());
                Ok(Some(look(first.as_ref().unwrap_or(change))))
            }
            _ => self.tree(nodes)?.with_first(nodes, self.index, pattern, look),
        }
    }

    /// Makes the tree that a reader needed the one to go on with.
    fn adopt(&mut self) {
        if let Some(tree) = self.whole.take() {
            self.tree = tree;
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.pending = None;
        self.open.clear();
    }

    fn is_settled(&self) -> bool {
        self.pending.is_none() && self.open.is_empty()
    }

    fn batches(&self) -> impl Iterator<Item = &Batch> {
        std::iter::successors(self.pending.as_deref(), |batch| batch.before.as_deref())
    }

    /// Pending changes, in no order.
    fn changes(&self) -> impl Iterator<Item = &Datom> {
        self.open.iter().chain(self.batches().flat_map(|batch| &batch.changes))
    }

    fn take_in(&self, tree: &mut Tree, nodes: &Nodes) -> Result<()> {
        let mut batches: Vec<&[Datom]> = self.batches().map(|batch| batch.changes.as_slice()).collect();
        batches.reverse();
        batches.push(&self.open);
        for change in batches.into_iter().flatten() {
            if change.added {
                tree.insert(nodes, self.index, change.clone())?;
            } else {
                tree.remove(nodes, self.index, change)?;
            }
        }
        Ok(())
    }
}

fn matches(datom: &Datom, pattern: &Pattern<'_>) -> bool {
    pattern.a.is_none_or(|a| a == datom.a)
        && pattern.e.is_none_or(|e| e == datom.e)
        && pattern.tx.is_none_or(|tx| tx == datom.tx)
        && pattern.v.is_none_or(|v| value::compare(v, &datom.v).is_eq())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attrs::{Attr, Attrs};
    use crate::datom::TX0;
    use crate::testing::Rng;
    use transit::Value;

    fn random_datom(rng: &mut Rng) -> Datom {
        let small = |rng: &mut Rng, below: usize| u32::try_from(rng.below(below)).expect("small");
        Datom::new(small(rng, 40) + 1, Attr::new(small(rng, 3)), Value::from(small(rng, 30)), TX0 + 1)
    }

    #[test]
    fn searches_see_what_is_pending() {
        for (seed, index) in (0..20).flat_map(|seed| [(seed, Index::Avet), (seed, Index::Aevt)]) {
            let mut rng = Rng(seed);
            let nodes = Nodes::in_memory(Attrs::new(&["a", "b/c", "b/a"]));
            let mut lagging = Lagging::new(index, Tree::empty());
            let mut prompt = Tree::empty();
            for _ in 0..60 {
                let before = (lagging.clone(), prompt.clone());
                for _ in 0..rng.below(12) {
                    let mut datom = random_datom(&mut rng);
                    datom.added = rng.below(3) > 0;
                    if datom.added {
                        if !prompt.insert(&nodes, index, datom.clone()).expect("in memory") {
                            continue;
                        }
                    } else if !prompt.remove(&nodes, index, &datom).expect("in memory") {
                        continue;
                    }
                    lagging.push(&nodes, datom).expect("in memory");
                    same_first(&lagging, &prompt, &nodes, index, &mut rng);
                }
                lagging.close(&nodes).expect("in memory");
                same_first(&lagging, &prompt, &nodes, index, &mut rng);
                same_first(&before.0, &before.1, &nodes, index, &mut rng);
                if rng.below(8) == 0 {
                    let all = |tree: &Tree| -> Vec<String> {
                        tree.slice(&nodes, index, &Pattern::ALL).map(|datom| format!("{datom:?}")).collect()
                    };
                    assert_eq!(all(lagging.tree(&nodes).expect("in memory")), all(&prompt));
                    assert_eq!(lagging.tree(&nodes).expect("in memory").count(), prompt.count());
                }
                if index == Index::Avet {
                    let sample = random_datom(&mut rng);
                    let pattern = Pattern::av(sample.a, &sample.v);
                    let all = |tree: &Tree| -> Vec<String> {
                        tree.slice(&nodes, index, &pattern).map(|datom| format!("{datom:?}")).collect()
                    };
                    assert_eq!(all(lagging.tree_for(&nodes, &pattern).expect("in memory")), all(&prompt));
                }
            }
            assert_eq!(lagging.settle(&nodes).expect("in memory").count(), prompt.count());
            assert!(lagging.is_settled());
        }
    }

    fn same_first(lagging: &Lagging, prompt: &Tree, nodes: &Nodes, index: Index, rng: &mut Rng) {
        let sample = random_datom(rng);
        for pattern in [Pattern::a(sample.a), Pattern::av(sample.a, &sample.v), Pattern::ea(sample.e, sample.a)] {
            if index == Index::Avet && pattern.e.is_some() || index == Index::Aevt && pattern.v.is_some() {
                continue;
            }
            // A clone, as a search may make the whole tree, which later searches then use.
            let first = lagging.clone().with_first(nodes, &pattern, |datom| format!("{datom:?}")).expect("in memory");
            assert_eq!(
                first,
                prompt.with_first(nodes, index, &pattern, |datom| format!("{datom:?}")).expect("in memory")
            );
        }
    }

    #[test]
    fn many_changes_are_taken_in() {
        let nodes = Nodes::in_memory(Attrs::new(&["a", "b/c", "b/a"]));
        let mut lagging = Lagging::new(Index::Avet, Tree::empty());
        for e in 1..=200 {
            lagging.push(&nodes, Datom::new(e, Attr::new(0), Value::from(e), TX0 + e)).expect("in memory");
            lagging.close(&nodes).expect("in memory");
            assert!(lagging.changes().count() <= AVET_LIMIT);
        }
        assert!(lagging.stale().count() >= 200 - AVET_LIMIT);
    }
}
