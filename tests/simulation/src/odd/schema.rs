//! Changes of the schema.

use super::names;
use crate::rng::Rng;

/// Attributes that the server itself defines and a client may define again.
const BUILT_IN: [&str; 10] = [
    "block/uuid",
    "block/title",
    "block/tags",
    "block/page",
    "block/order",
    "db/ident",
    "db/index",
    "db/cardinality",
    "kv/value",
    "logseq.property/built-in?",
];

/// An item that defines an attribute. Entities from 100 on stand for attributes.
pub(crate) fn item(rng: &mut Rng, attr: &str) -> String {
    let e = 100 + rng.below(4);
    let ident = match rng.below(30) {
        0..3 => format!("\"~:{}\"", rng.pick(&BUILT_IN).copied().unwrap_or("block/uuid")),
        3 => format!("\"~:{}\"", names::ident(rng)),
        4 => ["\"text\"", "5", "100", "true", "[]"].get(rng.below(5)).copied().unwrap_or("5").to_owned(),
        _ => format!("\"~:{attr}\""),
    };
    match rng.below(20) {
        0..6 => format!(r#"["~:db/add",{e},"~:db/ident",{ident}]"#),
        6..13 => {
            let (name, value) = fact(rng);
            format!(r#"["~:db/add",{e},"~:{name}",{value}]"#)
        }
        13 => format!(r#"["~:db/retract",{e},"~:db/ident",{ident}]"#),
        14 => format!(r#"["~:db/retract",{e},"~:db/ident"]"#),
        15..17 => {
            let (name, value) = fact(rng);
            let value = if rng.percent(50) { format!(",{value}") } else { String::new() };
            format!(r#"["~:db/retract",{e},"~:{name}"{value}]"#)
        }
        17 => format!(r#"["~:db/retractEntity",{e}]"#),
        _ => {
            let id = if rng.percent(70) { format!(r#","~:db/id",{e}"#) } else { String::new() };
            let (name, value) = fact(rng);
            let many = if rng.percent(50) { "many" } else { "one" };
            format!(
                r#"["^ "{id},"~:db/ident",{ident},"~:db/cardinality","~:db.cardinality/{many}","~:{name}",{value}]"#
            )
        }
    }
}

/// One schema attribute and a value for it.
fn fact(rng: &mut Rng) -> (&'static str, String) {
    let fixed = match rng.below(16) {
        0..3 => ("db/cardinality", r#""~:db.cardinality/many""#),
        3..5 => ("db/cardinality", r#""~:db.cardinality/one""#),
        5..8 => ("db/index", "true"),
        8..10 => ("db/index", "false"),
        10 => ("db/valueType", r#""~:db.type/ref""#),
        11 => ("db/valueType", r#""~:db.type/string""#),
        12 => ("db/unique", r#""~:db.unique/identity""#),
        13 => ("db/unique", r#""~:db.unique/value""#),
        14 => ("db/isComponent", "true"),
        // The schema stores the value in the root row.
        _ => return ("db/index", format!("\"{}\"", "i".repeat(rng.below(3000)))),
    };
    (fixed.0, fixed.1.to_owned())
}
