//! `entity/pull` (sync.md 7.6): which entities are named, how they are written, and where the answer ends.

use std::collections::BTreeMap;
use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Addr, Attrs, Conn, Datom, Db, Nodes, Row, Storage, StorageError, TX0, Value};
use graph::rules::{attrs::PRESET, static_schema};
use graph::{EntityAnswer, EntityPull, GraphName};
use protocol::ResetReason;
use serde_json::{Value as Json, json};

use super::client::{apply, block, entry, lookup, page, retract, title, uuid};
use super::support::{TestGraph, new_graph, open};

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

#[test]
fn values_go_out_as_they_are_stored() {
    let texts = [
        r#""plain""#,
        r#""~~tilde ^caret `tick""#,
        r#""\"quoted\" \\ \n \u0001 é 日本語 😀""#,
        r#""""#,
        "0",
        "-7",
        "1.5",
        "1e300",
        "9007199254740991",
        "true",
        "false",
        r#""~zINF""#,
        r#""~:a/keyword""#,
        r#""~$a/symbol""#,
        r#""~m1755000000000""#,
        r#""~u00000000-0000-4000-8000-0000000000ff""#,
        r#""~unot-a-uuid""#,
        r#""~n123456789012345678901234567890""#,
        r#""~rhttps://example.org/?a=b&c""#,
        "[]",
        r#"[1,"~:k",["nested",null,[true]]]"#,
        r#"["~#list",[1,2]]"#,
        r#"["~#set",[1,"~:a",["~#set",["x"]]]]"#,
        r#"["^ "]"#,
        r#"["^ ","~:major",65,"~:deep",["^ ","x",[1]]]"#,
        r#"["~#cmap",[["^ ","~:a",1],2,[3],4]]"#,
        r#"["~#unknown/tag",["^ ","~:a",1]]"#,
        // A number is no reference where the attribute is none.
        "2",
    ];
    for text in texts {
        let value =
            if text.starts_with('[') { transit::read_str(text) } else { transit::read_str(&format!("[{text}]")) };
        let value = value.unwrap();
        let value = if text.starts_with('[') { value } else { value.as_seq().unwrap()[0].clone() };
        let facts = [
            (1, "block/uuid", uuid_value(1)),
            (1, "user.property/some", value.clone()),
            (2, "block/uuid", uuid_value(2)),
        ];
        let (mut graph, _) = graph_of(&facts, &[naming(1)]);
        assert_eq!(only(&changes(&mut graph, 0)).get("user.property/some"), Some(&value), "{text}");
    }
    // Nothing is equal to it.
    let facts = [(1, "block/uuid", uuid_value(1)), (1, "user.property/some", Value::Float(f64::NAN))];
    let (mut graph, _) = graph_of(&facts, &[naming(1)]);
    let told = only(&changes(&mut graph, 0));
    assert!(matches!(told.get("user.property/some"), Some(Value::Float(number)) if number.is_nan()));
}

#[test]
fn the_head_tells_where_the_client_is() {
    let (mut graph, _) = graph_of(&[(1, "block/uuid", uuid_value(1))], &[naming(1), naming(1)]);
    let changes = changes(&mut graph, 1);
    for (key, value) in
        [("format-version", json!(1)), ("graph-id", json!("g")), ("t-before", json!(1)), ("t", json!(2))]
    {
        assert_eq!(changes.get(key), Some(&read(&json!([value])).as_seq().unwrap()[0]), "{key}");
    }
    assert_eq!(changes.get("schema-version").and_then(Value::as_str), Some("65.33"));
    assert_eq!(changes.as_map().unwrap().len(), 7);
}

