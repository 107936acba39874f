//! Which users and graphs were active on a day (sync.md 8.5).

use std::num::NonZeroUsize;
use std::sync::Arc;

use database::{Database, Param};
use keyed::Cache;
use time::UtcDateTime;

use crate::Error;

/// How many pairs of day and entity are remembered as written.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

const TOUCH: &str = "INSERT INTO daily_active_entities (day_utc, entity_type, entity_id, first_seen_at) \
    VALUES (?, ?, ?, ?) ON CONFLICT(day_utc, entity_type, entity_id) DO NOTHING";

/// What can be active.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Entity<'a> {
    /// A user, by id.
    User(&'a str),
    /// A graph, by id.
    Graph(&'a str),
}

impl<'a> Entity<'a> {
    const fn parts(self) -> (&'static str, &'a str) {
        match self {
            Self::User(id) => ("user", id),
            Self::Graph(id) => ("graph", id),
        }
    }
}

/// Remembers what was written. There is one for each isolate or process, and clones share it.
#[derive(Clone, Debug)]
pub struct ActivitySeen(Arc<Cache<String, ()>>);

impl Default for ActivitySeen {
    fn default() -> Self {
        Self(Arc::new(Cache::new(CAPACITY)))
    }
}

impl ActivitySeen {
    /// The note to write about an entity that is active now. None when it was written today or is being written: while
    /// the database is slow, one write waits, not one for each request.
    pub fn note(&self, entity: Entity<'_>, now_ms: i64) -> Option<Note> {
        let (kind, id) = entity.parts();
        let day = day_utc(now_ms);
        let key = format!("{day} {kind} {id}");
        // The key names the day: it means nothing on another one, and needs no end.
        let is_new = self.0.put_if_absent(key.clone(), (), now_ms..i64::MAX);
        is_new.then(|| Note { seen: self.clone(), key, day, kind, id: id.to_owned(), now_ms, written: false })
    }
}

/// A note to be written. When it is dropped unwritten, the next request makes a new one.
pub struct Note {
    seen: ActivitySeen,
    key: String,
    day: String,
    kind: &'static str,
    id: String,
    now_ms: i64,
    written: bool,
}

impl Note {
    /// Writes the note.
    pub async fn write(mut self, db: &impl Database) -> Result<(), Error> {
        let params = [Param::Text(&self.day), Param::Text(self.kind), Param::Text(&self.id), Param::Int(self.now_ms)];
        db.execute(TOUCH, &params).await?;
        self.written = true;
        Ok(())
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if !self.written {
            self.seen.0.remove(&self.key);
        }
    }
}

/// The day in UTC as `YYYY-MM-DD`.
pub(crate) fn day_utc(now_ms: i64) -> String {
    // No clock leaves the years -9999 to 9999, which are all that this type knows.
    let now = UtcDateTime::from_unix_timestamp(now_ms.div_euclid(1000)).unwrap_or(UtcDateTime::UNIX_EPOCH);
    format!("{:04}-{:02}-{:02}", now.year(), u8::from(now.month()), now.day())
}

#[cfg(test)]
mod tests {
    use super::day_utc;

    #[test]
    fn days_are_utc() {
        for (ms, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000, "2000-02-29"),
            (1_709_164_799_999, "2024-02-28"),
            (1_709_164_800_000, "2024-02-29"),
            (1_735_689_599_999, "2024-12-31"),
            (1_735_689_600_000, "2025-01-01"),
        ] {
            assert_eq!(day_utc(ms), day);
        }
    }
}
