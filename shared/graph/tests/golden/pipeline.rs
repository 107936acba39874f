//! The whole path of a message: `pipeline.jsonl`.

use std::collections::HashMap;
use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Addr, Conn, Db, Index, Row, Storage, StorageError, TX_MAX, Value};
use golden_support::databases::sha256_renumbered;
use golden_support::{Ghosts, LeftOut, Tally, count_steps, lines};
use graph::rules::attrs::PRESET;
use graph::rules::checksum;
use graph::sockets::{Effect, Frame, Message};
use graph::{Graph, Options};
use serde_json::Value as Json;

/// The reference's partial failure without SQL transactions (DS-1) is not to be imitated.
const PARTIAL: &str = "partial failure without transactions";
/// The counter of transactions goes on from another number than the reference's once the graph is opened again (DS-3): ours
/// writes its rows once a batch, the reference once an entry, so that other transactions are left in the tail.
const RENUMBERED: &str = "max-tx after opening again";
/// Where the reference's log shows a bare entity id as parent or page, ours refers or drops (D-15).
const ENTITY_IDS: &str = "entity ids in the log";
/// `changed` with the `t` from before the request, which ours does not send (D-14).
const OLD_T: &str = "changed without a change";

#[test]
fn pipeline() {
    let bases: HashMap<String, Json> = lines("bases.jsonl")
        .into_iter()
        .map(|line| (line["base"].as_str().expect("a name").to_owned(), line))
        .collect();
    let cases = lines("pipeline.jsonl");
    let mut problems = Vec::new();
    let mut counts = Counts::default();
    for case in &cases {
        let id = case["id"].as_str().expect("an id");
        if id == "large-tx-cf" {
            for step in 0..count_steps(std::slice::from_ref(case)) {
                counts.steps.leave_out(PARTIAL, format!("{id} {step}"));
            }
            continue;
        }
        let mut run = Run::new(case["base"].as_str().map(|name| &bases[name]));
        for (i, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let before = problems.len();
            run.step(step, &format!("{id} {i}"), &mut counts, &mut problems);
            if problems.len() > before {
                break;
            }
            counts.steps.check();
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    counts.steps.assert(count_steps(&cases), 262, &[(PARTIAL, LeftOut::Named(&["large-tx-cf 0 1 2 3 4"]))]);
    counts.opened.assert(counts.opened.seen(), 20, &[(RENUMBERED, LeftOut::Marked(&["random-18 12"]))]);
    counts.log.assert(counts.log.seen(), 261, &[(ENTITY_IDS, LeftOut::Marked(&["empty-graph 2"]))]);
    let old_t = LeftOut::Marked(&[
        "empty-graph 15 26",
        "e2ee-script 1",
        "random-2 6",
        "random-3 2",
        "random-7 2",
        "random-14 2",
        "random-16 5",
        "random-20 0",
    ]);
    counts.broadcasts.assert(counts.broadcasts.seen(), 231, &[(OLD_T, old_t)]);
}

/// Steps that were compared; steps that open the graph again and whose counter was; log rows whose items all were;
/// broadcasts that were.
#[derive(Default)]
struct Counts {
    steps: Tally,
    opened: Tally,
    log: Tally,
    broadcasts: Tally,
}

/// Ours and the reference's counter of transactions where they parted; both go on from there in the same steps.
#[derive(Clone, Copy)]
struct Renumbered {
    ours: u32,
    theirs: u32,
}

impl Renumbered {
    /// The reference's counter where ours is this.
    fn counter(self, ours: u32) -> u32 {
        ours - self.ours + self.theirs
    }

    /// The reference's number of a transaction. Those up to where the counters parted are the same, and beyond what a case
    /// can count are numbers that clients gave.
    fn number(self, tx: u32) -> u32 {
        if (1..1000).contains(&tx.saturating_sub(self.ours)) { self.counter(tx) } else { tx }
    }
}

/// One case over one database.
struct Run {
    sql: Rc<Rusqlite>,
    graph: Graph<Rc<Rusqlite>>,
    /// Log rows looked at.
    logged: i64,
    renumbered: Option<Renumbered>,
    /// What the reference's AVET holds besides ours.
    ghosts: Ghosts,
}

impl Run {
    fn new(base: Option<&Json>) -> Self {
        let sql = Rc::new(Rusqlite::in_memory().expect("memory"));
        let mut graph = open(&sql);
        graph.is_uploading().expect("tables");
        if let Some(base) = base {
            load(&sql, golden_support::databases::base(base, PRESET, Some(Rc::new(NoRows))));
            graph = open(&sql);
        }
        Self { sql, graph, logged: 0, renumbered: None, ghosts: Ghosts::default() }
    }

    fn step(&mut self, step: &Json, what: &str, counts: &mut Counts, problems: &mut Vec<String>) {
        let mut check = |name: &str, ours: &Json, theirs: &Json| {
            if ours != theirs {
                problems.push(format!("{what}, {name}:\n  ours   {ours}\n  theirs {theirs}"));
            }
        };
        let uploading = self.graph.is_uploading().expect("meta");
        let possible_ghosts =
            if uploading { Ghosts::default() } else { Ghosts::possible(self.graph.db().expect("a db")) };
        let t_before: i64 = meta(&self.sql)["t"].as_str().and_then(|t| t.parse().ok()).expect("a counter");
        match step["op"].as_str() {
            Some("msg" | "batch") => {
                let (ours, broadcasts) = self.send(&step["request"]);
                let detail = ours[0]["error-detail"].clone();
                let (ours, theirs) = response_pair(&ours, &step["responses"], self.renumbered);
                check(&format!("response {detail}"), &ours, &theirs);
                let mut expected = step["broadcasts"].as_array().expect("broadcasts").clone();
                let recorded = expected.len();
                expected.retain(|message| message["t"] != t_before);
                if expected.len() == recorded {
                    counts.broadcasts.check();
                } else {
                    counts.broadcasts.leave_out(OLD_T, what);
                }
                check("broadcasts", &broadcasts, &serde_json::json!(expected));
            }
            Some("reload") => self.graph = open(&self.sql),
            Some("set-meta") => {
                let pair: Vec<&str> =
                    step["set_meta"].as_array().expect("a pair").iter().filter_map(Json::as_str).collect();
                let params = [Param::Text(pair[0]), Param::Text(pair[1])];
                // What waits in the journal would hide it.
                self.graph.checkpoint().expect("a checkpoint");
                self.sql.execute("INSERT OR REPLACE INTO sync_meta VALUES (?, ?)", &params).expect("sql");
                self.graph = open(&self.sql);
            }
            other => panic!("{what}: unknown op {other:?}"),
        }
        let state = &step["state"];
        // Setting meta values behind the graph's back opens it again as well, which the reference does not.
        let is_opened = matches!(step["op"].as_str(), Some("reload" | "set-meta"));
        if is_opened && !self.graph.is_uploading().expect("meta") {
            let ours = self.graph.db().expect("a db").max_tx();
            let theirs = state["db"]["max_tx"].as_u64().and_then(|tx| u32::try_from(tx).ok()).expect("a number");
            let expected = self.renumbered.map_or(ours, |renumbered| renumbered.counter(ours));
            // Ours never goes back: only the reference's may be the lower one where both were opened.
            if expected == theirs || (step["op"] == "reload" && ours < theirs) {
                counts.opened.check();
            } else {
                counts.opened.leave_out(RENUMBERED, what);
                self.renumbered = Some(Renumbered { ours, theirs });
            }
        }
        let renumbered = self.renumbered;
        check("meta", &meta(&self.sql), &with_t(&state["meta"]));
        let rows = self.new_log_rows();
        let (ours, theirs, are_whole) = log_pair(&rows, &state["tx_log"], renumbered);
        check("tx_log", &ours, &theirs);
        if are_whole {
            counts.log.check();
        } else {
            counts.log.leave_out(ENTITY_IDS, what);
        }
        for row in rows.as_array().expect("rows") {
            check("tx_log order", &Json::Bool(retractions_come_last(&row["tx"])), &Json::Bool(true));
        }
        // A graph under upload is not opened; its state was looked at before.
        if !self.graph.is_uploading().expect("meta") {
            let mut expected = state["db"].clone();
            let db = self.graph.db().expect("a db");
            self.ghosts.note(possible_ghosts, db);
            check("db", &db_state(db, &self.ghosts, renumbered), &expected);
            let mut opened = open(&self.sql);
            let db = opened.db().expect("a db");
            // The counter after opening again was recorded only where the reference was: elsewhere the rows tell it.
            let counter = counter_of_rows(&self.sql);
            check("stored counter", &db.max_tx().into(), &counter.into());
            if !is_opened {
                expected["max_tx"] = renumbered.map_or(counter, |renumbered| renumbered.counter(counter)).into();
            }
            check("stored db", &db_state(db, &self.ghosts, renumbered), &expected);
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
    for (t, checksum, _) in journal(sql) {
        meta.insert("t".into(), t.to_string().into());
        meta.insert("checksum".into(), checksum.into());
    }
    with_t(&Json::Object(meta))
}

/// The rows of the journal that wait for a checkpoint: counter, checksum, transactions.
fn journal(sql: &Rusqlite) -> Vec<(i64, Option<String>, String)> {
    let mut rows = Vec::new();
    let waiting = "SELECT t, checksum, txs FROM journal WHERE seq > coalesce((SELECT CAST(value AS INTEGER) FROM sync_meta \
                   WHERE key = 'journal-seq'), 0) ORDER BY seq";
    sql.query(waiting, &[], &mut |row| {
        rows.push((
            row.int(0)?.expect("t"),
            row.text(1)?.map(std::borrow::Cow::into_owned),
            row.text(2)?.expect("transactions").into_owned(),
        ));
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .expect("sql");
    rows
}

/// An absent counter is 0. The marks of verified rows and of the last checkpoint are ours alone.
fn with_t(meta: &Json) -> Json {
    let mut meta = meta.clone();
    for ours in ["indexes-verified?", "journal-seq"] {
        meta.as_object_mut().expect("an object").remove(ours);
    }
    if meta.get("t").is_none() {
        meta["t"] = "0".into();
    }
    meta
}

/// What the counter of transactions must be when rows are opened: that of the root row and one more for each transaction
/// in the tail and the journal, or the number of the last one's first datom where that is greater (datascript.md 7.2). Empty transactions
/// do not count.
fn counter_of_rows(sql: &Rusqlite) -> u32 {
    let row = |addr: i64| {
        let mut content = None;
        sql.query("SELECT content FROM kvs WHERE addr = ?", &[Param::Int(addr)], &mut |row| {
            content = row.text(0)?.map(|text| transit::read_str(&text).expect("a row is Transit"));
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .expect("sql");
        content.expect("a row")
    };
    let root = row(0).get("max-tx").and_then(Value::as_int).expect("a number");
    let tail = row(1);
    let journal = journal(sql);
    let rows = journal.iter().map(|(_, _, txs)| transit::read_str(txs).expect("a row is Transit"));
    let rows: Vec<Value> = std::iter::once(tail).chain(rows).collect();
    let transactions = rows.iter().flat_map(|row| row.as_seq().expect("transactions"));
    let firsts: Vec<i64> = transactions
        .filter_map(|transaction| transaction.as_seq()?.first())
        .map(|datom| datom.as_seq().and_then(|fields| fields.get(3)?.as_int()).expect("a transaction number").abs())
        .collect();
    let counted = root + i64::try_from(firsts.len()).expect("a small number");
    let counter = firsts.last().map_or(counted, |first| counted.max(*first)).min(TX_MAX.into());
    u32::try_from(counter).expect("a transaction number")
}

/// A state as the reference would number it.
fn db_state(db: &Db, ghosts: &Ghosts, renumbered: Option<Renumbered>) -> Json {
    let number = |tx| renumbered.map_or(tx, |renumbered| renumbered.number(tx));
    serde_json::json!({
        "count": db.count(),
        "max_eid": db.max_eid(),
        "max_tx": renumbered.map_or(db.max_tx(), |renumbered| renumbered.counter(db.max_tx())),
        "eavt_sha256": sha256_renumbered(db, Index::Eavt, ghosts, number),
        "avet_sha256": sha256_renumbered(db, Index::Avet, ghosts, number),
        "full_checksum": checksum::full(db).expect("a checksum").to_string(),
    })
}

/// Responses of both sides without free text, transactions as bags of items.
fn response_pair(ours: &Json, theirs: &Json, renumbered: Option<Renumbered>) -> (Json, Json) {
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    for response in [&mut ours, &mut theirs].into_iter().filter_map(Json::as_array_mut).flatten() {
        response.as_object_mut().expect("an object").remove("error-detail");
    }
    if let (Some(our), Some(their)) = (ours.pointer_mut("/0/txs"), theirs.pointer_mut("/0/txs")) {
        (*our, *their, _) = log_pair(our, their, renumbered);
    }
    (ours, theirs)
}

/// Logged rows of both sides, transactions as bags of items; whether all items are in them.
fn log_pair(ours: &Json, theirs: &Json, renumbered: Option<Renumbered>) -> (Json, Json, bool) {
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    let rows = ours.as_array_mut().expect("rows").iter_mut().zip(theirs.as_array_mut().expect("rows"));
    let mut are_whole = true;
    for (our, their) in rows {
        let (our_bag, their_bag, is_whole) = bags(&our["tx"], &their["tx"], renumbered);
        (our["tx"], their["tx"]) = (our_bag, their_bag);
        are_whole &= is_whole;
    }
    (ours, theirs, are_whole)
}

/// The items of two transactions in a fixed order, without those where theirs shows a bare entity id as parent or page
/// (D-15); whether there were none of these.
fn bags(ours: &Json, theirs: &Json, renumbered: Option<Renumbered>) -> (Json, Json, bool) {
    let mut our_items = items(ours);
    let mut their_items = items(theirs);
    if let Some(renumbered) = renumbered {
        for item in &mut our_items {
            renumber(item, renumbered);
        }
    }
    let recorded = their_items.len();
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
    (texts(&our_items), texts(&their_items), their_items.len() == recorded)
}

/// `[op e a v tx]` with the reference's number.
fn renumber(item: &mut Value, renumbered: Renumbered) {
    if let Some([op, e, a, v, Value::Int(tx)]) = item.as_seq()
        && let Ok(tx) = u32::try_from(*tx)
    {
        *item = Value::vector([op.clone(), e.clone(), a.clone(), v.clone(), renumbered.number(tx).into()]);
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
