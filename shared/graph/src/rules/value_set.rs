//! Sets and maps keyed by values.
//!
//! Values come from clients, so they are hashed with a secret, and all of a value is: a hash of sizes only would make one
//! slot of all maps that have as many entries. NaN is equal to itself as a key, or a set of nothing else would be compared
//! pair by pair.

use std::hash::{Hash, Hasher};

use datascript::Value;
use transit::{hash_value, same_key};

/// A value as a key: equality is that of values (datascript.md 3.1), and NaN equals NaN.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a>(pub(crate) &'a Value);

/// The same, owning.
#[derive(Clone)]
pub(crate) struct OwnedKey(pub(crate) Value);

pub(crate) type ValueMap<'a, T> = keyed::Map<Key<'a>, T>;
pub(crate) type OwnedSet = keyed::Set<OwnedKey>;

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        #[cfg(test)]
        tests::COMPARED.with(|count| count.set(count.get() + 1));
        same_key(self.0, other.0)
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(self.0, state);
    }
}

impl PartialEq for OwnedKey {
    fn eq(&self, other: &Self) -> bool {
        Key(&self.0) == Key(&other.0)
    }
}

impl Eq for OwnedKey {}

impl Hash for OwnedKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_value(&self.0, state);
    }
}

/// Removes items equal to an earlier one. Each is hashed once and mostly compared with its equal only.
pub(crate) fn dedup(items: &mut Vec<Value>) {
    let mut seen = OwnedSet::default();
    items.retain(|item| seen.insert(OwnedKey(item.clone())));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often two keys were compared.
        pub(super) static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

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

    /// Items whose values a hash might take for one: each made the square of its number of comparisons once, or might.
    #[test]
    fn no_items_are_compared_pair_by_pair() {
        let map = |key: Value, value: Value| Value::Map([(key, value)].into());
        let forms: [(&str, &dyn Fn(i64) -> Value); 7] = [
            ("maps of one size", &|n| map(Value::keyword("a"), Value::Int(n))),
            ("maps with one value", &|n| map(Value::Int(n), Value::Nil)),
            ("sets of one size", &|n| Value::Set([Value::Int(n)].into())),
            ("nested sets", &|n| Value::vector([Value::Set([Value::Set([Value::Int(n)].into())].into())])),
            ("tagged values", &|n| {
                Value::Tagged(std::sync::Arc::new(transit::Tagged { tag: "x".into(), rep: Value::Int(n) }))
            }),
            ("NaN", &|_| Value::Float(f64::NAN)),
            ("numbers and instants", &|n| if n % 2 == 0 { Value::Int(n) } else { Value::Instant(n - 1) }),
        ];
        for (what, form) in forms {
            let mut items: Vec<Value> = (0..4000).map(|n| Value::vector([Value::keyword("db/add"), form(n)])).collect();
            COMPARED.set(0);
            dedup(&mut items);
            // Equal items meet their first; others meet by the chance of a few bits of their hashes.
            assert!(COMPARED.get() < 4000 + 400, "{what}: {} comparisons", COMPARED.get());
        }
    }
}
