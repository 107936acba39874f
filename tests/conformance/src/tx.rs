//! Transaction texts as clients write them.

use serde_json::{Value, json};
use uuid::Uuid;

/// A fresh UUID's text.
pub fn id() -> String {
    Uuid::new_v4().to_string()
}

/// `["~:block/uuid", "~u…"]`: a reference to a block.
pub fn block(id: &str) -> Value {
    json!(["~:block/uuid", format!("~u{id}")])
}

/// `[:db/add e a v]`.
pub fn add(entity: impl Into<Value>, attribute: &str, value: impl Into<Value>) -> Value {
    json!(["~:db/add", entity.into(), format!("~:{attribute}"), value.into()])
}

/// `[:db/retract e a v]`.
pub fn retract(entity: impl Into<Value>, attribute: &str, value: impl Into<Value>) -> Value {
    json!(["~:db/retract", entity.into(), format!("~:{attribute}"), value.into()])
}

/// `[:db/retractEntity e]`.
pub fn retract_entity(entity: impl Into<Value>) -> Value {
    json!(["~:db/retractEntity", entity.into()])
}

/// Items of a new page; it is known under its UUID text inside the same transaction.
pub fn page(id: &str, title: &str) -> Vec<Value> {
    vec![
        add(id, "block/uuid", format!("~u{id}")),
        add(id, "block/title", title),
        add(id, "block/name", title.to_lowercase()),
        add(id, "block/created-at", 1_755_000_000_000_i64),
        add(id, "block/updated-at", 1_755_000_000_000_i64),
        add(id, "block/tags", "~:logseq.class/Page"),
    ]
}

/// Items of a new block below `parent` on `page`.
pub fn new_block(id: &str, page: &str, parent: &str, order: &str, title: &str) -> Vec<Value> {
    vec![
        add(id, "block/uuid", format!("~u{id}")),
        add(id, "block/title", title),
        add(id, "block/parent", block(parent)),
        add(id, "block/page", block(page)),
        add(id, "block/order", order),
        add(id, "block/created-at", 1_755_000_000_000_i64),
        add(id, "block/updated-at", 1_755_000_000_000_i64),
    ]
}

/// One entry of a batch: items, operation name, id.
pub fn entry(items: &[Value], op: &str, tx_id: &str) -> Value {
    json!({ "tx": Value::Array(items.to_vec()).to_string(), "outliner-op": op, "tx-id": tx_id })
}

/// A `tx/batch` message.
pub fn batch(t_before: i64, entries: &[Value]) -> Value {
    json!({ "type": "tx/batch", "t-before": t_before, "txs": entries })
}
