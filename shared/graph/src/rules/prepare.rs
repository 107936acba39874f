//! Pre-processing of transaction data before the transactor sees it (sync.md 11.5 b–d).

use datascript::{Db, Eid, Index, Pattern, Value};

use super::facts::Known;
use super::item::{get, resolve, retracted};
use super::sanitise::retract_entity;
use super::value_set::dedup;
use super::{Error, Op, Result, attrs, entity};

/// Keys of map items that are the client's own business.
const TEMPORARY_KEYS: [&str; 10] = [
    "block/children",
    "block/meta",
    "block/top?",
    "block/bottom?",
    "block/anchor",
    "block/level",
    "block/container",
    "db/other-tx",
    "block/unordered",
    "block.temp/load-status",
];

/// Strips temporary data and items without meaning, and, for `delete-blocks`, appends retractions of the whole subtrees.
/// The usual entry, of vectors only, passes untouched. Besides the subtrees, each item is looked at a fixed number of times.
///
/// # Errors
///
/// [`Error::Item`] for a tagged value, a datom among them: entries are written as operations. Else only when the
/// database cannot be read.
pub fn prepare(db: &Db, op: Option<Op>, mut items: Vec<Value>) -> Result<Vec<Value>> {
    if items.iter().any(|item| matches!(item, Value::Tagged(_))) {
        return Err(Error::Item);
    }
    for item in &mut items {
        if let Value::Map(entries) = item
            && let Some(stripped) = strip(entries)
        {
            *item = stripped;
        }
    }
    items.retain(|item| !is_meaningless(item));
    if op == Some(Op::DeleteBlocks) {
        expand_subtrees(db, &mut items)?;
    }
    Ok(items)
}

/// The map without temporary keys and nil values; `None` if it has none.
fn strip(entries: &[(Value, Value)]) -> Option<Value> {
    let dirty = entries.iter().any(|(key, value)| {
        value.is_nil() || is_temporary_key(key) || (key.is_keyword("block/refs") && has_temporary(value))
    });
    dirty.then(|| {
        let kept = entries.iter().filter(|(key, value)| !value.is_nil() && !is_temporary_key(key));
        Value::Map(
            kept.map(|(key, value)| {
                let value = if key.is_keyword("block/refs") { strip_refs(value) } else { value.clone() };
                (key.clone(), value)
            })
            .collect(),
        )
    })
}

fn is_temporary_key(key: &Value) -> bool {
    matches!(key, Value::Keyword(keyword) if TEMPORARY_KEYS.contains(&keyword.as_str()) || keyword.namespace() == Some("block.temp"))
}

fn is_temporary_attr(attr: &Value) -> bool {
    matches!(attr, Value::Keyword(keyword) if keyword.namespace() == Some("block.temp"))
}

fn members(value: &Value) -> Option<&[Value]> {
    value.as_seq().or_else(|| value.as_set())
}

fn has_temporary(refs: &Value) -> bool {
    members(refs)
        .unwrap_or_default()
        .iter()
        .any(|member| member.as_map().is_some_and(|map| map.iter().any(|(key, _)| is_temporary_attr(key))))
}

/// Referenced entities given as maps lose temporary attributes as well.
fn strip_refs(refs: &Value) -> Value {
    let Some(members) = members(refs) else {
        return refs.clone();
    };
    Value::vector(members.iter().map(|member| match member {
        Value::Map(map) => Value::Map(map.iter().filter(|(key, _)| !is_temporary_attr(key)).cloned().collect()),
        other => other.clone(),
    }))
}

/// Items that are dropped without harm: nil, bare integers, empty collections, temporary attributes, and definitions of
/// `:block/path-refs`.
fn is_meaningless(item: &Value) -> bool {
    match item {
        Value::Nil | Value::Int(_) => true,
        Value::Vector(parts) => match &**parts {
            [] => true,
            [Value::Keyword(op), _, attr, ..] => {
                matches!(op.as_str(), "db/add" | "db/retract") && is_temporary_attr(attr)
            }
            _ => false,
        },
        Value::List(parts) | Value::Set(parts) => parts.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Map(entries) => {
            entries.is_empty() || get(entries, "db/ident").is_some_and(|ident| ident.is_keyword("block/path-refs"))
        }
        _ => false,
    }
}

/// `delete-blocks` means the subtrees as they are now: appends a retraction of every plain block at or below the
/// retracted ones, breadth first, and drops repetitions. Each block is looked at once; the work that may be done bounds how
/// many there are to a small entry.
fn expand_subtrees(db: &Db, items: &mut Vec<Value>) -> Result<()> {
    let mut known = Known::default();
    let mut roots = Vec::new();
    let mut seen_roots = keyed::Set::default();
    for item in items.iter() {
        if let Some(reference) = retracted(item)
            && let Some(eid) = resolve(db, reference)?
            && seen_roots.insert(eid)
            && entity::is_plain_block(db, &mut known, eid)?
        {
            roots.push(eid);
        }
    }
    let mut seen: keyed::Set<Eid> = keyed::Set::default();
    for root in roots {
        // A root below an earlier root was reached from there, with all of its own descendants.
        let mut queue = std::collections::VecDeque::from([root]);
        while let Some(eid) = queue.pop_front() {
            if !seen.insert(eid) {
                continue;
            }
            items.push(retract_entity(eid));
            for datom in db.datoms(Index::Avet, &Pattern::av(attrs::BLOCK_PARENT, &Value::from(eid))) {
                let child = datom?.e;
                if entity::is_plain_block(db, &mut known, child)? {
                    queue.push_back(child);
                }
            }
        }
    }
    dedup(items);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Value> {
        transit::read_str(text).unwrap().as_seq().unwrap().to_vec()
    }

    #[test]
    fn items_without_meaning_go() {
        let mut items = read(
            r#"[1,null,[],["^ "],"",["~:db/add",1,"~:block.temp/x",1],["^ ","~:db/ident","~:block/path-refs"],["~:db/add",1,"~:a",2]]"#,
        );
        items.retain(|item| !is_meaningless(item));
        assert_eq!(items, read(r#"[["~:db/add",1,"~:a",2]]"#));
    }

    #[test]
    fn maps_lose_temporary_keys_and_nils() {
        let items = read(
            r#"[["^ ","~:db/id",1,"~:block/level",2,"~:a",null,"~:block.temp/x",1,"~:block/refs",[["^ ","~:db/id",3,"~:block.temp/y",1],4]]]"#,
        );
        let stripped = strip(items[0].as_map().unwrap()).unwrap();
        assert_eq!(vec![stripped], read(r#"[["^ ","~:db/id",1,"~:block/refs",[["^ ","~:db/id",3],4]]]"#));
        assert!(strip(read(r#"[["^ ","~:db/id",1,"~:block/refs",[4]]]"#)[0].as_map().unwrap()).is_none());
    }
}
