//! Group commit: what a graph says waits until everything it has committed is on the disk.
//!
//! Commits are written to the write-ahead log without waiting. Whatever comes out of the graph afterwards, to a socket or as
//! an answer, is held back until the log was synced, once for all commits of the meantime: while one sync runs, others
//! work, and share the next one. A sync that fails is never repeated, because the system may have forgotten what it could
//! not write: the graph is given up and opened again from its rows.
//!
//! Without a log, where locks are weak, each commit has waited for the disk by itself when it returns: then nothing is held back.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use database::local_sqlite::Journal;
use tokio::sync::Notify;
use web::Failure;

use crate::daemon::Hold;
use crate::metrics::Metrics;

/// Why nothing is acknowledged any more by a server that others may have taken the place of.
const LOST: &str = "the lock is lost";

/// Why nothing is acknowledged any more of a graph.
pub(super) const UNSYNCED: &str = "the write-ahead log could not be synced";

/// What is held back.
type Held = Box<dyn FnOnce()>;

/// How many commits there were. The hook of the database counts.
#[derive(Clone)]
pub(crate) struct Commits {
    hold: Arc<Hold>,
    count: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    news: Arc<Notify>,
}

impl Commits {
    /// None yet, of a database that belongs to whoever has this lock.
    pub(crate) fn new(hold: Arc<Hold>) -> Self {
        Self { hold, count: Arc::default(), failed: Arc::default(), news: Arc::default() }
    }

    /// One more. Called when a transaction that wrote something commits. True: it must not, because what came before may be
    /// lost, or because another process may have the lock now (docs/spec/daemon.md 4.2).
    pub(crate) fn add(&self) -> bool {
        if self.hold.check().is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
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
    /// Told when nothing comes out any more.
    over: Notify,
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
            over: Notify::new(),
        }
    }

    /// Whether anything was ever committed.
    pub(super) fn has_commits(&self) -> bool {
        self.commits.count() > 0
    }

    /// Whether all commits are on the disk.
    pub(super) fn is_settled(&self) -> bool {
        self.has(self.commits.count())
    }

    /// Whether so many commits are on the disk.
    fn has(&self, count: u64) -> bool {
        self.commits.hold.journal() == Journal::Rollback || self.synced.get() >= count
    }

    /// Whether a sync has failed: nothing comes out any more.
    fn has_failed(&self) -> bool {
        self.commits.failed.load(Ordering::Relaxed)
    }

    /// Whether another process may have the lock.
    pub(super) fn is_lost(&self) -> bool {
        self.commits.hold.is_lost()
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
                let why = if self.is_lost() { LOST } else { UNSYNCED };
                return Err(Failure(why.into()));
            }
            if self.has(wanted) {
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
        if self.has(until) {
            return Ok(());
        }
        if self.commits.hold.check().is_err() {
            self.fail();
            return Err(Failure(LOST.into()));
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
            self.fail();
            return Err(Failure(format!("{}: {UNSYNCED}: {error}", self.wal.display())));
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

    /// From now on nothing comes out, and nothing is committed.
    pub(super) fn fail(&self) {
        self.commits.failed.store(true, Ordering::Relaxed);
        self.held.borrow_mut().clear();
        self.released.notify_waiters();
        self.over.notify_waiters();
    }

    /// Waits until nothing comes out any more.
    pub(super) async fn failed(&self) {
        let over = self.over.notified();
        if !self.has_failed() {
            over.await;
        }
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
        let commits = Commits::new(Hold::of_test(folder));
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

    #[test]
    fn without_the_lock_nothing_is_committed_and_nothing_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let (durable, commits) = durable(folder.path());
        run(async {
            assert!(!commits.add());
            durable.after_commits(|| panic!("said without the lock"));
            std::fs::remove_file(folder.path().join(".daemon.lock")).unwrap();
            assert!(durable.sync().await.is_err(), "what was committed is not acknowledged");
            assert!(commits.add() && durable.is_lost());
            let failure = durable.settle().await.unwrap_err();
            assert_eq!(failure.0, LOST);
        });
    }

    #[test]
    fn a_transaction_that_comes_too_late_is_rolled_back() {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::of_test(folder.path());
        let graph = crate::store::open_graph(&folder.path().join("graphs/g"), &hold).unwrap();
        let write = |sql| graph.sql.connection().execute_batch(sql);
        write("create table rows (id integer); insert into rows values (1)").unwrap();
        std::fs::remove_file(folder.path().join(".daemon.lock")).unwrap();
        assert!(write("insert into rows values (2)").is_err());
        let count = |sql| graph.sql.connection().query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("select count(*) from rows"), 1);
    }
}
