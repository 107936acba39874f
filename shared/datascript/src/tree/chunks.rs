//! The entries of a node as a persistent vector.

use std::rc::Rc;

use arrayvec::ArrayVec;

/// Branching factor: the most datoms of a leaf and the most children of an inner node.
pub(crate) const WIDTH: usize = 32;

/// Entries of a chunk at most.
const CHUNK: usize = 8;
/// Chunks at most; twice as many as full ones would make, so that a full chunk can be split.
const MAX_CHUNKS: usize = 2 * WIDTH / CHUNK;

type Chunk<T> = ArrayVec<T, CHUNK>;

/// Up to [`WIDTH`] entries in order, in small chunks that copies share: to change an entry of a shared node copies one
/// chunk instead of all entries with their reference counts. Nodes of 32 entries are what storage asks for, not what
/// copying on write wants.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    chunks: ArrayVec<Rc<Chunk<T>>, MAX_CHUNKS>,
    /// For each chunk, how many entries there are up to its end.
    ends: [u8; MAX_CHUNKS],
}

impl<T> Clone for Chunks<T> {
    fn clone(&self) -> Self {
        Self { chunks: self.chunks.clone(), ends: self.ends }
    }
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: ArrayVec::new(), ends: [0; MAX_CHUNKS] }
    }
}

impl<T> Chunks<T> {
    /// Number of entries.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.chunks.len().checked_sub(1).map_or(0, |last| self.end(last))
    }

    /// The first entry.
    pub(crate) fn first(&self) -> Option<&T> {
        self.chunks.first()?.first()
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<&T> {
        self.chunks.last()?.last()
    }

    /// Entry `i`.
    #[inline]
    pub(crate) fn get(&self, i: usize) -> Option<&T> {
        let (chunk, offset) = self.locate(i);
        self.chunks.get(chunk)?.get(offset)
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The number of entries for which `is_before` holds; it holds for none after one for which it does not.
    #[inline]
    pub(crate) fn partition_point(&self, is_before: impl Fn(&T) -> bool) -> usize {
        let chunk = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&is_before));
        let start = chunk.checked_sub(1).map_or(0, |before| self.end(before));
        start + self.chunks.get(chunk).map_or(0, |chunk| chunk.partition_point(is_before))
    }

    /// Memory of the chunks in bytes, without what the entries refer to.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.len() * (size_of::<Chunk<T>>() + 2 * size_of::<usize>())
    }

    #[inline]
    fn end(&self, chunk: usize) -> usize {
        self.ends.get(chunk).copied().map_or(0, usize::from)
    }

    /// The chunk of entry `i` and the place in it; past the last chunk if there is no such entry.
    #[inline]
    fn locate(&self, i: usize) -> (usize, usize) {
        let mut start = 0;
        for chunk in 0..self.chunks.len() {
            let end = self.end(chunk);
            if i < end {
                return (chunk, i - start);
            }
            start = end;
        }
        (self.chunks.len(), 0)
    }

    fn count_ends(&mut self) {
        let mut count = 0_u8;
        for (end, chunk) in self.ends.iter_mut().zip(&self.chunks) {
            count += chunk_len(chunk);
            *end = count;
        }
    }
}

/// At most 8.
#[expect(clippy::cast_possible_truncation, reason = "a chunk has at most 8 entries")]
fn chunk_len<T>(chunk: &Chunk<T>) -> u8 {
    chunk.len() as u8
}

impl<T: Clone> Chunks<T> {
    /// Entry `i` for changing.
    pub(crate) fn get_mut(&mut self, i: usize) -> Option<&mut T> {
        let (chunk, offset) = self.locate(i);
        Rc::make_mut(self.chunks.get_mut(chunk)?).get_mut(offset)
    }

    /// Appends an entry; there is room for [`WIDTH`] of them.
    pub(crate) fn push(&mut self, entry: T) {
        self.insert(self.len(), entry);
    }

    /// Inserts an entry before entry `i`, or at the end; there is room for [`WIDTH`] of them.
    pub(crate) fn insert(&mut self, i: usize, entry: T) {
        // At the border of two chunks the entry goes to the end of the first, so that appending fills chunks.
        let count = self.chunks.len();
        let at = self.ends.iter().take(count).position(|end| usize::from(*end) >= i).unwrap_or(count);
        let start = at.checked_sub(1).map_or(0, |before| self.end(before));
        let Some(chunk) = self.chunks.get_mut(at) else {
            self.insert_chunk(at, Chunk::from_iter([entry]));
            return;
        };
        let offset = i - start;
        if !chunk.is_full() {
            Rc::make_mut(chunk).insert(offset, entry);
            for end in self.ends.iter_mut().take(count).skip(at) {
                *end += 1;
            }
        } else if count == MAX_CHUNKS {
            let before = self.iter().take(i).cloned();
            *self = before.chain([entry]).chain(self.iter().skip(i).cloned()).collect();
        } else if offset == CHUNK {
            self.insert_chunk(at + 1, Chunk::from_iter([entry]));
        } else {
            let chunk = Rc::make_mut(chunk);
            let mut right: Chunk<T> = chunk.drain(CHUNK / 2..).collect();
            if offset <= CHUNK / 2 {
                chunk.insert(offset, entry);
            } else {
                right.insert(offset - CHUNK / 2, entry);
            }
            self.insert_chunk(at + 1, right);
        }
    }

