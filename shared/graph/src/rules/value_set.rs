//! Sets and maps keyed by values.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

use datascript::Value;

/// A value as a key: equality is that of values (datascript.md 3.1).
#[derive(Clone, Copy)]
pub(crate) struct Key<'a>(pub(crate) &'a Value);

/// The same, owning.
#[derive(Clone)]
pub(crate) struct OwnedKey(pub(crate) Value);

// SipHash rather than a faster hash: keys come from clients.
type Build = BuildHasherDefault<DefaultHasher>;
pub(crate) type ValueMap<'a, T> = HashMap<Key<'a>, T, Build>;
pub(crate) type OwnedSet = HashSet<OwnedKey, Build>;
pub(crate) type SafeMap<K, T> = HashMap<K, T, Build>;
pub(crate) type SafeSet<K> = HashSet<K, Build>;

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

// NaN differs from itself, and is then not found again; no rule looks for one.
impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(self.0, state);
    }
}

impl PartialEq for OwnedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for OwnedKey {}

impl Hash for OwnedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(&self.0, state);
    }
}

/// Equal values feed equal bytes: vectors and lists alike, maps and sets by their size only (their order is free).
pub(crate) fn hash_value<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::Nil => state.write_u8(0),
        Value::Bool(value) => state.write_u8(1 + u8::from(*value)),
        Value::Int(number) | Value::Instant(number) => state.write_i64(*number),
        Value::Float(number) => state.write_u64(number.to_bits()),
        Value::String(text) => text.hash(state),
        Value::Keyword(keyword) => keyword.hash(state),
        Value::Symbol(symbol) => symbol.as_str().hash(state),
        Value::Uuid(uuid) => state.write(uuid.as_bytes()),
        Value::Vector(items) | Value::List(items) => {
            state.write_usize(items.len());
            for item in items.iter() {
                hash_value(item, state);
            }
        }
        Value::Set(items) => state.write_usize(items.len()),
        Value::Map(entries) => state.write_usize(entries.len()),
        Value::Scalar(scalar) => scalar.rep.hash(state),
        Value::Tagged(tagged) => tagged.tag.hash(state),
    }
}

/// Removes items equal to an earlier one.
pub(crate) fn dedup(items: &mut Vec<Value>) {
    let mut seen = OwnedSet::default();
    items.retain(|item| seen.insert(OwnedKey(item.clone())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_lists_are_one_key() {
        let mut items = vec![
            Value::vector([Value::Int(1)]),
            Value::List([Value::Int(1)].into()),
            Value::Int(1),
            Value::Set([Value::Int(1), Value::Int(2)].into()),
            Value::Set([Value::Int(2), Value::Int(1)].into()),
        ];
        dedup(&mut items);
        assert_eq!(items.len(), 3);
    }
}
