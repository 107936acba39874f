//! The whole path of a message: `pipeline.jsonl`.

use std::collections::HashMap;
use std::rc::Rc;

use datascript::{Addr, Conn, Db, Index, Row, Storage, StorageError, Value};
use graph::rules::checksum;
use graph::sockets::{Effect, Frame, Message};
use graph::sql::{Param, Sql};
use graph::sql_rusqlite::Rusqlite;
use graph::{Graph, Options};
use serde_json::Value as Json;

use super::support::{self, Ghost, lines, possible_ghosts, sha256};

#[test]
fn pipeline() {
    let bases: HashMap<String, Json> = lines("bases.jsonl")
        .into_iter()
        .map(|line| (line["base"].as_str().expect("a name").to_owned(), line))
        .collect();
    let mut problems = Vec::new();
    for case in lines("pipeline.jsonl") {
        let id = case["id"].as_str().expect("an id");
        // The reference's partial failure without SQL transactions (DS-1) is not to be imitated.
        if case["mode"] == "cf" && id.starts_with("large-tx") {
            continue;
        }
        let mut run = Run::new(case["base"].as_str().map(|name| &bases[name]));
        for (i, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let before = problems.len();
            run.step(step, &format!("{id} step {i}"), &mut problems);
            if problems.len() > before {
                break;
            }
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// One case over one database.
struct Run {
    sql: Rc<Rusqlite>,
    graph: Graph<Rc<Rusqlite>>,
    /// Log rows looked at.
    logged: i64,
    /// The reference's transaction counter went back when its tail was replayed, and ours did not (DS-3), or the other way
    /// round where only ours was opened again: from here on transaction numbers differ.
    renumbered: bool,
    /// What the reference's AVET holds besides ours.
    ghosts: Vec<Ghost>,
}

impl Run {
    fn new(base: Option<&Json>) -> Self {
        let sql = Rc::new(Rusqlite::in_memory().expect("memory"));
        let mut graph = open(&sql);
        graph.is_uploading().expect("tables");
        if let Some(base) = base {
            load(&sql, support::base_over(base, Some(Rc::new(NoRows))));
            graph = open(&sql);
        }
        Self { sql, graph, logged: 0, renumbered: false, ghosts: Vec::new() }
    }

    fn step(&mut self, step: &Json, what: &str, problems: &mut Vec<String>) {
        let mut check = |name: &str, ours: &Json, theirs: &Json| {
            if ours != theirs {
                problems.push(format!("{what}, {name}:\n  ours   {ours}\n  theirs {theirs}"));
            }
        };
        let uploading = self.graph.is_uploading().expect("meta");
        let possible_ghosts = if uploading { Vec::new() } else { possible_ghosts(self.graph.db().expect("a db")) };
        let t_before: i64 = meta(&self.sql)["t"].as_str().and_then(|t| t.parse().ok()).expect("a counter");
        match step["op"].as_str() {
            Some("msg" | "batch") => {
                let (ours, broadcasts) = self.send(&step["request"]);
                let detail = ours[0]["error-detail"].clone();
                let (ours, theirs) = response_pair(&ours, &step["responses"], self.renumbered);
                check(&format!("response {detail}"), &ours, &theirs);
                let expected: Vec<&Json> = step["broadcasts"]
                    .as_array()
                    .expect("broadcasts")
                    .iter()
                    .filter(|message| message["t"] != t_before)
                    .collect();
                check("broadcasts", &broadcasts, &serde_json::json!(expected));
            }
            Some("reload") => self.graph = open(&self.sql),
            Some("set-meta") => {
                let pair: Vec<&str> =
                    step["set_meta"].as_array().expect("a pair").iter().filter_map(Json::as_str).collect();
                let params = [Param::Text(pair[0]), Param::Text(pair[1])];
                self.sql.execute("INSERT OR REPLACE INTO sync_meta VALUES (?, ?)", &params).expect("sql");
                self.graph = open(&self.sql);
            }
            other => panic!("{what}: unknown op {other:?}"),
        }
        let state = &step["state"];
        // Setting meta values behind the graph's back opens it again as well, which the reference does not.
        if step["op"] != "batch" && !self.graph.is_uploading().expect("meta") {
            let ours = u64::from(self.graph.db().expect("a db").max_tx());
            let theirs = state["db"]["max_tx"].as_u64().expect("a number");
            self.renumbered |= ours > theirs || (step["op"] == "set-meta" && ours < theirs);
        }
        let renumbered = self.renumbered;
        check("meta", &meta(&self.sql), &with_t(&state["meta"]));
        let rows = self.new_log_rows();
        let (ours, theirs) = log_pair(&rows, &state["tx_log"], renumbered);
        check("tx_log", &ours, &theirs);
        for row in rows.as_array().expect("rows") {
            check("tx_log order", &Json::Bool(retractions_come_last(&row["tx"])), &Json::Bool(true));
        }
        // A graph under upload is not opened; its state was looked at before.
        if !self.graph.is_uploading().expect("meta") {
            let expected = numbered(state["db"].clone(), renumbered);
            let db = self.graph.db().expect("a db");
            self.ghosts.extend(possible_ghosts.into_iter().filter(|ghost| ghost.is_gone(db)));
            check("db", &numbered(db_state(db, &self.ghosts), renumbered), &expected);
            // Empty transactions count until the graph is opened again (datascript.md 7.2).
            let mut stored = numbered(db_state(open(&self.sql).db().expect("a db"), &self.ghosts), renumbered);
            stored["max_tx"] = expected["max_tx"].clone();
            check("stored db", &stored, &expected);
        }
    }

    fn send(&mut self, request: &Json) -> (Json, Json) {
        let text = request.as_str().map_or_else(|| request.to_string(), str::to_owned);
        let reaction = self.graph.react(None, Message::parse(Frame::Text(&text)));
        assert!(reaction.failure.is_none(), "{:?}", reaction.failure);
        let parse = |text: &str| serde_json::from_str::<Json>(text).expect("an answer is JSON");
        match reaction.effect {
            Effect::Reply(reply) => (Json::Array(vec![parse(&reply)]), Json::Array(Vec::new())),
            Effect::Pull(mut pull) => {
                let mut reply = String::new();
                while self.graph.pull_piece(&mut pull, &mut reply).expect("a pull") {}
                (Json::Array(vec![parse(&reply)]), Json::Array(Vec::new()))
            }
            Effect::ReplyAndTell { reply, others } => {
                (Json::Array(vec![parse(&reply)]), Json::Array(vec![parse(&others)]))
            }
            Effect::KeepAndTell { others, .. } => (Json::Array(Vec::new()), Json::Array(vec![parse(&others)])),
            Effect::None => (Json::Array(Vec::new()), Json::Array(Vec::new())),
            other => panic!("no message of the recordings has this effect: {other:?}"),
        }
    }

    fn new_log_rows(&mut self) -> Json {
        let mut rows = Vec::new();
        let logged = &mut self.logged;
        self.sql
            .query("SELECT t, tx, outliner_op FROM tx_log WHERE t > ? ORDER BY t", &[Param::Int(*logged)], &mut |row| {
                *logged = row.int(0)?.expect("t");
                rows.push(serde_json::json!({ "t": *logged, "tx": row.text(1)?, "outliner_op": row.text(2)? }));
                Ok(std::ops::ControlFlow::Continue(()))
            })
            .expect("sql");
        Json::Array(rows)
    }
}

pub(crate) fn open(sql: &Rc<Rusqlite>) -> Graph<Rc<Rusqlite>> {
    Graph::new(Rc::clone(sql), || 0, Options::default())
}

/// The rows of a base before it is stored.
pub(crate) struct NoRows;

impl Storage for NoRows {
    fn load(&self, _: Addr) -> Result<Option<Row>, StorageError> {
        Ok(None)
    }
}

/// Stores a base as a client's upload would, with its checksum.
pub(crate) fn load(sql: &Rc<Rusqlite>, db: Db) {
    let checksum = checksum::full(&db).expect("a checksum").to_string();
    let mut conn = Conn::create(db);
    for row in conn.take_writes().expect("rows").rows {
        let params = [Param::Int(i64::from(row.addr)), Param::Text(&row.content), Param::opt(row.addresses.as_deref())];
        sql.execute("INSERT INTO kvs (addr, content, addresses) VALUES (?, ?, ?)", &params).expect("sql");
    }
    sql.execute("INSERT INTO sync_meta VALUES ('checksum', ?), ('t', '0')", &[Param::Text(&checksum)]).expect("sql");
}

fn meta(sql: &Rusqlite) -> Json {
    let mut meta = serde_json::Map::new();
    sql.query("SELECT key, value FROM sync_meta", &[], &mut |row| {
        meta.insert(row.text(0)?.expect("key").into_owned(), row.text(1)?.into());
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .expect("sql");
    with_t(&Json::Object(meta))
}

/// An absent counter is 0. The mark of verified rows is ours alone.
fn with_t(meta: &Json) -> Json {
    let mut meta = meta.clone();
    meta.as_object_mut().expect("an object").remove("indexes-verified?");
    if meta.get("t").is_none() {
        meta["t"] = "0".into();
    }
    meta
}

fn db_state(db: &Db, ghosts: &[Ghost]) -> Json {
    serde_json::json!({
        "count": db.count(),
        "max_eid": db.max_eid(),
        "max_tx": db.max_tx(),
        "eavt_sha256": sha256(db, Index::Eavt, &[]),
        "avet_sha256": sha256(db, Index::Avet, ghosts),
        "full_checksum": checksum::full(db).expect("a checksum").to_string(),
    })
}

/// A state without what depends on transaction numbers, where these differ.
fn numbered(mut state: Json, renumbered: bool) -> Json {
    if renumbered {
        for field in ["max_tx", "eavt_sha256", "avet_sha256"] {
            state[field] = Json::Null;
        }
    }
    state
}

/// Responses of both sides without free text, transactions as bags of items.
fn response_pair(ours: &Json, theirs: &Json, renumbered: bool) -> (Json, Json) {
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    for response in [&mut ours, &mut theirs].into_iter().filter_map(Json::as_array_mut).flatten() {
        response.as_object_mut().expect("an object").remove("error-detail");
    }
    if let (Some(our), Some(their)) = (ours.pointer_mut("/0/txs"), theirs.pointer_mut("/0/txs")) {
        (*our, *their) = log_pair(our, their, renumbered);
    }
    (ours, theirs)
}

/// Logged rows of both sides, transactions as bags of items.
fn log_pair(ours: &Json, theirs: &Json, renumbered: bool) -> (Json, Json) {
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    let rows = ours.as_array_mut().expect("rows").iter_mut().zip(theirs.as_array_mut().expect("rows"));
    for (our, their) in rows {
        (our["tx"], their["tx"]) = bags(&our["tx"], &their["tx"], renumbered);
    }
    (ours, theirs)
}

/// The items of two transactions in a fixed order, without those where theirs shows a bare entity id as parent or page
/// (D-15).
fn bags(ours: &Json, theirs: &Json, renumbered: bool) -> (Json, Json) {
    let mut our_items = items(ours);
    let mut their_items = items(theirs);
    if renumbered {
        our_items.iter_mut().chain(&mut their_items).for_each(drop_number);
    }
    their_items.retain(|their| match their.as_seq() {
        Some([op, e, a, v, ..])
            if (a.is_keyword("block/parent") || a.is_keyword("block/page")) && v.as_int().is_some() =>
        {
            let same =
                |our: &Value| our.as_seq().is_some_and(|our| our.starts_with(&[op.clone(), e.clone(), a.clone()]));
            match our_items.iter().position(same) {
                Some(place) => {
                    our_items.remove(place);
                    false
                }
                None => true,
            }
        }
        _ => true,
    });
    let texts = |items: &[Value]| {
        let mut texts: Vec<String> = items.iter().map(transit::write_string).collect();
        texts.sort();
        serde_json::json!(texts)
    };
    (texts(&our_items), texts(&their_items))
}

/// `[op e a v tx]` without its last element.
fn drop_number(item: &mut Value) {
    if let Some([op, e, a, v, _]) = item.as_seq() {
        *item = Value::vector([op.clone(), e.clone(), a.clone(), v.clone()]);
    }
}

fn items(tx: &Json) -> Vec<Value> {
    let tx = transit::read_str(tx.as_str().expect("a text")).expect("a logged tx is Transit");
    tx.as_seq().expect("a vector").to_vec()
}

/// `retractEntity` items whose entity is not re-added follow everything else.
fn retractions_come_last(tx: &Json) -> bool {
    let items = items(tx);
    let readded = |target: &Value| {
        let uuid = target.as_seq().and_then(|reference| reference.get(1));
        items.iter().any(|item| match item.as_seq() {
            Some([op, _, a, v, ..]) => op.is_keyword("db/add") && a.is_keyword("block/uuid") && Some(v) == uuid,
            _ => false,
        })
    };
    let last = |item: &Value| match item.as_seq() {
        Some([op, target]) => op.is_keyword("db/retractEntity") && !readded(target),
        _ => false,
    };
    let first = items.iter().position(last).unwrap_or(items.len());
    items.iter().skip(first).all(last)
}
