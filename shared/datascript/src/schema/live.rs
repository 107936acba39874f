//! Changes of the schema by facts about attributes (datascript.md 8.2).

use std::rc::Rc;

use transit::{Keyword, Value};

use super::{Entries, Key, Schema};
use crate::Eid;
use crate::attrs::Attr;

/// A schema fact to retract is not in the schema.
#[derive(Debug)]
pub(crate) struct RetractMissing;

/// Entries of an attribute map.
type Facts = Vec<(Value, Value)>;

fn facts(value: &Value) -> Facts {
    value.as_map().unwrap_or_default().to_vec()
}

fn put(facts: &mut Facts, key: Value, value: Value) {
    match facts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, slot)) => *slot = value,
        None => facts.push((key, value)),
    }
}

fn map(facts: Facts) -> Value {
    Value::Map(facts.into())
}

impl Schema {
    /// Takes in the assertion `[e attr value]`; `attr` is one of the live attributes.
    pub(crate) fn assert(&mut self, e: Eid, attr: Attr, value: &Value) {
        if attr == self.ident {
            self.assert_ident(e, value);
        } else {
            let name = Value::Keyword(self.attrs.keyword(attr));
            match self.target(e) {
                Some(key) => self.edit(&key, |facts| put(facts, name, value.clone())),
                None => self.set(Key::Entity(e), map(vec![(name, value.clone())])),
            }
        }
    }

    /// `schema[v] = merge(schema[e] if a map, schema[v], {:db/ident v}); schema[e] = v`.
    fn assert_ident(&mut self, e: Eid, ident: &Value) {
        let key = self.key(ident);
        let entries = &self.inner.entries;
        let mut merged = entries.get(&Key::Entity(e)).map(facts).unwrap_or_default();
        for (name, value) in entries.get(&key).map(facts).unwrap_or_default() {
            put(&mut merged, name, value);
        }
        put(&mut merged, Value::Keyword(self.attrs.keyword(self.ident)), ident.clone());
        self.set(key, map(merged));
        self.set(Key::Entity(e), ident.clone());
    }

    /// Takes in the retraction of `[e attr value]`.
    pub(crate) fn retract(&mut self, e: Eid, attr: Attr, value: &Value) -> Result<(), RetractMissing> {
        let name = self.attrs.keyword(attr);
        if attr == self.ident {
            let key = self.key(value);
            let mut rest = self.inner.entries.get(&key).map(facts).ok_or(RetractMissing)?;
            rest.retain(|(known, _)| !is_keyword(known, &name));
            self.set(Key::Entity(e), map(rest));
            self.remove(&key);
            return Ok(());
        }
        let key = self.target(e).ok_or(RetractMissing)?;
        let of_entity = key == Key::Entity(e);
        self.edit(&key, |facts| {
            // On an entity's own map the reference drops the value as a key too.
            facts.retain(|(known, _)| !(is_keyword(known, &name) || of_entity && known == value));
        });
        Ok(())
    }

    /// Where facts about entity `e` belong: the entry of its ident, else its own; none if it has neither.
    pub(super) fn target(&self, e: Eid) -> Option<Key> {
        let own = Key::Entity(e);
        let entry = self.inner.entries.get(&own)?;
        if !matches!(entry, Value::Map(_)) {
            let ident = self.key(entry);
            if self.inner.entries.contains_key(&ident) {
                return Some(ident);
            }
        }
        Some(own)
    }

    fn edit(&mut self, key: &Key, change: impl FnOnce(&mut Facts)) {
        let mut facts = self.inner.entries.get(key).map(facts).unwrap_or_default();
        change(&mut facts);
        self.set(key.clone(), map(facts));
    }

    fn set(&mut self, key: Key, entry: Value) {
        let attr = key.attr();
        self.measure(&key, Some(&entry));
        self.entries_mut().insert(key, entry);
        if let Some(attr) = attr {
            self.refresh(attr);
        }
    }

    fn remove(&mut self, key: &Key) {
        self.measure(key, None);
        // The order of entries has no meaning, so the last one may take the place of the one removed.
        self.entries_mut().swap_remove(key);
        if let Some(attr) = key.attr() {
            self.refresh(attr);
        }
    }

    fn entries_mut(&mut self) -> &mut Entries {
        &mut Rc::make_mut(&mut self.inner).entries
    }
}

fn is_keyword(value: &Value, keyword: &Keyword) -> bool {
    matches!(value, Value::Keyword(known) if known == keyword)
}
