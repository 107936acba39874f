//! Group commit: what a graph says waits until everything it has committed is on the disk.
//!
//! Commits are written to the write-ahead log without waiting. Whatever comes out of the graph afterwards, to a socket or as
//! an answer, is held back until the log was synced, once for all commits of the meantime: while one sync runs, others
//! work, and share the next one. A sync that fails is never repeated, because the system may have forgotten what it could
//! not write: the graph is given up and opened again from its rows.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;
use web::Failure;

use crate::metrics::Metrics;

/// What is held back.
type Held = Box<dyn FnOnce()>;

/// How many commits there were. The hook of the database counts.
#[derive(Clone, Default)]
pub(crate) struct Commits {
    count: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    news: Arc<Notify>,
}

impl Commits {
    /// One more. Called when a transaction that wrote something commits. True: it must not, because what came before may be
    /// lost.
    pub(crate) fn add(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.news.notify_one();
        self.failed.load(Ordering::Relaxed)
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Which commits of a graph are on the disk, and what waits for the others.
pub(super) struct Durable {
    commits: Commits,
    metrics: Arc<Metrics>,
    wal: PathBuf,
    file: RefCell<Option<Arc<File>>>,
    synced: Cell<u64>,
    held: RefCell<Vec<(u64, Held)>>,
    /// Told after each sync.
    released: Notify,
}

impl Durable {
    /// What is committed to this database file from now on is counted in `commits`.
    pub(super) fn new(database: &Path, commits: Commits, metrics: Arc<Metrics>) -> Self {
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        Self {
            commits,
            metrics,
            wal: wal.into(),
            file: RefCell::default(),
            synced: Cell::default(),
            held: RefCell::default(),
            released: Notify::new(),
        }
    }

    /// Whether anything was ever committed.
    pub(super) fn has_commits(&self) -> bool {
        self.commits.count() > 0
    }

    /// Whether all commits are on the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.synced.get() >= self.commits.count()
    }

    /// Whether a sync has failed: nothing comes out any more.
    fn has_failed(&self) -> bool {
        self.commits.failed.load(Ordering::Relaxed)
    }

    /// Does this when all that was committed until now is on the disk; never if that fails.
    pub(super) fn after_commits(&self, act: impl FnOnce() + 'static) {
        if self.has_failed() {
            return;
        }
        if self.is_settled() {
            act();
        } else {
            self.held.borrow_mut().push((self.commits.count(), Box::new(act)));
        }
    }

    /// Waits until all that was committed until now is on the disk.
    pub(super) async fn settle(&self) -> Result<(), Failure> {
        let wanted = self.commits.count();
        // Ends: each commit is followed by a sync, or by the failure of one.
        loop {
            if self.has_failed() {
                return Err(Failure("the write-ahead log could not be synced".into()));
            }
            if self.synced.get() >= wanted {
                return Ok(());
            }
            let released = self.released.notified();
            released.await;
        }
    }

    /// Waits for commits that are not on the disk.
    pub(super) async fn news(&self) {
        while self.is_settled() {
            self.commits.news.notified().await;
        }
    }

    /// Syncs, and lets out what waited for it.
    pub(super) async fn sync(self: &Rc<Self>) -> Result<(), Failure> {
        let until = self.commits.count();
        if self.synced.get() >= until {
            return Ok(());
        }
        let begun = Instant::now();
        let outcome = match self.open() {
            Ok(file) => match tokio::task::spawn_blocking(move || file.sync_data()).await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = outcome {
            self.commits.failed.store(true, Ordering::Relaxed);
            self.held.borrow_mut().clear();
            self.released.notify_waiters();
            return Err(Failure(format!("{}: {error}", self.wal.display())));
        }
        self.metrics.synced(begun.elapsed().as_secs_f64());
        self.synced.set(until);
        // In their order: what was held later belongs to later commits.
        let held = &mut *self.held.borrow_mut();
        let ready = held.iter().take_while(|(commit, _)| *commit <= until).count();
        let ready: Vec<_> = held.drain(..ready).collect();
        for (_, act) in ready {
            act();
        }
        self.released.notify_waiters();
        Ok(())
    }

    /// The log is one file for as long as the database is open.
    fn open(&self) -> std::io::Result<Arc<File>> {
        let file = &mut *self.file.borrow_mut();
        match file {
            Some(file) => Ok(Arc::clone(file)),
            None => Ok(Arc::clone(file.insert(Arc::new(File::open(&self.wal)?)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
    }

    fn durable(folder: &Path) -> (Rc<Durable>, Commits) {
        std::fs::write(folder.join("db.sqlite-wal"), b"").unwrap();
        let commits = Commits::default();
        (Rc::new(Durable::new(&folder.join("db.sqlite"), commits.clone(), Arc::default())), commits)
    }

    #[test]
    fn what_follows_a_commit_waits_for_its_sync_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (durable, commits) = durable(folder.path());
        let said = Rc::new(RefCell::new(Vec::new()));
        let say = |text: &'static str| {
            let said = Rc::clone(&said);
            durable.after_commits(move || said.borrow_mut().push(text));
        };
        run(async {
            say("before");
            assert_eq!(*said.borrow(), ["before"]);
            commits.add();
            say("first");
            commits.add();
            say("second");
            assert_eq!(said.borrow().len(), 1, "both wait");
            durable.sync().await.unwrap();
            assert_eq!(*said.borrow(), ["before", "first", "second"], "one sync for both");
            durable.settle().await.unwrap();
        });
    }

    #[test]
    fn after_a_failed_sync_nothing_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let (durable, commits) = durable(folder.path());
        std::fs::remove_file(folder.path().join("db.sqlite-wal")).unwrap();
        run(async {
            assert!(!commits.add());
            let said = Rc::new(Cell::new(false));
            let heard = Rc::clone(&said);
            durable.after_commits(move || heard.set(true));
            assert!(durable.sync().await.is_err());
            assert!(durable.settle().await.is_err());
            assert!(!said.get() && durable.has_failed());
            std::fs::write(folder.path().join("db.sqlite-wal"), b"").unwrap();
            durable.after_commits(|| panic!("said after a failure"));
            assert!(commits.add(), "nothing is added to what may be lost");
        });
    }
}
