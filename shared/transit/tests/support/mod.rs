//! What several tests need to compare values.

use transit::Value;

/// Equality that also tells lists from vectors and takes NaN for itself.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Vector(a), Value::Vector(b)) | (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Value::Vector(_) | Value::List(_), Value::Vector(_) | Value::List(_)) => false,
        (Value::Set(a), Value::Set(b)) => a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| same(a, b))),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| same(&a.0, &b.0) && same(&a.1, &b.1)))
        }
        (Value::Tagged(a), Value::Tagged(b)) => a.tag == b.tag && same(&a.rep, &b.rep),
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
        _ => a == b,
    }
}

/// Whether a map inside has such a key.
pub(crate) fn has_key(value: &Value, is_such: fn(&Value) -> bool) -> bool {
    match value {
        Value::Vector(items) | Value::List(items) | Value::Set(items) => {
            items.iter().any(|item| has_key(item, is_such))
        }
        Value::Map(entries) => {
            entries.iter().any(|(key, value)| is_such(key) || has_key(key, is_such) || has_key(value, is_such))
        }
        Value::Tagged(tagged) => has_key(&tagged.rep, is_such),
        _ => false,
    }
}
