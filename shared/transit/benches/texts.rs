//! Reading and writing of one B-tree row of 32 datoms and of a transaction of 50 items: `cargo bench -p transit`.
#![expect(clippy::expect_used, reason = "a benchmark that meets something unexpected is to stop")]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use transit::{Reader, Token, Value, Writer, read_str, write_string};

fn main() {
    divan::main();
}

const TX: i64 = 536_870_913;
const ATTRIBUTES: [&str; 6] =
    ["block/created-at", "block/order", "block/page", "block/title", "block/updated-at", "block/uuid"];

fn uuid(number: i64) -> String {
    format!("66b8d8f0-0000-4000-8000-{number:012x}")
}

fn datom(place: i64) -> [Value; 4] {
    let entity = 1000 + place / 6;
    let name = ATTRIBUTES.get(usize::try_from(place % 6).unwrap_or_default()).copied().unwrap_or_default();
    let value = match name {
        "block/title" => Value::string("A line of text as people write it, about [[Some page]]"),
        "block/order" => Value::string("a0V8x"),
        "block/page" => Value::Int(17),
        "block/uuid" => uuid(entity).parse().map_or(Value::Nil, Value::Uuid),
        _ => Value::Int(1_755_000_000_000 + entity),
    };
    [Value::Int(entity), Value::keyword(name), value, Value::Int(TX)]
}

fn row() -> Value {
    let keys = Value::vector((0..32).map(|place| Value::vector(datom(place))));
    Value::Map([(Value::keyword("keys"), keys)].into())
}

fn transaction() -> Value {
    Value::vector((0..50).map(|place| {
        let [entity, attribute, value, tx] = datom(place);
        let tempid = Value::from(uuid(entity.as_int().unwrap_or_default()));
        Value::vector([Value::keyword("db/add"), tempid, attribute, value, tx])
    }))
}

/// A kind of text, by name.
fn value(kind: &str) -> Value {
    if kind == "row" { row() } else { transaction() }
}

const KINDS: [&str; 2] = ["row", "transaction"];

#[divan::bench(args = KINDS)]
fn tokens(bencher: Bencher<'_, '_>, kind: &str) {
    let text = write_string(&value(kind));
    bencher.counter(BytesCount::of_str(&text)).bench(|| {
        let mut reader = Reader::new(black_box(&text));
        let mut count = 0;
        while let Some(token) = reader.next().expect("a text of our own") {
            count += usize::from(!matches!(token, Token::ArrayEnd));
        }
        count
    });
}

#[divan::bench(args = KINDS)]
fn tree(bencher: Bencher<'_, '_>, kind: &str) {
    let text = write_string(&value(kind));
    bencher.counter(BytesCount::of_str(&text)).bench(|| read_str(black_box(&text)).expect("a text of our own"));
}

#[divan::bench(args = KINDS)]
fn write(bencher: Bencher<'_, '_>, kind: &str) {
    let value = value(kind);
    let mut out = String::new();
    bencher.counter(BytesCount::of_str(&write_string(&value))).bench_local(|| {
        out.clear();
        Writer::new(&mut out).value(black_box(&value));
        out.len()
    });
}
