//! The data directory (sync.md 15.3, self-host.md 8).

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::draft::Draft;

/// Why a directory cannot be served from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// It is not there and cannot be made.
    #[error("the data directory {path} cannot be created: {cause}")]
    Create {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// Nothing can be written in it.
    #[error("the data directory {0} is read-only")]
    ReadOnly(PathBuf),
    /// Permissions forbid it.
    #[error("the data directory {path}: {cause}")]
    Refused {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Everybody may write into it.
    #[error("everybody may write into the data directory {0}: chmod o-w")]
    Open(PathBuf),
    /// A name below it leads elsewhere.
    #[error("{0} is a symbolic link, which is not followed")]
    Link(PathBuf),
    /// Something else.
    #[error("{path}: {cause}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What happened.
        cause: std::io::Error,
    },
}

/// The file that says when the last backup was made.
pub(crate) const LAST_BACKUP: &str = ".last-backup";

/// The file of bridges to databases.
pub(crate) const PG_SYNC: &str = "pg-sync.sqlite";

/// The file of the index.
pub(crate) const INDEX: &str = "index.sqlite";

/// Where everything lies.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Makes the directory and its folders where they are missing. Nothing that is there is touched: a server may be
    /// running on it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let create = |path: &Path, cause: std::io::Error| match cause.kind() {
            ErrorKind::ReadOnlyFilesystem => DataDirError::ReadOnly(path.to_owned()),
            ErrorKind::PermissionDenied => DataDirError::Refused { path: path.to_owned(), cause },
            _ => DataDirError::Create { path: path.to_owned(), cause },
        };
        make_folder(path).map_err(|cause| create(path, cause))?;
        // The directory itself may be a link; nothing below it is.
        let root = path.canonicalize().map_err(|cause| create(path, cause))?;
        let mode = root.metadata().map_err(|cause| create(path, cause))?.permissions().mode();
        if mode & 0o002 != 0 {
            return Err(DataDirError::Open(root));
        }
        let dir = Self { root };
        for folder in [dir.graphs(), dir.assets(), dir.tmp(), dir.root.join("secrets")] {
            refuse_link(&folder)?;
            make_folder(&folder).map_err(|cause| create(&folder, cause))?;
        }
        dir.try_writing()?;
        Ok(dir)
    }

    /// The directory as it is: nothing is made or tried, as it may lie on read-only media.
    pub(crate) fn look(path: &Path) -> Result<Self, DataDirError> {
        let root = path.canonicalize().map_err(|cause| DataDirError::Io { path: path.to_owned(), cause })?;
        Ok(Self { root })
    }

    /// The directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The index.
    pub(crate) fn index(&self) -> PathBuf {
        self.root.join(INDEX)
    }

    /// What the directory says of its format.
    pub(crate) fn format(&self) -> PathBuf {
        self.root.join(".format")
    }

    /// Stored users and their tokens.
    pub(crate) fn users(&self) -> PathBuf {
        self.root.join("self-host.sqlite")
    }

    /// Bridges to databases whose changes are observed.
    pub(crate) fn pg_sync(&self) -> PathBuf {
        self.root.join(PG_SYNC)
    }

    /// The secret that signs links to assets, where none is configured.
    pub(crate) fn link_secret(&self) -> PathBuf {
        self.root.join("secrets/asset-link")
    }

    /// The folder of a graph.
    pub(crate) fn graph(&self, folder: &str) -> PathBuf {
        self.graphs().join(folder)
    }

    fn graphs(&self) -> PathBuf {
        self.root.join("graphs")
    }

    /// The folder of assets.
    pub(crate) fn assets(&self) -> PathBuf {
        self.root.join("assets")
    }

    /// Files under construction.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Throws away what a server that was killed has left half done. For who has the lock alone: to anybody else these are
    /// files that a running server is about to finish.
    pub(crate) fn empty_tmp(&self) -> Result<(), DataDirError> {
        let tmp = self.tmp();
        let failed = |cause| DataDirError::Io { path: tmp.clone(), cause };
        for entry in tmp.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_file() {
                match std::fs::remove_file(entry.path()) {
                    // A verb, or a server that does not get the lock, tried to write at this moment and is done.
                    Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                    outcome => outcome.map_err(|cause| self.write_failure(&entry.path(), cause))?,
                }
            }
        }
        Ok(())
    }

    fn try_writing(&self) -> Result<(), DataDirError> {
        let tmp = self.tmp();
        // It goes at once, unless a server that starts has thrown it away already.
        Draft::create(&tmp).map(drop).map_err(|cause| self.write_failure(&tmp, cause))
    }

    /// Why something cannot be written: the directory as a whole, or one path in it.
    fn write_failure(&self, path: &Path, cause: std::io::Error) -> DataDirError {
        match cause.kind() {
            ErrorKind::ReadOnlyFilesystem => DataDirError::ReadOnly(self.root.clone()),
            ErrorKind::PermissionDenied => DataDirError::Refused { path: self.root.clone(), cause },
            _ => DataDirError::Io { path: path.to_owned(), cause },
        }
    }
}

