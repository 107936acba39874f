//! Prints how long a transaction of seven datoms takes in memory:
//! `cargo run --release -p datascript --example tx_rate [transactions]`.

use std::rc::Rc;
use std::time::Instant;

use datascript::{Attrs, Db, Nodes, Schema, Value, with};
use uuid::Uuid;

fn schema(attrs: Rc<Attrs>) -> Schema {
    let fact = |name: &str, value: Value| (Value::keyword(name), value);
    let map = |facts: &[(Value, Value)]| Value::Map(facts.into());
    let identity = map(&[fact("db/unique", Value::keyword("db.unique/identity"))]);
    let reference = map(&[fact("db/valueType", Value::keyword("db.type/ref")), fact("db/index", true.into())]);
    let indexed = map(&[fact("db/index", true.into())]);
    let entries = [
        ("block/uuid", &identity),
        ("block/parent", &reference),
        ("block/page", &reference),
        ("block/order", &indexed),
        ("block/title", &indexed),
        ("block/created-at", &indexed),
        ("block/updated-at", &indexed),
    ];
    let entries = entries.map(|(name, entry)| (Value::keyword(name), entry.clone()));
    Schema::from_value(attrs, &Value::Map(entries.into()))
}

fn block(number: u32) -> Uuid {
    Uuid::from_u128(0x66b8_d8f0_0000_4000_8000_0000_0000_0000 | u128::from(number))
}

/// A new block under the page, as a client sends it.
fn new_block(number: u32) -> Vec<Value> {
    let name = Value::string(&block(number).to_string());
    let parent = Value::vector([Value::keyword("block/uuid"), Value::Uuid(block(number / 2))]);
    let page = Value::vector([Value::keyword("block/uuid"), Value::Uuid(block(0))]);
    let time = Value::Int(1_755_000_000_000 + i64::from(number));
    let add =
        |attr: &str, value: Value| Value::vector([Value::keyword("db/add"), name.clone(), Value::keyword(attr), value]);
    vec![
        add("block/uuid", Value::Uuid(block(number))),
        add("block/title", Value::string(&format!("Block {number}"))),
        add("block/parent", parent),
        add("block/page", page),
        add("block/order", Value::string(&format!("a{number:06}"))),
        add("block/created-at", time.clone()),
        add("block/updated-at", time),
    ]
}

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000_u32);
    let attrs = Attrs::new(&[]);
    let nodes = Rc::new(Nodes::new(None, Rc::clone(&attrs), usize::MAX));
    let mut db = Db::empty(nodes, schema(attrs));
    let page = Value::vector([
        Value::keyword("db/add"),
        Value::string("page"),
        Value::keyword("block/uuid"),
        Value::Uuid(block(0)),
    ]);
    db = with(&db, &[page]).map_or(db, |report| report.db_after);
    let transactions: Vec<Vec<Value>> = (1..=count).map(new_block).collect();
    let start = Instant::now();
    let mut datoms = 0;
    for items in &transactions {
        match with(&db, items) {
            Ok(report) => {
                datoms += report.tx_data.len();
                db = report.db_after;
            }
            Err(error) => return println!("refused: {error}"),
        }
    }
    let took = start.elapsed();
    println!(
        "{count} transactions, {datoms} datoms: {:.2} µs a transaction, {:.0} transactions a second; {} datoms in all",
        took.as_secs_f64() * 1e6 / f64::from(count),
        f64::from(count) / took.as_secs_f64(),
        db.count()
    );
}
