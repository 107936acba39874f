//! What is wrong with storage (self-host.md 9.1): counted, logged once a minute, and told to the operator until it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use database::Trouble;

/// How often a failure of a kind is logged: with a full disk there would be one for each request.
const LOGGED_MS: i64 = 60_000;

/// How often a damaged file is looked at again, at most: a disk that fails may have been taken for damage.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// What is wrong, by kind.
#[derive(Debug, Default)]
pub(crate) struct Condition(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    kinds: BTreeMap<&'static str, Kind>,
    /// Graphs whose file is damaged: as many as there are files at most.
    damaged: BTreeMap<PathBuf, (Option<File>, Instant)>,
    /// Graphs whose log could not be synced, and that are not written until what it holds is known to be on the disk.
    doubtful: BTreeSet<PathBuf>,
    index_damaged: bool,
    /// When it was logged last that there is little room; none while there is enough.
    low: Option<i64>,
}

/// Failures of one kind.
#[derive(Debug, Default)]
struct Kind {
    count: u64,
    logged: Option<i64>,
    /// It goes on, as far as is known.
    lasts: bool,
}

/// Which file lies at a path, and in which state: another one than was found damaged may be whole.
#[derive(Debug, PartialEq, Eq)]
struct File {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl File {
    fn at(path: &Path) -> Option<Self> {
        let meta = path.metadata().ok()?;
        Some(Self { inode: meta.ino(), length: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// The label of a kind in the metrics (self-host.md 4.2).
fn label(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Full => "full",
        Trouble::ReadOnly => "readonly",
        Trouble::Unavailable => "io",
        Trouble::Damaged => "corrupt",
    }
}

impl Condition {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Storage has failed. True: it is to be logged.
    pub(crate) fn failed(&self, trouble: Trouble, now_ms: i64) -> bool {
        let kind = &mut *self.inner();
        let kind = kind.kinds.entry(label(trouble)).or_default();
        kind.count += 1;
        // What is damaged is known by its file.
        kind.lasts = trouble != Trouble::Damaged;
        let due = kind.logged.is_none_or(|logged| now_ms.saturating_sub(logged) >= LOGGED_MS);
        if due {
            kind.logged = Some(now_ms);
        }
        due
    }

    /// Whether a failure was seen, and not yet that it is over.
    pub(crate) fn lasts(&self) -> bool {
        self.inner().kinds.values().any(|kind| kind.lasts)
    }

    /// Something was written to the disk. True: a failure is over by that.
    pub(crate) fn works(&self) -> bool {
        let mut over = false;
        for kind in self.inner().kinds.values_mut() {
            over |= std::mem::take(&mut kind.lasts);
        }
        over
    }

    /// There is less room than is to be left alone, or there is enough again. True: that there is little is to be logged.
    pub(crate) fn low(&self, low: bool, now_ms: i64) -> bool {
        let logged = &mut self.inner().low;
        let due = low && logged.is_none_or(|logged| now_ms.saturating_sub(logged) >= LOGGED_MS);
        if due {
            *logged = Some(now_ms);
        } else if !low {
            *logged = None;
        }
        due
    }

    /// The file of a graph is damaged. True: that was not known.
    pub(crate) fn damaged(&self, file: &Path) -> bool {
        self.inner().damaged.insert(file.to_owned(), (File::at(file), Instant::now())).is_none()
    }

    /// Whether the file of a graph was found damaged, and is still the same.
    pub(crate) fn is_damaged(&self, file: &Path) -> bool {
        let damaged = &mut self.inner().damaged;
        let Some((found, _)) = damaged.get(file) else { return false };
        let same = *found == File::at(file);
        if !same {
            damaged.remove(file);
        }
        same
    }

    /// Whether it is time to look again whether a damaged file is damaged. Whoever asks looks.
    pub(crate) fn looks_again(&self, file: &Path) -> bool {
        let mut inner = self.inner();
        let Some((_, looked)) = inner.damaged.get_mut(file) else { return false };
        let due = looked.elapsed() >= LOOKED_AT;
        if due {
            *looked = Instant::now();
        }
        due
    }

    /// A file that was found damaged is whole.
    pub(crate) fn whole(&self, file: &Path) {
        self.inner().damaged.remove(file);
    }

    /// How many graphs are damaged.
    pub(crate) fn damaged_graphs(&self) -> usize {
        self.inner().damaged.len()
    }

    /// The index is damaged.
    pub(crate) fn index_is_damaged(&self) {
        self.inner().index_damaged = true;
    }

    /// Whether a graph is read only, because its log could not be synced.
    pub(crate) fn doubt(&self, file: &Path, doubtful: bool) {
        if doubtful {
            self.inner().doubtful.insert(file.to_owned());
        } else {
            self.inner().doubtful.remove(file);
        }
    }

    /// What is wrong at the moment, in words.
    pub(crate) fn degraded(&self) -> Vec<&'static str> {
        let inner = self.inner();
        let lasts = |kind| inner.kinds.get(kind).is_some_and(|kind| kind.lasts);
        [
            (lasts("full"), "storage full"),
            (inner.low.is_some(), "little space"),
            (lasts("readonly"), "storage read-only"),
            (lasts("io") || !inner.doubtful.is_empty(), "storage unavailable"),
            (!inner.damaged.is_empty(), "graph damaged"),
            (inner.index_damaged, "index damaged"),
        ]
        .into_iter()
        .filter_map(|(is_so, text)| is_so.then_some(text))
        .collect()
    }

    /// How often storage has failed, by kind.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        self.inner().kinds.iter().map(|(kind, it)| (*kind, it.count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_lasts_until_something_is_written_and_is_logged_once_a_minute() {
        let condition = Condition::default();
        assert!(!condition.lasts() && condition.degraded().is_empty());
        assert!(condition.failed(Trouble::Full, 0) && !condition.failed(Trouble::Full, 59_999));
        assert!(condition.failed(Trouble::ReadOnly, 1), "another kind");
        assert!(condition.failed(Trouble::Full, 60_000));
        assert_eq!(condition.degraded(), ["storage full", "storage read-only"]);
        assert!(condition.works() && !condition.works() && !condition.lasts());
        assert!(condition.degraded().is_empty());
        assert_eq!(condition.counts(), [("full", 3), ("readonly", 1)], "what was counted stays");
    }

    #[test]
    fn little_room_is_logged_once_a_minute_while_it_lasts() {
        let condition = Condition::default();
        assert!(!condition.low(false, 0));
        assert!(condition.low(true, 0) && !condition.low(true, 5_000) && condition.low(true, 60_000));
        assert_eq!(condition.degraded(), ["little space"]);
        condition.low(false, 61_000);
        assert!(condition.degraded().is_empty() && condition.low(true, 62_000));
    }

    #[test]
    fn a_damaged_graph_is_one_until_another_file_lies_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db.sqlite");
        std::fs::write(&file, "broken").unwrap();
        let condition = Condition::default();
        assert!(condition.damaged(&file) && !condition.damaged(&file) && condition.is_damaged(&file));
        assert_eq!((condition.damaged_graphs(), condition.degraded()), (1, vec!["graph damaged"]));
        assert!(!condition.looks_again(&file), "it was just looked at");
        condition.whole(&file);
        assert!(!condition.is_damaged(&file) && condition.damaged(&file));
        std::fs::write(folder.path().join("whole"), "whole!").unwrap();
        std::fs::rename(folder.path().join("whole"), &file).unwrap();
        assert!(!condition.is_damaged(&file));
        assert_eq!(condition.damaged_graphs(), 0);
    }

    #[test]
    fn a_graph_in_doubt_and_a_damaged_index_are_told() {
        let condition = Condition::default();
        condition.doubt(Path::new("g"), true);
        condition.index_is_damaged();
        assert_eq!(condition.degraded(), ["storage unavailable", "index damaged"]);
        condition.doubt(Path::new("g"), false);
        assert_eq!(condition.degraded(), ["index damaged"]);
    }
}
