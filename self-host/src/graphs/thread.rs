//! A thread and its graphs: calls, sockets and streams are tasks of its own, which hold the graph for as long as they last.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sync_http::graph_routes::{self, sockets};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::TaskTracker;
use web::{Event, Failure, Host as _, Hosted as _, Level, Source};

use super::call::{Answer, AnswerBody, Call, Command};
use super::care::care;
use super::durable::{Durable, UNSYNCED};
use super::object::GraphObject;
use super::sockets::{Arrivals, Socket};
use super::{CloseFrame, Options};
use crate::bodies::{ByteSender, NativeResponse, channel};
use crate::store::leave_log;
use crate::traffic::{Cargo, Direction};

/// How long a download may go unread.
const STREAM_PATIENCE: Duration = Duration::from_mins(1);

/// How long a closed socket may take to answer, before its task ends all the same.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// The most time between two looks for idle graphs.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How often what could not be put on the disk is tried again (self-host.md 9.1).
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// What belongs to a thread.
pub(super) struct Thread {
    pub(super) options: Options,
    pub(super) graphs: RefCell<keyed::Map<String, Rc<GraphObject>>>,
    /// Graphs that were given up after a sync that failed, until their logs are known to be on the disk: as many as there are
    /// graphs at most.
    pub(super) doubtful: RefCell<keyed::Map<String, Weak<GraphObject>>>,
    /// Folders whose files are being replaced: at most as many as there are repairs.
    closed: RefCell<BTreeSet<String>>,
    tasks: TaskTracker,
    stopping: watch::Sender<bool>,
    ended: Cell<bool>,
}

/// A graph that nobody opens for as long as this lives.
pub(super) struct Closed {
    thread: Rc<Thread>,
    folder: String,
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.thread.closed.borrow_mut().remove(&self.folder);
    }
}

/// Runs a thread to its end.
pub(super) fn run(options: Options, commands: mpsc::Receiver<Command>) {
    let log = options.log.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build();
    match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(options, commands)),
        Err(error) => {
            log.event(&Event::new(Level::Error, "db-sync/thread-failed").with_error(&error.to_string()));
        }
    }
}

async fn serve(options: Options, mut commands: mpsc::Receiver<Command>) {
    let mut look = interval((options.idle / 4).clamp(Duration::from_millis(50), LOOK_EVERY));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut retry = interval(RETRY_EVERY);
    retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let thread = Rc::new(Thread {
        options,
        graphs: RefCell::default(),
        doubtful: RefCell::default(),
        closed: RefCell::default(),
        tasks: TaskTracker::new(),
        stopping: watch::Sender::new(false),
        ended: Cell::new(false),
    });
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return thread.stop(Duration::ZERO).await,
                Some(Command::Call(call)) => {
                    let task = answer(Rc::clone(&thread), *call);
                    thread.later(task);
                }
                Some(Command::Care { folder, task, quarantine, told }) => {
                    thread.later(care(Rc::clone(&thread), folder, task, quarantine, told));
                }
                Some(Command::Revoke(tokens)) => thread.revoke(&tokens),
                Some(Command::Checkpoint) => thread.checkpoint(),
                Some(Command::Abandon(done)) => {
                    thread.abandon();
                    let _ = done.send(());
                }
                Some(Command::Stop { limit, done }) => {
                    thread.stop(limit).await;
                    // Whoever asked may be gone.
                    let _ = done.send(());
                    return;
                }
            },
            _ = look.tick() => thread.close_idle(),
            _ = retry.tick() => thread.settle_doubts(),
        }
    }
}

impl Thread {
    /// Does something beside the rest.
    pub(super) fn later(&self, work: impl Future<Output = ()> + 'static) {
        self.tasks.spawn_local(work);
    }

    /// Tells when the thread stops.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Keeps a graph closed for as long as what this gives lives. What is open stays so until it is closed.
    pub(super) fn hold_closed(self: &Rc<Self>, folder: &str) -> Result<Closed, Failure> {
        if !self.closed.borrow_mut().insert(folder.to_owned()) {
            return Err(Failure("the graph is being repaired already".into()));
        }
        Ok(Closed { thread: Rc::clone(self), folder: folder.to_owned() })
    }

