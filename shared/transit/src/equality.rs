//! Equality of values (datascript.md 3.1), and an index by it for big maps and sets.

use std::hash::{DefaultHasher, Hash, Hasher};

use rustc_hash::FxHashMap;

use crate::value::Value;

/// Up to so many entries are compared one with another; more are hashed.
const SCAN: usize = 8;

/// Scalars by type and value (NaN is unequal to itself), vectors and lists element-wise, maps and sets regardless of
/// order.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        equal(self, other, |a, b| a == b)
    }
}

/// A value as a key: equal as [`Value`] is, except that NaN is equal to itself. Otherwise a set of nothing but NaN would
/// have to be compared pair by pair.
struct Key<'a>(&'a Value);

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        equal(self.0, other.0, |a, b| a == b || (a.is_nan() && b.is_nan()))
    }
}

impl Eq for Key<'_> {}

fn equal(a: &Value, b: &Value, float: fn(f64, f64) -> bool) -> bool {
    match (a, b) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) | (Value::Instant(a), Value::Instant(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => float(*a, *b),
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Keyword(a), Value::Keyword(b)) => a == b,
        (Value::Symbol(a), Value::Symbol(b)) => a == b,
        (Value::Uuid(a), Value::Uuid(b)) => a == b,
        (Value::Scalar(a), Value::Scalar(b)) => a == b,
        (Value::Tagged(a), Value::Tagged(b)) => a.tag == b.tag && equal(&a.rep, &b.rep, float),
        (Value::Vector(a) | Value::List(a), Value::Vector(b) | Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b, float))
        }
        (Value::Set(a), Value::Set(b)) => same_entries(a, b, |item| item, |a, b| equal(a, b, float)),
        (Value::Map(a), Value::Map(b)) => {
            same_entries(a, b, |(key, _)| key, |a, b| equal(&a.0, &b.0, float) && equal(&a.1, &b.1, float))
        }
        _ => false,
    }
}

/// Whether each entry of `a` has its equal in `b`; both are distinct by key.
fn same_entries<T>(a: &[T], b: &[T], key: fn(&T) -> &Value, same: impl Fn(&T, &T) -> bool) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if scannable(a, key) && scannable(b, key) {
        return a.iter().all(|a| b.iter().any(|b| same(a, b)));
    }
    let index = Index::new(b, key);
    a.iter().all(|a| index.find(key(a)).is_some_and(|b| same(a, b)))
}

/// Few entries, and no collection among their keys: comparing nested collections pairwise would cost the square of
/// their size.
fn scannable<T>(entries: &[T], key: fn(&T) -> &Value) -> bool {
    entries.len() <= SCAN && entries.iter().all(|entry| key(entry).is_stringable())
}

/// Entries by the hash of their key.
///
/// The hash is keyed with a digest of all keys, so that no input can be prepared whose keys fall together: another key
/// set has another hash function.
struct Index<'a, T> {
    seed: u64,
    by_hash: FxHashMap<Hashed<'a>, &'a T>,
}

/// A key with its hash, which is computed once.
struct Hashed<'a> {
    hash: u64,
    key: Key<'a>,
}

impl PartialEq for Hashed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.key == other.key
    }
}

impl Eq for Hashed<'_> {}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl<'a, T> Index<'a, T> {
    fn new(entries: &'a [T], key: fn(&T) -> &Value) -> Self {
        let seed = seed(entries, key);
        let by_hash = entries.iter().map(|entry| (hashed(key(entry), seed), entry)).collect();
        Self { seed, by_hash }
    }

    fn find(&self, key: &Value) -> Option<&'a T> {
        self.by_hash.get(&hashed(key, self.seed)).copied()
    }
}

fn seed<T>(entries: &[T], key: fn(&T) -> &Value) -> u64 {
    let mut state = DefaultHasher::new();
    for entry in entries {
        hash(key(entry), &mut state, 0);
    }
    state.finish()
}

fn hashed(key: &Value, seed: u64) -> Hashed<'_> {
    Hashed { hash: digest(key, seed), key: Key(key) }
}

fn digest(value: &Value, seed: u64) -> u64 {
    let mut state = DefaultHasher::new();
    state.write_u64(seed);
    hash(value, &mut state, seed);
    state.finish()
}

/// Feeds a value to a hasher so that equal values feed the same.
fn hash(value: &Value, state: &mut DefaultHasher, seed: u64) {
    let members = |sum: u64, item: &Value| sum.wrapping_add(digest(item, seed));
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
            hash(&tagged.rep, state, seed);
        }
        // A list and a vector of the same elements are equal.
        Value::Vector(items) | Value::List(items) => {
            (11_u8, items.len()).hash(state);
            items.iter().for_each(|item| hash(item, state, seed));
        }
        Value::Set(items) => (12_u8, items.len(), items.iter().fold(0, members)).hash(state),
        Value::Map(entries) => {
            let sum = entries.iter().fold(0_u64, |sum, (key, value)| {
                let mut state = DefaultHasher::new();
                hash(key, &mut state, seed);
                hash(value, &mut state, seed);
                sum.wrapping_add(state.finish())
            });
            (13_u8, entries.len(), sum).hash(state);
        }
    }
}
