//! What clients send, and what they get, over a graph in memory.

use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use datascript::{Db, Index, Pattern};
use graph::rules::checksum;
use graph::sockets::{Effect, Frame, Message};
use serde_json::{Value as Json, json};

use super::support::{TestGraph, count, meta, new_graph, open};

/// The uuid of block `n`.
pub(crate) fn uuid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// `[:block/uuid uuid]` of block `n`.
pub(crate) fn lookup(n: usize) -> Json {
    json!(["~:block/uuid", format!("~u{}", uuid(n))])
}

/// The seven items of a new block, under a string tempid.
pub(crate) fn block(n: usize, parent: &Json, page: &Json) -> Vec<Json> {
    let facts = [
        ("~:block/uuid", json!(format!("~u{}", uuid(n)))),
        ("~:block/title", json!(format!("Block {n}"))),
        ("~:block/parent", parent.clone()),
        ("~:block/page", page.clone()),
        ("~:block/order", json!(format!("a{n:06}V"))),
        ("~:block/created-at", json!(1_755_000_000_000_i64)),
        ("~:block/updated-at", json!(1_755_000_000_000_i64)),
    ];
    facts.into_iter().map(|(attr, value)| json!(["~:db/add", uuid(n), attr, value])).collect()
}

/// The items of a new page.
pub(crate) fn page(n: usize) -> Vec<Json> {
    let facts = [
        ("~:block/uuid", json!(format!("~u{}", uuid(n)))),
        ("~:block/name", json!(format!("page {n}"))),
        ("~:block/title", json!(format!("Page {n}"))),
    ];
    facts.into_iter().map(|(attr, value)| json!(["~:db/add", uuid(n), attr, value])).collect()
}

pub(crate) fn title(n: usize, title: &str) -> Json {
    json!(["~:db/add", lookup(n), "~:block/title", title])
}

pub(crate) fn retract(n: usize) -> Json {
    json!(["~:db/retractEntity", lookup(n)])
}

/// An entry with an operation, and an id where one is given.
pub(crate) fn entry(op: &str, id: Option<usize>, items: &[Json]) -> Json {
    let mut entry = json!({ "tx": Json::from(items.to_vec()).to_string(), "outliner-op": op });
    if let Some(id) = id {
        entry["tx-id"] = uuid(id).into();
    }
    entry
}

/// What a message brought about.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) reply: Json,
    pub(crate) others: Option<Json>,
    pub(crate) failed: bool,
}

pub(crate) fn send(graph: &mut TestGraph, message: &Json) -> Heard {
    let text = message.to_string();
    let reaction = graph.react(None, Message::parse(Frame::Text(&text)));
    let parse = |text: &str| serde_json::from_str(text).unwrap();
    let failed = reaction.failure.is_some();
    match reaction.effect {
        Effect::Reply(reply) => Heard { reply: parse(&reply), others: None, failed },
        Effect::ReplyAndTell { reply, others } => Heard { reply: parse(&reply), others: Some(parse(&others)), failed },
        other => panic!("{other:?}"),
    }
}

pub(crate) fn batch(graph: &mut TestGraph, t: i64, entries: &[Json]) -> Heard {
    send(graph, &json!({ "type": "tx/batch", "t-before": t, "txs": entries }))
}

/// A graph with a page and `blocks` blocks, all of it in its rows.
pub(crate) fn page_of(blocks: usize) -> (TestGraph, Rc<Rusqlite>) {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for from in (0..blocks).step_by(50) {
        let items: Vec<_> =
            (from..blocks.min(from + 50)).flat_map(|n| block(100 + n, &lookup(1), &lookup(1))).collect();
        apply(&mut graph, &[entry("insert-blocks", None, &items)]);
    }
    graph.checkpoint().unwrap();
    (graph, sql)
}

/// A batch that is taken and moves the counter.
pub(crate) fn apply(graph: &mut TestGraph, entries: &[Json]) -> i64 {
    let before = graph.position().unwrap().t;
    let heard = batch(graph, before, entries);
    assert_eq!(heard.reply["type"], "tx/batch/ok", "{heard:?}");
    let t = heard.reply["t"].as_i64().unwrap();
    assert!(t > before);
    assert_eq!(heard.others, Some(json!({ "type": "changed", "t": t })));
    t
}

/// Every fact of a database as text.
pub(crate) fn facts(db: &Db) -> Vec<String> {
    let fact =
        |datom: datascript::Datom| format!("{} {} {:?} {}", datom.e, db.attrs().keyword(datom.a), datom.v, datom.tx);
    db.datoms(Index::Eavt, &Pattern::ALL).map(|datom| fact(datom.unwrap())).collect()
}

/// Everything that is stored, for "nothing changed".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Everything {
    pub(crate) rows: Vec<super::support::TestRow>,
    logged: i64,
    position: (Option<String>, Option<String>),
    /// The last row of the journal and the last checkpoint.
    journal: (i64, Option<String>),
}

pub(crate) fn everything(sql: &Rusqlite) -> Everything {
    Everything {
        rows: super::support::rows_of(sql),
        logged: count(sql, "tx_log"),
        position: (meta(sql, "t"), meta(sql, "checksum")),
        journal: (super::support::int(sql, "SELECT coalesce(max(seq), 0) FROM journal"), meta(sql, "journal-seq")),
    }
}

/// `kvs`, `journal`, `tx_log`, `t` and `checksum` agree with each other and with what is in memory.
pub(crate) fn assert_consistent(graph: &mut TestGraph, sql: &Rc<Rusqlite>) {
    let mut stored = open(sql);
    assert_eq!(facts(graph.db().unwrap()), facts(stored.db().unwrap()), "memory and rows");
    assert_eq!(graph.position().unwrap(), stored.position().unwrap(), "memory and meta");
    let position = graph.position().unwrap();
    assert_eq!(position.t, count(sql, "tx_log"), "counter and log");
    if let Some(sum) = position.checksum {
        assert_eq!(sum, checksum::full(stored.db().unwrap()).unwrap().to_string(), "checksum and rows");
    }
}