    /// The graph of a folder, if it is open.
    pub(super) fn opened(&self, folder: &str) -> Option<Rc<GraphObject>> {
        self.graphs.borrow().get(folder).cloned()
    }

    /// Closes a graph unless somebody uses it. True: it is closed.
    pub(super) fn close_unused(&self, folder: &str) -> bool {
        if self.graphs.borrow().get(folder).is_some_and(|object| !object.is_idle()) {
            return false;
        }
        self.close(folder);
        true
    }

    /// The graph of a folder.
    pub(super) fn open(self: &Rc<Self>, folder: &str) -> Result<Rc<GraphObject>, Failure> {
        if self.closed.borrow().contains(folder) {
            return Err(Failure("the graph is being repaired".into()));
        }
        if self.options.hold.is_lost() {
            return Err(Failure("the lock is lost".into()));
        }
        if self.options.only.as_ref().is_some_and(|only| !only.is_in(folder)) {
            return Err(Failure("this server is there for another graph".into()));
        }
        if let Some(object) = self.graphs.borrow().get(folder) {
            object.touch();
            return Ok(Rc::clone(object));
        }
        if self.ended.get() {
            return Err(Failure("the server is stopping".into()));
        }
        self.require_usable(folder)?;
        self.make_room();
        let object = GraphObject::open(self, &self.options.data.graph(folder)).inspect_err(|failure| {
            self.tell_damage_of(folder, failure);
        })?;
        self.settle_doubt(folder, &object);
        self.graphs.borrow_mut().insert(folder.to_owned(), Rc::clone(&object));
        Ok(object)
    }

    /// Closes the graphs that were unused for longest, as far as there are too many. All that are in use stay.
    fn make_room(&self) {
        while self.graphs.borrow().len() >= self.options.limits.open.get() {
            let graphs = self.graphs.borrow();
            let idle = graphs.iter().filter(|(_, object)| object.is_idle());
            let Some(oldest) = idle.min_by_key(|(_, object)| object.used_at()).map(|(name, _)| name.clone()) else {
                return;
            };
            drop(graphs);
            self.close(&oldest);
        }
    }

    fn close_idle(&self) {
        let limit = self.options.idle;
        let graphs = self.graphs.borrow();
        let over = graphs.iter().filter(|(_, object)| object.is_idle() && object.unused_for() >= limit);
        let names: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        drop(graphs);
        for name in &names {
            self.close(name);
        }
    }

    /// Closes a graph that nobody uses.
    fn close(&self, name: &str) {
        if self.options.hold.is_lost() {
            return self.abandon();
        }
        let Some(object) = self.graphs.borrow_mut().remove(name) else { return };
        let folder = object.folder().to_owned();
        // The folder of a graph that is served alone holds the lock of its server.
        let remove = self.options.only.is_none() && object.leaves_nothing();
        if self.doubtful.borrow().contains_key(name) {
            leave_log(object.shared().borrow().sql());
        } else if !remove && let Err(error) = object.shared().borrow_mut().checkpoint() {
            // What it could not write stays in its journal.
            let event = Event::new(Level::Warning, "db-sync/graph-checkpoint-failed");
            object.host().report(&event.with_error(&error.to_string()));
        }
        drop(object);
        if remove && let Err(error) = crate::store::remove_graph(&folder) {
            self.options.log.event(&Event::new(Level::Warning, "db-sync/remove-failed").with_error(&error.to_string()));
        }
    }

    /// Ends all sockets: another process may have the files. Whoever closes a database writes into it, so none is closed; they
    /// go with the process, which has nothing else to do any more.
    pub(super) fn abandon(&self) {
        self.ended.set(true);
        let graphs = std::mem::take(&mut *self.graphs.borrow_mut());
        for object in graphs.into_values() {
            object.cut_off(1012, "server restarting");
            std::mem::forget(object);
        }
    }

    fn revoke(&self, tokens: &Arc<[String]>) {
        for object in self.graphs.borrow().values() {
            object.revoke(tokens);
        }
    }

