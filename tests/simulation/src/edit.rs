//! What users do. Edits name entities by uuid, so that they can be applied again to another state of the graph.

use datascript::{Db, Eid, Index, Pattern, Value};
use graph::rules::attrs;
use rustc_hash::FxHashSet;
use uuid::Uuid;

use crate::rng::Rng;
use crate::{Result, fail};

/// An edit.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A new page.
    Page(Uuid),
    /// A new block below another, perhaps with a reference.
    Insert { uuid: Uuid, parent: Uuid, order: String, refers: Option<Uuid> },
    /// Several new blocks at once; more than 72 make a large entry.
    Paste { first: u128, count: u128, parent: Uuid },
    /// Another title.
    Title { uuid: Uuid, title: String },
    /// Another place.
    Move { uuid: Uuid, parent: Uuid, order: String },
    /// A block and all below it goes.
    Delete(Uuid),
    /// A property is set, or removed.
    Property { uuid: Uuid, value: Option<i64> },
    /// A client with a defect.
    Bad(Bad),
}

/// What a defective client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bad {
    /// A valid edit, then one of a block that never existed.
    UnknownBlock(Uuid),
    /// No Transit.
    Undecodable,
    /// An empty deletion.
    EmptyDelete,
    /// A large entry whose last item fails.
    LateFailure(Uuid, Uuid),
}

const NOW: i64 = 1_755_000_000_000;

impl Edit {
    /// A random edit of something in the graph.
    pub(crate) fn random(rng: &mut Rng, db: &Db) -> Result<Self> {
        let pages = nodes(db, true)?;
        let blocks = nodes(db, false)?;
        let page = rng.pick(&pages).copied();
        let block = rng.pick(&blocks).copied();
        let Some(page) = page else { return Ok(Self::Page(rng.uuid())) };
        let anywhere = if rng.percent(60) { block.unwrap_or(page) } else { page };
        let Some(block) = block.filter(|_| !rng.percent(30)) else {
            let refers = rng.percent(20).then_some(anywhere);
            return Ok(Self::Insert { uuid: rng.uuid(), parent: anywhere, order: order(rng), refers });
        };
        Ok(match rng.below(100) {
            0..6 => Self::Page(rng.uuid()),
            6..26 => Self::Insert { uuid: rng.uuid(), parent: block, order: order(rng), refers: None },
            26..55 => Self::Title { uuid: block, title: title(rng, block) },
            55..72 => Self::Move { uuid: block, parent: anywhere, order: order(rng) },
            72..81 => Self::Delete(block),
            81..82 => Self::Delete(anywhere),
            82..95 => Self::Property { uuid: block, value: rng.percent(70).then(|| 1 + rng.number(6)) },
            95..96 => Self::Paste { first: rng.uuid().as_u128(), count: 60 + rng.below(40) as u128, parent: page },
            96..97 => Self::Bad(Bad::LateFailure(page, rng.uuid())),
            97..98 => Self::Bad(Bad::Undecodable),
            98..99 => Self::Bad(Bad::EmptyDelete),
            _ => Self::Bad(Bad::UnknownBlock(rng.uuid())),
        })
    }