    /// Removes entry `i`.
    pub(crate) fn remove(&mut self, i: usize) {
        let (at, offset) = self.locate(i);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let chunk = Rc::make_mut(chunk);
        chunk.pop_at(offset);
        if chunk.is_empty() {
            self.chunks.remove(at);
        }
        self.count_ends();
    }

    /// Takes entry `i` and all after it away.
    pub(crate) fn split_off(&mut self, i: usize) -> Self {
        let (at, offset) = self.locate(i);
        let mut right = Self::default();
        let mut whole = at;
        if offset > 0
            && let Some(chunk) = self.chunks.get_mut(at)
        {
            right.chunks.push(Rc::new(Rc::make_mut(chunk).drain(offset..).collect()));
            whole += 1;
        }
        right.chunks.extend(self.chunks.drain(whole..));
        right.count_ends();
        self.count_ends();
        right
    }

    /// Takes over all entries of the other after the own ones; together they are at most [`WIDTH`].
    pub(crate) fn append(&mut self, other: &Self) {
        if self.chunks.len() + other.chunks.len() <= MAX_CHUNKS {
            self.chunks.extend(other.chunks.iter().cloned());
            self.count_ends();
        } else {
            *self = self.iter().chain(other.iter()).cloned().collect();
        }
    }

    /// Shares the entries of both evenly, in order; the left one gets the smaller half.
    pub(crate) fn balance(&mut self, right: &mut Self) {
        let half = usize::midpoint(self.len(), right.len());
        let (left, rest): (Self, Self) = {
            let all = || self.iter().chain(right.iter()).cloned();
            (all().take(half).collect(), all().skip(half).collect())
        };
        *self = left;
        *right = rest;
    }

    fn insert_chunk(&mut self, at: usize, chunk: Chunk<T>) {
        self.chunks.insert(at, Rc::new(chunk));
        self.count_ends();
    }
}

/// Full chunks; at most [`WIDTH`] entries.
impl<T> FromIterator<T> for Chunks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut chunks = Self::default();
        let mut entries = entries.into_iter();
        loop {
            let chunk: Chunk<T> = entries.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            chunks.chunks.push(Rc::new(chunk));
        }
        chunks.count_ends();
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn check(chunks: &Chunks<usize>, model: &[usize]) {
        assert!(chunks.iter().eq(model));
        assert_eq!(chunks.len(), model.len());
        assert_eq!((chunks.first(), chunks.last()), (model.first(), model.last()));
        assert!((0..=model.len()).all(|i| chunks.get(i) == model.get(i)));
        assert!(chunks.chunks.iter().all(|chunk| !chunk.is_empty()));
    }

    #[test]
    fn equals_a_vector_however_it_is_changed() {
        for seed in 0..200 {
            let mut rng = Rng(seed);
            let mut chunks = Chunks::default();
            let mut model = Vec::new();
            let mut held = Vec::new();
            for step in 0..400 {
                if rng.below(10) == 0 {
                    held.push((chunks.clone(), model.clone()));
                }
                if model.len() < WIDTH && (model.is_empty() || rng.below(5) < 3) {
                    let i = if rng.below(2) == 0 { rng.below(model.len() + 1) } else { model.len() };
                    chunks.insert(i, step);
                    model.insert(i, step);
                } else if rng.below(20) == 0 {
                    let i = rng.below(model.len() + 1);
                    let (right, rest) = (chunks.split_off(i), model.split_off(i));
                    check(&right, &rest);
                } else if rng.below(20) == 0 && model.len() <= WIDTH / 2 {
                    let copy = chunks.clone();
                    chunks.append(&copy);
                    model.extend_from_within(..);
                } else {
                    let i = rng.below(model.len());
                    chunks.remove(i);
                    model.remove(i);
                }
                check(&chunks, &model);
            }
            for (chunks, model) in &held {
                check(chunks, model);
            }
        }
    }

    #[test]
    fn finds_places_in_order() {
        for len in 0..=WIDTH {
            let chunks: Chunks<usize> = (0..len).map(|i| 2 * i).collect();
            for probe in 0..=2 * len {
                assert_eq!(chunks.partition_point(|entry| *entry < probe), probe.div_ceil(2));
            }
        }
    }

    #[test]
    fn balancing_keeps_the_order() {
        for (a, b) in [(3, 20), (20, 3), (16, 17), (1, 32), (32, 15)] {
            let mut left: Chunks<usize> = (0..a).collect();
            let mut right: Chunks<usize> = (a..a + b).collect();
            left.balance(&mut right);
            assert_eq!(left.len(), usize::midpoint(a, b));
            assert!(left.iter().chain(right.iter()).copied().eq(0..a + b));
        }
    }
}
