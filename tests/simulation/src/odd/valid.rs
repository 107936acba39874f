//! Entries that a graph with validation takes, as far as their maker knows.

use super::items::Maker;
use super::plan::Entry;
use super::{names, values};

const STAMPS: &str = r#","~:block/created-at",1755000000000,"~:block/updated-at",1755000000000"#;

/// What the entries so far made, by number of their uuids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pages: Vec<usize>,
    blocks: Vec<usize>,
    made: usize,
}

/// Makes an empty graph one that is validated: the mark of such graphs, and the classes that entities need.
pub(crate) fn initial() -> Entry {
    let mut items = vec![r#"["^ ","~:db/ident","~:logseq.kv/db-type","~:kv/value","db"]"#.to_owned()];
    for (number, class) in ["Root", "Tag", "Page", "Property", "Journal"].into_iter().enumerate() {
        let title = format!(r#","~:block/title","{class}","~:block/name","{}""#, class.to_lowercase());
        let built_in = r#","~:logseq.property/built-in?",true"#;
        items.push(format!(
            r#"["^ ","~:db/ident","~:logseq.class/{class}","~:block/uuid","~u{}"{title}{built_in}{STAMPS}]"#,
            names::uuid(0xff00 + number)
        ));
    }
    for class in ["Tag", "Page", "Property", "Journal"] {
        items.push(format!(r#"["~:db/add","~:logseq.class/{class}","~:block/tags","~:logseq.class/Tag"]"#));
        items.push(format!(
            r#"["~:db/add","~:logseq.class/{class}","~:logseq.property.class/extends","~:logseq.class/Root"]"#
        ));
    }
    Entry::with_op(items, "db-migrate")
}

/// An entry.
pub(crate) fn entry(maker: &mut Maker) -> Entry {
    let items = match maker.rng.below(20) {
        0..4 => new_page(maker),
        4..10 => new_block(maker),
        10..12 => odd_fact(maker),
        12..14 => title(maker),
        14 => property(maker),
        15 => class(maker),
        16 => moved(maker),
        17 => built_in(maker),
        18 => retracted(maker),
        _ => early(maker),
    };
    let op = if maker.rng.percent(6) { "db-migrate" } else { "save-block" };
    Entry::with_op(items, op)
}

fn reference(number: usize) -> String {
    format!(r#"["~:block/uuid","~u{}"]"#, names::uuid(number))
}

fn page(maker: &mut Maker) -> usize {
    maker.rng.pick(&maker.valid.pages).copied().unwrap_or(0xff02)
}

fn node(maker: &mut Maker) -> usize {
    if maker.rng.percent(70) { maker.rng.pick(&maker.valid.blocks).copied().unwrap_or(0xff02) } else { page(maker) }
}

fn next(maker: &mut Maker) -> usize {
    maker.valid.made += 1;
    0x1000 + maker.valid.made
}

fn page_map(number: usize, tag: &str, more: &str) -> String {
    format!(
        r#"["^ ","~:block/uuid","~u{}","~:block/title","P{number}","~:block/name","p{number}","~:block/tags","~:logseq.class/{tag}"{STAMPS}{more}]"#,
        names::uuid(number)
    )
}

fn new_page(maker: &mut Maker) -> Vec<String> {
    let number = next(maker);
    maker.valid.pages.push(number);
    vec![page_map(number, "Page", "")]
}

fn block_map(maker: &mut Maker, number: usize, page: usize, parent: usize) -> String {
    let title = values::text(&mut maker.rng);
    format!(
        r#"["^ ","~:block/uuid","~u{}","~:block/title",{title},"~:block/page",{},"~:block/parent",{},"~:block/order","a{}"{STAMPS}]"#,
        names::uuid(number),
        reference(page),
        reference(parent),
        1 + maker.rng.below(9)
    )
}

fn new_block(maker: &mut Maker) -> Vec<String> {
    let (number, page, parent) = (next(maker), page(maker), node(maker));
    maker.valid.blocks.push(number);
    vec![block_map(maker, number, page, parent)]
}

/// A block on a page that comes later in the entry, or a page that becomes one only then.
fn early(maker: &mut Maker) -> Vec<String> {
    let (page, block) = (next(maker), next(maker));
    maker.valid.pages.push(page);
    maker.valid.blocks.push(block);
    let target = format!("\"{}\"", names::uuid(page));
    let block_uuid = names::uuid(block);
    let mut items = vec![
        format!(r#"["~:db/add","{block_uuid}","~:block/uuid","~u{block_uuid}"]"#),
        format!(r#"["~:db/add","{block_uuid}","~:block/title","early"]"#),
        format!(r#"["~:db/add","{block_uuid}","~:block/page",{target}]"#),
        format!(r#"["~:db/add","{block_uuid}","~:block/parent",{target}]"#),
        format!(r#"["~:db/add","{block_uuid}","~:block/order","a1"]"#),
        format!(r#"["~:db/add","{block_uuid}","~:block/created-at",1]"#),
        format!(r#"["~:db/add","{block_uuid}","~:block/updated-at",1]"#),
    ];
    items.push(page_map(page, "Page", &format!(r#","~:db/id",{target}"#)));
    items
}

/// Attributes without a property may be anything.
fn odd_fact(maker: &mut Maker) -> Vec<String> {
    let node = node(maker);
    let attrs = ["odd/a", "odd/b", "a", "user.property/p1", "user.property/p2"];
    let attr = maker.rng.pick(&attrs).copied().unwrap_or("a");
    let value = values::value(&mut maker.rng);
    vec![format!(r#"["~:db/add",{},"~:{attr}",{value}]"#, reference(node))]
}

fn title(maker: &mut Maker) -> Vec<String> {
    let (node, title) = (node(maker), values::text(&mut maker.rng));
    vec![format!(r#"["~:db/add",{},"~:block/title",{title}]"#, reference(node))]
}

/// A property: an attribute that gets a schema, perhaps after it was used.
fn property(maker: &mut Maker) -> Vec<String> {
    let number = next(maker);
    let kind = ["raw-number", "any", "checkbox", "number", "map", "string"];
    let kind = maker.rng.pick(&kind).copied().unwrap_or("any");
    let many = if maker.rng.percent(40) { "many" } else { "one" };
    let index = if maker.rng.percent(50) { r#","~:db/index",true"# } else { "" };
    let more = format!(
        r#","~:db/ident","~:user.property/p{}","~:logseq.property/type","~:{kind}","~:db/cardinality","~:db.cardinality/{many}"{index}"#,
        1 + maker.rng.below(3)
    );
    vec![page_map(number, "Property", &more)]
}

/// A tag; blocks may have it before it has its ident.
fn class(maker: &mut Maker) -> Vec<String> {
    let number = next(maker);
    let more = r#","~:logseq.property.class/extends","~:logseq.class/Root""#;
    let ident = format!(r#","~:db/ident","~:user.class/c{}""#, 1 + maker.rng.below(3));
    let tagged = node(maker);
    vec![
        page_map(number, "Tag", &format!("{more}{ident}")),
        format!(r#"["~:db/add",{},"~:block/tags","~:user.class/c1"]"#, reference(tagged)),
    ]
}

fn moved(maker: &mut Maker) -> Vec<String> {
    let (node, page, parent) = (node(maker), page(maker), self::node(maker));
    vec![
        format!(r#"["~:db/add",{},"~:block/page",{}]"#, reference(node), reference(page)),
        format!(r#"["~:db/add",{},"~:block/parent",{}]"#, reference(node), reference(parent)),
    ]
}

fn built_in(maker: &mut Maker) -> Vec<String> {
    let node = node(maker);
    let value = if maker.rng.percent(60) { "true" } else { "false" };
    vec![format!(r#"["~:db/add",{},"~:logseq.property/built-in?",{value}]"#, reference(node))]
}

fn retracted(maker: &mut Maker) -> Vec<String> {
    let node = node(maker);
    vec![format!(r#"["~:db/retractEntity",{}]"#, reference(node))]
}
