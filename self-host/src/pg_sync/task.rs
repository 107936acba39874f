//! One bridge as a task: what happens to it is decided, stored and done, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use database::local::SqlError;
use database::local_sqlite::Rusqlite;
use pg_sync::answer::Answer;
use pg_sync::body::BlockedReason;
use pg_sync::bridge::{
    Action, Bridge, Connection, ConnectionFault, Context, Event, NotJoined, Observer, Stored, decide, next_alarm,
};
use pg_sync::shape::{Ask, ShapeRequest};
use pg_sync::store::Store;
use pg_sync::wake::Wake;
use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::plan::{Planned, PlannedObserver};
use super::service::Service;
use super::sink::Sink;
use super::streams::Readable;
use crate::config::{self, PgSync, SecretFrom};
use crate::daemon::Hold;
use crate::host::{now_ms, random_uuid};
use crate::log::Log;
use crate::serve::client::plain;

/// [`Outside::again_ms`] of a server.
const AGAIN_MS: i64 = 60_000;

/// Bytes of a secret's file at most.
const SECRET_BYTES: u64 = 64 * 1024;

/// What all bridges share.
pub(super) struct Outside {
    pub(super) connections: BTreeMap<String, config::Connection>,
    /// The services of the connections, by the same names.
    services: BTreeMap<String, Service>,
    sink: Option<Arc<Sink>>,
    max_wakes: u32,
    /// The pause before a source that was refused is tried again, or the database after it failed, in milliseconds.
    pub(super) again_ms: i64,
    hold: Arc<Hold>,
    pub(super) log: Log,
}

/// The subscription of those who wait until a source can be read.
const REGISTERING: &str = "registering";

/// Most who wait for that.
const MAX_REGISTERING: usize = 100;

/// What a task is told.
pub(super) enum Message {
    /// Somebody wants to read the log, under this name, and waits for the moment from which nothing is missed.
    Register(String, oneshot::Sender<Result<(), NotJoined>>),
    /// Something has happened.
    Happened(Event),
    /// Somebody wants to see its observations.
    Show(oneshot::Sender<Vec<Json>>),
}

/// A bridge with all that it needs.
pub(super) struct Task {
    store: Store<Rc<Rusqlite>>,
    planned: Planned,
    outside: Rc<Outside>,
    bridge: Option<Bridge>,
    sender: mpsc::Sender<Message>,
    messages: mpsc::Receiver<Message>,
    asking: Option<AbortHandle>,
    /// What readers know.
    readable: watch::Sender<Option<Readable>>,
    /// Those who wait until it can be read, under which name.
    registering: Vec<(String, oneshot::Sender<Result<(), NotJoined>>)>,
    /// The observations that were ever joined since the start, by the names of their subscriptions.
    joined: BTreeSet<String>,
    /// When it is opened, or its observations are asked for, again.
    again_at: Option<i64>,
}

impl Outside {
    pub(super) fn new(config: &PgSync, hold: Arc<Hold>, log: Log) -> std::io::Result<Self> {
        let sink = match &config.sink {
            Some(sink) => Some(Arc::new(Sink::new(sink.url.clone(), secret_of(&sink.secret)?.into_bytes()))),
            None => None,
        };
        let client = plain();
        let services = config.connections.keys().map(|name| (name.clone(), Service::new(client.clone()))).collect();
        let (connections, max_wakes) = (config.connections.clone(), config.max_wakes);
        Ok(Self { connections, services, sink, max_wakes, again_ms: AGAIN_MS, hold, log })
    }
}

