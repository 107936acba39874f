//! The log of a source, as it is read piece by piece (pg-sync.md 4.2, 4.13).

use database::local::{Sql, SqlError};
use durable_streams::Extent;
use serde_json::{Value as Json, json};
use url::form_urlencoded;

use crate::bridge::Gap;
use crate::change::Change;
use crate::events;
use crate::store::Store;

/// Changes of one answer where nothing is asked for.
const DEFAULT_LIMIT: usize = 100;
/// The longest time that a reader may wait, in seconds.
const MAX_WAIT_S: u64 = 20;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Changes above this number.
    pub after: u64,
    /// So many at most.
    pub limit: usize,
    /// How long to wait for the first of them, in seconds.
    pub wait_s: u64,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Read {
    /// The body of the answer.
    Changes(Json),
    /// What follows the number is not kept any more (410): the oldest that is.
    Gone(u64),
}

impl Wanted {
    /// Reads a query. Unknown parameters are passed over; its work is that of the query's length.
    ///
    /// # Errors
    /// The name of a parameter that is wrong (400).
    pub fn read(query: &str) -> Result<Self, &'static str> {
        let mut wanted = Self { after: 0, limit: DEFAULT_LIMIT, wait_s: 0 };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "after" => wanted.after = value.parse().map_err(|_| "after")?,
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=durable_streams::MAX_MESSAGES).contains(limit));
                    wanted.limit = limit.ok_or("limit")?;
                }
                "wait" => wanted.wait_s = value.parse().ok().filter(|wait| *wait <= MAX_WAIT_S).ok_or("wait")?,
                _ => {}
            }
        }
        Ok(wanted)
    }
}

/// What there is; none when there is nothing yet. `is_over` says that nothing more is waited for.
pub fn read<S: Sql>(
    store: &Store<S>,
    source_id: &str,
    extent: Extent,
    wanted: Wanted,
    is_over: bool,
) -> Result<Option<Read>, SqlError> {
    let Wanted { after, limit, .. } = wanted;
    if after.saturating_add(1) < extent.first_seq {
        return Ok(Some(Read::Gone(extent.first_seq)));
    }
    if extent.last_seq <= after && !is_over {
        return Ok(None);
    }
    let (changes, next_after) =
        if extent.last_seq > after { events::page(store, extent, after, limit)? } else { (Vec::new(), after) };
    let changes: Vec<Json> = changes.iter().map(Change::to_json).collect();
    let gaps: Vec<Json> = store.gaps(after)?.iter().map(shown).collect();
    Ok(Some(Read::Changes(json!({
        "source_id": source_id,
        "incarnation": extent.incarnation,
        "changes": changes,
        "next_after": next_after,
        "first_seq": extent.first_seq,
        "last_seq": extent.last_seq,
        "gaps": gaps,
    }))))
}

fn shown(gap: &Gap) -> Json {
    json!({"seq": gap.seq, "reason": gap.reason.as_str(), "at": gap.at})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let wanted = |after, limit, wait_s| Ok(Wanted { after, limit, wait_s });
        assert_eq!(Wanted::read(""), wanted(0, 100, 0));
        assert_eq!(Wanted::read("after=7&limit=500&wait=20&x=y"), wanted(7, 500, 20));
        for (query, name) in [
            ("after=-1", "after"),
            ("after=", "after"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("wait=21", "wait"),
            ("wait=x", "wait"),
        ] {
            assert_eq!(Wanted::read(query), Err(name), "{query}");
        }
    }
}
