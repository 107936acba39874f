//! Logs of bridges as durable streams (docs/spec/pg-sync.md 4.14).

use std::rc::Rc;
use std::time::Duration;

use database::local::SqlError;
use database::local_sqlite::Rusqlite;
use durable_streams::{Asked, Clock, Extent, Following, Step, Told, Waiting, head, missing, read};
use http::Response;
use pg_sync::bridge::Bridge;
use pg_sync::changes::{self, Wanted};
use pg_sync::events::{Events, extent};
use pg_sync::store::Store;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::bodies::{ByteReceiver, ByteSender, channel};
use crate::host::{now_ms, random_uuid};

/// How long a long poll waits.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long events last.
const EVENTS: Duration = Duration::from_mins(1);
/// The pause after which something is said to whoever listens.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What readers know of a bridge.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Readable {
    extent: Extent,
    source_ref: Option<String>,
}

impl Readable {
    pub(super) fn of(bridge: &Bridge) -> Self {
        let stored = bridge.stored();
        Self { extent: extent(stored), source_ref: stored.reader.as_ref().map(|reader| reader.source_ref.clone()) }
    }

    /// Whether it is read under this name.
    pub(super) fn is(&self, source_ref: &str) -> bool {
        self.source_ref.as_deref() == Some(source_ref)
    }
}

/// How a stream is read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Only where it ends.
    Head,
    /// Messages.
    Get(Asked),
}

/// An answer as it crosses to another thread.
pub(crate) enum Sent {
    /// The whole answer.
    Whole(Response<Vec<u8>>),
    /// Its head, and the events that follow.
    Events(Response<()>, ByteReceiver),
}

/// A bridge's log while it is read.
pub(super) struct Stream {
    pub(super) store: Store<Rc<Rusqlite>>,
    /// What there is; nothing once the bridge is removed.
    pub(super) readable: watch::Receiver<Option<Readable>>,
}

impl Stream {
    fn events(&self) -> Option<Events<'_, Store<Rc<Rusqlite>>>> {
        let extent = self.readable.borrow().as_ref()?.extent;
        Some(Events { extent, log: &self.store })
    }

    /// Answers one who reads. Whoever does not wait for the answer any more ends it. An error is one of the database: then there is no answer.
    pub(super) async fn answer(mut self, reading: Reading, answer: oneshot::Sender<Sent>) -> Result<(), SqlError> {
        let step = match (self.events(), reading) {
            (None, _) => Step::Answer(missing()),
            (Some(events), Reading::Head) => Step::Answer(head(&events)),
            (Some(events), Reading::Get(asked)) => read(&events, &asked, clock())?,
        };
        // Whoever asked may be gone.
        let sent = match step {
            Step::Answer(answer) => Sent::Whole(answer),
            Step::Wait(waiting) => Sent::Whole(self.wait(waiting, &answer).await?),
            Step::Follow(head, following) => {
                let (sender, receiver) = channel();
                drop(answer.send(Sent::Events(head, receiver)));
                return self.follow(following, sender).await;
            }
        };
        drop(answer.send(sent));
        Ok(())
    }

    /// Answers one who reads piece by piece. There is no answer when the bridge is gone, or on an error, which is one of the database.
    pub(super) async fn changes(
        mut self,
        source_id: &str,
        wanted: Wanted,
        answer: oneshot::Sender<changes::Read>,
    ) -> Result<(), SqlError> {
        let end = Instant::now() + Duration::from_secs(wanted.wait_s);
        // Each turn is a change of the log, or the end.
        loop {
            self.readable.mark_unchanged();
            let Some(extent) = self.readable.borrow().as_ref().map(|readable| readable.extent) else { return Ok(()) };
            let is_over = Instant::now() >= end || answer.is_closed();
            if let Some(read) = changes::read(&self.store, source_id, extent, wanted, is_over)? {
                // Whoever asked may be gone.
                drop(answer.send(read));
                return Ok(());
            }
            self.grown(end).await;
        }
    }

    async fn wait(&mut self, waiting: Waiting, answer: &oneshot::Sender<Sent>) -> Result<Response<Vec<u8>>, SqlError> {
        let end = Instant::now() + LONG_POLL;
        // Each turn is a change of the log, or the end.
        loop {
            self.readable.mark_unchanged();
            let Some(events) = self.events() else { return Ok(missing()) };
            if let Some(answer) = waiting.poll(&events)? {
                return Ok(answer);
            }
            if Instant::now() >= end || answer.is_closed() {
                return Ok(waiting.timed_out(&events));
            }
            self.grown(end).await;
        }
    }

    async fn follow(&mut self, mut following: Following, sender: ByteSender) -> Result<(), SqlError> {
        let end = Instant::now() + EVENTS;
        // Each turn is a change of the log, a keep-alive, or the end.
        while Instant::now() < end {
            self.readable.mark_unchanged();
            let Some(events) = self.events() else { return Ok(()) };
            let told = match following.next(&events, clock())? {
                Told::Events(told) => told,
                Told::Nothing if self.grown(end.min(Instant::now() + KEEP_ALIVE)).await => continue,
                Told::Nothing => match self.events() {
                    Some(events) => following.keep_alive(&events, clock()),
                    None => return Ok(()),
                },
                Told::Ended => return Ok(()),
            };
            if sender.send(told).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for a change of the log, and says whether there was one. A bridge that ends is one.
    async fn grown(&mut self, until: Instant) -> bool {
        timeout_at(until, self.readable.changed()).await.is_ok()
    }
}

fn clock() -> Clock {
    let (dice, _) = random_uuid().as_u64_pair();
    Clock { now_ms: now_ms().unsigned_abs(), dice: u32::try_from(dice >> 32).unwrap_or_default() }
}
