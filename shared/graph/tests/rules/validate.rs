//! sync.md 11.6, over the recorded database of a graph that was just created.

use datascript::{Db, Value};
use graph::rules::validate::{Kind, validate};
use graph::rules::{Error, Facts, attrs};

use crate::world::{add, after, at, kw, map, retract, uuid, with};

const NOW: i64 = 1_755_000_000_000;

/// A graph with a page (1), a block (2), a class, a user property of type default, and its value (3).
pub(crate) fn graph() -> Db {
    let lines = golden_support::lines("bases.jsonl");
    let line = lines.iter().find(|line| line["base"] == "logseq-init").expect("the base");
    let db = golden_support::databases::base(line, attrs::PRESET, None);
    let db = after(&db, &[&[item(&page(1))], &[item(&block(2))], &[item(&property())], &[item(&class())]]);
    for n in [1, 2] {
        let report = with(&db, &[add(at(n), "block/updated-at", Value::Int(NOW + 1))]);
        verdict(&report).expect("the graph is valid");
    }
    db
}

type Entries = Vec<(&'static str, Value)>;

fn item(entries: &Entries) -> Value {
    map(entries)
}

fn common(n: u64) -> Entries {
    vec![("block/uuid", uuid(n)), ("block/created-at", Value::Int(NOW)), ("block/updated-at", Value::Int(NOW))]
}

fn tag(name: &str) -> (&'static str, Value) {
    ("block/tags", kw(name))
}

fn page(n: u64) -> Entries {
    let mut entries = common(n);
    entries.extend([("block/name", "page".into()), ("block/title", "Page".into()), tag("logseq.class/Page")]);
    entries
}

fn block(n: u64) -> Entries {
    let mut entries = common(n);
    entries.extend([
        ("block/title", "Block".into()),
        ("block/parent", at(1)),
        ("block/page", at(1)),
        ("block/order", "a0".into()),
    ]);
    entries
}

fn property() -> Entries {
    let mut entries = common(10);
    entries.extend([
        ("block/name", "p".into()),
        ("block/title", "P".into()),
        tag("logseq.class/Property"),
        ("db/ident", kw("user.property/p")),
        ("db/cardinality", kw("db.cardinality/one")),
        ("db/valueType", kw("db.type/ref")),
        ("logseq.property/type", kw("default")),
    ]);
    entries
}

fn class() -> Entries {
    let mut entries = common(11);
    entries.extend([
        ("block/name", "c".into()),
        ("block/title", "C".into()),
        tag("logseq.class/Tag"),
        ("db/ident", kw("user.class/c")),
        ("logseq.property.class/extends", kw("logseq.class/Root")),
    ]);
    entries
}

pub(crate) fn verdict(report: &datascript::Report) -> Result<(), Error> {
    let mut facts = Facts::default();
    let mut scope = facts.scope(&report.tx_data);
    validate(&report.db_before, &report.db_after, &report.tx_data, &mut scope)
}

/// Whether an entity may be added, and what it is taken for where not.
fn judge(db: &Db, entries: &Entries) -> Result<(), Option<Kind>> {
    match verdict(&with(db, &[item(entries)])) {
        Ok(()) => Ok(()),
        Err(Error::Invalid(invalid)) => Err(invalid.kind),
        Err(error) => panic!("{error}"),
    }
}

/// The entity is fine; without each of the required attributes, and with each bad value, it is not.
fn check(
    kind: Kind,
    entries: &Entries,
    required: &[&str],
    bad: &[(&'static str, Value)],
    fine: &[(&'static str, Value)],
) {
    let db = graph();
    assert_eq!(judge(&db, entries), Ok(()), "{kind:?}");
    for name in required {
        let without: Entries = entries.iter().filter(|(key, _)| key != name).cloned().collect();
        assert!(without.len() < entries.len(), "{name}");
        assert!(judge(&db, &without).is_err(), "{kind:?} without {name}");
    }
    let changed = |(name, value): &(&'static str, Value)| {
        let mut entries: Entries = entries.iter().filter(|(key, _)| key != name).cloned().collect();
        entries.push((name, value.clone()));
        judge(&db, &entries)
    };
    for change in bad {
        assert_eq!(changed(change), Err(Some(kind)), "{kind:?} with {change:?}");
    }
    for change in fine {
        assert_eq!(changed(change), Ok(()), "{kind:?} with {change:?}");
    }
}

#[test]
fn blocks() {
    check(
        Kind::Block,
        &block(20),
        &["block/uuid", "block/title", "block/parent", "block/page", "block/created-at", "block/updated-at"],
        &[
            ("block/title", 5.into()),
            ("block/created-at", "now".into()),
            ("block/updated-at", 1.5.into()),
            ("block/collapsed?", "yes".into()),
            ("block/tx-id", "1".into()),
            ("block/warning", "w".into()),
            ("logseq.property/deleted-at", "then".into()),
            ("logseq.property/created-by-ref", 999_999.into()),
        ],
        &[
            // Blocks are accepted in the form that whiteboards had, which says nothing of the order.
            ("block/order", "".into()),
            ("block/order", "a00".into()),
            ("block/order", 5.into()),
            ("block/collapsed?", true.into()),
            ("block/warning", kw("w")),
            ("logseq.property/deleted-at", NOW_VALUE),
            ("logseq.property/created-by-ref", at(1)),
            ("anything/else", "is open".into()),
        ],
    );
}

const NOW_VALUE: Value = Value::Int(NOW);

#[test]
fn pages() {
    let required = ["block/uuid", "block/name", "block/title", "block/created-at", "block/updated-at"];
    check(
        Kind::Page,
        &page(20),
        &required,
        &[("block/journal-day", "1".into()), ("block/order", "a00".into()), ("block/order", 1.into())],
        &[("block/journal-day", 20_260_821.into()), ("block/order", "a0V".into()), ("block/parent", at(1))],
    );
    let mut hidden = page(20);
    hidden.push(("logseq.property/hide?", true.into()));
    check(Kind::HiddenPage, &hidden, &required, &[("block/order", "0".into())], &[("block/order", "Zz".into())]);
    let mut journal: Entries = page(20).into_iter().filter(|(key, _)| *key != "block/tags").collect();
    journal.extend([tag("logseq.class/Journal"), ("block/journal-day", 20_260_821.into())]);
    check(Kind::Page, &journal, &required, &[("block/journal-day", 1.5.into())], &[]);
}

#[test]
fn properties() {
    let mut entries = property();
    entries[0].1 = uuid(20);
    let ident = entries.iter().position(|(key, _)| *key == "db/ident").expect("an ident");
    entries[ident].1 = kw("user.property/q");
    check(
        Kind::Property,
        &entries,
        &["block/name", "block/title", "logseq.property/type", "block/created-at"],
        &[
            ("logseq.property/type", kw("raw-number")),
            ("logseq.property/type", "default".into()),
            ("db/ident", kw("user.class/q")),
            ("db/cardinality", kw("db.cardinality/few")),
            ("db/valueType", kw("db.type/string")),
            ("block/order", "0".into()),
            ("logseq.property/ui-position", kw("above")),
            ("logseq.property/hide?", 1.into()),
        ],
        &[
            ("logseq.property/type", kw("map")),
            ("logseq.property/ui-position", kw("block-left")),
            ("block/order", "a0".into()),
            ("db/index", true.into()),
        ],
    );
    entries[ident].1 = kw("plugin.property.x/q");
    check(
        Kind::Property,
        &entries,
        &[],
        &[("logseq.property/type", kw("map"))],
        &[("logseq.property/type", kw("page"))],
    );
}

#[test]
fn classes() {
    let mut entries = class();
    entries[0].1 = uuid(20);
    let ident = entries.iter().position(|(key, _)| *key == "db/ident").expect("an ident");
    entries[ident].1 = kw("user.class/d");
    check(
        Kind::Class,
        &entries,
        &["block/name", "block/title", "db/ident", "logseq.property.class/extends"],
        &[("db/ident", kw("user.klass/d"))],
        &[],
    );
}

#[test]
fn assets() {
    let mut entries = block(20);
    entries.extend([
        ("logseq.property.asset/type", "png".into()),
        ("logseq.property.asset/checksum", "abc".into()),
        ("logseq.property.asset/size", 5.into()),
        tag("logseq.class/Asset"),
    ]);
    check(
        Kind::Asset,
        &entries,
        &["block/title", "block/order", "block/parent", "logseq.property.asset/checksum", "logseq.property.asset/size"],
        &[("logseq.property.asset/size", "5".into()), ("block/order", "a00".into())],
        &[("logseq.property.asset/width", 5.into())],
    );
}

#[test]
fn values_of_properties() {
    let mut closed = block(20);
    closed.extend([
        ("block/closed-value-property", kw("user.property/p")),
        ("logseq.property/created-from-property", kw("user.property/p")),
    ]);
    check(
        Kind::ClosedValue,
        &closed,
        &["block/title", "block/order", "block/parent", "logseq.property/created-from-property"],
        &[("db/ident", kw("user.property/v")), ("block/order", "".into()), ("logseq.property/value", true.into())],
        &[("db/ident", kw("logseq.property/v")), ("logseq.property/value", 1.5.into())],
    );
    let mut value: Entries = block(20).into_iter().filter(|(key, _)| *key != "block/title").collect();
    value.extend([
        ("logseq.property/created-from-property", kw("user.property/p")),
        ("logseq.property/value", 7.into()),
    ]);
    check(
        Kind::PropertyValue,
        &value,
        &["block/order", "block/page", "block/created-at"],
        &[("logseq.property/value", kw("v")), ("block/order", "b0".into())],
        &[("logseq.property/value", true.into()), ("logseq.property/value", "text".into())],
    );
}

#[test]
fn reactions_history_files_and_settings() {
    let reaction = vec![
        ("block/uuid", uuid(20)),
        ("block/created-at", Value::Int(NOW)),
        ("logseq.property.reaction/emoji-id", "tada".into()),
        ("logseq.property.reaction/target", at(2)),
    ];
    check(
        Kind::Reaction,
        &reaction,
        &["block/uuid", "block/created-at", "logseq.property.reaction/emoji-id"],
        &[("logseq.property.reaction/emoji-id", 1.into()), ("block/tx-id", "1".into())],
        &[],
    );
    let history = vec![
        ("block/uuid", uuid(20)),
        ("block/created-at", Value::Int(NOW)),
        ("logseq.property.history/block", at(2)),
        ("logseq.property.history/property", kw("user.property/p")),
        ("logseq.property.history/scalar-value", false.into()),
    ];
    check(
        Kind::PropertyHistory,
        &history,
        &["block/created-at", "logseq.property.history/property", "logseq.property.history/scalar-value"],
        &[("block/updated-at", "x".into())],
        &[("logseq.property.history/ref-value", at(2))],
    );
    let file = vec![
        ("block/uuid", uuid(20)),
        ("file/path", "x.edn".into()),
        ("file/content", "{}".into()),
        ("file/created-at", Value::Instant(NOW)),
        ("file/last-modified-at", Value::Instant(NOW)),
    ];
    check(
        Kind::File,
        &file,
        &["block/uuid", "file/content", "file/created-at", "file/last-modified-at"],
        &[("file/created-at", Value::Int(NOW)), ("file/size", "1".into())],
        &[("file/size", 1.into())],
    );
    let setting = vec![("db/ident", kw("logseq.kv/x")), ("kv/value", 5.into())];
    check(
        Kind::KeyValue,
        &setting,
        &["kv/value", "db/ident"],
        &[("db/ident", kw("my.kv/x")), ("block/tx-id", true.into())],
        &[("db/ident", kw("logseq.class/x"))],
    );
    let db = graph();
    assert_eq!(judge(&db, &vec![("some/thing", 1.into())]), Err(None));
    assert_eq!(
        judge(&db, &vec![("db/ident", kw("logseq.property/empty-placeholder")), ("block/tx-id", "x".into())]),
        Err(Some(Kind::Placeholder))
    );
}

#[test]
fn values_by_the_type_of_their_property() {
    let db = graph();
    let text = |n: u64, title: &str| {
        let mut entries = block(n);
        entries.retain(|(key, _)| *key != "block/title");
        entries.push(("block/title", title.into()));
        item(&entries)
    };
    let mut number: Entries = block(31);
    number.extend([
        ("logseq.property/value", 7.into()),
        ("logseq.property/created-from-property", kw("user.property/p")),
    ]);
    let mut journal: Entries = page(32);
    journal.retain(|(key, _)| *key != "block/tags");
    journal.push(tag("logseq.class/Journal"));
    let mut asset: Entries = block(33);
    asset.push(tag("logseq.class/Asset"));
    asset.extend([
        ("logseq.property.asset/type", "png".into()),
        ("logseq.property.asset/checksum", "abc".into()),
        ("logseq.property.asset/size", 5.into()),
    ]);
    let db = after(&db, &[&[text(30, "text")], &[item(&number)], &[item(&journal)], &[item(&asset)]]);
    let reference = |property_type: &str, value: Value| {
        let set_type = add(kw("user.property/p"), "logseq.property/type", kw(property_type));
        let db = after(&db, &[&[set_type]]);
        verdict(&with(&db, &[add(at(2), "user.property/p", value)])).is_ok()
    };
    let class = || kw("user.class/c");
    for (property_type, good, bad) in [
        ("default", at(30), at(1)),
        ("number", at(31), at(30)),
        ("date", at(32), at(1)),
        ("url", at(30), kw("logseq.kv/db-type")),
        ("node", at(1), kw("logseq.kv/db-type")),
        ("asset", at(33), at(30)),
        ("entity", at(30), Value::Int(999_999)),
        ("class", class(), at(1)),
        ("property", kw("user.property/p"), class()),
        ("page", at(1), at(30)),
    ] {
        assert!(reference(property_type, good), "{property_type}");
        assert!(!reference(property_type, bad), "{property_type}");
        let placeholder = kw("logseq.property/empty-placeholder");
        assert!(reference(property_type, placeholder), "{property_type}");
    }
    assert!(!reference("nonsense", at(30)));
    let scalar = |property_type: &str, value: Value| {
        let mut entries = property();
        entries.retain(|(key, _)| !matches!(*key, "block/uuid" | "db/ident" | "db/valueType" | "logseq.property/type"));
        entries.extend([
            ("block/uuid", uuid(40)),
            ("db/ident", kw("logseq.property/scalar")),
            ("logseq.property/type", kw(property_type)),
        ]);
        let db = after(&db, &[&[item(&entries)]]);
        verdict(&with(&db, &[add(at(2), "logseq.property/scalar", value)])).is_ok()
    };
    let a_map = || map(&[("a", 1.into())]);
    for (property_type, good, bad) in [
        ("datetime", Value::Int(NOW), Value::from("now")),
        ("raw-number", 1.5.into(), "1".into()),
        ("checkbox", false.into(), "false".into()),
        ("keyword", kw("k"), "k".into()),
        ("map", a_map(), Value::vector([])),
        ("coll", Value::vector([1.into()]), "x".into()),
        ("string", "s".into(), 1.into()),
        ("json", "{}".into(), a_map()),
    ] {
        assert!(scalar(property_type, good), "{property_type}");
        assert!(!scalar(property_type, bad), "{property_type}");
    }
    assert!(scalar("any", "x".into()) && scalar("string", kw("logseq.property/empty-placeholder")));
}

#[test]
fn tags() {
    let db = graph();
    let tagged = |name: &str| {
        let mut entries = block(20);
        entries.push(tag(name));
        judge(&db, &entries)
    };
    assert_eq!(tagged("user.class/c"), Ok(()));
    assert!(tagged("user.property/p").is_err());
    let mut both = page(20);
    both.push(("block/alias", at(1)));
    assert_eq!(judge(&db, &both), Ok(()));
    let report = with(&db, &[add(at(1), "block/tags", kw("logseq.class/Journal"))]);
    assert!(matches!(verdict(&report), Err(Error::Invalid(_))));
    // A built-in entity has one tag.
    let report = with(&db, &[add(kw("logseq.class/Task"), "block/tags", kw("user.class/c"))]);
    assert!(matches!(verdict(&report), Err(Error::Invalid(_))));
}

#[test]
fn pages_stay_below_pages() {
    let db = after(&graph(), &[&[item(&page(20))]]);
    assert!(matches!(verdict(&with(&db, &[add(at(20), "block/parent", at(2))])), Err(Error::PageParent)));
    assert!(verdict(&with(&db, &[add(at(20), "block/parent", at(1))])).is_ok());
    // Only the parent that is left counts.
    assert!(verdict(&with(&db, &[add(at(20), "block/parent", at(2)), add(at(20), "block/parent", at(1))])).is_ok());
    assert!(verdict(&with(&db, &[add(at(2), "block/parent", at(2))])).is_ok());
}

#[test]
fn what_is_gone_or_untouched_is_not_judged() {
    let db = graph();
    let bad = after(&db, &[&[map(&[("some/thing", 1.into()), ("block/uuid", uuid(77))])]]);
    assert!(verdict(&with(&bad, &[add(at(2), "block/title", "x")])).is_ok());
    assert!(verdict(&with(&bad, &[add(at(77), "some/thing", 2)])).is_err());
    assert!(verdict(&with(&bad, &[Value::vector([kw("db/retractEntity"), at(77)])])).is_ok());
    // Only databases of DB graphs are judged.
    let plain = after(&bad, &[&[retract(kw("logseq.kv/db-type"), "kv/value", "db")]]);
    assert!(verdict(&with(&plain, &[add(at(77), "some/thing", 2)])).is_ok());
}

/// The memory of the rules follows the graph, even through transactions that are dropped.
#[test]
fn facts_follow_the_graph() {
    let db = graph();
    let mut facts = Facts::default();
    let mut judge = |report: &datascript::Report| {
        let mut scope = facts.scope(&report.tx_data);
        validate(&report.db_before, &report.db_after, &report.tx_data, &mut scope).is_ok()
    };
    let value = |db: &Db| with(db, &[add(at(2), "user.property/p", at(1))]);
    assert!(!judge(&value(&db)));
    let change = with(&db, &[add(kw("user.property/p"), "logseq.property/type", kw("node"))]);
    assert!(judge(&change));
    // Kept.
    assert!(judge(&value(&change.db_after)));
    assert!(judge(&value(&change.db_after)));
    // Dropped: the graph is as it was.
    assert!(judge(&with(&db, &[add(kw("user.property/p"), "logseq.property/type", kw("node"))])));
    assert!(!judge(&value(&db)));
    // A tag stops being one that makes a page.
    let page_class = db.ident("logseq.class/Page").expect("a readable database").expect("the class");
    let renamed = with(&db, &[add(page_class, "db/ident", kw("user.class/other"))]);
    assert!(!judge(&with(&renamed.db_after, &[add(at(1), "block/updated-at", "no number")])));
    assert!(db.value(page_class, attrs::DB_IDENT).is_ok());
}
