//! Splitting a large entry into transactions (sync.md 11.10).

use std::ops::Range;

use datascript::{Db, Value};

use super::facts::Known;
use super::item::{Item, get};
use super::value_set::{Key, ValueMap};
use super::{Op, Result};

/// A sanitised entry of so many items is large.
pub const LARGE_ENTRY_ITEMS: usize = 500;
/// A chunk has no more items than this, unless items that belong together are more.
pub const MAX_CHUNK_ITEMS: usize = 500;

/// Whether an entry is applied in chunks.
pub fn is_large(op: Option<Op>, items: &[Value]) -> bool {
    op != Some(Op::DbMigrate) && items.len() >= LARGE_ENTRY_ITEMS
}

/// The chunks of an entry, as consecutive ranges of its items: all items that mention one tempid, with everything between
/// them, stay together.
///
/// # Errors
///
/// Only when the database cannot be read.
pub fn chunks(db: &Db, items: &[Value]) -> Result<Vec<Range<usize>>> {
    let mut spans = spans(db, items)?.into_iter().peekable();
    let mut chunks = Vec::new();
    let mut chunk = 0..0;
    while chunk.end < items.len() {
        let end = match spans.next_if(|span| span.start == chunk.end) {
            Some(span) => span.end,
            None => chunk.end + 1,
        };
        if !chunk.is_empty() && end - chunk.start > MAX_CHUNK_ITEMS {
            chunks.push(chunk.clone());
            chunk.start = chunk.end;
        }
        chunk.end = end;
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// From the first to the last item of each tempid; ranges that share an item are joined. Ascending. Tempids are at most two
/// an item.
///
/// Items that one tempid holds together may be all of the entry, which is then one transaction: nothing that is done for a
/// transaction may cost more than its items.
fn spans(db: &Db, items: &[Value]) -> Result<Vec<Range<usize>>> {
    let mut known = Known::default();
    let mut by_tempid: ValueMap<'_, Range<usize>> = ValueMap::default();
    for (i, item) in items.iter().enumerate() {
        for tempid in tempids(db, &mut known, item)?.into_iter().flatten() {
            by_tempid.entry(Key(tempid)).or_insert(i..i + 1).end = i + 1;
        }
    }
    let mut ranges: Vec<Range<usize>> = by_tempid.into_values().collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    Ok(merged)
}

/// The tempids that an item mentions.
fn tempids<'a>(db: &Db, known: &mut Known, item: &'a Value) -> Result<[Option<&'a Value>; 2]> {
    let tempid = |value: &'a Value| is_tempid(value).then_some(value);
    Ok(match Item::of(item) {
        Item::Map(entries) => [get(entries, "db/id").and_then(tempid), None],
        Item::RetractEntity(e) => [tempid(e), None],
        Item::Fact(fact) => {
            let in_value = match tempid(fact.v) {
                Some(value) if is_ref(db, known, fact.a)? => Some(value),
                _ => None,
            };
            [tempid(fact.e), in_value]
        }
        Item::Other => [None, None],
    })
}

fn is_tempid(value: &Value) -> bool {
    matches!(value, Value::String(_)) || value.as_int().is_some_and(|number| number < 0)
}

fn is_ref(db: &Db, known: &mut Known, attr: &Value) -> Result<bool> {
    match attr.as_keyword().and_then(|keyword| db.attr(keyword.as_str())) {
        Some(attr) => known.is_ref(db, attr),
        None => Ok(false),
    }
}
