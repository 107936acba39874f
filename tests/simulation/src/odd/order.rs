//! A second implementation of the orders of datascript.md 3.3, and checks that hold for any order.

use std::cmp::Ordering;

use datascript::{Index, Keyword, Value, value};

use super::facts::{Fact, Facts, shown};
use super::failure::{Kind, Outcome, check};
use crate::rng::Rng;

/// Facts at this distance are compared too: an order with a circle in it may look right between neighbours.
const DISTANCE: usize = 3;
/// Values of one graph that are compared with each other.
const VALUES: usize = 48;
/// Triples of them.
const TRIPLES: usize = 64;

/// Each index is strictly ascending.
pub(crate) fn ascending(facts: &Facts) -> Outcome {
    for (index, facts) in [(Index::Eavt, &facts.eavt), (Index::Aevt, &facts.aevt), (Index::Avet, &facts.avet)] {
        for distance in 1..=DISTANCE {
            for (a, b) in facts.iter().zip(facts.iter().skip(distance)) {
                check!(
                    compare(index, a, b) == Ordering::Less,
                    Kind::Order,
                    "{index:?}, {distance} apart: {a} is not before {b}"
                );
            }
        }
    }
    Ok(())
}

/// The engine's order of values is a total order: antisymmetric, the same for equal values, and transitive.
pub(crate) fn is_order(facts: &Facts, rng: &mut Rng) -> Outcome {
    let mut values: Vec<&Value> = facts.eavt.iter().map(|fact| &fact.v).collect();
    while values.len() > VALUES {
        let place = rng.below(values.len());
        values.swap_remove(place);
    }
    // A graph of integers, texts and booleans only is skipped: their order is simple.
    if values.iter().all(|value| matches!(value, Value::Int(_) | Value::String(_) | Value::Bool(_))) {
        return Ok(());
    }
    for _ in 0..TRIPLES {
        let picked: Vec<&Value> = (0..3).filter_map(|_| rng.pick(&values).copied()).collect();
        if let [a, b, c] = picked.as_slice() {
            triple(a, b, c)?;
        }
    }
    Ok(())
}

fn triple(a: &Value, b: &Value, c: &Value) -> Outcome {
    let (ab, bc, ac) = (value::compare(a, b), value::compare(b, c), value::compare(a, c));
    let show = || format!("{} {} {}", shown(a), shown(b), shown(c));
    check!(ab == value::compare(b, a).reverse(), Kind::Compare, "depends on the side: {}", show());
    check!(ab.is_ne() || same(a, b), Kind::Compare, "different and compared as equal: {}", show());
    // If a ≤ b and b ≤ c, then a ≤ c; equal steps change nothing.
    let expected = match (ab, bc) {
        (Ordering::Equal, other) | (other, Ordering::Equal) => Some(other),
        (one, other) if one == other => Some(one),
        _ => None,
    };
    check!(expected.is_none_or(|expected| expected == ac), Kind::Compare, "not transitive: {}", show());
    Ok(())
}

/// Whether two values are one to an index: equal, or the same but for the kind of their sequences and the order of their
/// sets and maps. NaN, which is unequal to itself, is one value.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    a == b || plain(a) == plain(b)
}

/// A text of the value without what makes no difference.
fn plain(value: &Value) -> String {
    let all = |items: &[Value]| -> Vec<String> { items.iter().map(plain).collect() };
    let sorted = |mut items: Vec<String>| {
        items.sort_unstable();
        items.join(" ")
    };
    match value {
        Value::Vector(items) | Value::List(items) => format!("[{}]", all(items).join(" ")),
        Value::Set(members) => format!("#{{{}}}", sorted(all(members))),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{} {}", plain(key), plain(value)));
            format!("{{{}}}", sorted(entries.collect()))
        }
        Value::Tagged(tagged) => format!("#{} {}", tagged.tag, plain(&tagged.rep)),
        scalar => transit::write_string(scalar),
    }
}

