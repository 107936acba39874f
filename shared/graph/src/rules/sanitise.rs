//! What is taken out of a client's entry before it is looked at (sync.md 11.4).

use datascript::{Db, Eid, Index, Pattern, Value};

use super::item::{Fact, Item, Resolver, Verb, get, resolve, try_retain};
use super::value_set::{Key, OwnedKey, OwnedSet};
use super::{Op, Result, attrs};

/// Attributes that migrations removed, and properties of a view that each device keeps for itself (rule 1).
const DROPPED_ATTRS: [&str; 11] = [
    "block/path-refs",
    "block/pre-block?",
    "logseq.property.embedding/hnsw-label",
    "logseq.property.embedding/hnsw-label-updated-at",
    "logseq.property.view/gallery-card-size",
    "logseq.property.view/gallery-card-width",
    "logseq.property.view/gallery-card-height",
    "logseq.property.view/sort-groups-by-property",
    "logseq.property.view/sort-groups-desc?",
    "logseq.property.table/sorting",
    "logseq.property.asset/last-visit-page",
];

/// Key-value entities that each copy of a graph keeps for itself (rule 2).
const IGNORED_IDENTS: [&str; 7] = [
    "logseq.kv/graph-uuid",
    "logseq.kv/local-graph-uuid",
    "logseq.kv/graph-local-tx",
    "logseq.kv/remote-schema-version",
    "logseq.kv/latest-code-lang",
    "logseq.kv/graph-backup-folder",
    "logseq.kv/graph-last-gc-at",
];

/// Applies the rules of sync.md 11.4 in their order. Items that stay are neither copied nor moved, but for maps that lose
/// keys; what is appended are retractions of descendants, in ascending order.
///
/// Each rule takes one pass over the items, with a look-up or two for each; descendants are looked at once.
///
/// # Errors
///
/// Only when the database cannot be read: malformed items pass, for the transactor to refuse.
pub fn sanitise(db: &Db, op: Option<Op>, mut items: Vec<Value>) -> Result<Vec<Value>> {
    items.iter_mut().for_each(drop_keys);
    let survey = Survey::of(&items);
    let mut resolver = Resolver::new(db);
    let mut ignored = Ignored { refs: survey.ignored_refs, last: None };
    try_retain(&mut items, |item| {
        Ok(match Item::of(item) {
            Item::Fact(fact) => !is_dropped_attr(fact.a) && !ignored.contains(db, &mut resolver, fact.e)?,
            Item::RetractEntity(e) => !ignored.contains(db, &mut resolver, e)?,
            Item::Map(entries) => match get(entries, "db/id") {
                Some(id) => !ignored.contains(db, &mut resolver, id)?,
                None => true,
            },
            Item::Other => true,
        })
    })?;
    if survey.retracts_entities && op.is_some_and(Op::drops_stale_retracts) {
        try_retain(&mut items, |item| match Item::of(item) {
            Item::RetractEntity(e) => Ok(resolver.resolve(e)?.is_some()),
            _ => Ok(true),
        })?;
    }
    let is_delete = op.is_some_and(Op::is_delete);
    if survey.retracts_entities && is_delete {
        let retracted = retracted_eids(db, &items)?;
        if !retracted.is_empty() {
            try_retain(&mut items, |item| match Item::of(item) {
                Item::Fact(fact) => Ok(resolver.resolve(fact.e)?.is_none_or(|eid| !retracted.contains(&eid))),
                _ => Ok(true),
            })?;
        }
    }
    if survey.retracts_titles {
        drop_replaced_retracts(&mut items);
    }
    if survey.retracts_entities {
        let missing = missing_descendants(db, &items, is_delete)?;
        items.extend(missing.into_iter().map(retract_entity));
    }
    Ok(items)
}

/// `[:db/retractEntity eid]`
pub(crate) fn retract_entity(eid: Eid) -> Value {
    Value::vector([Value::keyword("db/retractEntity"), Value::from(eid)])
}

/// What there is in an entry, so that rules without work are skipped.
struct Survey {
    /// Entity references that this entry itself gives an ignored ident.
    ignored_refs: OwnedSet,
    retracts_entities: bool,
    retracts_titles: bool,
}

impl Survey {
    fn of(items: &[Value]) -> Self {
        let mut survey = Self { ignored_refs: OwnedSet::default(), retracts_entities: false, retracts_titles: false };
        for item in items {
            match Item::of(item) {
                Item::RetractEntity(_) => survey.retracts_entities = true,
                Item::Fact(fact) => {
                    survey.retracts_titles |= fact.verb == Verb::Retract && is_encrypted(fact.a);
                    if fact.a.is_keyword("db/ident") && is_ignored_ident(fact.v) {
                        survey.ignored_refs.insert(OwnedKey(fact.e.clone()));
                    }
                }
                Item::Map(entries) => {
                    if get(entries, "db/ident").is_some_and(is_ignored_ident)
                        && let Some(id) = get(entries, "db/id")
                    {
                        survey.ignored_refs.insert(OwnedKey(id.clone()));
                    }
                }
                Item::Other => {}
            }
        }
        survey
    }
}

/// Rule 2: references to ignored key-value entities.
struct Ignored {
    refs: OwnedSet,
    last: Option<(Eid, bool)>,
}

