//! How much of the root row a schema takes.

use std::rc::Rc;

use transit::{Value, write_string};

use super::{Key, Schema};
use crate::Eid;
use crate::attrs::Attr;
use crate::storage::MAX_ROW_TEXT;

/// Bytes at most of everything in the root row that is not schema: counters, addresses and counts of three trees.
const OTHER_FIELDS: usize = 1000;

impl Schema {
    /// Whether the schema can be stored: the root row holds all of it, and no row has more than 2,000,000 bytes
    /// (datascript.md 13.4).
    pub fn fits_a_row(&self) -> bool {
        let limit = MAX_ROW_TEXT - OTHER_FIELDS;
        // The text in the row spells repeated names once, so it is shorter than its parts are together.
        let parts = || self.inner.entries.iter().map(|(key, entry)| self.part(key, entry)).sum();
        *self.inner.text.get_or_init(parts) <= limit || write_string(&self.to_value()).len() <= limit
    }

    /// About how many steps ([`Work`](crate::Work)) it takes to tell whether it [fits](Self::fits_a_row): none while the parts
    /// are known to, all entries where they have to be summed up or written.
    pub fn steps_to_measure(&self) -> u64 {
        let is_known = self.inner.text.get().is_some_and(|text| *text <= MAX_ROW_TEXT - OTHER_FIELDS);
        if is_known { 0 } else { 2 * self.inner.entries.len() as u64 }
    }

    /// Keeps the measure up to date when an entry is about to be set or, without a new one, removed.
    pub(super) fn measure(&mut self, key: &Key, new: Option<&Value>) {
        let Some(text) = self.inner.text.get() else { return };
        let old = self.inner.entries.get(key).map_or(0, |entry| self.part(key, entry));
        let new = new.map_or(0, |entry| self.part(key, entry));
        let text = text.saturating_sub(old).saturating_add(new);
        Rc::make_mut(&mut self.inner).text = text.into();
    }

    /// About how many steps ([`Work`](crate::Work)) it takes to take in or out the fact `[e attr value]`: copying a shared
    /// schema, and measuring the entry that changes, which is written for that.
    pub(crate) fn cost(&self, e: Eid, attr: Attr, value: &Value) -> u64 {
        let copied =
            if Rc::strong_count(&self.inner) > 1 { self.inner.entries.len() + self.inner.flags.len() / 8 } else { 0 };
        let entry = match self.target(e) {
            Some(key) if attr != self.ident => self.inner.entries.get(&key),
            _ => None,
        };
        let facts = entry.and_then(Value::as_map).unwrap_or_default();
        let bytes: usize = facts.iter().map(|(_, value)| breadth(value)).sum();
        let refs = if self.flags(attr).is_live() { self.inner.refs.len() / 32 } else { 0 };
        (copied / 2 + (bytes + breadth(value)) / 32 + refs) as u64
    }

    /// Bytes of one entry's text when nothing before it can be referred to; a little more, as both parts are written as
    /// texts of their own.
    fn part(&self, key: &Key, entry: &Value) -> usize {
        write_string(&self.key_value(key)).len() + write_string(entry).len()
    }
}

/// About how many bytes of text a fact about an attribute takes.
fn breadth(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Vector(items) | Value::List(items) | Value::Set(items) => items.len() * 16,
        Value::Map(entries) => entries.len() * 32,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attrs::Attrs;

    fn tags(schema: &mut Schema, range: std::ops::Range<u32>) {
        for e in range {
            schema.assert(e, schema.ident_attr(), &Value::keyword(&format!("user.class/tag-{e:020}-AbCdEfGh")));
        }
    }

    #[test]
    fn the_measure_is_never_less_than_the_text() {
        let mut schema = Schema::new(Attrs::new(&[]));
        assert!(schema.fits_a_row());
        let index = schema.attrs().intern_str("db/index");
        for e in 1..3000 {
            tags(&mut schema, e..e + 1);
            if e % 3 == 0 {
                schema.assert(e, index, &Value::Bool(true));
            }
            if e % 7 == 0 {
                let ident = Value::keyword(&format!("user.class/tag-{e:020}-AbCdEfGh"));
                assert!(schema.retract(e, schema.ident_attr(), &ident).is_ok());
            }
        }
        let measure = *schema.inner.text.get().expect("was asked for");
        let fresh = Schema::from_value(Rc::clone(schema.attrs()), &schema.to_value());
        assert!(fresh.fits_a_row());
        assert_eq!(Some(&measure), fresh.inner.text.get(), "what is carried on is what a new sum gives");
        let text = write_string(&schema.to_value()).len();
        assert!(text <= measure && measure < 3 * text, "{text} bytes measured as {measure}");
    }

    /// How far a graph can go (sync.md 7.5): tags, and properties with all that defines one, under idents as clients make
    /// them of a title of two words.
    #[test]
    fn a_schema_is_as_long_as_a_row_and_no_longer() {
        for (kind, is_property, least) in [("class", false, 28_000), ("property", true, 19_000)] {
            let mut schema = Schema::new(Attrs::new(&[]));
            let attr = |name: &str| schema.attrs().intern_str(name);
            let facts = [
                (attr("db/cardinality"), Value::keyword("db.cardinality/many")),
                (attr("db/valueType"), Value::keyword("db.type/ref")),
                (attr("db/index"), Value::Bool(true)),
            ];
            let mut count = 0;
            while schema.fits_a_row() {
                for _ in 0..100 {
                    count += 1;
                    let ident = Value::keyword(&format!("user.{kind}/reading-list-{count:05}Ab"));
                    schema.assert(1_000 + count, schema.ident_attr(), &ident);
                    for (attr, value) in facts.iter().filter(|_| is_property) {
                        schema.assert(1_000 + count, *attr, value);
                    }
                }
            }
            let text = write_string(&schema.to_value()).len();
            assert!((1_999_000..2_020_000).contains(&text), "{text}");
            assert!(count > least, "{count} of {kind}");
        }
    }
}
