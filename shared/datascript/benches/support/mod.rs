//! A graph of blocks, as clients write it.

use std::rc::Rc;

use datascript::{Attrs, Schema, Value};
use uuid::Uuid;

const SCHEMA: &str = r#"["^ ","~:block/uuid",["^ ","~:db/unique","~:db.unique/identity"],
    "~:block/title",["^ ","~:db/index",true],"~:block/order",["^ ","~:db/index",true],
    "~:block/page",["^ ","~:db/valueType","~:db.type/ref","~:db/index",true],
    "~:block/parent",["^ ","~:db/valueType","~:db.type/ref","~:db/index",true],
    "~:block/created-at",["^ ","~:db/index",true],"~:block/updated-at",["^ ","~:db/index",true]]"#;

pub(crate) fn schema(attrs: Rc<Attrs>) -> Schema {
    Schema::from_value(attrs, &transit::read_str(SCHEMA).expect("a schema"))
}

fn uuid(number: u32) -> Uuid {
    Uuid::from_u128(0x66b8_d8f0_0000_4000_8000_0000_0000_0000 | u128::from(number))
}

fn add(name: &str, attr: &str, value: Value) -> Value {
    Value::vector([Value::keyword("db/add"), Value::string(name), Value::keyword(attr), value])
}

/// The page that all blocks are on.
pub(crate) fn page() -> Value {
    add("page", "block/uuid", Value::Uuid(uuid(0)))
}

/// A new block under the page: seven items, two of which look up what they refer to. Blocks are numbered from 1.
pub(crate) fn block(number: u32) -> Vec<Value> {
    let name = uuid(number).to_string();
    let lookup = |number: u32| Value::vector([Value::keyword("block/uuid"), Value::Uuid(uuid(number))]);
    let time = Value::Int(1_755_000_000_000 + i64::from(number));
    vec![
        add(&name, "block/uuid", Value::Uuid(uuid(number))),
        add(&name, "block/title", Value::string(&format!("Block {number}"))),
        add(&name, "block/parent", lookup(number / 2)),
        add(&name, "block/page", lookup(0)),
        add(&name, "block/order", Value::string(&format!("a{number:06}"))),
        add(&name, "block/created-at", time.clone()),
        add(&name, "block/updated-at", time),
    ]
}
