//! Observation of databases' changes: a task for each bridge, on a thread of their own (docs/spec/pg-sync.md 4.1).
//!
//! What follows from what happens is decided by `pg_sync::bridge`; here a decision is stored, requests are made and wakes are sent.
//! Observations stand in the configuration; users ask for logs to read ([`streams`]). Bridges that nobody observes or reads any more are
//! collected after a day.

mod bridges;
mod plan;
mod service;
mod sink;
mod streams;
mod task;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use database::local_sqlite::{Rusqlite, Synchronous};
use pg_sync::bridge::NotJoined;
use pg_sync::changes::{self, Wanted};
use pg_sync::register::Registration;
use pg_sync::store::create_tables;
use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::config::PgSync;
use crate::daemon::Hold;
use crate::log::Log;
use bridges::Bridges;
use plan::{Planned, plan};
use task::Outside;

pub(crate) use streams::{Reading, Sent};

/// What may wait for the thread.
const WAITING: usize = 64;

/// What the thread is asked.
enum Asked {
    /// All observations, as they are shown.
    List(oneshot::Sender<Json>),
    /// A user wants to read a source's log.
    Register { owner: String, registration: Registration, answer: oneshot::Sender<Result<String, NotRegistered>> },
    /// A user reads a log.
    Read { owner: String, source_ref: String, reading: Reading, answer: oneshot::Sender<Sent> },
    /// The operator reads a log piece by piece.
    Changes { source_id: String, wanted: Wanted, answer: oneshot::Sender<changes::Read> },
    /// To end. Open transactions are finished, requests are not waited for.
    Stop,
}

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotRegistered {
    /// No connection of this user leads there.
    Url,
    /// The connection does not let this table through.
    Table,
    /// This user has so many sources.
    Quota(usize),
    /// The service does not let it be followed, or the bridge cannot be had now.
    Bridge(NotJoined),
}

/// Asks the thread. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Observations(mpsc::Sender<Asked>);

/// The thread, until it is ended.
pub(crate) struct Observing {
    asked: mpsc::Sender<Asked>,
    thread: JoinHandle<()>,
}

impl Observations {
    /// The body of `GET /pg-sync`.
    pub(crate) async fn list(&self) -> Json {
        let (answer, list) = oneshot::channel();
        // Without an answer the thread has ended: there is nothing to show.
        let _ = self.0.send(Asked::List(answer)).await;
        list.await.unwrap_or_else(|_| json!({"observations": []}))
    }

    /// Changes of a source; none when there is no such source, or its log cannot be read now.
    pub(crate) async fn changes(&self, source_id: String, wanted: Wanted) -> Option<changes::Read> {
        let (answer, read) = oneshot::channel();
        let _ = self.0.send(Asked::Changes { source_id, wanted, answer }).await;
        read.await.ok()
    }

    /// The name under which this user reads a source from now on.
    pub(crate) async fn register(&self, owner: String, registration: Registration) -> Result<String, NotRegistered> {
        let (answer, registered) = oneshot::channel();
        // Without an answer the thread or the bridge has ended.
        let _ = self.0.send(Asked::Register { owner, registration, answer }).await;
        registered.await.unwrap_or(Err(NotRegistered::Bridge(NotJoined::Unavailable)))
    }

    /// The answer to one who reads; none when the log cannot be read now.
    pub(crate) async fn read(&self, owner: String, source_ref: String, reading: Reading) -> Option<Sent> {
        let (answer, read) = oneshot::channel();
        let _ = self.0.send(Asked::Read { owner, source_ref, reading, answer }).await;
        read.await.ok()
    }
}

impl Observing {
    /// Starts, where something is observed or can be read, or was observed before.
    pub(crate) fn start(path: &Path, config: &PgSync, hold: &Arc<Hold>, log: &Log) -> std::io::Result<Option<Self>> {
        if config.observations.is_empty() && config.connections.is_empty() && !path.exists() {
            return Ok(None);
        }
        let other = |error: database::local::SqlError| std::io::Error::other(format!("{}: {error}", path.display()));
        File::options().create(true).append(true).mode(0o600).open(path)?;
        let sql = Rusqlite::open_with(path, hold.journal(), Synchronous::Full).map_err(other)?;
        create_tables(&sql).map_err(other)?;
        let outside = Outside::new(config, Arc::clone(hold), log.clone())?;
        let planned = plan(config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build()?;
        let (asked, receiver) = mpsc::channel(WAITING);
        let hold = Arc::clone(hold);
        let thread = std::thread::Builder::new().name("pg-sync".into()).spawn(move || {
            let sql = Rc::new(sql);
            LocalSet::new().block_on(&runtime, serve(&sql, planned, Rc::new(outside), receiver));
            if hold.is_lost() {
                // Closing writes into the file, which may be another process's by now.
                std::mem::forget(sql);
            }
            runtime.shutdown_background();
        })?;
        Ok(Some(Self { asked, thread }))
    }

    /// What asks it.
    pub(crate) fn observations(&self) -> Observations {
        Observations(self.asked.clone())
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        // A thread that has ended is asked nothing more.
        let _ = self.asked.send(Asked::Stop).await;
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

async fn serve(sql: &Rc<Rusqlite>, planned: Vec<Planned>, outside: Rc<Outside>, mut asked: mpsc::Receiver<Asked>) {
    let log = outside.log.clone();
    let mut bridges = match Bridges::begin(sql, planned, outside) {
        Ok(bridges) => bridges,
        Err(error) => return log.warn(&format!("pg-sync: the database cannot be read: {error}")),
    };
    // `Stop` ends it, and that nobody is left who could ask. Whoever asked may be gone.
    while let Some(asked) = asked.recv().await {
        match asked {
            Asked::List(answer) => drop(answer.send(json!({"observations": bridges.list().await}))),
            Asked::Register { owner, registration, answer } => bridges.register(owner, registration, answer),
            Asked::Read { owner, source_ref, reading, answer } => bridges.read(&owner, &source_ref, reading, answer),
            Asked::Changes { source_id, wanted, answer } => bridges.changes(source_id, wanted, answer),
            Asked::Stop => break,
        }
    }
    // Each is between two transactions now: they are finished without a pause.
    bridges.end();
}
