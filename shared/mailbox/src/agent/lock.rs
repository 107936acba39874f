//! The lock of the agent's side: one process at a time writes `outbound.db` (docs/spec/session-mailbox.md 4.5).

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

const NAME: &str = "shim.lock";
/// How often is looked whether it is free.
const STEP: Duration = Duration::from_millis(20);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: OwnedFd,
}

impl Lock {
    /// Takes the lock of a folder `out/`, and waits at most so long for it.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when another process keeps it.
    pub fn take(outside: impl AsFd, patience: Duration) -> Result<Self, Error> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(outside, NAME, flags, Mode::RUSR | Mode::WUSR)?;
        let deadline = Instant::now() + patience;
        // Bounded by the deadline.
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => std::thread::sleep(STEP),
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Err(Error::Busy),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let folder = crate::fsafe::folder(place.path()).unwrap();
        let lock = Lock::take(&folder, Duration::ZERO).unwrap();
        assert!(matches!(Lock::take(&folder, Duration::from_millis(50)), Err(Error::Busy)));
        drop(lock);
        Lock::take(&folder, Duration::from_mins(1)).unwrap();
    }
}