#[test]
fn many_values_are_a_set_and_references_are_identities() {
    let keyword = Value::keyword;
    let facts = [
        (1, "block/uuid", uuid_value(1)),
        // Many and a reference by the schema.
        (1, "block/refs", Value::from(2)),
        (1, "block/refs", Value::from(3)),
        (1, "block/tags", Value::from(3)),
        // One and a reference by the schema.
        (1, "block/page", Value::from(4)),
        // By the attributes' entities.
        (1, "user.property/many-refs", Value::from(2)),
        (1, "user.property/many-texts", Value::from("only")),
        (1, "user.property/ref", Value::from(2)),
        // A component is named like everything else.
        (1, "user.property/part", Value::from(5)),
        (2, "block/uuid", uuid_value(2)),
        (2, "db/ident", keyword("user.class/two")),
        (3, "db/ident", keyword("user.class/three")),
        (3, "file/path", Value::from("three.md")),
        (4, "file/path", Value::from("four.md")),
        (5, "block/uuid", uuid_value(5)),
        (5, "user.property/part", Value::from(2)),
        (10, "db/ident", keyword("user.property/many-refs")),
        (10, "db/valueType", keyword("db.type/ref")),
        (10, "db/cardinality", keyword("db.cardinality/many")),
        (11, "db/ident", keyword("user.property/many-texts")),
        (11, "db/cardinality", keyword("db.cardinality/many")),
        (12, "db/ident", keyword("user.property/ref")),
        (12, "db/valueType", keyword("db.type/ref")),
        (13, "db/ident", keyword("user.property/part")),
        (13, "db/valueType", keyword("db.type/ref")),
        (13, "db/isComponent", Value::from(true)),
    ];
    let (mut graph, _) = graph_of(&facts, &[naming(1)]);
    let (two, three) = (json!(["~:block/uuid", format!("~u{}", uuid(2))]), json!(["~:db/ident", "~:user.class/three"]));
    let expected = json!([
        "^ ",
        "~:block/uuid",
        format!("~u{}", uuid(1)),
        "~:block/refs",
        ["~#set", [two, three]],
        "~:block/tags",
        ["~#set", [three]],
        "~:block/page",
        ["~:file/path", "four.md"],
        "~:user.property/many-refs",
        ["~#set", [two]],
        "~:user.property/many-texts",
        ["~#set", ["only"]],
        "~:user.property/ref",
        two,
        "~:user.property/part",
        lookup(5),
    ]);
    assert_eq!(only(&changes(&mut graph, 0)), read(&expected));
}

#[test]
fn a_reference_that_nobody_could_follow_is_left_out() {
    let facts = [
        (1, "block/uuid", uuid_value(1)),
        (1, "block/title", Value::from("t")),
        (1, "block/refs", Value::from(2)),
        (1, "block/refs", Value::from(3)),
        (1, "block/tags", Value::from(3)),
        (1, "block/page", Value::from(99)),
        (1, "block/parent", Value::from("no entity at all")),
        (1, "block/link", Value::from(-3)),
        (2, "block/uuid", uuid_value(2)),
        (3, "block/title", Value::from("without a name")),
    ];
    let (mut graph, _) = graph_of(&facts, &[naming(1)]);
    let (pulled, text) = pull(&mut graph, 0);
    let expected = json!([
        "^ ",
        "~:block/uuid",
        format!("~u{}", uuid(1)),
        "~:block/title",
        "t",
        "~:block/refs",
        ["~#set", [lookup(2)]],
    ]);
    assert_eq!(only(&data(&text)), read(&expected));
    let left_out = pulled.left_out.unwrap();
    assert!(left_out.as_str().starts_with("block/"), "the attribute, and nothing of the value: {left_out}");
    assert_eq!(pull(&mut graph, 1).0.left_out, None);
}

