//! `bases.jsonl`, `logseq-init`: what a graph that nobody uploaded begins with.

use std::rc::Rc;

use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Db, Index, Pattern, Value};
use golden_support::databases::{base, bases};
use golden_support::lines;
use graph::rules::attrs::PRESET;
use graph::rules::{checksum, initial_data};
use graph::snapshot::Encoding;
use graph::{Graph, Options};
use uuid::Uuid;

const NOW: i64 = 1_795_000_000_000;

/// Facts without their transaction; times and the local uuid, which are each graph's own, as one text.
fn facts(db: &Db) -> Vec<String> {
    let created = db.ident("logseq.kv/graph-created-at").expect("readable");
    let local = db.ident("logseq.kv/local-graph-uuid").expect("readable");
    let fact = |datom: datascript::Datom| {
        let attr = db.attrs().keyword(datom.a);
        let own = match attr.as_str() {
            "block/created-at" | "block/updated-at" => matches!(datom.v, Value::Int(_)),
            "file/created-at" | "file/last-modified-at" => matches!(datom.v, Value::Instant(_)),
            "kv/value" => Some(datom.e) == created || Some(datom.e) == local,
            _ => false,
        };
        let value = if own { "own".to_owned() } else { transit::write_string(&datom.v) };
        format!("{} {attr} {value} {}", datom.e, datom.tx)
    };
    db.datoms(Index::Eavt, &Pattern::ALL).map(|datom| fact(datom.expect("readable"))).collect()
}

fn recorded() -> Db {
    base(lines("bases.jsonl").iter().find(|line| line["base"] == "logseq-init").expect("the base"), PRESET, None)
}

fn assert_initial(db: &Db) {
    let expected = recorded();
    assert_eq!(facts(db), facts(&expected));
    assert_eq!((db.count(), db.max_eid(), db.max_tx()), (2384, 190, 536_870_913));
    assert_eq!(db.schema().to_value(), expected.schema().to_value());
    assert_eq!(checksum::full(db).expect("a checksum").to_string(), "0000000000000000");
}

#[test]
fn the_transaction_gives_the_recorded_facts() {
    let empty = &bases(PRESET)["empty-logseq-schema"];
    let items = initial_data(NOW, Uuid::from_u128(7)).expect("items");
    let report = datascript::with(empty, &items).expect("a transaction");
    assert_initial(&report.db_after);
    let zero = transit::write_string(&Value::vector(items));
    assert!(!zero.contains("\"~m0\"") && !zero.contains("-at\",0"), "every time is set");
}

fn open(sql: &Rc<Rusqlite>, initial_data: bool) -> Graph<Rc<Rusqlite>> {
    Graph::new(Rc::clone(sql), || NOW, Options { initial_data, ..Options::default() })
}

fn memory() -> Rc<Rusqlite> {
    Rc::new(Rusqlite::in_memory().expect("memory"))
}

#[test]
fn a_graph_is_planted_once_and_says_nothing_of_it() {
    let sql = memory();
    let position = open(&sql, true).position().expect("a position");
    assert_eq!((position.t, position.checksum), (0, None));
    let mut graph = open(&sql, true);
    assert_initial(graph.db().expect("a db"));
    let mut log = String::new();
    let mut pull = graph.pull(0).expect("a pull");
    while graph.pull_piece(&mut pull, &mut log).expect("a pull") {}
    assert!(log.contains(r#""txs":[]"#), "no log row");
    let rows = graph.begin_export(Encoding::Identity).expect("an export").row_count();
    assert!((300..600).contains(&rows), "{rows}");
    // Nobody plants it again, and what is random stays.
    let local = |graph: &mut Graph<_>| {
        let db = graph.db().expect("a db");
        let eid = db.ident("logseq.kv/local-graph-uuid").expect("readable").expect("an entity");
        db.value(eid, db.attr("kv/value").expect("an attribute")).expect("readable")
    };
    let before = local(&mut graph);
    assert!(matches!(before, Some(Value::Uuid(uuid)) if uuid.to_string().starts_with("00000000-")));
    assert_eq!(local(&mut open(&sql, true)), before);
    assert_ne!(local(&mut open(&memory(), true)), before);
}

#[test]
fn a_stream_and_an_older_server_s_empty_rows_are_planted_too() {
    let sql = memory();
    assert!(open(&sql, true).begin_export(Encoding::Identity).expect("an export").row_count() > 300);
    let sql = memory();
    let mut older = open(&sql, false);
    older.position().expect("rows");
    assert_eq!(older.db().expect("a db").count(), 0);
    assert_eq!(open(&sql, true).position().expect("a position").t, 0);
    assert_initial(open(&sql, false).db().expect("a db"));
}

#[test]
fn what_was_used_is_left_alone() {
    // Each of these alone says that somebody did something.
    for (what, statement) in [
        ("the setting is off", ""),
        ("a counter", "INSERT OR REPLACE INTO sync_meta VALUES ('t', '3')"),
        ("a checksum", "INSERT INTO sync_meta VALUES ('checksum', '0000000000000000')"),
        ("a log row", "INSERT INTO tx_log VALUES (1, '[]', 0, NULL)"),
        ("an upload", "INSERT INTO sync_meta VALUES ('snapshot-uploading?', 'true')"),
    ] {
        let sql = memory();
        open(&sql, false).position().expect("rows");
        if !statement.is_empty() {
            sql.execute(statement, &[]).expect("sql");
        }
        let mut graph = open(&sql, !statement.is_empty());
        graph.position().expect("a position");
        sql.execute("DELETE FROM sync_meta WHERE key = 'snapshot-uploading?'", &[]).expect("sql");
        assert_eq!(open(&sql, false).db().expect("a db").count(), 0, "{what}");
    }
}
