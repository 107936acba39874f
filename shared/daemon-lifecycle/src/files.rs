//! Small files of a scope: read without trust, written so that readers see the old or the new content, never half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

use crate::record::{self, Reading, Record};

/// Reads at most `limit` bytes and one more, which shows that there are too many. Links and what is no file are refused, and
/// nothing blocks.
///
/// # Errors
///
/// What the system refuses.
pub(crate) fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads metadata. Whatever is there, the answer is a [`Reading`].
pub(crate) fn read_record(path: &Path) -> Reading {
    match read(path, record::LIMIT) {
        Ok(bytes) => record::read(&bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Absent,
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

/// Writes metadata.
///
/// # Errors
///
/// What the system refuses.
pub(crate) fn write_record(path: &Path, record: &Record) -> io::Result<()> {
    write(path, &serde_json::to_vec(record)?)
}

/// Writes a file that only its owner may read: aside, to the disk, and then to its place. Only who holds the scope's lock
/// does this, so that one name for what is written aside is enough, and nothing is left behind by a kill.
///
/// # Errors
///
/// What the system refuses.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut aside = std::ffi::OsString::from(".");
    aside.push(path.file_name().unwrap_or_default());
    aside.push(".tmp");
    let aside = folder.join(aside);
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_written_file_is_the_owners_and_replaces_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        // What a kill left behind, by another mode.
        fs::write(folder.path().join(".daemon.json.tmp"), "half").unwrap();
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Corrupt input of every kind: nothing panics and nothing blocks.
    #[test]
    fn odd_metadata_is_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        assert_eq!(read_record(&path), Reading::Absent);
        for content in [vec![], b"{\"pid\":".to_vec(), vec![0xff; 100], vec![b' '; 10 << 20]] {
            fs::write(&path, content).unwrap();
            assert!(matches!(read_record(&path), Reading::Unreadable(_)));
        }
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(read_record(&path), Reading::Unreadable(_)));
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(matches!(read_record(&path), Reading::Unreadable(_)));
    }
}