#[test]
fn a_fact_that_is_stored_twice_is_told_once() {
    let facts = [
        (1, "block/uuid", uuid_value(1)),
        (1, "block/refs", Value::from(2)),
        (1, "block/refs", Value::from(2)),
        (1, "block/title", Value::from("a")),
        (1, "block/title", Value::from("b")),
        (2, "block/uuid", uuid_value(2)),
    ];
    let (mut graph, _) = graph_of(&facts, &[naming(1)]);
    let (_, text) = pull(&mut graph, 0);
    assert_eq!(text.matches(&uuid(2)).count(), 1);
    assert_eq!(only(&data(&text)).get("block/title").and_then(Value::as_str), Some("b"), "one value of several");
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

fn u(n: usize) -> String {
    format!(r#"["~:block/uuid","~u{}"]"#, uuid(n))
}

#[test]
fn items_name_their_entity() {
    let one = |item: Json| named(&[json!([item])]);
    let none = (vec![], vec![]);
    let found = (vec![u(1)], vec![]);
    let add = |e: Json| json!(["~:db/add", e, "~:block/title", "x", 5]);
    assert_eq!(one(add(lookup(1))), found);
    assert_eq!(one(json!(["~:db/retract", lookup(1), "~:block/title", "x", 5])), found);
    assert_eq!(one(json!(["~:db.fn/cas", lookup(1), "~:block/title", "x", "y"])), found);
    assert_eq!(one(json!(["~:db/retractEntity", lookup(1)])), found);
    assert_eq!(one(json!(["~#list", ["~:db/add", lookup(1), "~:block/title", "x", 5]])), found);
    // What older servers logged (D-47).
    assert_eq!(one(json!(["~:db/add", lookup(1), "~:block/title", "x"])), found);
    assert_eq!(one(json!(["~:db.fn/retractEntity", lookup(1)])), found);
    // Deleted ones, idents, files.
    assert_eq!(one(json!(["~:db/retractEntity", lookup(9)])), (vec![], vec![u(9)]));
    assert_eq!(one(add(lookup(9))), (vec![], vec![u(9)]));
    assert_eq!(one(add(json!("~:user.class/a"))).0, [r#"["~:db/ident","~:user.class/a"]"#]);
    assert_eq!(one(add(json!(["~:db/ident", "~:user.class/a"]))).0, [r#"["~:db/ident","~:user.class/a"]"#]);
    assert_eq!(one(add(json!("~:user.class/none"))).1, [r#"["~:db/ident","~:user.class/none"]"#]);
    assert_eq!(one(add(json!(["~:file/path", "a.md"]))).0, [r#"["~:file/path","a.md"]"#]);
    assert_eq!(one(add(json!(["~:file/path", "b.md"]))).1, [r#"["~:file/path","b.md"]"#]);
    // Nothing of these is a name: other lengths, other operations, other positions, tempids that nothing explains.
    for item in [
        json!(["~:db/retract", lookup(1), "~:block/title"]),
        json!(["~:db.fn/retractAttribute", lookup(1), "~:block/title"]),
        json!(["~:db/add", lookup(1)]),
        json!(["~:db/add", lookup(1), "~:block/title", "x", 5, 6]),
        json!([]),
        json!(["~:db/retractEntity"]),
        json!(["^ ", "~:block/uuid", format!("~u{}", uuid(1))]),
        json!(["~#unknown", ["~:db/retractEntity", lookup(1)]]),
        json!(null),
        json!(7),
        json!("~:db/retractEntity"),
        add(json!("tempid")),
        add(json!(1)),
        add(json!(null)),
        add(json!(["~:block/name", "x"])),
        add(json!(["~:block/uuid"])),
        add(json!("tempid")),
        json!(["~:db/add", "t", "~:block/page", lookup(1), 5]),
    ] {
        assert_eq!(one(item.clone()), none, "{item}");
    }
    for row in [json!(null), json!([]), json!("text"), json!(["^ ", "~:a", 1]), json!(["~#set", [add(lookup(1))]])] {
        assert_eq!(named(std::slice::from_ref(&row)), none, "{row}");
    }
}

#[test]
fn tempids_are_explained_by_the_whole_range() {
    let uuid_of = |e: Json, n: usize| json!(["~:db/add", e, "~:block/uuid", format!("~u{}", uuid(n)), 5]);
    let add = |e: Json| json!(["~:db/add", e, "~:block/title", "x", 5]);
    // Before and after, in one row and in others.
    assert_eq!(named(&[json!([add(json!("t")), uuid_of(json!("t"), 1)])]), (vec![u(1)], vec![]));
    assert_eq!(named(&[json!([add(json!("t"))]), json!([uuid_of(json!("t"), 1)])]), (vec![u(1)], vec![]));
    assert_eq!(named(&[json!([uuid_of(json!("t"), 1)]), json!([add(json!("t"))])]), (vec![u(1)], vec![]));
    // Four elements do, other operations do not.
    assert_eq!(named(&[json!([["~:db/add", "t", "~:block/uuid", format!("~u{}", uuid(1))]])]), (vec![u(1)], vec![]));
    let retract = json!(["~:db/retract", "t", "~:block/uuid", format!("~u{}", uuid(1)), 5]);
    assert_eq!(named(&[json!([retract])]), (vec![], vec![]));
    // The last one counts; the one before it is not named by that.
    assert_eq!(named(&[json!([uuid_of(json!("t"), 1), uuid_of(json!("t"), 2)])]), (vec![u(2)], vec![]));
    // Whatever stands there.
    for e in [json!(-1), json!(17), json!(["~:block/name", "x"]), json!(null), json!([1, [2]])] {
        assert_eq!(named(&[json!([uuid_of(e.clone(), 1)])]), (vec![u(1)], vec![]), "{e}");
    }
    // By all three attributes; a retraction of a tempid's entity too.
    let ident = json!(["~:db/add", "t", "~:db/ident", "~:user.class/a", 5]);
    assert_eq!(named(&[json!([ident])]).0, [r#"["~:db/ident","~:user.class/a"]"#]);
    let path = json!(["~:db/add", "t", "~:file/path", "a.md", 5]);
    assert_eq!(named(&[json!([path, ["~:db/retractEntity", "t"]])]).0, [r#"["~:file/path","a.md"]"#]);
    // A lookup ref and an ident are their own names, whatever they are given.
    assert_eq!(named(&[json!([uuid_of(lookup(1), 2)])]), (vec![u(1)], vec![]));
    // Created and removed again.
    assert_eq!(named(&[json!([uuid_of(json!("t"), 9)]), json!([["~:db/retractEntity", lookup(9)]])]).1, [u(9)]);
}

#[test]
fn names_are_sorted_and_each_comes_once() {
    let add = |e: &Json| json!(["~:db/add", e, "~:block/title", "x", 5]);
    let refs = [
        json!(["~:file/path", "😀"]),
        json!(["~:file/path", "ﬁ"]),
        json!(["~:file/path", "b"]),
        json!(["~:file/path", "ba"]),
        json!(["~:file/path", "B"]),
        json!("~:user.class/z"),
        json!("~:user.class/a"),
        json!("~:block/z"),
        lookup(0xb),
        lookup(2),
        json!(["~:block/uuid", "~uzz"]),
        json!(["~:block/uuid", "zz"]),
        lookup(1),
    ];
    let rows: Vec<Json> = (0..3).map(|_| json!(refs.iter().map(add).collect::<Vec<_>>())).collect();
    let (upserts, deleted) = named(&rows);
    assert_eq!(upserts, [u(1), u(2), r#"["~:db/ident","~:user.class/a"]"#.to_owned()]);
    let path = |path: &str| format!(r#"["~:file/path","{path}"]"#);
    let expected = [
        u(0xb),
        r#"["~:block/uuid","zz"]"#.to_owned(),
        r#"["~:block/uuid","~uzz"]"#.to_owned(),
        r#"["~:db/ident","~:block/z"]"#.to_owned(),
        r#"["~:db/ident","~:user.class/z"]"#.to_owned(),
        path("B"),
        path("b"),
        path("ba"),
        path("😀"),
        path("ﬁ"),
    ];
    assert_eq!(deleted, expected);
}

#[test]
fn cursors_are_judged_before_anything_is_read() {
    let bad = || "no transit".to_owned();
    let (mut graph, sql) = graph_of(&[], &[bad(), bad(), bad()]);
    let mut answer = |since| pull(&mut graph, since).0;
    assert_eq!(answer(4).answer, EntityAnswer::Reset(ResetReason::CursorAhead));
    assert_eq!(answer(1 << 53).answer, EntityAnswer::Reset(ResetReason::CursorAhead));
    assert_eq!(answer(3).answer, EntityAnswer::Changes, "nothing is new");
    let unreadable = answer(2);
    assert_eq!(unreadable.answer, TOO_MUCH, "a row that cannot be read will never be");
    assert!(unreadable.failure.is_some());
    sql.execute("DELETE FROM tx_log WHERE t = 2", &[]).unwrap();
    let expired = EntityAnswer::Reset(ResetReason::CursorExpired);
    for since in [0, 1] {
        let pulled = answer(since);
        assert_eq!((pulled.answer, pulled.failure.is_some()), (expired, false), "{since}");
    }
    sql.execute("DELETE FROM tx_log WHERE t = 3", &[]).unwrap();
    assert_eq!(answer(2).answer, expired, "the last one is missing");
    sql.execute("INSERT INTO tx_log VALUES (4, '[]', 0, NULL)", &[]).unwrap();
    assert_eq!(answer(3).answer, expired, "one too many");
    sql.execute("INSERT INTO tx_log VALUES (2, '[]', 0, NULL)", &[]).unwrap();
    assert_eq!(answer(1).answer, expired, "as many as there should be, and not those");
}

#[test]
fn without_a_schema_version_only_the_snapshot_helps() {
    let (mut graph, _) = graph_of(&[(1, "block/uuid", uuid_value(1))], &[naming(1)]);
    let mut answer = |since| graph.entity_pull(since, GraphName("g"), None, &mut |_| {}).unwrap().answer;
    assert_eq!(answer(0), TOO_MUCH);
    assert_eq!(answer(1), TOO_MUCH);
    assert_eq!(answer(2), EntityAnswer::Reset(ResetReason::CursorAhead));
}

#[test]
fn nothing_is_told_while_an_upload_runs() {
    let (mut graph, sql) = graph_of(&[(1, "block/uuid", uuid_value(1))], &[naming(1)]);
    sql.execute("INSERT INTO sync_meta VALUES ('snapshot-uploading?', 'true')", &[]).unwrap();
    for since in [0, 1, 2] {
        assert_eq!(pull(&mut graph, since).0.answer, EntityAnswer::NotReady);
    }
}

#[test]
fn a_long_range_is_refused_unread() {
    let row = || "no transit".to_owned();
    let log: Vec<String> = (0..10_001).map(|_| row()).collect();
    let (mut graph, _) = graph_of(&[], &log);
    let (pulled, text) = pull(&mut graph, 0);
    assert_eq!((pulled.answer, pulled.failure.is_some(), text.len()), (TOO_MUCH, false, 0));
    let log: Vec<String> = (0..10_000).map(|n| naming(n % 7)).collect();
    let (mut graph, _) = graph_of(&[], &log);
    assert_eq!(names(&changes(&mut graph, 0)).1.len(), 7);
}

#[test]
fn many_bytes_are_refused_unread() {
    let row = |bytes: usize| "x".repeat(bytes);
    let log: Vec<String> = (0..32).map(|_| row(1 << 20)).chain([row(1)]).collect();
    let (mut graph, _) = graph_of(&[], &log);
    let pulled = pull(&mut graph, 0).0;
    assert_eq!((pulled.answer, pulled.failure.is_some()), (TOO_MUCH, false));
    let pulled = pull(&mut graph, 1).0;
    assert!(pulled.failure.is_some(), "within the bound it is read");
}

#[test]
fn entities_are_counted() {
    let items = |from: usize, to: usize| {
        let items: Vec<Json> = (from..to).map(|n| json!(["~:db/retractEntity", lookup(n)])).collect();
        json!(items).to_string()
    };
    let (mut graph, _) = graph_of(&[], &[items(0, 12_000), items(8_000, 20_000)]);
    assert_eq!(names(&changes(&mut graph, 0)).1.len(), 20_000);
    let (mut graph, _) = graph_of(&[], &[items(0, 12_000), items(8_000, 20_001)]);
    assert_eq!(pull(&mut graph, 0).0.answer, TOO_MUCH);
    // New ones by tempid.
    let tempids = |to: usize| {
        let add = |n| json!(["~:db/add", uuid(n), "~:block/uuid", format!("~u{}", uuid(n)), 5]);
        json!((0..to).map(add).collect::<Vec<_>>()).to_string()
    };
    assert_eq!(names(&changes(&mut graph_of(&[], &[tempids(20_000)]).0, 0)).1.len(), 20_000);
    assert_eq!(pull(&mut graph_of(&[], &[tempids(20_001)]).0, 0).0.answer, TOO_MUCH);
}

#[test]
fn the_message_is_as_long_as_it_may_be_and_no_longer() {
    const LIMIT: usize = 16 << 20;
    let graph = |last: usize| {
        // Quotes take four bytes in Transit in JSON.
        let title = |n: usize| match n {
            0 => Value::from("\"".repeat(last)),
            n => Value::from("x".repeat(1_800_000 + n)),
        };
        let facts: Vec<(u32, &str, Value)> = (0..9_u32)
            .flat_map(|n| {
                let at = n as usize;
                [(n + 1, "block/uuid", uuid_value(at)), (n + 1, "block/title", title(at))]
            })
            .collect();
        let items: Vec<Json> = (0..9).map(|n| json!(["~:db/add", lookup(n), "~:block/title", "x", 5])).collect();
        graph_of(&facts, &[json!(items).to_string()]).0
    };
    let short = pull(&mut graph(0), 0).1.len();
    let fits = (LIMIT - short) / 4;
    let (pulled, text) = pull(&mut graph(fits), 0);
    assert_eq!(pulled.answer, EntityAnswer::Changes);
    assert!(text.len() <= LIMIT && text.len() + 4 > LIMIT, "{}", text.len());
    assert_eq!(data(&text).get("upserts").unwrap().as_seq().unwrap().len(), 9);
    assert_eq!(pull(&mut graph(fits + 1), 0).0.answer, TOO_MUCH);
}

#[test]
fn what_is_left_out_costs_no_end_of_work() {
    let mut facts = vec![(1, "block/uuid", uuid_value(1))];
    facts.extend((0..700_000).map(|n| (1, "block/refs", Value::from(100_000_000 + n))));
    facts.push((2, "block/uuid", uuid_value(2)));
    let (mut graph, _) = graph_of(&facts, &[naming(1), naming(2)]);
    assert_eq!(pull(&mut graph, 0).0.answer, TOO_MUCH);
    // The next one has an allowance of its own, and so has a batch.
    assert_eq!(names(&changes(&mut graph, 1)).0, [u(2)]);
    apply(&mut graph, &[entry("save-block", None, &[title(2, "later")])]);
}

#[test]
fn names_take_bounded_memory() {
    // Long tempids of one entity, tempids of nothing, and one long number of lookup refs.
    let long = "x".repeat(1_000_000);
    let rows: Vec<String> =
        (0..20).map(|n| json!([["~:db/add", format!("{n}{long}"), "~:block/title", "", 5]]).to_string()).collect();
    assert_eq!(pull(&mut graph_of(&[], &rows).0, 0).0.answer, TOO_MUCH);
    let many: Vec<Json> = (0..300_000).map(|n| json!(["~:db/add", n, "~:a", 0])).collect();
    assert_eq!(pull(&mut graph_of(&[], &[json!(many).to_string()]).0, 0).0.answer, TOO_MUCH);
    // The same ones again and again take nothing.
    let rows: Vec<String> = (0..20)
        .map(|_| {
            json!([["~:db/add", long, "~:block/title", "", 5], ["~:db/add", long, "~:file/path", long, 5]]).to_string()
        })
        .collect();
    assert_eq!(names(&changes(&mut graph_of(&[], &rows[..8]).0, 0)).1.len(), 1);
}

#[test]
fn a_name_of_an_odd_kind_finds_nothing() {
    let odd = [json!(null), json!(1), json!("text"), json!([1]), json!(["^ ", "~:a", 1]), json!(["~:block/uuid", 1])];
    for value in odd {
        let (upserts, deleted) = named(&[json!([["~:db/retractEntity", ["~:block/uuid", value]]])]);
        assert_eq!((upserts.len(), deleted.len()), (0, 1), "{value}");
    }
}

/// Upserts and deletions as a client that mirrors entities applies them (sync.md 14).
fn mirror(entities: &mut BTreeMap<String, Value>, changes: &Value) {
    for name in names(changes).1 {
        entities.remove(&name);
    }
    for upsert in changes.get("upserts").unwrap().as_seq().unwrap() {
        let name = transit::write_string(upsert.get("id").unwrap());
        entities.insert(name, upsert.get("attrs").unwrap().clone());
    }
}

#[test]
fn a_mirror_that_follows_has_what_one_that_begins_anew_gets() {
    let (mut graph, _) = new_graph();
    let mut followed = BTreeMap::new();
    let mut t = 0;
    let steps = [
        entry("create-page", None, &[page(1), page(2)].concat()),
        entry("insert-blocks", None, &(3..9).flat_map(|n| block(n, &lookup(1), &lookup(1))).collect::<Vec<_>>()),
        entry("save-block", None, &[title(3, "edited"), title(4, "edited")]),
        entry("move-blocks", None, &[json!(["~:db/add", lookup(5), "~:block/parent", lookup(4)])]),
        entry("save-block", None, &[json!(["~:db/add", lookup(6), "~:block/tags", lookup(2)])]),
        entry("save-block", None, &[json!(["~:db.fn/retractAttribute", lookup(6), "~:block/tags"])]),
        entry("delete-blocks", None, &[retract(7)]),
        entry("insert-blocks", None, &block(7, &lookup(1), &lookup(1))),
        entry("delete-blocks", None, &[retract(4)]),
    ];
    for step in steps {
        let now = apply(&mut graph, &[step]);
        mirror(&mut followed, &changes(&mut graph, t));
        t = now;
    }
    let mut anew = BTreeMap::new();
    mirror(&mut anew, &changes(&mut graph, 0));
    assert_eq!(followed, anew);
    assert_eq!(anew.len(), 6, "two pages, blocks 3, 6, 7 and 8");
    assert!(!anew.contains_key(&u(5)), "it went with its parent");
}

/// Small numbers, the same for every run.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// What an entity may be called, in a random graph.
fn unique(rng: &mut Rng) -> (&'static str, Json) {
    match rng.below(3) {
        0 => ("block/uuid", json!(format!("~u{}", uuid(rng.below(5))))),
        1 => ("db/ident", json!(format!("~:user.class/{}", ["a", "a-b", "ab", "Ä", "z"][rng.below(5)]))),
        _ => ("file/path", json!(["a", "a b", "b", "😀", "ﬁ"][rng.below(5)])),
    }
}

fn random_item(rng: &mut Rng) -> Json {
    let ops =
        ["~:db/add", "~:db/add", "~:db/add", "~:db/retract", "~:db/retractEntity", "~:db.fn/retractEntity", "~:x"];
    let (name, value) = unique(rng);
    let lookup = json!([format!("~:{name}"), value]);
    let entity = match rng.below(8) {
        0..3 => lookup,
        3 if name == "db/ident" => value,
        3..6 => json!(format!("tempid {}", rng.below(3))),
        6 => json!(rng.below(3)),
        _ => json!(["~:block/name", "x"]),
    };
    let (name, value) = if rng.below(2) == 0 { unique(rng) } else { ("block/title", json!("t")) };
    let whole = [json!(rng.pick(&ops)), entity, json!(format!("~:{name}")), value, json!(5), json!(6)];
    let length = rng.pick(&[1, 2, 2, 3, 4, 5, 5, 5, 6]);
    let item = Json::from(whole[..length].to_vec());
    match rng.below(12) {
        0 => json!(["~#list", item]),
        1 => json!(["^ ", "~:db/id", item]),
        _ => item,
    }
}

/// The rules of 7.6 once more, over trees, in the plainest way.
fn plainly(facts: &[(u32, &str, Value)], log: &[Value]) -> (Vec<(Value, Value)>, Vec<Value>) {
    const NAMES: [&str; 3] = ["block/uuid", "db/ident", "file/path"];
    let pair = |name: &str, value: &Value| Value::vector([Value::keyword(name), value.clone()]);
    let items: Vec<&[Value]> = log.iter().filter_map(Value::as_seq).flatten().filter_map(Value::as_seq).collect();
    let mut given: Vec<(Value, Value)> = Vec::new();
    for item in &items {
        if let [op, e, a, v] | [op, e, a, v, _] = item
            && op.is_keyword("db/add")
            && NAMES.iter().any(|name| a.is_keyword(name))
        {
            given.retain(|(known, _)| known != e);
            given.push((e.clone(), Value::vector([a.clone(), v.clone()])));
        }
    }
    let mut named: Vec<Value> = Vec::new();
    for item in &items {
        let e = match item {
            [_, e, _, _] | [_, e, _, _, _] => e,
            [op, e] if op.is_keyword("db/retractEntity") || op.is_keyword("db.fn/retractEntity") => e,
            _ => continue,
        };
        let own = match (e, e.as_seq()) {
            (Value::Keyword(_), _) => Some(pair("db/ident", e)),
            (_, Some([a, _])) if NAMES.iter().any(|name| a.is_keyword(name)) => Some(e.clone()),
            _ => given.iter().find(|(known, _)| known == e).map(|(_, identity)| identity.clone()),
        };
        named.extend(own.filter(|own| !named.contains(own)));
    }
    named.sort_by_key(|identity| {
        let [a, v] = identity.as_seq().unwrap() else { panic!() };
        let text = match v {
            Value::Uuid(uuid) => uuid.to_string(),
            Value::Keyword(keyword) => keyword.as_str().to_owned(),
            other => other.as_str().unwrap().to_owned(),
        };
        (NAMES.iter().position(|name| a.is_keyword(name)), text.encode_utf16().collect::<Vec<u16>>())
    });
    let holder = |identity: &Value| {
        let [a, v] = identity.as_seq().unwrap() else { panic!() };
        facts.iter().find(|(_, attr, value)| a.is_keyword(attr) && value == v).map(|(e, ..)| *e)
    };
    let name_of = |e: u32| {
        NAMES.iter().find_map(|name| {
            facts.iter().find(|(other, attr, _)| *other == e && attr == name).map(|(_, _, value)| pair(name, value))
        })
    };
    let (mut upserts, mut deleted) = (Vec::new(), Vec::new());
    for identity in named {
        let Some(e) = holder(&identity) else {
            deleted.push(identity);
            continue;
        };
        let mut attrs: Vec<(Value, Value)> = Vec::new();
        for (_, attr, value) in facts.iter().filter(|(other, ..)| *other == e) {
            let told = if matches!(*attr, "block/refs" | "block/page") {
                name_of(u32::try_from(value.as_int().unwrap()).unwrap())
            } else {
                Some(value.clone())
            };
            let Some(told) = told else { continue };
            match attrs.iter_mut().find(|(key, _)| key.is_keyword(attr)) {
                Some((_, set)) => *set = Value::Set(set.as_set().unwrap().iter().cloned().chain([told]).collect()),
                None if *attr == "block/refs" => attrs.push((Value::keyword(attr), Value::Set([told].into()))),
                None => attrs.push((Value::keyword(attr), told)),
            }
        }
        upserts.push((identity, Value::Map(attrs.into())));
    }
    (upserts, deleted)
}

#[test]
fn random_graphs_and_logs_are_told_as_the_rules_say_plainly() {
    let mut told = (0, 0);
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut facts: Vec<(u32, &str, Value)> = Vec::new();
        for e in 1..=6 {
            for _ in 0..rng.below(3) {
                let (name, value) = unique(&mut rng);
                let value = read(&json!([value])).as_seq().unwrap()[0].clone();
                let taken = |(other, attr, held): &(u32, &str, Value)| *attr == name && (*other == e || *held == value);
                if !facts.iter().any(taken) {
                    facts.push((e, name, value));
                }
            }
            if rng.below(2) == 0 {
                facts.push((e, "block/page", Value::from(u32::try_from(rng.below(8)).unwrap() + 1)));
            }
            let mut refs: Vec<u32> = (0..rng.below(4)).map(|_| u32::try_from(rng.below(8)).unwrap() + 1).collect();
            refs.sort_unstable();
            refs.dedup();
            facts.extend(refs.into_iter().map(|target| (e, "block/refs", Value::from(target))));
            facts.push((e, "block/title", Value::from(format!("{seed} {e}"))));
        }
        let rows = 1 + rng.below(4);
        let log: Vec<Json> = (0..rows).map(|_| (0..rng.below(14)).map(|_| random_item(&mut rng)).collect()).collect();
        let texts: Vec<String> = log.iter().map(Json::to_string).collect();
        let since = rng.below(rows + 1);
        let range: Vec<Value> = log[since..].iter().map(read).collect();
        let (mut graph, _) = graph_of(&facts, &texts);
        let changes = changes(&mut graph, i64::try_from(since).unwrap());
        let (upserts, deleted) = plainly(&facts, &range);
        let ours: Vec<(Value, Value)> = changes
            .get("upserts")
            .unwrap()
            .as_seq()
            .unwrap()
            .iter()
            .map(|upsert| (upsert.get("id").unwrap().clone(), upsert.get("attrs").unwrap().clone()))
            .collect();
        assert_eq!(ours, upserts, "{seed}");
        assert_eq!(changes.get("deleted").unwrap().as_seq().unwrap(), deleted, "{seed}");
        told = (told.0 + ours.len(), told.1 + deleted.len());
    }
    assert!(told.0 > 100 && told.1 > 100, "{told:?}");
}
