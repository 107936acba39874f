//! The index: a database on a thread of its own, so that nobody waits for its disk.
//!
//! Statements that came in together are carried out one after the other, and one sync of the write-ahead log makes all
//! of their writes durable before any of them is answered.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use database::local_sqlite::Journal;
use database::sqlite::{OpenError, Sqlite};
use database::{Database, DbError, Param, ReadFrom, Row, Statement, Trouble};
use index::migrations::MIGRATIONS;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::DataDirError;
use super::data_dir::{refuse_link, sync_folder};
use crate::daemon::Hold;
use crate::metrics::Metrics;

/// Statements that may wait; whoever comes later waits before it is sent.
const WAITING: usize = 1024;

/// Why a write of the index is not acknowledged.
const UNSYNCED: &str = "the write-ahead log could not be synced";

/// Statements that share a sync at most.
const TOGETHER: usize = 256;

/// Why there is no index.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IndexError {
    /// Its file.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Where it lies.
    #[error(transparent)]
    Folder(#[from] DataDirError),
    /// What SQLite finds wrong with it.
    #[error("the index {path} is damaged: {cause}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Its schema cannot be brought up to date.
    #[error(transparent)]
    Schema(#[from] OpenError),
    /// The system gives no more threads.
    #[error("no thread for the index: {0}")]
    Thread(std::io::Error),
}

/// A handle to the index. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Index(mpsc::Sender<Asked>);

/// The thread of the index.
pub(crate) struct IndexThread(std::thread::JoinHandle<()>);

impl IndexThread {
    /// Waits until the index is closed, which it is once the last handle to it is gone.
    pub(crate) fn join(self) {
        // One that has panicked is over, too.
        let _ = self.0.join();
    }
}

/// A parameter that crosses threads.
enum Owned {
    Null,
    Int(i64),
    Text(String),
}

/// Statements that cross threads, and where the answer goes.
enum Asked {
    Query(String, Vec<Owned>, oneshot::Sender<Result<Vec<Row>, DbError>>),
    Execute(String, Vec<Owned>, oneshot::Sender<Result<u64, DbError>>),
    Batch(Vec<(String, Vec<Owned>)>, oneshot::Sender<Result<Vec<u64>, DbError>>),
}

/// An answer that waits for the sync.
type Answer = Box<dyn FnOnce(Option<&DbError>)>;

impl Index {
    /// Opens the index, or makes it, and brings its schema up to date. It is written for as long as the lock is held; that it is
    /// damaged is noted in the metrics.
    pub(crate) fn open(path: &Path, hold: Arc<Hold>, metrics: Arc<Metrics>) -> Result<(Self, IndexThread), IndexError> {
        refuse_link(path)?;
        let file = |cause| IndexError::File { path: path.to_owned(), cause };
        if !path.exists() {
            File::options().create(true).append(true).mode(0o600).open(path).map_err(file)?.sync_all().map_err(file)?;
            path.parent().map_or(Ok(()), sync_folder).map_err(file)?;
        }
        let connection = connect(path, hold.journal()).map_err(|cause| match Trouble::of(&cause) {
            // The file may be whole.
            Some(Trouble::Full | Trouble::ReadOnly | Trouble::Unavailable) => file(std::io::Error::other(cause)),
            Some(Trouble::Damaged) | None => IndexError::Damaged { path: path.to_owned(), cause },
        })?;
        let sqlite = Sqlite::new(connection, MIGRATIONS)?;
        let served = Served { sqlite, wal: wal_of(path), file: None, doubtful: false, hold, metrics };
        let (sender, receiver) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new().name("index".into());
        let thread = thread.spawn(move || served.serve(receiver)).map_err(IndexError::Thread)?;
        Ok((Self(sender), IndexThread(thread)))
    }

    async fn ask<T>(&self, asked: Asked, answer: oneshot::Receiver<Result<T, DbError>>) -> Result<T, DbError> {
        let gone = || DbError("the index is closed".into());
        self.0.send(asked).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn connect(path: &Path, journal: Journal) -> Result<Connection, String> {
    let text = |error: rusqlite::Error| error.to_string();
    let connection = Connection::open(path).map_err(text)?;
    let (mode, synchronous) = match journal {
        // The thread syncs for all statements that came in together.
        Journal::WriteAhead => ("WAL", "NORMAL"),
        Journal::Rollback => ("DELETE", "FULL"),
    };
    connection.pragma_update(None, "journal_mode", mode).map_err(text)?;
    connection.pragma_update(None, "synchronous", synchronous).map_err(text)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(text)?;
    if found == "ok" { Ok(connection) } else { Err(found) }
}

fn wal_of(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// The index on its thread.
struct Served {
    sqlite: Sqlite,
    wal: PathBuf,
    /// The log, which is one file for as long as the database is open.
    file: Option<File>,
    /// A sync has failed, and nobody knows how much of the log is on the disk.
    doubtful: bool,
    hold: Arc<Hold>,
    metrics: Arc<Metrics>,
}

impl Served {
    fn serve(mut self, mut asked: mpsc::Receiver<Asked>) {
        // Ends when the last handle is gone.
        while let Some(first) = asked.blocking_recv() {
            let mut answers: Vec<Answer> = Vec::new();
            let mut wrote = false;
            let mut next = Some(first);
            while let Some(one) = next.take() {
                wrote |= self.carry_out(one, &mut answers);
                if answers.len() < TOGETHER {
                    next = asked.try_recv().ok();
                }
            }
            let failure = if wrote { self.sync().err() } else { None };
            self.doubtful |= failure.is_some();
            let failure = failure.map(|error| DbError(format!("{}: {UNSYNCED}: {error}", self.wal.display())));
            for answer in answers {
                answer(failure.as_ref());
            }
        }
        if self.hold.is_lost() {
            // Closing writes into the file, which may be another process's by now. The end of this one closes it without.
            std::mem::forget(self.sqlite);
        }
    }

    fn sync(&mut self) -> std::io::Result<()> {
        if self.hold.journal() == Journal::Rollback {
            // Each commit has waited for the disk.
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.wal)?),
        };
        file.sync_data()
    }

    /// Carries out what is asked. True: something was written.
    fn carry_out(&mut self, asked: Asked, answers: &mut Vec<Answer>) -> bool {
        match asked {
            Asked::Query(sql, params, answer) => {
                let params = borrowed(&params);
                let outcome = now(self.sqlite.query(ReadFrom::Primary, &sql, &params));
                answers.push(self.reply(outcome, answer));
                false
            }
            Asked::Execute(sql, params, answer) => {
                let params = borrowed(&params);
                let allowed = self.may_write();
                let wrote = allowed.is_ok();
                answers.push(self.reply(allowed.and_then(|()| now(self.sqlite.execute(&sql, &params))), answer));
                wrote
            }
            Asked::Batch(statements, answer) => {
                let params: Vec<Vec<Param<'_>>> = statements.iter().map(|(_, params)| borrowed(params)).collect();
                let batch: Vec<Statement<'_>> =
                    statements.iter().zip(&params).map(|((sql, _), params)| (&**sql, &**params)).collect();
                let allowed = self.may_write();
                let wrote = allowed.is_ok();
                answers.push(self.reply(allowed.and_then(|()| now(self.sqlite.batch(&batch))), answer));
                wrote
            }
        }
    }

    /// Without the lock nothing is written (docs/spec/daemon.md 4.2). Neither is anything after a sync that failed, until what the
    /// log holds was written into the rows, and both are on the disk.
    fn may_write(&mut self) -> Result<(), DbError> {
        self.hold.check().map_err(|lost| DbError(lost.to_string()))?;
        if !self.doubtful {
            return Ok(());
        }
        let emptied = now(self.sqlite.query(ReadFrom::Primary, "PRAGMA wal_checkpoint(TRUNCATE)", &[]))?;
        // The first column says whether somebody was in the way.
        if emptied.first().and_then(|row| row.int(0)) != Some(0) {
            return Err(DbError(UNSYNCED.into()));
        }
        self.doubtful = false;
        Ok(())
    }

    /// The answer as it is given once the sync is done; a sync that failed is the answer.
    fn reply<T: 'static>(&self, outcome: Result<T, DbError>, answer: oneshot::Sender<Result<T, DbError>>) -> Answer {
        if let Err(error) = &outcome
            && Trouble::of(&error.0) == Some(Trouble::Damaged)
        {
            self.metrics.condition.index_is_damaged();
        }
        Box::new(move |failure| {
            let outcome = failure.map_or(outcome, |failure| Err(failure.clone()));
            // Whoever asked may be gone.
            let _ = answer.send(outcome);
        })
    }
}

/// What a future gives that never waits.
fn now<T>(future: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(DbError("SQLite does not wait".into())),
    }
}

