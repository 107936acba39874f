//! The daemon's side of its start: what the starter left open for it (docs/spec/daemon.md 4.5).

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};

use crate::ready::{self, Reporter};

/// What a daemon's starter left open for it.
#[derive(Debug)]
pub struct Spawned {
    /// Where the daemon says how far it is. Without a starter that listens, it says nothing.
    pub reporter: Reporter,
    /// What is closed when the desktop app ends.
    leash: Option<Leash>,
}

/// A descriptor that is closed when the desktop app ends.
#[derive(Debug)]
pub struct Leash(OwnedFd);

impl Leash {
    /// Waits until the app is gone. To be called on a thread of its own.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn wait(&self) -> io::Result<()> {
        // Nothing is ever written to it: readable means closed.
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        loop {
            match rustix::event::poll(&mut polled, None) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Spawned {
    /// Takes over what the starter left open. To be called first thing in `main`, before any thread is started.
    ///
    /// # Errors
    ///
    /// When a variable names no inherited descriptor.
    pub fn from_environment() -> Result<Self, inherited::Error> {
        let reporter = Reporter::new(inherited::take(ready::VARIABLE)?);
        let leash = inherited::take(ready::PARENT_VARIABLE)?.map(Leash);
        if reporter.is_heard() {
            inherited::keep_from_children()?;
        }
        Ok(Self { reporter, leash })
    }

    /// Leaves the starter's folder and mask behind, if there is a starter. To be called once the configuration, whose paths
    /// may be relative, was read.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn settle(&self) -> io::Result<()> {
        if self.reporter.is_heard() {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
            std::env::set_current_dir("/")?;
        }
        Ok(())
    }

    /// What is closed when the desktop app ends, if one started this daemon.
    pub fn leash(&mut self) -> Option<Leash> {
        self.leash.take()
    }
}
