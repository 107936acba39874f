//! The vectors of `transit.jsonl`.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use golden_support::{LeftOut, Tally};
use serde_json::Value as Json;
use transit::{Keyword, Limits, Scalar, Symbol, Tagged, Value, read_str, read_with, write_string};

mod support;
use support::{has_key, same};

/// Lone surrogates have no place in UTF-8, nor in the parser of the vectors.
const LONE_SURROGATE: &str = "lone surrogates";
/// The reference writes fractional keys so that they are lost (DS-9).
const FRACTIONAL_KEY: &str = "a fractional key";
/// The order of the entries of big maps and double keys are not those of the reference.
const OWN_ORDER: &str = "an order of entries of its own";

/// The value that a model node describes.
fn value(model: &Json) -> Value {
    let v = &model["v"];
    let text = || v.as_str().expect("a text");
    let items = |v: &Json| v.as_array().expect("an array").iter().map(value).collect::<Arc<[Value]>>();
    match model["t"].as_str().expect("a type") {
        "nil" => Value::Nil,
        "bool" => Value::Bool(v.as_bool().expect("a boolean")),
        "num" => Value::number(match text() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            number => number.parse().expect("a number"),
        }),
        "long" => scalar('i', text()),
        "str" => Value::string(text()),
        "kw" => Value::Keyword(Keyword::new(text())),
        "sym" => Value::Symbol(Symbol::new(text())),
        "uuid" => text().parse().map_or_else(|_| scalar('u', text()), Value::Uuid),
        "inst" => Value::Instant(text().parse().expect("milliseconds")),
        "vec" => Value::Vector(items(v)),
        "list" => Value::List(items(v)),
        "set" => Value::Set(items(v)),
        "map" => map(v.as_array().expect("pairs").iter().map(|pair| (value(&pair[0]), value(&pair[1])))),
        "datom" => {
            let [e, a, v, tx, added] = v.as_array().expect("a datom").as_slice() else {
                panic!("a datom has 5 fields")
            };
            let number = |json: &Json| Value::number(json.as_f64().expect("a number"));
            let mut fields = vec![number(e), value(a), value(v), number(tx)];
            if added == false {
                fields.push(Value::Bool(false));
            }
            tagged("datascript/Datom", Value::vector(fields))
        }
        "exinfo" => {
            let message = Value::string(model["message"].as_str().expect("a message"));
            let data = value(&model["data"]);
            tagged("error", map([(Value::keyword("message"), message), (Value::keyword("data"), data)]))
        }
        "jserror" => {
            let message = Value::string(model["message"].as_str().expect("a message"));
            tagged("js/Error", map([(Value::keyword("message"), message)]))
        }
        "tagged" => match (model["tag"].as_str().expect("a tag"), value(v)) {
            (tag, Value::String(rep)) if tag.chars().count() == 1 => scalar(tag.chars().next().expect("one"), &rep),
            (tag, rep) => tagged(tag, rep),
        },
        other => panic!("unknown model node {other}"),
    }
}

fn scalar(tag: char, rep: &str) -> Value {
    Value::Scalar(Arc::new(Scalar { tag, rep: rep.into() }))
}

fn tagged(tag: &str, rep: Value) -> Value {
    Value::Tagged(Arc::new(Tagged { tag: tag.into(), rep }))
}

/// A map; the models of the reference keep double keys of small maps, of which the last one counts here.
fn map(pairs: impl IntoIterator<Item = (Value, Value)>) -> Value {
    let mut entries: Vec<(Value, Value)> = Vec::new();
    for (key, value) in pairs {
        match entries.iter_mut().find(|(other, _)| *other == key) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }
    Value::Map(entries.into())
}

/// Whether a map inside has a fractional number as key, which the reference writes so that it is lost (DS-9).
fn has_fractional_key(value: &Value) -> bool {
    has_key(value, |key| matches!(key, Value::Float(number) if number.fract() != 0.0))
}

#[test]
fn golden_vectors() {
    let file = golden_support::text("transit.jsonl");
    let (mut tally, mut texts) = (Tally::default(), Tally::default());
    for line in file.lines() {
        if let Some((name, _)) = line.split_once("-lone-surrogate\"") {
            let (_, name) = name.rsplit_once('"').expect("the name is quoted");
            tally.leave_out(LONE_SURROGATE, format!("{name}-lone-surrogate"));
            continue;
        }
        let case: Json = serde_json::from_str(line).expect("a JSON object");
        let id = case["id"].as_str().expect("an id");
        let text = case["transit"].as_str().expect("a text");
        match case["dir"].as_str().expect("a direction") {
            "write" => check_write(id, &case, text, &mut texts),
            "read" => check_read(id, &case, text, &mut texts),
            other => panic!("{id}: unknown direction {other}"),
        }
        tally.check();
    }
    let lone = LeftOut::Marked(&["w-str-lone-surrogate", "wv-str-lone-surrogate"]);
    tally.assert(file.lines().count(), 374, &[(LONE_SURROGATE, lone)]);
    let fractional = LeftOut::Marked(&["w-map-float", "w-map-nan-key", "wv-map-float", "wv-map-nan-key", "rand-15"]);
    let own_order = LeftOut::Marked(&["r-dupkeys", "r-map10"]);
    texts.assert(texts.seen(), 365, &[(FRACTIONAL_KEY, fractional), (OWN_ORDER, own_order)]);
}

fn check_write(id: &str, case: &Json, text: &str, texts: &mut Tally) {
    let model = value(&case["model"]);
    let written = write_string(&model);
    if has_fractional_key(&model) {
        assert!(same(&read_str(&written).expect(id), &model), "{id}: {written}");
        texts.leave_out(FRACTIONAL_KEY, id);
    } else {
        assert_eq!(written, text, "{id}");
        texts.check();
    }
    let read = read_str(text).unwrap_or_else(|error| panic!("{id}: {error}"));
    let expected = case.get("reread").map_or(model, value);
    assert!(same(&read, &expected), "{id}: read {read:?}, expected {expected:?}");
    // What a client's writer gives, a client may send.
    let strict = read_with(text, Limits::CLIENT).unwrap_or_else(|error| panic!("{id}: {error}"));
    assert!(same(&strict, &read), "{id}: strictly {strict:?}");
}

fn check_read(id: &str, case: &Json, text: &str, texts: &mut Tally) {
    let read = read_str(text);
    if case.get("error").is_some() {
        assert!(read.is_err(), "{id}: {read:?}");
        return;
    }
    let read = read.unwrap_or_else(|error| panic!("{id}: {error}"));
    let expected = value(&case["model"]);
    assert!(same(&read, &expected), "{id}: read {read:?}, expected {expected:?}");
    if let Some(rewrite) = case.get("rewrite") {
        let rewrite = rewrite.as_str().expect("a text");
        let written = write_string(&read);
        if written == rewrite {
            texts.check();
        } else {
            let agree = matches!((read_str(&written), read_str(rewrite)), (Ok(a), Ok(b)) if same(&a, &b));
            assert!(agree, "{id}: wrote {written}, expected {rewrite}");
            texts.leave_out(OWN_ORDER, id);
        }
    }
}