fn compare(index: Index, a: &Fact, b: &Fact) -> Ordering {
    let entity = || a.e.cmp(&b.e);
    let attr = || if a.a.ptr_eq(&b.a) { Ordering::Equal } else { keywords(&a.a, &b.a) };
    let value = || values(&a.v, &b.v);
    let order = match index {
        Index::Eavt => entity().then_with(attr).then_with(value),
        Index::Aevt => attr().then_with(entity).then_with(value),
        Index::Avet => attr().then_with(value).then_with(entity),
    };
    order.then_with(|| a.tx.cmp(&b.tx))
}

/// No namespace first, then namespace, then name.
fn keywords(a: &Keyword, b: &Keyword) -> Ordering {
    named(a.as_str(), b.as_str())
}

fn named(a: &str, b: &str) -> Ordering {
    let split = |text| match str::split_once(text, '/') {
        Some((namespace, name)) if text.len() > 1 => (Some(namespace), name),
        _ => (None, text),
    };
    let ((a_namespace, a), (b_namespace, b)) = (split(a), split(b));
    let namespaces = match (a_namespace, b_namespace) {
        (Some(a), Some(b)) => units(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    namespaces.then_with(|| units(a, b))
}

fn units(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

/// `cmpVal`; where the specification gives no order, or none without circles, the engine's own.
fn values(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => units(a, b),
        _ if undefined(a) || undefined(b) => value::compare(a, b),
        _ => defined(a, b),
    }
}

fn defined(a: &Value, b: &Value) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    if let (Value::Vector(a), Value::Vector(b)) = (a, b) {
        let elements = || a.iter().zip(b.iter()).map(|(a, b)| element(a, b)).find(|order| order.is_ne());
        return a.len().cmp(&b.len()).then_with(|| elements().unwrap_or(Ordering::Equal));
    }
    type_name(a).cmp(type_name(b)).then_with(|| same_type(a, b))
}

fn element(a: &Value, b: &Value) -> Ordering {
    match (a.is_nil(), b.is_nil()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => values(a, b),
    }
}

fn same_type(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Keyword(a), Value::Keyword(b)) => keywords(a, b),
        (Value::Symbol(a), Value::Symbol(b)) => named(a.as_str(), b.as_str()),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Instant(a), Value::Instant(b)) => a.cmp(b),
        (Value::Int(_) | Value::Float(_), _) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Value::Uuid(_) | Value::Scalar(_), _) => units(&uuid_text(a), &uuid_text(b)),
        // Values of the same hash are ordered by the engine's own rule (DS-8).
        _ => value::hash(a).cmp(&value::hash(b)).then_with(|| value::compare(a, b)),
    }
}

fn uuid_text(value: &Value) -> String {
    match value {
        Value::Uuid(uuid) => uuid.hyphenated().to_string(),
        Value::Scalar(scalar) => scalar.rep.to_string(),
        _ => String::new(),
    }
}

/// The names of types in ClojureScript.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Keyword(_) => "cljs.core/Keyword",
        Value::Map(entries) if entries.len() <= 8 => "cljs.core/PersistentArrayMap",
        Value::Map(_) => "cljs.core/PersistentHashMap",
        Value::Set(_) => "cljs.core/PersistentHashSet",
        Value::Vector(_) => "cljs.core/PersistentVector",
        Value::Symbol(_) => "cljs.core/Symbol",
        Value::Uuid(_) | Value::Scalar(_) => "cljs.core/UUID",
        Value::Bool(_) => "function Boolean",
        Value::Instant(_) => "function Date",
        Value::Int(_) | Value::Float(_) => "function Number",
        Value::String(_) => "function String",
        Value::List(_) | Value::Tagged(_) | Value::Nil => "",
    }
}

/// Whether a value's place is not defined: NaN equals every number; a list equals a vector, but its type has another
/// place among maps than the vector's; of opaque values nothing is known.
fn undefined(value: &Value) -> bool {
    match value {
        Value::Float(number) => number.is_nan(),
        Value::List(_) | Value::Tagged(_) => true,
        Value::Scalar(scalar) => scalar.tag != 'u',
        Value::Vector(items) | Value::Set(items) => items.iter().any(undefined),
        Value::Map(entries) => entries.iter().any(|(key, value)| undefined(key) || undefined(value)),
        _ => false,
    }
}
