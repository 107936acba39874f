//! Clients that follow a graph, and random graphs and logs: what they get, against a plain second writing of the rules.

use std::collections::BTreeMap;

use datascript::Value;
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
