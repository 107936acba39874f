//! The writer's side of the cache (datascript.md 2.3).

use std::hash::{BuildHasher, Hasher};

use crate::cache::{CACHE_SLOTS, USUAL};

/// Texts by slot, with a hash table over them. All is in three allocations, whatever the number of texts.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteCache {
    /// The texts one after another.
    texts: String,
    slots: Vec<Slot>,
    /// Slot numbers plus one by hash, 0 where free; open addressing, at most half full.
    table: Vec<u16>,
    /// Grows whenever slots are given anew.
    epoch: u32,
}

#[derive(Clone, Debug)]
struct Slot {
    hash: u64,
    prefix: Option<char>,
    start: usize,
    end: usize,
}

impl WriteCache {
    /// Forgets everything; the memory stays.
    pub(crate) fn clear(&mut self) {
        self.texts.clear();
        self.slots.clear();
        self.table.fill(0);
        self.epoch = self.epoch.wrapping_add(1);
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the next look-up begins anew.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() == CACHE_SLOTS
    }

    /// The slot of a string, and whether it was seen before; otherwise remembers it.
    pub(crate) fn lookup(&mut self, prefix: Option<char>, text: &str) -> (usize, bool) {
        if self.is_full() {
            self.clear();
        }
        if self.table.len() <= self.slots.len() * 2 {
            self.grow();
        }
        let hash = hash(prefix, text);
        let mask = self.table.len() - 1;
        let mut place = start(hash, mask);
        while let Some(&entry) = self.table.get(place)
            && entry != 0
        {
            let number = usize::from(entry) - 1;
            if let Some(slot) = self.slots.get(number)
                && slot.hash == hash
                && slot.prefix == prefix
                && self.texts.get(slot.start..slot.end) == Some(text)
            {
                return (number, true);
            }
            place = (place + 1) & mask;
        }
        if self.slots.is_empty() {
            self.slots.reserve(USUAL);
            self.texts.reserve(USUAL * 32);
        }
        let text_start = self.texts.len();
        self.texts.push_str(text);
        self.slots.push(Slot { hash, prefix, start: text_start, end: self.texts.len() });
        if let (Some(entry), Ok(number)) = (self.table.get_mut(place), u16::try_from(self.slots.len())) {
            *entry = number;
        }
        (self.slots.len() - 1, false)
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(64);
        self.table.clear();
        self.table.resize(size, 0);
        for (slot, number) in self.slots.iter().zip(1..) {
            let mut place = start(slot.hash, size - 1);
            while let Some(entry) = self.table.get_mut(place) {
                if *entry == 0 {
                    *entry = number;
                    break;
                }
                place = (place + 1) & (size - 1);
            }
        }
    }
}

fn hash(prefix: Option<char>, text: &str) -> u64 {
    let mut state = keyed::Build::default().build_hasher();
    state.write(text.as_bytes());
    state.write_u32(prefix.map_or(0, u32::from));
    state.finish()
}

#[expect(clippy::cast_possible_truncation, reason = "the mask is smaller than any usize")]
fn start(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}
