//! Which users and graphs were active on a day (sync.md 8.5).

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use database::{Database, Param};
use lru::LruCache;

use crate::Error;

/// How many pairs of day and entity are remembered as written.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

const MS_PER_DAY: i64 = 86_400_000;

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

/// Remembers what was written; the oldest entry is dropped first. There is one for each isolate or process, and clones
/// share it.
#[derive(Clone)]
pub struct ActivitySeen(Arc<Mutex<LruCache<String, (), keyed::Build>>>);

impl Default for ActivitySeen {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(LruCache::with_hasher(CAPACITY, keyed::Build::default()))))
    }
}

impl ActivitySeen {
    fn seen(&self) -> MutexGuard<'_, LruCache<String, (), keyed::Build>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The note to write about an entity that is active now. None when it was written today or is being written: while
    /// the database is slow, one write waits, not one for each request.
    pub fn note(&self, entity: Entity<'_>, now_ms: i64) -> Option<Note> {
        let (kind, id) = entity.parts();
        let day = day_utc(now_ms);
        let key = format!("{day} {kind} {id}");
        let mut seen = self.seen();
        if seen.contains(&key) {
            return None;
        }
        seen.put(key.clone(), ());
        Some(Note { seen: self.clone(), key, day, kind, id: id.to_owned(), now_ms, written: false })
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
            self.seen.seen().pop(&self.key);
        }
    }
}

/// The day in UTC as `YYYY-MM-DD` (days to civil date in the proleptic Gregorian calendar).
fn day_utc(now_ms: i64) -> String {
    // Days since 0000-03-01, so that the leap day is the last of its year.
    let days = now_ms.div_euclid(MS_PER_DAY) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
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
