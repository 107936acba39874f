//! Hashes of values that are equal as keys.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use crate::value::Value;

/// Up to so many entries are compared one with another; more are hashed.
const SCAN: usize = 8;

/// Few entries, and no collection among their keys: comparing nested collections pairwise would cost the square of
/// their size.
pub(crate) fn scannable<T>(entries: &[T], key: fn(&T) -> &Value) -> bool {
    entries.len() <= SCAN && entries.iter().all(|entry| key(entry).is_stringable())
}

/// Entries by the hash of their keys. It is keyed with a secret, so that a client cannot prepare keys with equal hashes.
pub(crate) struct Index<'a, T> {
    entries: &'a [T],
    /// Hash and place, ascending.
    pub(crate) places: Vec<(u64, usize)>,
}

impl<'a, T> Index<'a, T> {
    pub(crate) fn new(entries: &'a [T], key: fn(&T) -> &Value, digests: &mut Digests) -> Self {
        let mut places: Vec<_> =
            entries.iter().enumerate().map(|(place, entry)| (digests.digest(key(entry)), place)).collect();
        places.sort_unstable();
        Self { entries, places }
    }

    /// The entries whose key has this hash: nearly always one, or none.
    pub(crate) fn candidates(&self, hash: u64) -> impl Iterator<Item = &'a T> {
        let start = self.places.partition_point(|&(other, _)| other < hash);
        let run = self.places.iter().skip(start).take_while(move |&&(other, _)| other == hash);
        run.filter_map(|&(_, place)| self.entries.get(place))
    }
}

/// Feeds a value to a hasher so that values that are equal as keys ([`crate::same_key`]) feed the same: all of a value, in
/// whatever order its members are. Each part of it is looked at once.
///
/// Meant for hashers with a secret ([`keyed::Build`]): members of sets and keys of maps are hashed with it by themselves.
pub fn hash_value<H: Hasher>(value: &Value, state: &mut H) {
    Digests::default().feed(value, state);
}

/// A collection of more values than this has its digest remembered.
pub(crate) const LARGE: usize = 32;

/// Hashes of set members and map keys.
///
/// Each level of nested sets asks for the hashes of its members, with all that is in them. Those of large ones are
/// remembered, so that a value is looked at once and not once a level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Digests {
    /// By the address and kind of the collection, which is kept so that no other one can get its address.
    known: keyed::Map<(usize, u8), (Value, u64)>,
    /// Values looked at.
    pub(crate) visited: usize,
}

impl Digests {
    pub(crate) fn digest(&mut self, value: &Value) -> u64 {
        let place = if value.is_stringable() { None } else { place(value) };
        if let Some((_, digest)) = place.and_then(|place| self.known.get(&place)) {
            return *digest;
        }
        let before = self.visited;
        let mut state = keyed::Build::default().build_hasher();
        self.feed(value, &mut state);
        let digest = state.finish();
        if let Some(place) = place.filter(|_| self.visited - before > LARGE) {
            self.known.insert(place, (value.clone(), digest));
        }
        digest
    }

    fn feed<H: Hasher>(&mut self, value: &Value, state: &mut H) {
        self.visited += 1;
        match value {
            Value::Nil => state.write_u8(0),
            Value::Bool(value) => (1_u8, value).hash(state),
            Value::Int(value) => (2_u8, value).hash(state),
            Value::Float(value) => (3_u8, if value.is_nan() { f64::NAN } else { *value }.to_bits()).hash(state),
            Value::String(text) => (4_u8, text).hash(state),
            Value::Keyword(keyword) => (5_u8, keyword).hash(state),
            Value::Symbol(symbol) => (6_u8, symbol).hash(state),
            Value::Uuid(uuid) => (7_u8, uuid).hash(state),
            Value::Instant(ms) => (8_u8, ms).hash(state),
            Value::Scalar(scalar) => (9_u8, scalar).hash(state),
            Value::Tagged(tagged) => {
                (10_u8, &tagged.tag).hash(state);
                self.feed(&tagged.rep, state);
            }
            // A list and a vector of the same elements are equal.
            Value::Vector(items) | Value::List(items) => {
                (11_u8, items.len()).hash(state);
                for item in items.iter() {
                    self.feed(item, state);
                }
            }
            Value::Set(items) => {
                let sum = items.iter().fold(0_u64, |sum, item| sum.wrapping_add(self.digest(item)));
                (12_u8, items.len(), sum).hash(state);
            }
            Value::Map(entries) => {
                let sum = entries.iter().fold(0_u64, |sum, (key, value)| {
                    let mut state = keyed::Build::default().build_hasher();
                    state.write_u64(self.digest(key));
                    self.feed(value, &mut state);
                    sum.wrapping_add(state.finish())
                });
                (13_u8, entries.len(), sum).hash(state);
            }
        }
    }
}

/// What tells a collection that is in use from all others in use.
fn place(value: &Value) -> Option<(usize, u8)> {
    Some(match value {
        Value::Vector(items) => (Arc::as_ptr(items).addr(), 0),
        Value::List(items) => (Arc::as_ptr(items).addr(), 1),
        Value::Set(items) => (Arc::as_ptr(items).addr(), 2),
        Value::Map(entries) => (Arc::as_ptr(entries).addr(), 3),
        Value::Tagged(tagged) => (Arc::as_ptr(tagged).addr(), 4),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::Digests;
    use crate::{Value, read_str};

    /// Values of one size, as a hash that looks at sizes only would make one of.
    #[test]
    fn collections_of_one_size_have_hashes_of_their_own() {
        for form in [
            "[\"~#set\",[NUMBER]]",
            "[\"^ \",\"~:a\",NUMBER]",
            "[\"^ \",\"~:NUMBER\",1]",
            "[\"~#cmap\",[[NUMBER],1]]",
            "[\"~#set\",[[\"~#set\",[NUMBER]]]]",
            "[[\"~#set\",[NUMBER,-1]]]",
            "[\"~#x\",[NUMBER]]",
            "[\"~nNUMBER\"]",
        ] {
            let values: Vec<Value> =
                (0..5000).map(|number: u32| read_str(&form.replace("NUMBER", &number.to_string())).unwrap()).collect();
            let mut hashes: Vec<u64> = values.iter().map(|value| Digests::default().digest(value)).collect();
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(hashes.len(), values.len(), "{form}");
        }
    }
}
