//! `entity/pull` (sync.md 7.6): which entities are named, how they are written, and where the answer ends.

mod bounds;
mod random;
mod told;

use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Addr, Attrs, Conn, Datom, Db, Nodes, Row, Storage, StorageError, TX0, Value};
use graph::rules::{attrs::PRESET, static_schema};
use graph::{EntityAnswer, EntityPull, GraphName};
use protocol::ResetReason;
use serde_json::{Value as Json, json};

use crate::client::{lookup, uuid};
use crate::support::{TestGraph, new_graph, open};

const VERSION: Option<&str> = Some("65.33");
const TOO_MUCH: EntityAnswer = EntityAnswer::Reset(ResetReason::SnapshotRequired);

struct NoRows;

impl Storage for NoRows {
    fn load(&self, _: Addr) -> Result<Option<Row>, StorageError> {
        Ok(None)
    }
}

/// A graph at the counter of its last log row, whatever its facts are.
fn graph_of(facts: &[(u32, &str, Value)], log: &[String]) -> (TestGraph, Rc<Rusqlite>) {
    let (mut graph, sql) = new_graph();
    graph.is_uploading().unwrap();
    let attrs = Attrs::new(PRESET);
    let nodes = Rc::new(Nodes::new(Some(Rc::new(NoRows)), Rc::clone(&attrs), usize::MAX));
    let datoms = facts.iter().zip(1..).map(|((e, a, v), n)| Datom::new(*e, attrs.intern_str(a), v.clone(), TX0 + n));
    let datoms: Vec<Datom> = datoms.collect();
    let mut conn = Conn::create(Db::from_datoms(nodes, static_schema(attrs), datoms));
    sql.transaction(&mut || {
        for row in conn.take_writes().unwrap().rows {
            let addresses = Param::opt(row.addresses.as_deref());
            let params = [Param::Int(i64::from(row.addr)), Param::Text(&row.content), addresses];
            sql.execute("INSERT INTO kvs VALUES (?, ?, ?)", &params)?;
        }
        for (tx, t) in log.iter().zip(1..) {
            sql.execute("INSERT INTO tx_log VALUES (?, ?, 0, NULL)", &[Param::Int(t), Param::Text(tx)])?;
        }
        let t = log.len().to_string();
        sql.execute("INSERT INTO sync_meta VALUES ('t', ?)", &[Param::Text(&t)])
    })
    .unwrap();
    (open(&sql), sql)
}

/// The answer and its text.
fn pull(graph: &mut TestGraph, since: i64) -> (EntityPull, String) {
    let mut text = String::new();
    let pulled = graph.entity_pull(since, GraphName("g"), VERSION, &mut |piece| text.push_str(piece)).unwrap();
    (pulled, text)
}

/// The change set of an answer that is one.
fn changes(graph: &mut TestGraph, since: i64) -> Value {
    let (pulled, text) = pull(graph, since);
    assert_eq!(pulled.answer, EntityAnswer::Changes, "{pulled:?}");
    assert!(pulled.failure.is_none(), "{pulled:?}");
    data(&text)
}

fn data(text: &str) -> Value {
    let message: Json = serde_json::from_str(text).unwrap();
    assert_eq!(message["type"], "graph-changes");
    transit::read_str(message["data"].as_str().unwrap()).unwrap()
}

fn read(json: &Json) -> Value {
    transit::read_str(&json.to_string()).unwrap()
}

/// The attributes of the one upsert.
fn only(changes: &Value) -> Value {
    match changes.get("upserts").unwrap().as_seq().unwrap() {
        [upsert] => upsert.get("attrs").unwrap().clone(),
        other => panic!("{other:?}"),
    }
}

/// Identities, of upserts and deletions.
fn names(changes: &Value) -> (Vec<String>, Vec<String>) {
    let list = |key| changes.get(key).unwrap().as_seq().unwrap();
    let upserts = list("upserts").iter().map(|upsert| transit::write_string(upsert.get("id").unwrap())).collect();
    (upserts, list("deleted").iter().map(transit::write_string).collect())
}

fn uuid_value(n: usize) -> Value {
    Value::Uuid(uuid(n).parse().unwrap())
}

/// A log row that names entity `n`.
fn naming(n: usize) -> String {
    json!([["~:db/add", lookup(n), "~:block/title", "x", 536_870_913]]).to_string()
}

/// A uuid as it is written in names.
fn u(n: usize) -> String {
    format!(r#"["~:block/uuid","~u{}"]"#, uuid(n))
}

/// Which names a log gives, in a graph that has entities 1 and 2, an ident and a file.
fn named(log: &[Json]) -> (Vec<String>, Vec<String>) {
    let facts = [
        (1, "block/uuid", uuid_value(1)),
        (2, "block/uuid", uuid_value(2)),
        (3, "db/ident", Value::keyword("user.class/a")),
        (4, "file/path", Value::from("a.md")),
    ];
    let log: Vec<String> = log.iter().map(Json::to_string).collect();
    names(&changes(&mut graph_of(&facts, &log).0, 0))
}
