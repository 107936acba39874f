//! Which entities are named, and how they are written.

use datascript::Value;
use serde_json::{Value as Json, json};

use super::{changes, data, graph_of, named, naming, only, pull, read, u, uuid_value};
use crate::client::{lookup, uuid};

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
