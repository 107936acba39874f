//! The lock of a scope: the truth about who may write (docs/spec/daemon.md 4.2). It belongs to the open file, so the kernel
//! frees it when its process ends in whatever way, and it can be asked for without being taken.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Nobody holds it.
    Free,
    /// Daemons of single graphs do.
    Shared,
    /// One daemon does.
    Exclusive,
}

/// How a lock is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Beside others.
    Shared,
    /// Alone.
    Exclusive,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Somebody has it.
    #[error("the lock is held")]
    Busy,
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A lock that is held as long as this lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

fn range(kind: libc::c_int) -> libc::flock {
    // The kernel's constants are small: each fits the field it is made for.
    let short = |value: libc::c_int| i16::try_from(value).unwrap_or_default();
    libc::flock { l_type: short(kind), l_whence: short(libc::SEEK_SET), l_start: 0, l_len: 0, l_pid: 0 }
}

/// Options with which lock files are opened: never through a link, and never left open in a child, which would keep the
/// lock after its parent's end.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK);
    options
}

/// Asks how a lock is held, without taking it: a client that took it would make a daemon that starts at that moment fail.
///
/// # Errors
///
/// When the file cannot be opened; one that does not exist is free.
pub fn ask(path: &Path) -> io::Result<Held> {
    let file = match options().open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Free),
        Err(error) => return Err(error),
    };
    let conflicts = |kind| -> io::Result<bool> {
        let mut lock = range(kind);
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
        Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
    };
    Ok(match (conflicts(libc::F_RDLCK)?, conflicts(libc::F_WRLCK)?) {
        (true, _) => Held::Exclusive,
        (false, true) => Held::Shared,
        (false, false) => Held::Free,
    })
}

impl Lock {
    /// Takes a lock, or says at once that it is busy. The second value says whether the file was made here.
    ///
    /// # Errors
    ///
    /// [`NotTaken`].
    pub fn take(path: &Path, mode: Mode) -> Result<(Self, bool), NotTaken> {
        let mut created = false;
        // The file may be replaced between opening and locking it: a lock on a file that nobody finds excludes nobody.
        for _ in 0..3 {
            let file = match options().write(true).create_new(true).open(path) {
                Ok(file) => {
                    created = true;
                    file
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match options().write(true).open(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            };
            let lock = Self { file, path: path.to_owned() };
            if !lock.try_lock(mode)? {
                return Err(NotTaken::Busy);
            }
            if lock.is_in_place()? {
                return Ok((lock, created));
            }
        }
        Err(NotTaken::Busy)
    }

    fn try_lock(&self, mode: Mode) -> io::Result<bool> {
        let kind = match mode {
            Mode::Shared => libc::F_RDLCK,
            Mode::Exclusive => libc::F_WRLCK,
        };
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&range(kind))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the file at the lock's path is still the one that is locked.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn is_in_place(&self) -> io::Result<bool> {
        let locked = self.file.metadata()?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (locked.dev(), locked.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a second open file is kept out, as it must be. This lock has to be an exclusive one.
    pub fn keeps_others_out(&self) -> bool {
        match options().write(true).open(&self.path) {
            Ok(file) => Self { file, path: self.path.clone() }.try_lock(Mode::Exclusive).is_ok_and(|taken| !taken),
            Err(_) => false,
        }
    }

    /// The number of the file system that the lock file lies on, as statfs(2) gives it.
    ///
    /// # Errors
    ///
    /// When the system refuses to say.
    pub fn file_system(&self) -> io::Result<i64> {
        #[expect(clippy::useless_conversion, reason = "the field's type differs between architectures")]
        Ok(i64::from(rustix::fs::fstatfs(&self.file)?.f_type))
    }
}

/// What a file system's locks are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// They hold.
    Local,
    /// The kernel locks locally, whoever else serves the files: told as a warning.
    Fuse,
    /// Several machines may have it, and their locks or SQLite's journal do not reach each other.
    Network(&'static str),
}

/// Says what a file system's locks are worth, by its number of statfs(2).
pub fn file_system(number: i64) -> FileSystem {
    match number & 0xffff_ffff {
        0x6969 => FileSystem::Network("nfs"),
        0x517b => FileSystem::Network("smb"),
        0xff53_4d42 | 0xfe53_4d42 => FileSystem::Network("cifs"),
        0x0102_1997 => FileSystem::Network("9p"),
        0x00c3_6400 => FileSystem::Network("ceph"),
        0x5346_414f | 0x6b41_4653 => FileSystem::Network("afs"),
        0x6573_5546 => FileSystem::Fuse,
        _ => FileSystem::Local,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".daemon.lock");
        (folder, path)
    }

    #[test]
    fn a_lock_excludes_inside_one_process_and_is_seen_without_being_taken() {
        let (_folder, path) = folder();
        assert_eq!(ask(&path).unwrap(), Held::Free);
        let (lock, created) = Lock::take(&path, Mode::Exclusive).unwrap();
        assert!(created && lock.keeps_others_out());
        assert_eq!(ask(&path).unwrap(), Held::Exclusive);
        for mode in [Mode::Shared, Mode::Exclusive] {
            assert!(matches!(Lock::take(&path, mode), Err(NotTaken::Busy)));
        }
        // Closing another descriptor of the file leaves the lock alone.
        drop(File::open(&path).unwrap());
        assert_eq!(ask(&path).unwrap(), Held::Exclusive);
        drop(lock);
        assert_eq!(ask(&path).unwrap(), Held::Free);
        let (_lock, created) = Lock::take(&path, Mode::Shared).unwrap();
        assert!(!created);
        assert_eq!(ask(&path).unwrap(), Held::Shared);
        assert!(Lock::take(&path, Mode::Shared).is_ok());
    }

    #[test]
    fn a_replaced_file_is_noticed() {
        let (_folder, path) = folder();
        let (lock, _) = Lock::take(&path, Mode::Exclusive).unwrap();
        assert!(lock.is_in_place().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!lock.is_in_place().unwrap());
        std::fs::write(&path, "").unwrap();
        assert!(!lock.is_in_place().unwrap());
    }

    #[test]
    fn a_link_is_not_followed_and_nothing_blocks() {
        let (folder, path) = folder();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).unwrap();
        assert!(ask(&path).is_err());
        assert!(matches!(Lock::take(&path, Mode::Exclusive), Err(NotTaken::Io(_))));
        assert!(!folder.path().join("elsewhere").exists());
    }

    #[test]
    fn file_systems_of_networks_are_told_by_their_number() {
        assert_eq!(file_system(0x6969), FileSystem::Network("nfs"));
        // The same number where the field is 32 bits wide and signed.
        assert_eq!(file_system(i64::from(0xff53_4d42_u32.cast_signed())), FileSystem::Network("cifs"));
        assert_eq!(file_system(0x6573_5546), FileSystem::Fuse);
        assert_eq!(file_system(0xef53), FileSystem::Local);
        let (_folder, path) = folder();
        let (lock, _) = Lock::take(&path, Mode::Exclusive).unwrap();
        assert!(!matches!(file_system(lock.file_system().unwrap()), FileSystem::Network(_)));
    }
}
