//! Waking the other side (docs/spec/session-mailbox.md 4.9). Polling is the base, because events of a mount do not cross
//! virtual machines; where they do, a touched file makes the poll come at once. Signs of life are touched files too.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{Mode, OFlags, Timestamps, UTIME_NOW};
use rustix::io::Errno;

/// A bell that is rung more often counts once in this time: the agent may ring as it likes.
const AT_MOST: Duration = Duration::from_millis(20);

/// Sets the times of a file to now, and makes it when it is absent. Only times change: whoever watches the file keeps
/// watching the same one.
///
/// # Errors
///
/// What the system refuses.
pub fn touch(folder: impl AsFd, name: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Ok(rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now })?)
}

/// Watches bells of any number of sessions with one instance of inotify: a user has 128 of them.
#[derive(Debug)]
pub struct Watcher {
    inotify: OwnedFd,
    watched: BTreeMap<i32, usize>,
    bells: BTreeMap<usize, Bell>,
}

#[derive(Debug)]
struct Bell {
    path: PathBuf,
    watch: Option<i32>,
    woken: Option<Instant>,
    pending: bool,
}

impl Watcher {
    /// A watcher of nothing yet. Whoever gets an error polls.
    ///
    /// # Errors
    ///
    /// When the system has no more of them to give.
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { inotify, watched: BTreeMap::new(), bells: BTreeMap::new() })
    }

    /// Watches a bell under a number of the caller's. One that is not there yet is looked for at each [`Watcher::wait`].
    pub fn add(&mut self, number: usize, path: &Path) {
        self.remove(number);
        self.bells.insert(number, Bell { path: path.to_owned(), watch: None, woken: None, pending: false });
        self.attach();
    }

    /// Watches a bell no more.
    pub fn remove(&mut self, number: usize) {
        if let Some(watch) = self.bells.remove(&number).and_then(|bell| bell.watch) {
            self.watched.remove(&watch);
            // The file may be gone, and its watch with it.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }

    /// Waits until a bell rings, at most this long. The numbers of those that rang.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn wait(&mut self, limit: Duration) -> io::Result<Vec<usize>> {
        let deadline = Instant::now() + limit;
        // Bounded by the deadline.
        loop {
            self.attach();
            self.take_in()?;
            let now = Instant::now();
            let rang = self.rang(now);
            if !rang.is_empty() || now >= deadline {
                return Ok(rang);
            }
            let next =
                self.bells.values().filter(|bell| bell.pending).filter_map(|bell| Some(bell.woken? + AT_MOST)).min();
            let until = next.map_or(deadline, |next| next.min(deadline)).saturating_duration_since(now);
            let until = Timespec {
                tv_sec: until.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: until.subsec_nanos().into(),
            };
            match rustix::event::poll(&mut [PollFd::new(&self.inotify, PollFlags::IN)], Some(&until)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins to watch what was not there before, or was replaced by a file of the same name.
    fn attach(&mut self) {
        // Times that change, and writers that close. Not opens: those are our own.
        let events = WatchFlags::ATTRIB | WatchFlags::CLOSE_WRITE | WatchFlags::DONT_FOLLOW;
        for (number, bell) in &mut self.bells {
            if bell.watch.is_none()
                && let Ok(watch) = inotify::add_watch(&self.inotify, &bell.path, events)
            {
                bell.watch = Some(watch);
                self.watched.insert(watch, *number);
            }
        }
    }

    fn take_in(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        // Bounded by what the kernel queues.
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                self.bells.values_mut().for_each(|bell| bell.pending = true);
            }
            let Some(bell) = self.watched.get(&event.wd()).and_then(|number| self.bells.get_mut(number)) else {
                continue;
            };
            bell.pending = true;
            if event.events().contains(ReadFlags::IGNORED) {
                self.watched.remove(&event.wd());
                bell.watch = None;
            }
        }
    }

    fn rang(&mut self, now: Instant) -> Vec<usize> {
        let due = |bell: &Bell| bell.pending && bell.woken.is_none_or(|woken| now.duration_since(woken) >= AT_MOST);
        let rang = self.bells.iter_mut().filter(|(_, bell)| due(bell)).map(|(number, bell)| {
            bell.pending = false;
            bell.woken = Some(now);
            *number
        });
        rang.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsafe;

    const SOON: Duration = Duration::from_mins(1);

    #[test]
    fn fact_33_a_touch_makes_the_file_when_it_is_absent_and_changes_its_time() {
        let place = tempfile::tempdir().unwrap();
        let folder = fsafe::folder(place.path()).unwrap();
        touch(&folder, "heartbeat").unwrap();
        let before = fsafe::changed_at(&folder, "heartbeat").unwrap();
        while fsafe::changed_at(&folder, "heartbeat").unwrap() == before {
            touch(&folder, "heartbeat").unwrap();
        }
        // One that fails is the caller's to ignore: it panics nowhere and leaves nothing.
        std::os::unix::fs::symlink("/nowhere/at/all", place.path().join("link")).unwrap();
        assert!(touch(&folder, "link").is_err());
    }

    #[test]
    fn a_bell_wakes_whoever_waits_for_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = fsafe::folder(place.path()).unwrap();
        touch(&folder, "doorbell").unwrap();
        let mut watcher = Watcher::new().unwrap();
        watcher.add(7, &place.path().join("doorbell"));
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|_| touch(&folder, "doorbell").unwrap()));
            assert_eq!(watcher.wait(SOON).unwrap(), [7]);
        });
        watcher.remove(7);
        watcher.add(8, &place.path().join("later"));
        touch(&folder, "doorbell").unwrap();
        assert!(watcher.wait(Duration::from_millis(30)).unwrap().is_empty());
    }

    #[test]
    fn a_bell_that_is_replaced_is_watched_again() {
        let place = tempfile::tempdir().unwrap();
        let folder = fsafe::folder(place.path()).unwrap();
        touch(&folder, "doorbell").unwrap();
        let mut watcher = Watcher::new().unwrap();
        watcher.add(1, &place.path().join("doorbell"));
        std::fs::write(place.path().join("other"), "").unwrap();
        std::fs::rename(place.path().join("other"), place.path().join("doorbell")).unwrap();
        assert_eq!(watcher.wait(SOON).unwrap(), [1], "its end is told too");
        touch(&folder, "doorbell").unwrap();
        // What came before the new watch may have been missed: that is what polls are for.
        let deadline = Instant::now() + SOON;
        while watcher.wait(AT_MOST).unwrap().is_empty() {
            assert!(Instant::now() < deadline);
            touch(&folder, "doorbell").unwrap();
        }
    }

    #[test]
    fn a_bell_that_is_rung_without_end_wakes_at_most_every_20_ms() {
        let place = tempfile::tempdir().unwrap();
        let folder = fsafe::folder(place.path()).unwrap();
        touch(&folder, "doorbell").unwrap();
        let mut watcher = Watcher::new().unwrap();
        watcher.add(1, &place.path().join("doorbell"));
        let (start, mut woken) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_millis(300) {
            touch(&folder, "doorbell").unwrap();
            woken += watcher.wait(Duration::from_millis(1)).unwrap().len();
        }
        let bound = start.elapsed().as_millis() / AT_MOST.as_millis() + 2;
        assert!(woken > 0 && woken as u128 <= bound, "{woken} of {bound}");
    }
}