impl Ignored {
    fn contains(&mut self, db: &Db, resolver: &mut Resolver<'_>, reference: &Value) -> Result<bool> {
        if is_ignored_ident(reference) || (!self.refs.is_empty() && self.refs.contains(&OwnedKey(reference.clone()))) {
            return Ok(true);
        }
        let Some(eid) = resolver.resolve(reference)? else {
            return Ok(false);
        };
        match self.last {
            Some((last, ignored)) if last == eid => Ok(ignored),
            _ => {
                let ignored = db.value(eid, attrs::DB_IDENT)?.as_ref().is_some_and(is_ignored_ident);
                self.last = Some((eid, ignored));
                Ok(ignored)
            }
        }
    }
}

fn is_ignored_ident(value: &Value) -> bool {
    matches!(value, Value::Keyword(ident) if IGNORED_IDENTS.contains(&ident.as_str()))
}

fn is_dropped_attr(attr: &Value) -> bool {
    matches!(attr, Value::Keyword(attr) if DROPPED_ATTRS.contains(&attr.as_str()))
}

/// Takes the keys of rule 1 out of a map item, which stays even if nothing is left of it. Maps inside values are left alone.
fn drop_keys(item: &mut Value) {
    if let Value::Map(entries) = item
        && entries.iter().any(|(key, _)| is_dropped_attr(key))
    {
        *item = Value::Map(entries.iter().filter(|(key, _)| !is_dropped_attr(key)).cloned().collect());
    }
}

/// Attributes that end-to-end encrypted graphs hold as ciphertext.
fn is_encrypted(attr: &Value) -> bool {
    attr.is_keyword("block/title") || attr.is_keyword("block/name")
}

fn retracted_eids(db: &Db, items: &[Value]) -> Result<keyed::Set<Eid>> {
    let mut eids = keyed::Set::default();
    for item in items {
        if let Item::RetractEntity(e) = Item::of(item) {
            eids.extend(resolve(db, e)?);
        }
    }
    Ok(eids)
}

/// Rule 5: two ciphertexts of one plaintext may have become a retract and an add of the same value; the add wins.
fn drop_replaced_retracts(items: &mut Vec<Value>) {
    let keep: Vec<bool> = {
        let mut verbs: keyed::Map<(Key<'_>, Key<'_>, Key<'_>), (bool, bool)> = keyed::Map::default();
        for fact in items.iter().filter_map(encrypted_fact) {
            let seen = verbs.entry((Key(fact.e), Key(fact.a), Key(fact.v))).or_default();
            seen.0 |= fact.verb == Verb::Add;
            seen.1 |= fact.verb == Verb::Retract;
        }
        let replaced = |fact: Fact<'_>| verbs.get(&(Key(fact.e), Key(fact.a), Key(fact.v))) == Some(&(true, true));
        items
            .iter()
            .map(|item| !encrypted_fact(item).is_some_and(|fact| fact.verb == Verb::Retract && replaced(fact)))
            .collect()
    };
    let mut keep = keep.into_iter();
    items.retain(|_| keep.next().unwrap_or(true));
}

fn encrypted_fact(item: &Value) -> Option<Fact<'_>> {
    match Item::of(item) {
        Item::Fact(fact) if is_encrypted(fact.a) => Some(fact),
        _ => None,
    }
}

/// Rule 6: descendants of retracted blocks that the entry forgot, ascending. A small entry can have very many; an entry
/// that comes to nothing has them looked for again and again: the work that may be done bounds it.
fn missing_descendants(db: &Db, items: &[Value], is_delete: bool) -> Result<Vec<Eid>> {
    let retracted = retracted_eids(db, items)?;
    let mut queue = Vec::with_capacity(retracted.len());
    for eid in &retracted {
        if db.value(*eid, attrs::BLOCK_UUID)?.is_some() {
            queue.push(*eid);
        }
    }
    let mut descendants = keyed::Set::default();
    while let Some(parent) = queue.pop() {
        for datom in db.datoms(Index::Avet, &Pattern::av(attrs::BLOCK_PARENT, &Value::from(parent))) {
            let child = datom?.e;
            if descendants.insert(child) {
                queue.push(child);
            }
        }
    }
    descendants.retain(|eid| !retracted.contains(eid));
    if !is_delete && !descendants.is_empty() {
        let mut resolver = Resolver::new(db);
        for item in items {
            if let Some(eid) = touched(db, &mut resolver, item)? {
                descendants.remove(&eid);
            }
        }
    }
    let mut missing: Vec<Eid> = descendants.into_iter().collect();
    missing.sort_unstable();
    Ok(missing)
}

/// The entity that an item, other than a retraction of an entity, writes to.
fn touched(db: &Db, resolver: &mut Resolver<'_>, item: &Value) -> Result<Option<Eid>> {
    match Item::of(item) {
        Item::Fact(fact) => resolver.resolve(fact.e),
        Item::Map(entries) => match (get(entries, "db/id"), get(entries, "block/uuid")) {
            (Some(id), _) => resolver.resolve(id),
            (None, Some(uuid)) if !uuid.is_nil() => Ok(db.lookup(attrs::BLOCK_UUID, uuid)?),
            _ => Ok(None),
        },
        Item::RetractEntity(_) | Item::Other => Ok(None),
    }
}