/// Makes a folder that others cannot look into, and those above it; one that is there stays as it is.
pub(super) fn make_folder(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// A name below the data directory must not lead out of it.
pub(super) fn refuse_link(path: &Path) -> Result<(), DataDirError> {
    match path.symlink_metadata() {
        Ok(meta) if meta.file_type().is_symlink() => Err(DataDirError::Link(path.to_owned())),
        _ => Ok(()),
    }
}

/// Puts a folder's names on the disk.
pub(super) fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{check_format, link_secret};

    #[test]
    fn new_folders_are_private_and_old_ones_stay() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let dir = DataDir::open(&path).unwrap();
        for folder in [dir.root().to_owned(), dir.tmp(), dir.assets(), dir.graphs()] {
            assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o750)).unwrap();
        DataDir::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o750);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o757)).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Open(_))));
    }

    #[test]
    fn only_who_empties_it_throws_away_what_is_half_done() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        std::fs::write(dir.tmp().join("half"), b"x").unwrap();
        let again = DataDir::open(parent.path()).unwrap();
        assert!(dir.tmp().join("half").exists(), "it may be a running server's");
        again.empty_tmp().unwrap();
        assert!(!dir.tmp().join("half").exists());
    }

    /// Nobody who looks at the directory while a server starts makes that fail, or fails: each used to remove the other's files.
    #[test]
    fn whoever_has_the_lock_and_who_does_not_work_side_by_side() {
        let parent = tempfile::tempdir().unwrap();
        let dir = DataDir::open(parent.path()).unwrap();
        let rounds = 0..500;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| rounds.clone().for_each(|_| drop(DataDir::open(parent.path()).unwrap())));
            }
            rounds.clone().for_each(|_| dir.empty_tmp().unwrap());
        });
    }

    /// Servers of single graphs share format and secret, and may make them at the same moment.
    #[test]
    fn of_several_who_make_what_is_shared_all_find_the_same() {
        for _ in 0..50 {
            let parent = tempfile::tempdir().unwrap();
            let dir = DataDir::open(parent.path()).unwrap();
            let make = || {
                check_format(&dir).unwrap();
                link_secret(&dir).unwrap()
            };
            let secrets: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
                let makers: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
                makers.into_iter().map(|maker| maker.join().unwrap()).collect()
            });
            assert_eq!(secrets.len(), 1);
            assert_eq!(dir.tmp().read_dir().unwrap().count(), 0);
        }
    }

    #[test]
    fn no_folder_is_a_link() {
        let (parent, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), parent.path().join("assets")).unwrap();
        assert!(matches!(DataDir::open(parent.path()), Err(DataDirError::Link(_))));
        let link = parent.path().join("itself");
        let own = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(own.path(), &link).unwrap();
        DataDir::open(&link).unwrap();
    }

    #[test]
    fn a_file_is_no_directory() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Create { .. })));
    }
}