    /// `outliner-op`
    pub(crate) const fn op(&self) -> &'static str {
        match self {
            Self::Page(_) => "create-page",
            Self::Insert { .. } | Self::Paste { .. } => "insert-blocks",
            Self::Title { .. } | Self::Bad(Bad::UnknownBlock(_) | Bad::Undecodable | Bad::LateFailure(..)) => {
                "save-block"
            }
            Self::Move { .. } => "move-blocks",
            Self::Delete(_) | Self::Bad(Bad::EmptyDelete) => "delete-blocks",
            Self::Property { .. } => "set-block-property",
        }
    }

    /// Whether a server must refuse it.
    pub(crate) const fn is_bad(&self) -> bool {
        matches!(self, Self::Bad(_))
    }

    /// The Transit text of the entry over a state of the graph; `None` where the edit makes no sense there any more.
    pub(crate) fn transit(&self, db: &Db) -> Result<Option<String>> {
        if let Self::Bad(Bad::Undecodable) = self {
            return Ok(Some("[[\"~:db/add\"".to_owned()));
        }
        Ok(self.items(db)?.map(|items| transit::write_string(&Value::vector(items))))
    }

    /// The items of the entry.
    pub(crate) fn items(&self, db: &Db) -> Result<Option<Vec<Value>>> {
        let exists = |uuid: &Uuid| eid(db, *uuid).map(|eid| eid.is_some());
        Ok(Some(match self {
            Self::Page(uuid) => page_items(db, *uuid)?,
            Self::Insert { uuid, parent, order, refers } => {
                let Some(page) = page_of(db, *parent)? else { return Ok(None) };
                let refers = match refers {
                    Some(target) if exists(target)? => Some(*target),
                    _ => None,
                };
                block_items(*uuid, *parent, page, order, refers)
            }
            Self::Paste { first, count, parent } => {
                let Some(page) = page_of(db, *parent)? else { return Ok(None) };
                let uuids = (0..*count).map(|i| Uuid::from_u128(first.wrapping_add(i)));
                uuids.flat_map(|uuid| block_items(uuid, *parent, page, "a0V", None)).collect()
            }
            Self::Title { uuid, title } => {
                if !exists(uuid)? {
                    return Ok(None);
                }
                vec![add(reference(*uuid), "block/title", Value::string(title))]
            }
            Self::Move { uuid, parent, order } => return moved(db, *uuid, *parent, order),
            Self::Delete(uuid) => {
                let Some(root) = eid(db, *uuid)? else { return Ok(None) };
                let mut items = Vec::new();
                for eid in subtree(db, root)? {
                    if let Some(Value::Uuid(uuid)) = db.value(eid, attrs::BLOCK_UUID).map_err(fail)? {
                        items.push(vector([Value::keyword("db/retractEntity"), reference(uuid)]));
                    }
                }
                items
            }
            Self::Property { uuid, value } => {
                if !exists(uuid)? {
                    return Ok(None);
                }
                match value {
                    Some(value) => vec![add(reference(*uuid), "logseq.property/heading", Value::Int(*value))],
                    None => vec![vector([
                        Value::keyword("db/retract"),
                        reference(*uuid),
                        Value::keyword("logseq.property/heading"),
                    ])],
                }
            }
            Self::Bad(bad) => bad.items(),
        }))
    }
}

impl Bad {
    fn items(self) -> Vec<Value> {
        match self {
            Self::Undecodable | Self::EmptyDelete => Vec::new(),
            Self::UnknownBlock(uuid) => vec![
                add(Value::string("fine"), "block/uuid", Value::Uuid(Uuid::from_u128(uuid.as_u128() ^ 1))),
                add(Value::string("fine"), "block/title", Value::string("fine")),
                add(reference(uuid), "block/title", Value::string("lost")),
            ],
            Self::LateFailure(page, uuid) => {
                let uuids = (1..100).map(|i| Uuid::from_u128(uuid.as_u128().wrapping_add(i)));
                let mut items: Vec<Value> = uuids.flat_map(|uuid| block_items(uuid, page, page, "a0V", None)).collect();
                items.push(add(reference(uuid), "block/title", Value::string("lost")));
                items
            }
        }
    }
}

fn vector(parts: impl IntoIterator<Item = Value>) -> Value {
    Value::vector(parts)
}

fn add(e: Value, a: &str, v: Value) -> Value {
    vector([Value::keyword("db/add"), e, Value::keyword(a), v])
}

fn reference(uuid: Uuid) -> Value {
    vector([Value::keyword("block/uuid"), Value::Uuid(uuid)])
}

fn page_items(db: &Db, uuid: Uuid) -> Result<Vec<Value>> {
    let tempid = || Value::string(&uuid.to_string());
    let mut items = vec![
        add(tempid(), "block/uuid", Value::Uuid(uuid)),
        add(tempid(), "block/name", Value::string(&format!("page {uuid}"))),
        add(tempid(), "block/title", Value::string(&format!("Page {uuid}"))),
        add(tempid(), "block/created-at", Value::Int(NOW)),
        add(tempid(), "block/updated-at", Value::Int(NOW)),
    ];
    if db.ident("logseq.class/Page").map_err(fail)?.is_some() {
        items.push(add(tempid(), "block/tags", Value::keyword("logseq.class/Page")));
    }
    Ok(items)
}

fn block_items(uuid: Uuid, parent: Uuid, page: Uuid, order: &str, refers: Option<Uuid>) -> Vec<Value> {
    let tempid = || Value::string(&uuid.to_string());
    let title = match refers {
        Some(target) => format!("see [[{target}]] and (({target}))"),
        None => format!("block {uuid}"),
    };
    let mut items = vec![
        add(tempid(), "block/uuid", Value::Uuid(uuid)),
        add(tempid(), "block/title", Value::string(&title)),
        add(tempid(), "block/parent", reference(parent)),
        add(tempid(), "block/page", reference(page)),
        add(tempid(), "block/order", Value::string(order)),
        add(tempid(), "block/created-at", Value::Int(NOW)),
        add(tempid(), "block/updated-at", Value::Int(NOW)),
    ];
    items.extend(refers.map(|target| add(tempid(), "block/refs", reference(target))));
    items
}

