//! `cmpVal`: the total order of values that DataScript's indexes use (datascript.md 3.3).

use std::cmp::Ordering;

use transit::Value;

use super::canonical::canonical;
use super::{compare_utf16, hash};

/// A map of more entries is of another type in ClojureScript, and sorts by that.
const ARRAY_MAP_MAX: usize = 8;

/// Compares two values as an index does: vectors and lists by length and elements, values of one type naturally, maps
/// and sets by hash, values of different types by the name of their type in ClojureScript.
///
/// A total order, also where the reference has none (datascript.md 3.3): NaN equals itself and is greater than every other
/// number, a list stands among other types where a vector does, and different maps or sets of one hash are told apart by
/// their content (DS-8).
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) | (Value::Instant(a), Value::Instant(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => compare_utf16(a, b),
        (Value::Uuid(a), Value::Uuid(b)) => a.as_bytes().cmp(b.as_bytes()),
        _ => compare_rare(a, b),
    }
}

#[inline(never)]
fn compare_rare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Nil, Value::Nil) => Ordering::Equal,
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Keyword(a), Value::Keyword(b)) => {
            if a == b {
                return Ordering::Equal;
            }
            compare_named((a.namespace(), a.name()), (b.namespace(), b.name()))
        }
        (Value::Symbol(a), Value::Symbol(b)) => compare_named((a.namespace(), a.name()), (b.namespace(), b.name())),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            compare_numbers(a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN))
        }
        (Value::Vector(a) | Value::List(a), Value::Vector(b) | Value::List(b)) => compare_sequences(a, b),
        _ => Type::of(a).cmp(&Type::of(b)).then_with(|| compare_same_type(a, b)),
    }
}

/// `cmpAttr` over a namespace and a name: no namespace first, then namespace, then name.
pub fn compare_named(a: (Option<&str>, &str), b: (Option<&str>, &str)) -> Ordering {
    match (a.0, b.0) {
        (Some(x), Some(y)) => compare_utf16(x, y),
        (x, y) => x.is_some().cmp(&y.is_some()),
    }
    .then_with(|| compare_utf16(a.1, b.1))
}

/// Whether two values are one to an index. Other than by `==`, NaN is.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(_), Value::Float(_)) => compare(a, b).is_eq(),
        _ => a == b || !a.is_stringable() && compare(a, b).is_eq(),
    }
}

fn compare_numbers(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn compare_sequences(a: &[Value], b: &[Value]) -> Ordering {
    let elements = || a.iter().zip(b).map(|(a, b)| compare_nullable(a, b)).find(|order| order.is_ne());
    a.len().cmp(&b.len()).then_with(|| elements().unwrap_or(Ordering::Equal))
}

fn compare_nullable(a: &Value, b: &Value) -> Ordering {
    match (a.is_nil(), b.is_nil()) {
        (false, false) => compare(a, b),
        (a, b) => b.cmp(&a),
    }
}

/// Two values of one [`Type`] that [`compare_rare`] has not dealt with.
fn compare_same_type(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Scalar(_) | Value::Uuid(_), Value::Scalar(_) | Value::Uuid(_)) => {
            compare_utf16(&scalar_text(a), &scalar_text(b))
        }
        _ => hash(a).cmp(&hash(b)).then_with(|| if a == b { Ordering::Equal } else { canonical(a).cmp(&canonical(b)) }),
    }
}

/// The text of a UUID or an opaque scalar.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::Uuid(uuid) => uuid.hyphenated().to_string(),
        Value::Scalar(scalar) => scalar.rep.to_string(),
        _ => String::new(),
    }
}

/// The types in the order of their names in ClojureScript; opaque values, for which none is known, come last.
///
/// By its name a list would come before maps and sets and an empty one before keywords, while a vector, with which both
/// compare by length, comes after them: that would be a circle. So a list counts as a vector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Type {
    Nil,
    Keyword,
    ArrayMap,
    HashMap,
    HashSet,
    Vector,
    Symbol,
    Uuid,
    Boolean,
    Date,
    Number,
    String,
    Opaque(char),
    Tagged,
}

