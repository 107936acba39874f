//! Prints how fast one B-tree row of 32 datoms and a transaction of 50 items are read and written:
//! `cargo run --release -p transit --example throughput`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use transit::{Reader, Token, Value, Writer, read_str, write_string};

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

fn tokens(text: &str) -> usize {
    let mut reader = Reader::new(text);
    let mut count = 0;
    while let Ok(Some(token)) = reader.next() {
        count += usize::from(!matches!(token, Token::ArrayEnd));
    }
    count
}

fn stream(value: &Value, out: &mut String) {
    out.clear();
    Writer::new(out).value(value);
}

/// Runs for about half a second in batches and prints the time of one run in the fastest batch, which other load on the
/// machine disturbs least, and the megabytes of text a second.
fn measure(what: &str, bytes: usize, mut run: impl FnMut()) {
    const BATCH: u32 = 20;
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < Duration::from_millis(500) {
        let batch = Instant::now();
        for _ in 0..BATCH {
            run();
        }
        best = best.min(batch.elapsed());
    }
    let once = best.as_secs_f64() / f64::from(BATCH);
    let megabytes = f64::from(u32::try_from(bytes).unwrap_or_default()) / 1e6;
    println!("{what:<24} {:>7.2} us {:>7.0} MB/s", once * 1e6, megabytes / once);
}

fn main() {
    for (name, value) in [("row", row()), ("transaction", transaction())] {
        let text = write_string(&value);
        println!("{name}: {} bytes", text.len());
        measure("  tokens", text.len(), || {
            black_box(tokens(black_box(&text)));
        });
        measure("  tree", text.len(), || {
            black_box(read_str(black_box(&text)).ok());
        });
        let mut out = String::new();
        measure("  write", text.len(), || stream(black_box(&value), &mut out));
    }
}