    fn checkpoint(&self) {
        for object in self.graphs.borrow().values() {
            self.options.metrics.checkpoints.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = object.shared().borrow_mut().checkpoint() {
                let event = Event::new(Level::Warning, "db-sync/graph-checkpoint-failed");
                self.options.log.event(&event.with_error(&error.to_string()));
            }
            let done =
                object.shared().borrow().sql().connection().pragma(None, "wal_checkpoint", "TRUNCATE", |_| Ok(()));
            if let Err(error) = done {
                let event = Event::new(Level::Warning, "db-sync/checkpoint-failed");
                self.options.log.event(&event.with_error(&error.to_string()));
            }
        }
    }

    /// Lets what was received be answered, closes sockets, waits for what runs, and closes all graphs.
    async fn stop(&self, limit: Duration) {
        self.ended.set(true);
        self.stopping.send_replace(true);
        self.tasks.close();
        // What still runs after that is cut with the thread.
        let _ = timeout(limit, self.tasks.wait()).await;
        let objects: Vec<_> = self.graphs.borrow().values().cloned().collect();
        for object in &objects {
            if let Err(failure) = object.durable.sync().await {
                self.give_up(object, &failure);
            }
        }
        drop(objects);
        let names: Vec<String> = self.graphs.borrow().keys().cloned().collect();
        for name in &names {
            self.close(name);
        }
    }

    /// Hands what comes from a socket to its graph, until it ends.
    pub(super) fn attend(&self, object: Rc<GraphObject>, socket: Rc<Socket>, arrivals: Arrivals) {
        self.later(attend(object, socket, arrivals, self.stopping()));
    }
}

/// Syncs what a graph commits for as long as it is there. What is committed while a sync runs shares the next one.
pub(super) async fn sync(object: Weak<GraphObject>) {
    loop {
        let Some(durable) = object.upgrade().map(|object| Rc::clone(&object.durable)) else { return };
        durable.news().await;
        // Whoever else is ready now shares this sync.
        tokio::task::yield_now().await;
        if let Err(failure) = durable.sync().await {
            if let Some(object) = object.upgrade()
                && let Some(thread) = object.thread()
            {
                thread.give_up(&object, &failure);
            }
            return;
        }
    }
}

async fn answer(thread: Rc<Thread>, call: Call) {
    let Call { folder, request, mut answer } = call;
    let object = match thread.open(&folder) {
        Ok(object) => object,
        Err(failure) => return drop(answer.send(Err(failure))),
    };
    object.count();
    let route = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let traffic = &thread.options.metrics.traffic;
    let response = tokio::select! {
        biased;
        response = graph_routes::handle(&*object, &object.memory, request) => response,
        // Nobody waits for it any more: what took effect stays.
        () = answer.closed() => return,
        // Whoever opens the graph again waits until nobody holds this one.
        () = object.durable.failed() => return drop(answer.send(Err(Failure(UNSYNCED.into())))),
    };
    object.count();
    if object.is_damaged() {
        return drop(answer.send(Err(thread.leave_damaged(&object))));
    }
    if route == "upload" {
        traffic.carried(Cargo::Snapshot, Direction::Upload, response.status().is_success());
    }
    if let Err(failure) = object.durable.settle().await {
        return drop(answer.send(Err(failure)));
    }
    let (head, body) = response.into_parts();
    let body = match body {
        NativeResponse::Empty => AnswerBody::Empty,
        NativeResponse::Full(bytes) => AnswerBody::Full(bytes),
        NativeResponse::Channel(receiver) => AnswerBody::Channel(receiver),
        NativeResponse::Socket(ends) => AnswerBody::Socket(ends),
        NativeResponse::Streamed(source) => {
            let (sender, receiver) = channel();
            if answer.send(Ok(Answer { head, body: AnswerBody::Channel(receiver) })).is_ok() {
                let (whole, bytes) = pump(source, sender, &object.durable).await;
                if route == "stream" {
                    traffic.carried(Cargo::Snapshot, Direction::Download, whole);
                    traffic.bytes(Direction::Download, bytes);
                }
            }
            if object.is_damaged() {
                thread.leave_damaged(&object);
            }
            // Until here the graph is held.
            return drop(object);
        }
        NativeResponse::File(_) | NativeResponse::Passed(_) => {
            return drop(answer.send(Err(Failure("a body that no graph makes".into()))));
        }
    };
    // Whoever asked may be gone; a socket's end tells its task.
    let _ = answer.send(Ok(Answer { head, body }));
}

