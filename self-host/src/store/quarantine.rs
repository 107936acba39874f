//! Where repairs put what is in the way, and keep what they change as it was (self-host.md 7.2): nothing is ever deleted.

use std::ffi::OsString;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::DataDir;
use super::data_dir::make_folder;

/// A name beside a file.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// A folder of one repair.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine {
    folder: PathBuf,
    root: PathBuf,
}

impl Quarantine {
    /// The folder of the repair that began at this moment, as text without colons. None: that is no name of a moment.
    pub(crate) fn of(data: &DataDir, moment: &str) -> Option<Self> {
        let is_part = |part: &str| {
            (1..64).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_name = moment.split('.').count() <= 2 && moment.split('.').all(is_part);
        is_name.then(|| Self { folder: data.root().join("quarantine").join(moment), root: data.root().to_owned() })
    }

    fn place(&self, path: &Path) -> Result<PathBuf> {
        let place = self.folder.join(path.strip_prefix(&self.root).unwrap_or(path));
        place.parent().map_or(Ok(()), make_folder)?;
        Ok(place)
    }

    /// Moves a file or folder there; gives its place.
    pub(crate) fn take(&self, path: &Path) -> Result<PathBuf> {
        let place = self.place(path)?;
        std::fs::rename(path, &place)?;
        Ok(place)
    }

    /// Copies a database that nobody has open there, with what lies beside it.
    pub(crate) fn copy(&self, path: &Path) -> Result<PathBuf> {
        for end in ["-wal", "-shm"] {
            let more = beside(path, end);
            if more.is_file() {
                std::fs::copy(&more, self.place(&more)?)?;
            }
        }
        let place = self.place(path)?;
        std::fs::copy(path, &place)?;
        Ok(place)
    }

    /// Copies a database that somebody has open there, as it is at one moment.
    pub(crate) fn keep(&self, path: &Path) -> Result<PathBuf> {
        let place = self.place(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let shown = Connection::open_with_flags(path, flags).map_err(Error::other)?;
        shown.execute("VACUUM INTO ?", [place.to_string_lossy()]).map_err(Error::other)?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repair_has_a_folder_of_its_own_below_the_directory() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(parent.path()).unwrap();
        for name in ["", ".", "..", "a/b", "../x", "a.b.c", ".a", "a:b"] {
            assert!(Quarantine::of(&data, name).is_none(), "{name}");
        }
        let quarantine = Quarantine::of(&data, "2026-01-02T030405.678Z").unwrap();
        let file = data.root().join("graphs/g");
        std::fs::write(&file, "x").unwrap();
        let place = quarantine.take(&file).unwrap();
        assert_eq!(place, data.root().join("quarantine/2026-01-02T030405.678Z/graphs/g"));
        assert!(!file.exists() && place.is_file());
    }
}