impl Type {
    fn of(value: &Value) -> Self {
        match value {
            // Nil has no place among stored values; between elements it is dealt with before.
            Value::Nil => Self::Nil,
            Value::Bool(_) => Self::Boolean,
            Value::Int(_) | Value::Float(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Keyword(_) => Self::Keyword,
            Value::Symbol(_) => Self::Symbol,
            Value::Uuid(_) => Self::Uuid,
            Value::Instant(_) => Self::Date,
            Value::Vector(_) | Value::List(_) => Self::Vector,
            Value::Set(_) => Self::HashSet,
            Value::Map(entries) if entries.len() <= ARRAY_MAP_MAX => Self::ArrayMap,
            Value::Map(_) => Self::HashMap,
            Value::Scalar(scalar) if scalar.tag == 'u' => Self::Uuid,
            Value::Scalar(scalar) => Self::Opaque(scalar.tag),
            Value::Tagged(_) => Self::Tagged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_sort_by_size_class_before_hash() {
        let map = |n: i32| Value::Map((0..n).map(|i| (i.into(), i.into())).collect());
        for small in 1..=8 {
            assert_eq!(compare(&map(small), &map(9)), Ordering::Less);
            assert_eq!(compare(&map(9), &map(small)), Ordering::Greater);
        }
        assert_eq!(compare(&map(9), &map(9)), Ordering::Equal);
    }

    #[test]
    fn maps_of_one_hash_are_told_apart() {
        // 2147483647 is 0 in the hash of integers.
        let map = |n: f64| Value::Map([(Value::keyword("k"), Value::number(n))].into_iter().collect());
        let (a, b) = (map(0.0), map(2_147_483_647.0));
        assert_eq!(hash(&a), hash(&b));
        assert_ne!(compare(&a, &b), Ordering::Equal);
        assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
    }

    #[test]
    fn the_order_is_total() {
        let read = |text: &str| transit::read_str(text).unwrap();
        let values: Vec<Value> = [
            "[]",
            "[1]",
            "[2]",
            "[1,2]",
            r#"["~#list",[]]"#,
            r#"["~#list",[1]]"#,
            r#"["~#list",[3,1,2]]"#,
            r#"["^ "]"#,
            r#"["^ ","~:k",0]"#,
            r#"["^ ","~:k",2147483647]"#,
            r#"["^ ","~:k","~zNaN","~:l",1]"#,
            r#"["^ ","~:l",1,"~:k","~zNaN"]"#,
            r#"["~#set",[]]"#,
            r#"["~#set",[0,1]]"#,
            r#"["~#set",[1,2147483647]]"#,
            r#"["~#set",[1,0]]"#,
            r#"["~#set",[["~#list",[1]]]]"#,
            r#"["~#set",[[1]]]"#,
            r#"["~#'","~zNaN"]"#,
            r#"["~#'","~zINF"]"#,
            r#"["~#'","~z-INF"]"#,
            "[0]",
            "[-1]",
            "[1.5]",
            r#"["~zNaN"]"#,
            "[null]",
            r#"["~#'","~:a"]"#,
            r#"["~#'","~$a"]"#,
            r#"["~#'","a"]"#,
            r#"["~#'",true]"#,
            r#"["~#'","~m1"]"#,
            r#"["~#'","~n1"]"#,
            r#"["~#x",["~zNaN"]]"#,
            r#"["~#x",["~#list",["~zNaN"]]]"#,
            r#"["~#y",[1]]"#,
            r#"["~#'",1]"#,
            r#"["~#'",2]"#,
            r#"["~#'",1e300]"#,
        ]
        .map(read)
        .to_vec();
        for a in &values {
            assert!(compare(a, a).is_eq() && same(a, a), "{a:?}");
            for b in &values {
                assert_eq!(compare(a, b), compare(b, a).reverse(), "{a:?} {b:?}");
                assert_eq!(compare(a, b).is_eq(), same(a, b), "{a:?} {b:?}");
                for c in &values {
                    if compare(a, b).is_le() && compare(b, c).is_le() {
                        assert!(compare(a, c).is_le(), "{a:?} {b:?} {c:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_malformed_uuid_sorts_among_uuids() {
        let good = Value::Uuid(uuid::Uuid::from_u128(0x6666_6666_0000_4000_8000_0000_0000_0000));
        let bad = |text: &str| Value::Scalar(std::sync::Arc::new(transit::Scalar { tag: 'u', rep: text.into() }));
        assert_eq!(compare(&good, &bad("a")), Ordering::Less);
        assert_eq!(compare(&bad("1"), &good), Ordering::Less);
        assert_eq!(compare(&Value::Bool(true), &bad("1")), Ordering::Greater);
    }
}
