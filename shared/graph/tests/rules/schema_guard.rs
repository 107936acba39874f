//! What an entry may do to the schema (sync.md 12.5, datascript.md 8.2).

use std::rc::Rc;

use datascript::{Attrs, Db, Nodes, Report, Schema, Value};
use graph::rules::attrs::PRESET;
use graph::rules::schema_guard::{SchemaError, check, check_facts, check_names};
use graph::rules::{Error, static_schema};
use protocol::limits;

use crate::validate::graph;
use crate::world::{Random, add, after, at, empty, kw, map, retract, retract_entity, sample, uuid, with};

fn read(text: &str) -> Vec<Value> {
    transit::read_str(text).expect("transit").as_seq().expect("items").to_vec()
}

/// What is said of a transaction; names first, as in an entry.
fn verdict(db: &Db, items: &[Value]) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    check_names(items).map_err(text)?;
    let report = with(db, items);
    judged(db, &report).map_err(text)
}

/// What is said of a transaction that an entry is all of.
fn judged(before: &Db, report: &Report) -> Result<(), Error> {
    check_facts(&report.db_after, &report.tx_data)?;
    check(before, &report.db_after, &report.tx_data)
}

fn refused(name: &str) -> Result<(), String> {
    Err(format!("built-in attribute :{name} cannot be redefined"))
}

/// The entity of a property that Logseq has for an attribute of the static schema.
fn property(ident: &str, cardinality: &str, is_ref: bool) -> Vec<(&'static str, Value)> {
    let mut entries = vec![
        ("db/index", true.into()),
        ("block/title", ident.into()),
        ("db/cardinality", kw(&format!("db.cardinality/{cardinality}"))),
        ("db/ident", kw(ident)),
    ];
    if is_ref {
        entries.push(("db/valueType", kw("db.type/ref")));
    }
    entries
}

/// As Logseq defines them, two otherwise than the static schema.
const PROPERTIES: [(&str, &str, bool); 13] = [
    ("block/alias", "many", true),
    ("block/tags", "many", true),
    ("block/parent", "one", true),
    ("block/order", "one", false),
    ("block/collapsed?", "one", false),
    ("block/page", "one", true),
    ("block/refs", "many", true),
    ("block/link", "one", true),
    ("block/title", "one", false),
    ("block/closed-value-property", "one", true),
    ("block/journal-day", "one", false),
    ("block/created-at", "one", false),
    ("block/updated-at", "one", false),
];