/// Makes a stream's chunks as they are read. It ends when its reader has gone, or reads nothing for a minute, and when its graph
/// is given up. Gives whether all of it went out, and how many bytes did.
async fn pump(mut source: Box<dyn Source>, sender: ByteSender, durable: &Durable) -> (bool, u64) {
    let mut given_up = std::pin::pin!(durable.failed());
    let mut sent_bytes = 0;
    let failure = loop {
        let bytes = match source.next() {
            Ok(None) => return (true, sent_bytes),
            Err(failure) => break failure,
            Ok(Some(bytes)) => bytes,
        };
        sent_bytes += bytes.len() as u64;
        tokio::select! {
            sent = timeout(STREAM_PATIENCE, sender.send(bytes)) => match sent {
                Ok(Ok(())) => tokio::task::yield_now().await,
                Ok(Err(_)) => return (false, sent_bytes),
                Err(_) => break Failure("nobody reads it".into()),
            },
            () = &mut given_up => break Failure(UNSYNCED.into()),
        }
    };
    sender.fail(failure);
    (false, sent_bytes)
}

/// Hands the frames of a socket to its graph, one after the other: while one is worked on, the next ones wait in a bounded
/// channel, and TCP slows their sender.
async fn attend(object: Rc<GraphObject>, socket: Rc<Socket>, arrivals: Arrivals, mut stopping: watch::Receiver<bool>) {
    let Arrivals { mut frames, mut end } = arrivals;
    let mut told = false;
    let mut frames_over = false;
    let mut given_up = std::pin::pin!(object.durable.failed());
    let ended = loop {
        tokio::select! {
            biased;
            frame = frames.recv(), if !frames_over => {
                // Without it there are no more frames; how it ended is still to come.
                let Some((frame, _room)) = frame else {
                    frames_over = true;
                    continue;
                };
                if socket.closing.get() {
                    // What comes behind its close counts for nothing: whoever was removed may be back by now, with another socket.
                    continue;
                }
                object.touch();
                let done = sockets::on_frame_at_once(&*object, &object.memory, &socket, frame);
                object.count();
                if look_for_damage(&object) {
                    break None;
                }
                let Err(later) = done else { continue };
                // Apart: sockets that do nothing have no room for it.
                let mut finish = Box::pin(sockets::finish(&*object, &object.memory, &socket, later));
                let over = tokio::select! {
                    biased;
                    () = &mut finish => None,
                    over = &mut end => Some(over),
                };
                if let Some(over) = over {
                    // It goes while an answer is being made: that ends by itself.
                    leave(&object, &socket, over.ok());
                    finish.await;
                    return;
                }
                object.count();
                if look_for_damage(&object) {
                    break None;
                }
            }
            over = &mut end => break over.ok(),
            // Its end is told already.
            () = &mut given_up => break None,
            _ = stopping.wait_for(|stopping| *stopping), if !told => {
                // All frames that had come are answered.
                told = true;
                graph_routes::Sockets::close(&*object, &socket, 1012, "server restarting");
            }
            () = tokio::time::sleep(CLOSE_PATIENCE), if told => break None,
        }
    };
    leave(&object, &socket, ended);
}

/// Whether the graph's file was found damaged; then the graph is left.
pub(super) fn look_for_damage(object: &Rc<GraphObject>) -> bool {
    let damaged = object.is_damaged();
    if damaged && let Some(thread) = object.thread() {
        thread.leave_damaged(object);
    }
    damaged
}

fn leave(object: &Rc<GraphObject>, socket: &Rc<Socket>, end: Option<CloseFrame>) {
    let CloseFrame { code, reason } = end.unwrap_or(CloseFrame { code: 1006, reason: String::new() });
    sockets::on_close(&**object, &object.memory, socket, code, &reason);
    object.forget_socket(socket);
    object.touch();
}