/// Everything below moves to the page as well.
fn moved(db: &Db, uuid: Uuid, parent: Uuid, order: &str) -> Result<Option<Vec<Value>>> {
    let (Some(root), Some(target), Some(page)) = (eid(db, uuid)?, eid(db, parent)?, page_of(db, parent)?) else {
        return Ok(None);
    };
    let below = subtree(db, root)?;
    if below.contains(&target) || is_page(db, root)? {
        return Ok(None);
    }
    let mut items = vec![
        add(reference(uuid), "block/parent", reference(parent)),
        add(reference(uuid), "block/order", Value::string(order)),
    ];
    for eid in below {
        if let Some(Value::Uuid(uuid)) = db.value(eid, attrs::BLOCK_UUID).map_err(fail)? {
            items.push(add(reference(uuid), "block/page", reference(page)));
        }
    }
    Ok(Some(items))
}

/// A key between siblings that passes the server's validation.
fn order(rng: &mut Rng) -> String {
    const DIGITS: &[u8] = b"123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut key = String::from("a");
    for _ in 0..3 {
        key.push(rng.pick(DIGITS).map_or('V', |digit| char::from(*digit)));
    }
    key
}

fn title(rng: &mut Rng, block: Uuid) -> String {
    match rng.below(10) {
        0 => "x".repeat(rng.below(3000)),
        1 => format!("日本語😀 {}", rng.below(100)),
        2 => format!("refers to [[{block}]]"),
        _ => format!("title {}", rng.below(1000)),
    }
}

fn eid(db: &Db, uuid: Uuid) -> Result<Option<Eid>> {
    db.lookup(attrs::BLOCK_UUID, &Value::Uuid(uuid)).map_err(fail)
}

fn is_page(db: &Db, eid: Eid) -> Result<bool> {
    Ok(db.value(eid, attrs::BLOCK_NAME).map_err(fail)?.is_some())
}

/// The page that a block below this one is on.
fn page_of(db: &Db, uuid: Uuid) -> Result<Option<Uuid>> {
    let Some(entity) = eid(db, uuid)? else { return Ok(None) };
    if is_page(db, entity)? {
        return Ok(Some(uuid));
    }
    let Some(page) = db.target(entity, attrs::BLOCK_PAGE).map_err(fail)? else { return Ok(None) };
    match db.value(page, attrs::BLOCK_UUID).map_err(fail)? {
        Some(Value::Uuid(page)) => Ok(Some(page)),
        _ => Ok(None),
    }
}

/// An entity and all below it; parents may form circles.
fn subtree(db: &Db, root: Eid) -> Result<Vec<Eid>> {
    let mut seen = FxHashSet::from_iter([root]);
    let mut order = vec![root];
    let mut next = 0;
    while let Some(parent) = order.get(next).copied() {
        next += 1;
        for datom in db.datoms(Index::Avet, &Pattern::av(attrs::BLOCK_PARENT, &Value::from(parent))) {
            let child = datom.map_err(fail)?.e;
            if seen.insert(child) {
                order.push(child);
            }
        }
    }
    Ok(order)
}

/// The pages, or the blocks, that users made; not those that the graph began with.
fn nodes(db: &Db, pages: bool) -> Result<Vec<Uuid>> {
    let mut found = Vec::new();
    let attr = if pages { attrs::BLOCK_NAME } else { attrs::BLOCK_PARENT };
    for datom in db.datoms(Index::Aevt, &Pattern::a(attr)) {
        let eid = datom.map_err(fail)?.e;
        if db.value(eid, attrs::DB_IDENT).map_err(fail)?.is_some() || pages != is_page(db, eid)? {
            continue;
        }
        if db.value(eid, attrs::BUILT_IN).map_err(fail)?.is_some() || (!pages && page_of_entity(db, eid)?.is_none()) {
            continue;
        }
        if let Some(Value::Uuid(uuid)) = db.value(eid, attrs::BLOCK_UUID).map_err(fail)? {
            found.push(uuid);
        }
    }
    Ok(found)
}

fn page_of_entity(db: &Db, eid: Eid) -> Result<Option<Eid>> {
    db.target(eid, attrs::BLOCK_PAGE).map_err(fail)
}
