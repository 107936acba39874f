//! How much room there is on the disk of the data directory (self-host.md 9.1).

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::census::Found;
use super::live::Live;
use crate::metrics::{Census, Disk};
use crate::store::{INDEX, LAST_BACKUP};

/// How long an answer of the system holds.
const HOLDS: Duration = Duration::from_secs(1);

/// Room on a disk, and how much of it large bodies leave alone.
pub(crate) struct Space {
    path: PathBuf,
    /// Bytes that large bodies leave alone.
    pub(crate) reserve: Live<u64>,
    last: Mutex<Option<(Instant, u64)>>,
    /// What lies in the directory.
    pub(super) found: Found,
}

impl Space {
    /// The disk of a directory; `reserve` bytes are not taken by uploads and assets.
    pub(crate) fn new(path: &Path, reserve: u64) -> Self {
        Self { path: path.to_owned(), reserve: Live::new(reserve), last: Mutex::default(), found: Found::default() }
    }

    /// Whether a body of this length, where it is known, leaves the reserve alone.
    pub(crate) fn takes(&self, length: Option<u64>) -> bool {
        self.free().checked_sub(length.unwrap_or(0)).is_some_and(|left| left >= self.reserve.get())
    }
}

impl Disk for Space {
    fn census(&self) -> Census {
        self.found.get(&self.path.join(INDEX))
    }

    /// Bytes that are free for us. Where the system does not say, there is room.
    fn free(&self) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, free)) = *last
            && at.elapsed() < HOLDS
        {
            return free;
        }
        let free = rustix::fs::statvfs(&self.path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        *last = Some((Instant::now(), free));
        free
    }

    fn last_backup(&self) -> u64 {
        let made = self.path.join(LAST_BACKUP).metadata().and_then(|meta| meta.modified());
        made.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::new(folder.path(), 0);
        assert!(space.free() > 0 && space.takes(Some(1)) && !space.takes(Some(u64::MAX)));
        assert!(!Space::new(folder.path(), u64::MAX).takes(None));
        let unknown = Space::new(Path::new("/nowhere/at/all"), 1 << 20);
        assert!(unknown.takes(Some(1)), "nobody says that there is no room");
    }
}