/// The text of a secret's file, without the end of its line.
fn secret_of(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let named = |error: std::io::Error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = std::fs::File::open(path).map_err(named)?;
    file.take(SECRET_BYTES).read_to_string(&mut text).map_err(named)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn secret(connection: &config::Connection) -> Result<Option<String>, ConnectionFault> {
    let unreadable = ConnectionFault::Unusable(BlockedReason::SecretUnreadable);
    match &connection.secret {
        None => Ok(None),
        Some(SecretFrom::File(path)) => secret_of(path).map(Some).map_err(|_| unreadable),
        Some(SecretFrom::Variable(name)) => std::env::var(name).map(Some).map_err(|_| unreadable),
    }
}

impl Task {
    pub(super) fn new(
        store: Store<Rc<Rusqlite>>,
        planned: Planned,
        outside: Rc<Outside>,
        (sender, messages): (mpsc::Sender<Message>, mpsc::Receiver<Message>),
        readable: watch::Sender<Option<Readable>>,
    ) -> Self {
        let (asking, registering, joined) = (None, Vec::new(), BTreeSet::new());
        Self {
            store,
            planned,
            outside,
            bridge: None,
            sender,
            messages,
            asking,
            readable,
            registering,
            joined,
            again_at: Some(0),
        }
    }

    /// Runs until it is dropped, or the lock of the data directory is lost, or there is nothing to follow any more.
    pub(super) async fn run(mut self) {
        while !self.outside.hold.is_lost() {
            let now = now_ms();
            if self.again_at.is_some_and(|at| at <= now) {
                self.again_at = None;
                if let Err(error) = self.begin() {
                    self.failed(&error);
                }
            }
            if self.bridge.is_none() && self.again_at.is_none() {
                return;
            }
            let alarm = self.bridge.as_ref().map(|bridge| next_alarm(bridge, now));
            let due = alarm.into_iter().chain(self.again_at).min().unwrap_or(now);
            let pause = Duration::from_millis(due.saturating_sub(now).unsigned_abs());
            tokio::select! {
                message = self.messages.recv() => match message {
                    Some(Message::Happened(event)) => self.happens(event),
                    Some(Message::Show(answer)) => self.show(answer),
                    Some(Message::Register(source_ref, answer)) => self.register(source_ref, answer),
                    // It holds a sender itself.
                    None => return,
                },
                () = tokio::time::sleep(pause) => self.happens(Event::Due),
            }
        }
    }

    /// Opens what is stored, or makes it, and observes as the configuration says. An observation that has ended since the start stays ended.
    fn begin(&mut self) -> Result<(), SqlError> {
        let now = now_ms();
        let is_opened = self.bridge.is_none();
        if is_opened {
            self.bridge = self.store.open()?;
        }
        let observers = self.bridge.as_ref().map(Bridge::observers);
        let is_active = |id: &String| observers.and_then(|its| its.get(id)).is_some_and(Observer::is_active);
        let going_on = self.planned.observers.iter().filter(|its| is_active(&its.id) || !self.joined.contains(&its.id));
        let subscribe = |observer: &PlannedObserver| Event::Subscribe {
            id: observer.id.clone(),
            session: observer.name.clone(),
            wake: observer.wake.clone(),
        };
        let wanted: Vec<Event> = going_on.map(subscribe).collect();
        if self.bridge.is_none() {
            if wanted.is_empty() && !self.planned.is_read {
                return Ok(());
            }
            self.store.create(&Stored::new(self.planned.source.clone(), now))?;
            self.bridge = self.store.open()?;
        }
        let Some(bridge) = &self.bridge else { return Ok(()) };
        // Once it is there, it goes when nobody reads it any more.
        self.planned.is_read = false;
        self.readable.send_replace(Some(Readable::of(bridge)));
        let is_wanted = |id: &String| {
            let is_registering = id == REGISTERING && !self.registering.is_empty();
            is_registering || self.planned.observers.iter().any(|observer| observer.id == *id)
        };
        let unwanted: Vec<String> = bridge.observers().keys().filter(|id| !is_wanted(id)).cloned().collect();
        let ended = unwanted.into_iter().map(|id| Event::Unsubscribe { id });
        // The configuration may be another one than that for which it was blocked.
        let last = if is_opened { Event::ConnectionTouched } else { Event::Due };
        ended.chain(wanted).chain([last]).try_for_each(|event| self.decide(event))
    }

    fn happens(&mut self, event: Event) {
        if let Err(error) = self.decide(event) {
            self.failed(&error);
        }
    }

    /// Whoever has registered before is read to again: only a bridge that is not there has to be waited for.
    fn register(&mut self, source_ref: String, answer: oneshot::Sender<Result<(), NotJoined>>) {
        if self.bridge.is_none() || self.registering.len() >= MAX_REGISTERING {
            // Its caller hears that it is not there now.
            return drop(answer.send(Err(NotJoined::Unavailable)));
        }
        self.registering.push((source_ref, answer));
        // One who dies meanwhile leaves nothing behind: a subscription that nobody has planned ends with the next start.
        self.happens(Event::Subscribe { id: REGISTERING.into(), session: String::new(), wake: Wake::default() });
    }

    /// From here on nothing is missed: the log is kept for whoever reads it.
    fn registered(&mut self) -> Result<(), SqlError> {
        let waiting = std::mem::take(&mut self.registering);
        if let Some((source_ref, _)) = waiting.first() {
            self.decide(Event::Read { source_ref: source_ref.clone() })?;
        }
        self.decide(Event::Unsubscribe { id: REGISTERING.into() })?;
        // Whoever asked may be gone.
        for (_, answer) in waiting {
            let _ = answer.send(Ok(()));
        }
        Ok(())
    }

    /// The bridge in memory may be ahead of what is stored: it is dropped and opened again.
    fn failed(&mut self, error: &SqlError) {
        self.outside.log.warn(&format!("pg-sync: {}: cannot be stored: {error}", self.planned.source.id));
        self.bridge = None;
        self.registering.clear();
        self.abort();
        self.again_at = Some(now_ms().saturating_add(self.outside.again_ms));
    }

    fn abort(&mut self) {
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
    }

    fn decide(&mut self, event: Event) -> Result<(), SqlError> {
        let Some(bridge) = &mut self.bridge else { return Ok(()) };
        let (dice, _) = random_uuid().as_u64_pair();
        let dice = u32::try_from(dice >> 32).unwrap_or_default();
        let context = Context { now: now_ms(), dice, max_wakes: self.outside.max_wakes };
        let decision = decide(bridge, &self.store, event, &context)?;
        if self.outside.hold.check().is_err() {
            // Another process may have the file by now.
            return Ok(());
        }
        self.store.store(bridge, &decision.commit)?;
        let readable = Readable::of(bridge);
        self.readable.send_if_modified(|before| {
            let is_new = before.as_ref() != Some(&readable);
            *before = Some(readable);
            is_new
        });
        for action in decision.actions {
            self.act(action)?;
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), SqlError> {
        match action {
            Action::ReadConnection { epoch } => {
                let seen = self.connection().map(|(connection, _)| connection);
                self.decide(Event::Connection { epoch, seen })?;
            }
            Action::Ask { epoch, ask, timeout_ms } => self.ask(epoch, ask, timeout_ms),
            Action::Abort => self.abort(),
            // It waits for a moment only, and is told of nothing.
            Action::Send { id, .. } if id == REGISTERING => {}
            Action::Send { id, key, body, .. } => self.send(id, key, body),
            Action::Joined { id } if id == REGISTERING => self.registered()?,
            Action::Joined { id } => drop(self.joined.insert(id)),
            Action::NotJoined { id, why } if id == REGISTERING => {
                for (_, answer) in std::mem::take(&mut self.registering) {
                    let _ = answer.send(Err(why.clone()));
                }
            }
            Action::NotJoined { id, why } => {
                let name = self.planned.observers.iter().find(|observer| observer.id == id).map_or("", |o| &o.name);
                self.outside.log.warn(&format!("pg-sync: {name} is not observed: {}", told(&why)));
                self.again_at = Some(now_ms().saturating_add(self.outside.again_ms));
            }
            Action::Remove => {
                self.abort();
                self.bridge = None;
                self.readable.send_replace(None);
                self.store.remove()?;
            }
        }
        Ok(())
    }

    fn connection(&self) -> Result<(Connection, Option<String>), ConnectionFault> {
        // That of the bridge: one that is not observed any more may have lost its place in the configuration.
        let missing = ConnectionFault::Unusable(BlockedReason::ConnectionMissing);
        let source = self.bridge.as_ref().map(|bridge| &bridge.stored().source).ok_or(missing)?;
        let found = self.outside.connections.get(&source.connection).ok_or(missing)?;
        if !found.allows(&source.options) {
            return Err(ConnectionFault::Unusable(BlockedReason::TableNotAllowed));
        }
        Ok((Connection { revision: found.revision, mode: found.mode }, secret(found)?))
    }

    fn ask(&mut self, epoch: u64, ask: Ask, timeout_ms: i64) {
        let (outside, sender) = (Rc::clone(&self.outside), self.sender.clone());
        let Some(source) = self.bridge.as_ref().map(|bridge| bridge.stored().source.clone()) else { return };
        let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
        let task = tokio::task::spawn_local(async move {
            let name = &source.connection;
            let found = outside.connections.get(name).zip(outside.services.get(name));
            let answer = match found.map(|(found, service)| (found, service, secret(found))) {
                Some((found, service, Ok(secret))) => {
                    let cache_buster = random_uuid().simple().to_string();
                    let request = ShapeRequest {
                        base: &found.url,
                        options: &source.options,
                        owner: &source.owner,
                        secret: secret.as_deref(),
                        cache_buster: &cache_buster,
                        ask: &ask,
                    };
                    service.ask(request, timeout).await
                }
                _ => Answer::Broken("the connection cannot be read".into()),
            };
            // A task that has ended wants no answer.
            let _ = sender.send(Message::Happened(Event::Answered { epoch, answer })).await;
        });
        self.asking = Some(task.abort_handle());
    }

    fn send(&self, id: String, key: String, body: String) {
        let Some(sink) = self.outside.sink.clone() else { return };
        let sender = self.sender.clone();
        tokio::task::spawn_local(async move {
            let outcome = sink.send(body).await;
            let _ = sender.send(Message::Happened(Event::Sent { id, key, outcome })).await;
        });
    }

    fn show(&self, answer: oneshot::Sender<Vec<Json>>) {
        let now = now_ms();
        let mut shown = Vec::new();
        for planned in &self.planned.observers {
            let seen = self.bridge.as_ref().and_then(|bridge| Some((bridge, bridge.observers().get(&planned.id)?)));
            let mut seen = match seen {
                Some((bridge, observer)) => bridge.observation(observer, now),
                // It was refused, or has ended.
                None => {
                    serde_json::json!({"source_id": self.planned.source.id, "subscription_id": planned.id, "state": "ended"})
                }
            };
            if let Some(seen) = seen.as_object_mut() {
                seen.insert("id".into(), planned.name.as_str().into());
            }
            shown.push(seen);
        }
        // Whoever asked may be gone.
        let _ = answer.send(shown);
    }
}

fn told(why: &NotJoined) -> String {
    match why {
        NotJoined::Refused(refusal) => format!("the service answers {} {}", refusal.status, refusal.detail),
        NotJoined::NoAnswer => "the service does not answer".into(),
        NotJoined::Unusable(reason) => reason.as_str().into(),
        NotJoined::Unavailable => "the service has no place in its log now".into(),
        NotJoined::Quota => "there are too many observations of one source".into(),
    }
}