#[test]
fn the_first_refusal_of_all() {
    // The uuid of every entity could not be looked up any more.
    let items = read(r#"[["~:db/add","x","~:db/ident","~:block/uuid"]]"#);
    assert_eq!(verdict(&sample(), &items), refused("block/uuid"));
    let db = after(&sample(), &[&items]);
    assert_eq!(verdict(&db, &read(r#"[["~:db/retractEntity","~:block/uuid"]]"#)), refused("block/uuid"));
}

#[test]
fn property_entities_of_static_attributes_come_in_any_order() {
    for (ident, cardinality, is_ref) in PROPERTIES {
        let entries = property(ident, cardinality, is_ref);
        for start in [empty(), sample()] {
            assert_eq!(verdict(&start, &[map(&entries)]), Ok(()), "{ident}");
            for turn in 0..entries.len() {
                let mut turned = entries.clone();
                turned.rotate_left(turn);
                let items: Vec<Value> = turned.iter().map(|(a, v)| add("x", a, v.clone())).collect();
                assert_eq!(verdict(&start, &items), Ok(()), "{ident}: {items:?}");
                // One after the other, idents last: what was collected for the entity counts from then on.
                let (facts, ident): (Vec<_>, Vec<_>) = turned.iter().cloned().partition(|(a, _)| *a != "db/ident");
                let mut db = start.clone();
                for (a, v) in facts.into_iter().chain(ident) {
                    assert_eq!(verdict(&db, &[add(100, a, v.clone())]), Ok(()), "{a}");
                    db = after(&db, &[&[add(100, a, v)]]);
                }
            }
        }
    }
}

#[test]
fn graphs_as_logseq_makes_them() {
    let db = graph();
    for (ident, cardinality, is_ref) in PROPERTIES {
        // Said again, and something else said of the entity.
        assert_eq!(verdict(&db, &[map(&property(ident, cardinality, is_ref))]), Ok(()), "{ident}");
        assert_eq!(verdict(&db, &[add(kw(ident), "block/title", "New")]), Ok(()), "{ident}");
        for gone in [
            vec![retract_entity(kw(ident))],
            vec![retract(kw(ident), "db/ident", kw(ident))],
            vec![add(kw(ident), "db/ident", kw("user.property/other"))],
            vec![retract(kw(ident), "db/ident", kw(ident)), add(at(2), "db/ident", kw(ident))],
            vec![retract(kw(ident), "db/index", true)],
            vec![Value::vector([kw("db.fn/retractAttribute"), kw(ident), kw("db/cardinality")])],
        ] {
            assert_eq!(verdict(&db, &gone), refused(ident), "{gone:?}");
        }
    }
    assert_eq!(verdict(&db, &[add(at(1), "db/ident", kw("user.class/x"))]), Ok(()));
    assert_eq!(verdict(&db, &[retract_entity(kw("user.property/p")), retract_entity(kw("user.class/c"))]), Ok(()));
}

#[test]
fn flags_of_built_in_attributes_stay() {
    let changes: [(&str, &str, Value); 7] = [
        ("block/title", "db/cardinality", kw("db.cardinality/many")),
        ("block/title", "db/valueType", kw("db.type/ref")),
        ("block/title", "db/unique", kw("db.unique/value")),
        ("block/refs", "db/cardinality", kw("db.cardinality/one")),
        ("block/tags", "db/valueType", kw("db.type/string")),
        ("block/page", "db/isComponent", true.into()),
        ("block/order", "db/index", false.into()),
    ];
    for (ident, a, v) in changes {
        for items in [
            vec![add("x", "db/ident", kw(ident)), add("x", a, v.clone())],
            vec![add("x", a, v.clone()), add("x", "db/ident", kw(ident))],
        ] {
            let late = items[0].as_vector().expect("a vector")[2].is_keyword(a);
            // A fact collected before the ident adds to the schema and replaces nothing in it.
            let replaces = matches!(ident, "block/refs" | "block/tags" | "block/order");
            let expected = if late && replaces { Ok(()) } else { refused(ident) };
            assert_eq!(verdict(&sample(), &items), expected, "{items:?}");
        }
    }
    // Collected by an earlier entry, when it concerned nobody.
    let db = after(&sample(), &[&[add(100, "db/cardinality", kw("db.cardinality/many"))]]);
    assert_eq!(verdict(&db, &[add(100, "db/ident", kw("block/title"))]), refused("block/title"));
    assert_eq!(verdict(&db, &[add(100, "db/ident", kw("user.property/x"))]), Ok(()));
}

/// The flags are as before in the end, and in between two entities could get one uuid, or one entity two titles.
#[test]
fn flags_do_not_change_for_a_moment_either() {
    let db = after(&sample(), &[&[map(&property("block/title", "one", false))]]);
    let title = || kw("block/title");
    let many = || kw("db.cardinality/many");
    let moments = [
        vec![add(title(), "db/cardinality", many()), add(title(), "db/cardinality", kw("db.cardinality/one"))],
        vec![add(title(), "db/unique", kw("db.unique/value")), retract(title(), "db/unique", kw("db.unique/value"))],
        vec![
            add(title(), "db/isComponent", true),
            Value::vector([kw("db.fn/retractAttribute"), title(), kw("db/isComponent")]),
        ],
        vec![retract(title(), "db/ident", title()), map(&property("block/title", "one", false))],
    ];
    for items in moments {
        assert_eq!(verdict(&db, &items), refused("block/title"), "{items:?}");
    }
    let refs = after(&sample(), &[&[add("x", "db/ident", kw("block/refs"))]]);
    let one = || kw("db.cardinality/one");
    let items = [add(kw("block/refs"), "db/cardinality", one()), add(kw("block/refs"), "db/cardinality", many())];
    assert_eq!(verdict(&refs, &items), refused("block/refs"));
}

#[test]
fn idents_that_nobody_gets() {
    let others = [
        "db/ident",
        "kv/value",
        "block/uuid",
        "block/name",
        "block/tx-id",
        "file/path",
        "file/content",
        "file/created-at",
        "file/last-modified-at",
        "file/size",
        "db/valueType",
        "db/cardinality",
        "db/index",
        "db/unique",
        "db/isComponent",
        "db/doc",
        "db/id",
        "db/tupleAttrs",
        "db/tupleType",
        "db/tupleTypes",
    ];
    for name in others {
        assert_eq!(verdict(&graph(), &[add("x", "db/ident", kw(name))]), refused(name));
        assert_eq!(verdict(&graph(), &[add("x", "db/ident", kw(name)), retract_entity(kw(name))]), refused(name));
    }
    // Every attribute of the static schema is either one of these or has an entity of Logseq's own.
    let schema = static_schema(Attrs::new(PRESET)).to_value();
    for (name, _) in schema.as_map().expect("a map") {
        let name = name.as_keyword().expect("a keyword").as_str();
        assert!(others.contains(&name) ^ PROPERTIES.iter().any(|(property, ..)| *property == name), "{name}");
    }
    assert_eq!(verdict(&graph(), &[add("x", "db/ident", kw("db/forbidden"))]), Ok(()));
}

/// A graph of an older client lacks attributes that the static schema has today; a migration brings them.
#[test]
fn older_schemas_catch_up() {
    let attrs = Attrs::new(PRESET);
    let Value::Map(entries) = static_schema(Rc::clone(&attrs)).to_value() else { panic!("a map") };
    let older = entries.iter().filter(|(name, _)| !name.is_keyword("block/alias") && !name.is_keyword("block/link"));
    let schema = Schema::from_value(Rc::clone(&attrs), &Value::Map(older.cloned().collect()));
    let db = Db::empty(Rc::new(Nodes::new(None, attrs, usize::MAX)), schema);
    assert_eq!(verdict(&db, &[map(&property("block/alias", "many", true))]), Ok(()));
    assert_eq!(verdict(&db, &[map(&property("block/link", "many", true))]), refused("block/link"));
    // Facts that are there already would not be found by what they refer to.
    let alias = || add(at(1), "block/alias", 7);
    let used = after(&db, &[&[add("x", "block/uuid", uuid(1))], &[alias()]]);
    assert_eq!(verdict(&used, &[map(&property("block/alias", "many", true))]), refused("block/alias"));
    let at_once = [add("x", "block/alias", 7), map(&property("block/alias", "many", true))];
    assert_eq!(verdict(&db, &at_once), refused("block/alias"));
}

#[test]
fn facts_about_attributes_are_of_their_types() {
    let keyword = || kw("db.type/ref");
    let cases: [(&str, &str, Vec<Value>); 10] = [
        ("db/ident", "a keyword", vec![kw("user.property/x")]),
        ("db/valueType", "a keyword", vec![keyword(), kw("db.type/string")]),
        ("db/cardinality", "a keyword", vec![kw("db.cardinality/many"), kw("db.cardinality/one")]),
        ("db/unique", "a keyword", vec![kw("db.unique/value")]),
        ("db/tupleType", "a keyword", vec![keyword()]),
        ("db/index", "a boolean", vec![true.into(), false.into()]),
        ("db/isComponent", "a boolean", vec![true.into(), false.into()]),
        ("db/doc", "a string", vec!["about it".into()]),
        ("db/tupleAttrs", "a vector of keywords", vec![Value::vector([keyword()]), Value::vector([])]),
        ("db/tupleTypes", "a vector of keywords", vec![Value::vector([keyword(), keyword()])]),
    ];
    let values = || {
        let texts = r#"["text","",5,1.5,"~zNaN",true,"~:k","~$s","~unot-a-uuid","~u00000000-0000-0000-0000-000000000001",
            [],["~:k"],["text"],["~:k",5],["~#list",["~:k"]],["^ "],["^ ","~:a",1],["~#set",["~:k"]],"~m5"]"#;
        read(texts)
    };
    for (name, expected, fine) in &cases {
        for value in fine {
            assert_eq!(verdict(&sample(), &[add("x", name, value.clone())]), Ok(()), "{name} {value:?}");
        }
        let mut bad = 0;
        for value in values() {
            let is_fine = match *expected {
                "a keyword" => matches!(value, Value::Keyword(_)),
                "a boolean" => matches!(value, Value::Bool(_)),
                "a string" => matches!(value, Value::String(_)),
                _ => match &value {
                    Value::Vector(names) => names.iter().all(|name| matches!(name, Value::Keyword(_))),
                    _ => false,
                },
            };
            // What comes and goes within the entry changed the schema as well.
            let passing = [add(100, name, value.clone()), retract(100, name, value.clone())];
            for items in [&passing[..1], &passing] {
                let report = match datascript::with(&sample(), items) {
                    Ok(report) => report,
                    Err(datascript::Error::Transact(_)) => continue,
                    Err(error) => panic!("{error}"),
                };
                let verdict = judged(&sample(), &report).map_err(|error| error.to_string());
                let refusal = Err(format!(":{name} must be {expected}"));
                assert_eq!(verdict, if is_fine { Ok(()) } else { refusal }, "{name} {value:?}");
            }
            bad += usize::from(!is_fine);
        }
        assert!(bad > 10, "{name}");
    }
    assert_eq!(verdict(&sample(), &[add("x", "db/id", 5)]), Err(":db/id cannot be stored".into()));
    // Retractions are free: what an older server let in can go.
    let db = after(&sample(), &[&[add(100, "db/doc", 5)]]);
    assert_eq!(verdict(&db, &[retract(100, "db/doc", 5)]), Ok(()));
}

#[test]
fn names_have_a_limit() {
    let fits = kw(&format!("a/{}", "é".repeat(limits::ATTRIBUTE_NAME_BYTES / 2 - 1)));
    assert_eq!(fits.as_keyword().expect("a keyword").as_str().len(), limits::ATTRIBUTE_NAME_BYTES);
    let long = kw(&"n".repeat(limits::ATTRIBUTE_NAME_BYTES + 1));
    let places = |name: &Value| {
        let key = |value: Value| Value::Map([(name.clone(), value)].into());
        let ident = || map(&[("db/ident", name.clone())]);
        vec![
            Value::vector([kw("db/add"), "x".into(), name.clone(), 1.into()]),
            Value::List([kw("db/add"), "x".into(), name.clone(), 1.into()].into()),
            Value::vector([kw("db.fn/retractAttribute"), at(1), name.clone()]),
            Value::vector([kw("db/cas"), at(1), name.clone(), Value::Nil, 1.into()]),
            Value::vector([kw("db/cas"), at(1), kw("db/ident"), Value::Nil, name.clone()]),
            add("x", "db/ident", name.clone()),
            key(1.into()),
            ident(),
            map(&[("block/parent", key(1.into()))]),
            map(&[("block/refs", Value::vector([map(&[("block/refs", Value::vector([ident()]))])]))]),
            map(&[("block/_parent", Value::Set([ident()].into()))]),
        ]
    };
    for item in places(&fits) {
        check_names(&[item]).expect("it fits");
    }
    for item in places(&long) {
        let harmless = add("x", "block/title", "x");
        let error = check_names(&[harmless, item.clone()]).expect_err("it does not fit");
        assert!(matches!(error, Error::Schema(SchemaError::NameTooLong)), "{item:?}");
        assert_eq!(error.to_string(), "attribute name too long");
    }
    // Other keywords are values.
    check_names(&[add("x", "user.property/x", long.clone()), map(&[("user.property/x", long)])]).expect("values");
}

#[test]
fn the_schema_fits_into_its_row() {
    let mut db = sample();
    let mut refusal = None;
    for n in 0..30 {
        let items = [add("x", "db/ident", kw(&format!("user.property/p{n}"))), add("x", "db/doc", "d".repeat(100_000))];
        match verdict(&db, &items) {
            Ok(()) => db = after(&db, &[&items]),
            Err(error) => {
                refusal = Some((n, error));
                break;
            }
        }
    }
    // Twenty times 100,000 bytes would pass 2,000,000.
    assert_eq!(refusal, Some((19, "entry too large to store".to_owned())));
    assert_eq!(verdict(&db, &[add("x", "db/ident", kw("user.property/last"))]), Ok(()));
    assert_eq!(verdict(&db, &[add("x", "block/title", "x".repeat(100_000))]), Ok(()));
}

/// Whatever an entry does and is not refused for, the flags of the attributes that everything depends on stay.
#[test]
fn random_facts_about_attributes() {
    let mut accepted = 0;
    for seed in 0..2_000 {
        let mut random = Random(seed);
        let mut db = if seed % 4 == 0 { graph() } else { sample() };
        let before = db.schema().clone();
        for _ in 0..6 {
            let items: Vec<Value> = (0..=random.below(3)).map(|_| fact(&mut random)).collect();
            let Ok(report) = datascript::with(&db, &items) else { continue };
            if judged(&db, &report).is_ok() {
                db = report.db_after;
                accepted += 1;
            }
        }
        for text in PRESET {
            let attr = db.attr(text).expect("a preset attribute");
            let is_free = !(text.starts_with("db/") || text.starts_with("block/") || text.starts_with("file/"))
                || matches!(*text, "block/collapsed?" | "block/closed-value-property" | "block/warning");
            assert!(is_free || db.flags(attr) == before.flags(attr), "seed {seed}: {text}");
        }
    }
    assert!(accepted > 1_000, "{accepted}");
}

fn fact(random: &mut Random) -> Value {
    let names = ["block/title", "block/tags", "block/uuid", "db/ident", "db/cardinality", "block/collapsed?", "user/x"];
    let name = kw(names[usize::try_from(random.below(7)).expect("small")]);
    let e = match random.below(3) {
        0 => name.clone(),
        1 => 100.into(),
        _ => 101.into(),
    };
    let facts = [
        ("db/ident", name),
        ("db/cardinality", kw("db.cardinality/many")),
        ("db/cardinality", kw("db.cardinality/one")),
        ("db/valueType", kw("db.type/ref")),
        ("db/unique", kw("db.unique/identity")),
        ("db/index", true.into()),
        ("db/index", false.into()),
        ("db/isComponent", true.into()),
    ];
    let (a, v) = facts[usize::try_from(random.below(8)).expect("small")].clone();
    match random.below(5) {
        0 => retract(e, a, v),
        1 => retract_entity(e),
        _ => add(e, a, v),
    }
}
