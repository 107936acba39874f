//! Memory of a node, as the cache accounts for it.

use transit::Value;

use crate::tree::node::{Inner, Keys, Leaf};

/// What an allocation costs beyond its content: counts of `Rc`/`Arc` and the allocator's own.
const ALLOCATION: usize = 32;

/// Bytes of a leaf with the values it refers to. Values that nodes share are counted for each.
pub(super) fn leaf(leaf: &Leaf) -> usize {
    size_of::<Leaf>() + ALLOCATION + leaf.bytes() + leaf.iter().map(|datom| value(&datom.v)).sum::<usize>()
}

/// Bytes of an inner node with its keys.
pub(super) fn inner(inner: &Inner) -> usize {
    let keys: usize = inner.keys.iter().map(|datom| value(&datom.v)).sum();
    size_of::<Inner>() + size_of::<Keys>() + 2 * ALLOCATION + inner.slots.bytes() + keys
}

/// Bytes that a value holds outside itself.
pub(crate) fn value(v: &Value) -> usize {
    match v {
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Uuid(_) | Value::Instant(_) => 0,
        Value::String(text) => ALLOCATION + text.len(),
        Value::Keyword(keyword) => ALLOCATION + keyword.as_str().len(),
        Value::Symbol(symbol) => ALLOCATION + symbol.as_str().len(),
        Value::Vector(items) | Value::List(items) | Value::Set(items) => {
            ALLOCATION + items.iter().map(|item| size_of::<Value>() + value(item)).sum::<usize>()
        }
        Value::Map(entries) => {
            let pair = 2 * size_of::<Value>();
            ALLOCATION + entries.iter().map(|(key, v)| pair + value(key) + value(v)).sum::<usize>()
        }
        Value::Scalar(scalar) => 2 * ALLOCATION + scalar.rep.len(),
        Value::Tagged(tagged) => 2 * ALLOCATION + size_of::<Value>() + tagged.tag.len() + value(&tagged.rep),
    }
}
