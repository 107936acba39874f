//! Entries in every form that a client may send, about a few entities that get, lose and change names. What the log
//! tells of them must be what the server holds (D-66).

use super::items::Maker;
use super::names;
use super::plan::Entry;
use crate::rng::Rng;

/// Attributes of facts; the schema defines them once, at the start.
const VALUES: [&str; 7] =
    ["block/title", "block/order", "kv/value", "odd/many", "odd/key", "odd/value", "block/collapsed?"];
const REFERENCES: [&str; 6] = ["block/parent", "block/page", "block/refs", "block/tags", "odd/part", "odd/one"];
const IDENTS: [&str; 5] = ["odd/i0", "odd/i1", "odd/i2", "user.property/p", "datomic.tx"];

/// Attributes, and some entities to begin with: with a uuid, with an ident, with both.
pub(crate) fn initial() -> Entry {
    let mut attributes = 0x100;
    let mut attribute = |name: &str, facts: &str| {
        attributes += 1;
        format!(r#"["^ ","~:db/ident","~:odd/{name}","~:block/uuid","~u{}"{facts}]"#, names::uuid(attributes))
    };
    let one = r#","~:db/cardinality","~:db.cardinality/one""#;
    let many = r#","~:db/cardinality","~:db.cardinality/many""#;
    let reference = r#","~:db/valueType","~:db.type/ref""#;
    let mut items = vec![
        attribute("one", &format!("{one}{reference}")),
        attribute("part", &format!(r#"{many}{reference},"~:db/isComponent",true"#)),
        attribute("value", &format!(r#"{one},"~:db/unique","~:db.unique/value""#)),
        attribute("key", &format!(r#"{one},"~:db/unique","~:db.unique/identity""#)),
        attribute("many", many),
    ];
    for n in 0..4 {
        items.push(format!(r#"["^ ","~:block/uuid","~u{}","~:block/title","t{n}"]"#, names::uuid(n)));
    }
    for ident in IDENTS.iter().take(2) {
        items.push(format!(r#"["^ ","~:db/ident","~:{ident}","~:kv/value",1]"#));
    }
    items.push(format!(r#"["^ ","~:db/ident","~:odd/i2","~:block/uuid","~u{}"]"#, names::uuid(4)));
    Entry::new(items)
}

/// An entry of a few items.
pub(crate) fn entry(maker: &mut Maker) -> Entry {
    let rng = &mut maker.rng;
    let count = match rng.below(100) {
        0 => 500 + rng.below(20),
        1..30 => 1,
        30..90 => 2 + rng.below(5),
        _ => 6 + rng.below(12),
    };
    let items = if count < 500 { (0..count).map(|_| item(rng)).collect() } else { large(rng, count) };
    match rng.below(14) {
        0 => Entry::with_op(items, "rebase"),
        1 => Entry::with_op(items, "delete-blocks"),
        2 => Entry::with_op(items, "fix"),
        _ => Entry::with_op(items, "save-block"),
    }
}

/// Many items that succeed, and some that may fail.
fn large(rng: &mut Rng, count: usize) -> Vec<String> {
    let fill = |n: usize| format!(r#"["~:db/add","~:odd/many","~:odd/many",{n}]"#);
    let mut items: Vec<String> = (0..count).map(fill).collect();
    for _ in 0..=rng.below(4) {
        let place = rng.below(items.len());
        items.insert(place, item(rng));
    }
    items
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    rng.pick(from).copied().unwrap_or_default()
}

fn uuid(rng: &mut Rng) -> String {
    names::uuid(rng.below(7))
}

/// An entity, as an item may name it. Those that succeed come most often.
fn entity(rng: &mut Rng) -> String {
    match rng.below(40) {
        0..16 => format!(r#"["~:block/uuid","~u{}"]"#, uuid(rng)),
        16..22 => format!("\"~:{}\"", pick(rng, &IDENTS)),
        22..25 => format!(r#"["~:db/ident","~:{}"]"#, pick(rng, &IDENTS)),
        25 => format!(r#"["~:odd/key",{}]"#, value(rng)),
        26..30 => format!("\"t{}\"", rng.below(3)),
        30 => format!("-{}", 1 + rng.below(3)),
        31 => format!("\"{}\"", uuid(rng)),
        32 => pick(rng, &["536870911", "536870912", "2147483647", "1000000", "\"~:db/current-tx\"", "\"datomic.tx\""])
            .into(),
        33 => (20 + rng.below(30)).to_string(),
        _ => (1 + rng.below(16)).to_string(),
    }
}

fn value(rng: &mut Rng) -> String {
    match rng.below(16) {
        0..3 => format!("\"{}\"", uuid(rng)),
        3 => format!("\"~u{}\"", uuid(rng)),
        4 => format!("\":{}\"", pick(rng, &IDENTS)),
        5 => format!("\"~:{}\"", pick(rng, &IDENTS)),
        6 => format!(r#"["~:block/uuid","~u{}"]"#, uuid(rng)),
        7 => pick(rng, &[r#""\ud800""#, r#""a\udc00b""#, r#""\ud83d\ude00""#, r#""\udc00\ud800""#]).into(),
        8 => format!("\"(({}))\"", uuid(rng)),
        9 => pick(rng, &["true", "1.5", "\"\"", "[]", "\"$$&\"", "\"~~x\""]).into(),
        _ => rng.below(12).to_string(),
    }
}

fn fact(rng: &mut Rng) -> (&'static str, String) {
    match rng.below(20) {
        0..3 => ("block/uuid", format!("\"~u{}\"", uuid(rng))),
        3..5 => ("db/ident", format!("\"~:{}\"", pick(rng, &IDENTS))),
        5..11 => (pick(rng, &REFERENCES), entity(rng)),
        _ => (pick(rng, &VALUES), value(rng)),
    }
}

fn item(rng: &mut Rng) -> String {
    let e = entity(rng);
    let (a, v) = fact(rng);
    match rng.below(30) {
        0..11 => format!(r#"["~:db/add",{e},"~:{a}",{v}]"#),
        11 => format!(r#"["~:db/add",{e},"~:{a}",{v},{}]"#, 536_870_913 + rng.below(9)),
        12..15 => format!(r#"["~:db/retract",{e},"~:{a}",{v}]"#),
        15 => format!(r#"["~:db/retract",{e},"~:{a}"]"#),
        16..18 => format!(r#"["~:db.fn/retractAttribute",{e},"~:{a}"]"#),
        18..21 => format!(r#"["~:db/retractEntity",{e}]"#),
        21 => format!(r#"["~:db.fn/cas",{e},"~:{a}",null,{v}]"#),
        22 => format!(r#"["~:db.fn/cas",{e},"~:{a}",{},{v}]"#, value(rng)),
        23 => format!(r#"["^ ","~:{a}",{v},"~:block/_{}",{e}]"#, pick(rng, &["parent", "refs"])),
        24 => {
            let more = another(rng, a);
            format!(r#"["^ ","~:block/title","x","~:block/refs",[["^ ","~:{a}",{v}{more}]],"~:db/id",{e}]"#)
        }
        _ => {
            let more = another(rng, a);
            let id = if rng.percent(60) { format!(r#","~:db/id",{e}"#) } else { String::new() };
            format!(r#"["^ ","~:{a}",{v}{more}{id}]"#)
        }
    }
}

/// A second key of a map item and its value, unless it would be the first one again.
fn another(rng: &mut Rng, first: &str) -> String {
    let (a, v) = fact(rng);
    if a == first { String::new() } else { format!(r#","~:{a}",{v}"#) }
}
