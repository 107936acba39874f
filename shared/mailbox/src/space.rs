//! A file that is kept in reserve, so that a full disk can still be told of (docs/spec/session-mailbox.md 4.9): without room
//! SQLite commits nothing, not even a deletion. Deleting the reserve makes the room that a few state changes need.

use std::io::Write as _;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

const NAME: &str = "reserve";
/// How much is kept, in bytes.
const SIZE: usize = 256 << 10;
/// So much must be free before a reserve that was used is made anew, in bytes.
const ENOUGH: u64 = 16 << 20;

/// Makes the reserve unless it is there.
///
/// # Errors
///
/// What the system refuses, such as [`Error::Io`] for a full disk.
pub fn keep(folder: impl AsFd) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = match rustix::fs::openat(&folder, NAME, flags, Mode::RUSR | Mode::WUSR) {
        Ok(made) => made,
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    // Written, not only made long: a hole takes no room.
    let written = std::fs::File::from(made).write_all(&vec![0; SIZE]);
    if written.is_err() {
        give_up(&folder)?;
    }
    Ok(written?)
}

/// Gives the reserve up, to make room.
///
/// # Errors
///
/// What the system refuses.
pub fn give_up(folder: impl AsFd) -> Result<(), Error> {
    match rustix::fs::unlinkat(folder, NAME, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the reserve anew once there is room for it. Whether it is there.
///
/// # Errors
///
/// What the system refuses.
pub fn renew(folder: impl AsFd) -> Result<bool, Error> {
    if rustix::fs::statat(&folder, NAME, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(true);
    }
    if free(&folder)? < ENOUGH {
        return Ok(false);
    }
    keep(folder).map(|()| true)
}

/// Bytes that are free for this user where a folder lies.
///
/// # Errors
///
/// What the system refuses.
pub fn free(folder: impl AsFd) -> Result<u64, Error> {
    let room = rustix::fs::fstatvfs(folder)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

/// Does something that may fail for want of room, and once more after the reserve was given up.
///
/// # Errors
///
/// Those of `work`.
pub fn with_reserve<T>(folder: impl AsFd, mut work: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    match work() {
        Err(error) if error.is_full() => {
            give_up(folder)?;
            work()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_reserve_takes_room_until_it_is_given_up() {
        let place = tempfile::tempdir().unwrap();
        let folder = crate::fsafe::folder(place.path()).unwrap();
        keep(&folder).unwrap();
        keep(&folder).unwrap();
        let reserve = std::fs::metadata(place.path().join(NAME)).unwrap();
        assert!(reserve.blocks() * 512 >= SIZE as u64);
        let mut tries = 0;
        let done = with_reserve(&folder, || {
            tries += 1;
            if place.path().join(NAME).exists() { Err(Error::Full) } else { Ok(tries) }
        });
        assert_eq!(done.unwrap(), 2);
        assert!(renew(&folder).unwrap() && place.path().join(NAME).exists());
    }
}
