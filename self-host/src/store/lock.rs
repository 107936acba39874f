//! One server a data directory.

use std::fs::{File, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::DataDir;

/// Why the lock was not got.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another server has it.
    #[error("another server has the data directory {0}")]
    Held(PathBuf),
    /// The file.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// The lock of a data directory, held for as long as this lives. The system releases it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; nobody waits for it.
    pub(crate) fn take(data: &DataDir) -> Result<Self, LockError> {
        let path = data.root().join(".daemon.lock");
        let open = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let failed = |cause| LockError::Io { path: path.clone(), cause };
        let file = open.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(data.root().to_owned())),
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_server() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let first = Lock::take(&data).unwrap();
        assert!(matches!(Lock::take(&data), Err(LockError::Held(_))));
        drop(first);
        Lock::take(&data).unwrap();
    }
}