fn owned(params: &[Param<'_>]) -> Vec<Owned> {
    let own = |param: &Param<'_>| match *param {
        Param::Null => Owned::Null,
        Param::Int(number) => Owned::Int(number),
        Param::Text(text) => Owned::Text(text.to_owned()),
    };
    params.iter().map(own).collect()
}

fn borrowed(params: &[Owned]) -> Vec<Param<'_>> {
    let borrow = |param| match param {
        &Owned::Null => Param::Null,
        &Owned::Int(number) => Param::Int(number),
        Owned::Text(text) => Param::Text(text),
    };
    params.iter().map(borrow).collect()
}

impl Database for Index {
    async fn query(&self, _: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Asked::Query(sql.to_owned(), owned(params), answer), answered).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        let (answer, answered) = oneshot::channel();
        self.ask(Asked::Execute(sql.to_owned(), owned(params), answer), answered).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let (answer, answered) = oneshot::channel();
        let statements = statements.iter().map(|(sql, params)| ((*sql).to_owned(), owned(params))).collect();
        self.ask(Asked::Batch(statements, answer), answered).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn what_was_answered_is_there_after_another_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        let hold = Hold::of_test(folder.path());
        run(async {
            let (index, _thread) = Index::open(&path, Arc::clone(&hold), Arc::default()).unwrap();
            let insert = "INSERT INTO users (id, email) VALUES (?, ?)";
            let write = |id: &'static str| {
                let index = index.clone();
                async move { index.execute(insert, &[Param::Text(id), Param::Null]).await }
            };
            let (a, b) = tokio::join!(write("a"), write("b"));
            assert_eq!((a, b), (Ok(1), Ok(1)));
            let again = index.execute(insert, &[Param::Text("a"), Param::Null]).await;
            assert!(again.is_err(), "a failure is the answer of its own statement alone");
        });
        run(async {
            let (index, _thread) = Index::open(&path, Arc::clone(&hold), Arc::default()).unwrap();
            let rows = index.query(ReadFrom::Primary, "SELECT id FROM users ORDER BY id", &[]).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.text(0)).collect::<Vec<_>>(), [Some("a"), Some("b")]);
            std::fs::remove_file(folder.path().join(".daemon.lock")).unwrap();
            let late = index.execute("DELETE FROM users", &[]).await;
            assert_eq!(late, Err(DbError("the lock is lost".into())));
            assert!(index.query(ReadFrom::Primary, "SELECT id FROM users", &[]).await.is_ok());
        });
    }

    #[test]
    fn a_damaged_index_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.sqlite");
        std::fs::write(&path, "no database at all, whatever it is called".repeat(100)).unwrap();
        let hold = Hold::of_test(folder.path());
        assert!(matches!(Index::open(&path, hold, Arc::default()), Err(IndexError::Damaged { .. })));
    }
}
