//! `september.jsonl`, `entity-pull/…`: what a client that mirrors entities is told.

use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Attrs, Db, Nodes, Value};
use graph::rules::{attrs::PRESET, static_schema};
use graph::sockets::{Effect, Frame, Message};
use graph::{EntityAnswer, GraphName};
use protocol::ServerMessage;
use serde_json::{Value as Json, json};

use super::pipeline::{NoRows, load, open};
use super::support::{datoms, lines, transit};

#[test]
fn entities_are_told_as_the_vectors_say() {
    let mut checked = 0;
    for line in lines("september.jsonl") {
        let case = line["case"].as_str().expect("a name");
        if !case.starts_with("entity-pull/") {
            continue;
        }
        let (ours, theirs) = (decoded(answer(&line["given"])), decoded(line["expected"].clone()));
        assert_eq!(ours, theirs, "{case}");
        checked += 1;
    }
    assert!(checked > 0, "no vectors");
}

/// The message, and its Transit text as a value: sets and maps are equal in any order.
fn decoded(mut message: Json) -> (Json, Option<Value>) {
    let data = transit(&message, "data");
    message.as_object_mut().expect("an object").remove("data");
    (message, data)
}

fn answer(given: &Json) -> Json {
    let sql = Rc::new(Rusqlite::in_memory().expect("memory"));
    open(&sql).is_uploading().expect("tables");
    assert_eq!(given["schema"], "logseq");
    let attrs = Attrs::new(PRESET);
    let nodes = Rc::new(Nodes::new(Some(Rc::new(NoRows)), Rc::clone(&attrs), usize::MAX));
    let facts = datoms(&attrs, &transit(given, "datoms").expect("datoms"));
    load(&sql, Db::from_datoms(nodes, static_schema(attrs), facts));
    let t = given["t"].to_string();
    sql.execute("UPDATE sync_meta SET value = ? WHERE key = 't'", &[Param::Text(&t)]).expect("sql");
    for row in given["tx_log"].as_array().expect("rows") {
        let params = [Param::Int(row[0].as_i64().expect("t")), Param::Text(row[1].as_str().expect("a text"))];
        sql.execute("INSERT INTO tx_log (t, tx, created_at) VALUES (?, ?, 0)", &params).expect("sql");
    }
    let mut graph = open(&sql);
    let message = given["message"].to_string();
    let parse = |text: &str| serde_json::from_str(text).expect("an answer is JSON");
    match graph.react(None, Message::parse(Frame::Text(&message))).effect {
        Effect::Reply(reply) => parse(&reply),
        Effect::EntityPull { since } => {
            let name = GraphName(given["graph_id"].as_str().expect("an id"));
            let mut text = String::new();
            let version = given["schema_version"].as_str();
            let pulled = graph.entity_pull(since, name, version, &mut |piece| text.push_str(piece)).expect("readable");
            assert!(pulled.failure.is_none(), "{:?}", pulled.failure);
            match pulled.answer {
                EntityAnswer::Changes => parse(&text),
                EntityAnswer::Reset(reason) => parse(&ServerMessage::Reset(reason).to_json()),
                EntityAnswer::NotReady => json!({ "type": "error", "message": "graph not ready" }),
            }
        }
        other => panic!("{other:?}"),
    }
}
