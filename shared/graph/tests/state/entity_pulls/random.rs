//! Clients that follow a graph, and random graphs and logs: what they get, against a plain second writing of the rules.
//! The seed is fixed; a failure is made as small as it can be.

use std::cell::Cell;
use std::collections::BTreeMap;

use datascript::Value;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value as Json, json};

use super::{changes, graph_of, names, read, u};
use crate::client::{apply, block, entry, lookup, page, retract, title, uuid};
use crate::support::new_graph;

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

/// What an entity may be called, in a random graph.
fn unique() -> impl Strategy<Value = (&'static str, Json)> {
    let path = select(vec!["a", "a b", "b", "😀", "ﬁ"]);
    prop_oneof![
        (0..5_usize).prop_map(|n| ("block/uuid", json!(format!("~u{}", uuid(n))))),
        (Just("db/ident"), ident()),
        path.prop_map(|path| ("file/path", json!(path))),
    ]
}

fn ident() -> impl Strategy<Value = Json> {
    select(vec!["a", "a-b", "ab", "Ä", "z"]).prop_map(|name| json!(format!("~:user.class/{name}")))
}

fn item() -> impl Strategy<Value = Json> {
    let ops =
        ["~:db/add", "~:db/add", "~:db/add", "~:db/retract", "~:db/retractEntity", "~:db.fn/retractEntity", "~:x"];
    let entity = prop_oneof![
        9 => unique().prop_map(|(name, value)| json!([format!("~:{name}"), value])),
        1 => ident(),
        8 => (0..3).prop_map(|n| json!(format!("tempid {n}"))),
        3 => (0..3).prop_map(|n| json!(n)),
        3 => Just(json!(["~:block/name", "x"])),
    ];
    let fact = prop_oneof![unique(), Just(("block/title", json!("t")))];
    let lengths = vec![1, 2, 2, 3, 4, 5, 5, 5, 6];
    let item = (select(ops.to_vec()), entity, fact, select(lengths)).prop_map(|(op, e, (a, v), length)| {
        let whole = [json!(op), e, json!(format!("~:{a}")), v, json!(5), json!(6)];
        Json::from(whole[..length].to_vec())
    });
    (item, 0..12).prop_map(|(item, form)| match form {
        10 => json!(["~#list", item]),
        11 => json!(["^ ", "~:db/id", item]),
        _ => item,
    })
}

type Fact = (u32, &'static str, Value);

/// Entities 1 to 6, some with names that no other has, with references to themselves, to each other and to nothing.
fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let entity = (vec(unique(), 0..3), option::of(1..9_u32), subsequence((1..9_u32).collect::<Vec<_>>(), 0..4));
    vec(entity, 6).prop_map(|entities| {
        let mut facts: Vec<Fact> = Vec::new();
        for ((names, page, refs), e) in entities.into_iter().zip(1..) {
            for (name, value) in names {
                let value = read(&json!([value])).as_seq().unwrap()[0].clone();
                let taken = |(other, attr, held): &Fact| *attr == name && (*other == e || *held == value);
                if !facts.iter().any(taken) {
                    facts.push((e, name, value));
                }
            }
            facts.extend(page.map(|page| (e, "block/page", Value::from(page))));
            facts.extend(refs.into_iter().map(|target| (e, "block/refs", Value::from(target))));
            facts.push((e, "block/title", Value::from(format!("title {e}"))));
        }
        facts
    })
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
    let config =
        ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::with_cases(300) };
    let log = vec(vec(item(), 0..14).prop_map(Json::from), 1..5);
    let told = Cell::new((0, 0));
    let outcome = TestRunner::new(config).run(&(facts(), log, any::<Index>()), |(facts, log, since)| {
        let since = since.index(log.len() + 1);
        let texts: Vec<String> = log.iter().map(Json::to_string).collect();
        let range: Vec<Value> = log[since..].iter().map(read).collect();
        let (mut graph, _) = graph_of(&facts, &texts);
        let changes = changes(&mut graph, i64::try_from(since).unwrap());
        let list = |key| changes.get(key).unwrap().as_seq().unwrap();
        let upsert = |upsert: &Value| (upsert.get("id").unwrap().clone(), upsert.get("attrs").unwrap().clone());
        let ours: Vec<(Value, Value)> = list("upserts").iter().map(upsert).collect();
        let (upserts, deleted) = plainly(&facts, &range);
        assert_eq!(ours, upserts);
        assert_eq!(list("deleted"), deleted);
        told.set((told.get().0 + ours.len(), told.get().1 + deleted.len()));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let (upserts, deleted) = told.get();
    assert!(upserts > 100 && deleted > 100, "{upserts} upserts, {deleted} deleted");
}
