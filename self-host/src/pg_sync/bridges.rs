//! All bridges of the thread: those of the configuration, those that are stored, and those that users ask for.

use std::rc::Rc;

use database::local::SqlError;
use database::local_sqlite::Rusqlite;
use pg_sync::bridge::{Event, NotJoined, Source};
use pg_sync::changes::{self, Wanted};
use pg_sync::identity::{Origin, source_id};
use pg_sync::reference::of_source;
use pg_sync::register::Registration;
use pg_sync::store::{Store, bridges};
use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::plan::{Planned, unknown};
use super::streams::{Readable, Reading, Sent, Stream};
use super::task::{Message, Outside, Task};
use super::{NotRegistered, WAITING};

/// Most sources that one user reads.
const MAX_SOURCES: usize = 100;

/// A bridge whose task runs, or has ended.
struct Running {
    source: Source,
    number: u64,
    sender: mpsc::Sender<Message>,
    readable: watch::Receiver<Option<Readable>>,
    task: JoinHandle<()>,
}

/// All of them.
pub(super) struct Bridges {
    sql: Rc<Rusqlite>,
    outside: Rc<Outside>,
    running: Vec<Running>,
    /// The number of the next that is made.
    next: u64,
}

impl Bridges {
    /// Begins with those that are planned and those that are stored.
    pub(super) fn begin(sql: &Rc<Rusqlite>, planned: Vec<Planned>, outside: Rc<Outside>) -> Result<Self, SqlError> {
        let stored = bridges(sql)?;
        let next = stored.iter().map(|(number, _)| number + 1).max().unwrap_or(0);
        let mut all = Self { sql: Rc::clone(sql), outside, running: Vec::new(), next };
        // Those that are stored and not observed any more go on to their end.
        let is_planned = |id: &str| planned.iter().any(|planned| planned.source.id == id);
        let left = stored.iter().filter(|(_, id)| !is_planned(id));
        let left: Vec<_> = left.map(|(number, id)| Planned::unobserved(stored_source(sql, *number, id))).collect();
        for planned in planned.into_iter().chain(left) {
            let known = stored.iter().find(|(_, id)| *id == planned.source.id).map(|(number, _)| *number);
            all.run(planned, known);
        }
        Ok(all)
    }

    /// Begins a task, and says how it is told things.
    fn run(&mut self, planned: Planned, known: Option<u64>) -> mpsc::Sender<Message> {
        let number = known.unwrap_or(self.next);
        self.next = self.next.max(number + 1);
        let (sender, receiver) = mpsc::channel(WAITING);
        let (shown, readable) = watch::channel(None);
        let source = planned.source.clone();
        let store = Store::new(Rc::clone(&self.sql), number);
        let task = Task::new(store, planned, Rc::clone(&self.outside), (sender.clone(), receiver), shown);
        let task = tokio::task::spawn_local(task.run());
        // Users make sources: of those that have ended nothing is kept.
        self.running.retain(|running| !running.task.is_finished());
        self.running.push(Running { source, number, sender: sender.clone(), readable, task });
        sender
    }

    /// What is seen of observations.
    pub(super) async fn list(&self) -> Vec<Json> {
        let mut list = Vec::new();
        for running in &self.running {
            let (shown, show) = oneshot::channel();
            if running.sender.send(Message::Show(shown)).await.is_ok() {
                list.extend(show.await.unwrap_or_default());
            }
        }
        list
    }

    /// Lets a user read a source.
    pub(super) fn register(
        &mut self,
        owner: String,
        wanted: Registration,
        answer: oneshot::Sender<Result<String, NotRegistered>>,
    ) {
        let Registration { url, options } = wanted;
        let connections = &self.outside.connections;
        let Some((name, connection)) = connections.iter().find(|(_, found)| found.url == url && found.is_for(&owner))
        else {
            return drop(answer.send(Err(NotRegistered::Url)));
        };
        if !connection.allows(&options) {
            return drop(answer.send(Err(NotRegistered::Table)));
        }
        let source_ref = of_source(&url, &options);
        let id = source_id(&owner, Origin::Connection(name), &options);
        let source = Source { id, owner, connection: name.clone(), options };
        let sender =
            match self.running.iter().find(|running| running.source.id == source.id && !running.task.is_finished()) {
                Some(running) => running.sender.clone(),
                None if self.count(&source.owner) >= MAX_SOURCES => {
                    return drop(answer.send(Err(NotRegistered::Quota(MAX_SOURCES))));
                }
                None => self.run(Planned::read(source), None),
            };
        tokio::task::spawn_local(async move {
            let (joined, waits) = oneshot::channel();
            // A task that ends just now answers nothing.
            let _ = sender.send(Message::Register(source_ref.clone(), joined)).await;
            let joined = waits.await.unwrap_or(Err(NotJoined::Unavailable));
            drop(answer.send(joined.map(|()| source_ref).map_err(NotRegistered::Bridge)));
        });
    }

    /// How many sources a user has, also those that cannot be read yet.
    fn count(&self, owner: &str) -> usize {
        let is_of = |running: &&Running| running.source.owner == owner && !running.task.is_finished();
        self.running.iter().filter(is_of).count()
    }

    /// Answers one who reads: at once, or later. Whoever may not use the connection any more reads no more, and nobody reads a table that it
    /// does not let through any more.
    pub(super) fn read(&self, owner: &str, source_ref: &str, reading: Reading, answer: oneshot::Sender<Sent>) {
        let is_asked = |running: &&Running| {
            let Running { source, readable, .. } = running;
            let is_read = readable.borrow().as_ref().is_some_and(|readable| readable.is(source_ref));
            let connection = self.outside.connections.get(&source.connection);
            let is_open = connection.is_some_and(|its| its.is_for(owner) && its.allows(&source.options));
            source.owner == owner && is_read && is_open
        };
        let Some(running) = self.running.iter().find(is_asked) else {
            return drop(answer.send(Sent::Whole(durable_streams::missing())));
        };
        // A task that has too much to do is told the next time.
        let _ = running.sender.try_send(Message::Happened(Event::Read { source_ref: source_ref.to_owned() }));
        let stream = self.stream(running);
        self.spawn(async move { stream.answer(reading, answer).await });
    }

    /// Answers one who reads a source's log piece by piece.
    pub(super) fn changes(&self, source_id: String, wanted: Wanted, answer: oneshot::Sender<changes::Read>) {
        let Some(running) = self.running.iter().find(|running| running.source.id == source_id) else { return };
        let stream = self.stream(running);
        self.spawn(async move { stream.changes(&source_id, wanted, answer).await });
    }

    fn stream(&self, running: &Running) -> Stream {
        Stream { store: Store::new(Rc::clone(&self.sql), running.number), readable: running.readable.clone() }
    }

    fn spawn(&self, work: impl Future<Output = Result<(), SqlError>> + 'static) {
        let log = self.outside.log.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = work.await {
                log.warn(&format!("pg-sync: a log cannot be read: {error}"));
            }
        });
    }

    /// Of how many sources something is kept.
    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Ends all tasks.
    pub(super) fn end(self) {
        self.running.into_iter().for_each(|running| running.task.abort());
    }
}

/// What a stored bridge follows. One that cannot be read is said by its task, which tries again.
fn stored_source(sql: &Rc<Rusqlite>, number: u64, id: &str) -> Source {
    let bridge = Store::new(Rc::clone(sql), number).open().ok().flatten();
    bridge.map_or_else(|| unknown(id.to_owned()), |bridge| bridge.stored().source.clone())
}
