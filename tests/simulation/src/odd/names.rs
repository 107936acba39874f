//! Names: attributes, idents, uuids.

use super::values;
use crate::rng::Rng;

/// Attributes that odd facts may have. Some of them are defined by the schema later.
const ATTRS: [&str; 18] = [
    "a",
    "b",
    "odd/a",
    "odd/b",
    "odd/many",
    "odd/ref",
    "z/index",
    "odd/unique",
    "block/title",
    "block/order",
    "block/uuid",
    "block/parent-ref",
    "db/doc",
    "a/b/c",
    "\u{E000}/x",
    "\u{10000}/x",
    "a.b/c",
    "block/name",
];

/// Idents that come and go, and those that the server knows by name.
const IDENTS: [&str; 8] = [
    "odd/ident",
    "odd/other",
    "x",
    "logseq.class/Page",
    "logseq.class/Tag",
    "logseq.class/Journal",
    "user.property/x",
    "logseq.kv/graph-rtc-e2ee?",
];

/// The attributes of one graph: few, so that facts share them.
pub(crate) fn few(rng: &mut Rng) -> Vec<String> {
    let mut attrs: Vec<String> = Vec::new();
    for _ in 0..2 + rng.below(6) {
        let attr = rng.pick(&ATTRS).copied().unwrap_or("a");
        if !attrs.iter().any(|known| known == attr) {
            attrs.push(attr.to_owned());
        }
    }
    attrs
}

/// A unique name that sorts somewhere among the others.
pub(crate) fn new(rng: &mut Rng, number: usize) -> String {
    let place = rng.below(4096);
    match rng.below(6) {
        0 => format!("n{place:03x}x{number}"),
        1 => format!("b{}/n{number}", rng.below(3)),
        2 => format!("n{place:03x}/y{number}"),
        3 => format!("odd/n{place:03x}x{number}"),
        4 => format!("\u{E000}{}/n{number}", rng.below(3)),
        _ => format!("m{}.k/{place:03x}n{number}", rng.below(5)),
    }
}

/// One of the idents.
pub(crate) fn ident(rng: &mut Rng) -> &'static str {
    rng.pick(&IDENTS).copied().unwrap_or("x")
}

/// The text of one of the uuids.
pub(crate) fn uuid(number: usize) -> String {
    format!("66b8d8f0-0000-4000-8000-{number:012x}")
}

/// A uuid, or something in its place.
pub(crate) fn uuid_value(rng: &mut Rng) -> String {
    match rng.below(20) {
        0 => values::value(rng),
        1 => format!("\"{}\"", uuid(rng.below(8))),
        2 => format!("\"~u{}\"", uuid(rng.below(8)).to_uppercase()),
        _ => format!("\"~u{}\"", uuid(rng.below(8))),
    }
}

/// A fact about pages, blocks and tags by number: in any order, complete or not.
pub(crate) fn block_item(rng: &mut Rng) -> String {
    let e = 1 + rng.below(9);
    let other = 1 + rng.below(9);
    match rng.below(20) {
        0..4 => format!(r#"["~:db/add",{e},"~:block/uuid",{}]"#, uuid_value(rng)),
        4..7 => format!(r#"["~:db/add",{e},"~:block/page",{other}]"#),
        7..9 => format!(r#"["~:db/add",{e},"~:block/parent",{other}]"#),
        9..11 => format!(r#"["~:db/add",{e},"~:block/tags",{other}]"#),
        11 => format!(r#"["~:db/add",{e},"~:block/name",{}]"#, values::text(rng)),
        12 => format!(r#"["~:db/add",{e},"~:block/title",{}]"#, values::text(rng)),
        13 => format!(r#"["~:db/add",{e},"~:block/order",{}]"#, values::value(rng)),
        14..16 => format!(r#"["~:db/add",{e},"~:db/ident","~:{}"]"#, ident(rng)),
        16 => {
            let value = rng.pick(&["true", "false", "0", "\"\""]).copied().unwrap_or("true");
            format!(r#"["~:db/add",{e},"~:logseq.property/built-in?",{value}]"#)
        }
        17 => format!(r#"["~:db/add",{e},"~:kv/value",{}]"#, ["true", "false"].get(rng.below(2)).unwrap_or(&"true")),
        18 => {
            let attrs = ["block/uuid", "block/page", "block/parent", "block/tags", "block/name", "db/ident"];
            format!(r#"["~:db/retract",{e},"~:{}"]"#, rng.pick(&attrs).copied().unwrap_or("block/page"))
        }
        _ => format!(r#"["~:db/retractEntity",{e}]"#),
    }
}
