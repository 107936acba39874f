//! Equality of values (datascript.md 3.1).

use crate::digest::{Digests, Index, scannable};
use crate::value::Value;

/// Scalars by type and value (NaN is unequal to itself), vectors and lists element-wise, maps and sets regardless of
/// order.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        equal(self, other, |a, b| a == b, &mut None)
    }
}

/// Equality of keys: NaN is equal to itself. Otherwise a set of nothing but NaN would have to be compared pair by pair.
#[expect(clippy::float_cmp, reason = "equality is what is asked for")]
pub fn same_key(a: &Value, b: &Value) -> bool {
    equal(a, b, |a, b| a == b || (a.is_nan() && b.is_nan()), &mut None)
}

/// The digests are made when the first large set or map is met.
pub(crate) fn equal(a: &Value, b: &Value, float: fn(f64, f64) -> bool, digests: &mut Option<Digests>) -> bool {
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
        (Value::Tagged(a), Value::Tagged(b)) => a.tag == b.tag && equal(&a.rep, &b.rep, float, digests),
        (Value::Vector(a) | Value::List(a), Value::Vector(b) | Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b, float, digests))
        }
        (Value::Set(a), Value::Set(b)) => {
            same_entries(a, b, |item| item, |a, b, digests| equal(a, b, float, digests), digests)
        }
        (Value::Map(a), Value::Map(b)) => {
            let same = |a: &(Value, Value), b: &(Value, Value), digests: &mut Option<Digests>| {
                equal(&a.0, &b.0, float, digests) && equal(&a.1, &b.1, float, digests)
            };
            same_entries(a, b, |(key, _)| key, same, digests)
        }
        _ => false,
    }
}

/// Whether each entry of `a` has its equal in `b`; both are distinct by key.
fn same_entries<T>(
    a: &[T],
    b: &[T],
    key: fn(&T) -> &Value,
    same: impl Fn(&T, &T, &mut Option<Digests>) -> bool,
    digests: &mut Option<Digests>,
) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if scannable(a, key) && scannable(b, key) {
        return a.iter().all(|a| b.iter().any(|b| same(a, b, digests)));
    }
    let index = Index::new(b, key, digests.get_or_insert_default());
    // One comparison for each equal hash, lest the levels of nested sets multiply.
    a.iter().all(|a| {
        let hash = digests.get_or_insert_default().digest(key(a));
        index.candidates(hash).any(|b| same(a, b, digests))
    })
}

#[cfg(test)]
mod tests {
    use crate::{Value, read_str};

    fn read(text: &str) -> Value {
        read_str(text).unwrap()
    }

    #[test]
    fn equality() {
        for (a, b, equal) in [
            ("[1]", "[1.0]", true),
            ("[0]", "[-0.0]", true),
            ("[1,2]", r#"["~#list",[1,2]]"#, true),
            ("[1,2]", r#"["~#set",[1,2]]"#, false),
            (r#"["~#set",[1,2]]"#, r#"["~#set",[2,1]]"#, true),
            (r#"["~#set",[1,2]]"#, r#"["~#set",[2,3]]"#, false),
            (r#"["~#set",[[1],["~#list",[1]]]]"#, r#"["~#set",[[1]]]"#, true),
            (r#"["^ ","~:a",1,"~:b",2]"#, r#"["^ ","~:b",2,"~:a",1]"#, true),
            (r#"["^ ","~:a",1,"~:b",2]"#, r#"["^ ","~:b",2,"~:a",2]"#, false),
            (r#"["~zNaN"]"#, r#"["~zNaN"]"#, false),
            (r#"["~#set",["~zNaN"]]"#, r#"["~#set",["~zNaN"]]"#, false),
            (r#"["~:a"]"#, r#"["~$a"]"#, false),
            (r#"["~:a"]"#, r#"["a"]"#, false),
            (r#"["~m5"]"#, "[5]", false),
            (r#"["~#x",[1]]"#, r#"["~#x",["~#list",[1]]]"#, true),
            (r#"["~#x",[1]]"#, r#"["~#y",[1]]"#, false),
            (r#"["~n1"]"#, r#"["~n1"]"#, true),
            (r#"["~n1"]"#, r#"["~f1"]"#, false),
        ] {
            assert_eq!(read(a) == read(b), equal, "{a} and {b}");
            assert_eq!(read(b) == read(a), equal, "{b} and {a}");
        }
    }

    #[test]
    fn big_collections_are_equal_in_any_order() {
        for tag in ["set", "cmap"] {
            let text = |numbers: Vec<u32>| {
                let members: Vec<_> = numbers.iter().map(|number| format!("[[{number}]]")).collect();
                read(&format!("[\"~#{tag}\",[{}]]", members.join(",")))
            };
            let up = text((0..1000).collect());
            assert!(up == text(if tag == "set" { (0..1000).rev().collect() } else { (0..1000).collect() }));
            assert!(up != text((1..1001).collect()));
        }
    }
}
