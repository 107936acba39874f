//! A thread and its graphs: calls, sockets and streams are tasks of its own, which hold the graph for as long as they last.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sync_http::graph_routes::{self, sockets};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::TaskTracker;
use web::{Event, Failure, Level, Source};

use super::call::{Answer, AnswerBody, Call, Command};
use super::object::GraphObject;
use super::sockets::{Arrivals, Socket};
use super::{CloseFrame, Options};
use crate::bodies::{ByteSender, NativeResponse, channel};

/// How long a download may go unread.
const STREAM_PATIENCE: Duration = Duration::from_mins(1);

/// How long a closed socket may take to answer, before its task ends all the same.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// The most time between two looks for idle graphs.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What belongs to a thread.
pub(super) struct Thread {
    pub(super) options: Options,
    graphs: RefCell<keyed::Map<String, Rc<GraphObject>>>,
    tasks: TaskTracker,
    stopping: watch::Sender<bool>,
    ended: Cell<bool>,
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
    let thread = Rc::new(Thread {
        options,
        graphs: RefCell::default(),
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

    /// The graph of a folder.
    fn open(self: &Rc<Self>, folder: &str) -> Result<Rc<GraphObject>, Failure> {
        if self.options.hold.is_lost() {
            return Err(Failure("the lock is lost".into()));
        }
        if let Some(object) = self.graphs.borrow().get(folder) {
            object.touch();
            return Ok(Rc::clone(object));
        }
        if self.ended.get() {
            return Err(Failure("the server is stopping".into()));
        }
        self.make_room();
        let object = GraphObject::open(self, &self.options.data.graph(folder))?;
        self.graphs.borrow_mut().insert(folder.to_owned(), Rc::clone(&object));
        Ok(object)
    }

    /// Closes the graphs that were unused for longest, as far as there are too many. All that are in use stay.
    fn make_room(&self) {
        while self.graphs.borrow().len() >= self.options.open {
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
        let remove = object.leaves_nothing();
        if !remove && let Err(error) = object.shared().borrow_mut().checkpoint() {
            // What it could not write stays in its journal.
            let event = Event::new(Level::Warning, "db-sync/graph-checkpoint-failed");
            self.options.log.event(&event.with_error(&error.to_string()));
        }
        drop(object);
        if remove && let Err(error) = crate::store::remove_graph(&folder) {
            self.options.log.event(&Event::new(Level::Warning, "db-sync/remove-failed").with_error(&error.to_string()));
        }
    }

    /// Gives up a graph whose commits may not be on the disk. It is opened again from its rows by whoever comes next.
    fn give_up(&self, object: &Rc<GraphObject>, failure: &Failure) {
        self.options.log.event(&Event::new(Level::Error, "db-sync/sync-failed").with_error(&failure.0));
        if object.durable.is_lost() {
            return self.abandon();
        }
        self.graphs.borrow_mut().retain(|_, other| !Rc::ptr_eq(other, object));
        object.cut_off(1011, "storage failed");
    }

    /// Ends all sockets: another process may have the files. Whoever closes a database writes into it, so none is closed; they
    /// go with the process, which has nothing else to do any more.
    fn abandon(&self) {
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
    let response = tokio::select! {
        biased;
        response = graph_routes::handle(&*object, &object.memory, request) => response,
        // Nobody waits for it any more: what took effect stays.
        () = answer.closed() => return,
    };
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
                pump(source, sender).await;
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

/// Makes a stream's chunks as they are read. It ends when its reader has gone, or reads nothing for a minute.
async fn pump(mut source: Box<dyn Source>, sender: ByteSender) {
    loop {
        match source.next() {
            Ok(None) => return,
            Err(failure) => return sender.fail(failure),
            Ok(Some(bytes)) => match timeout(STREAM_PATIENCE, sender.send(bytes)).await {
                Ok(Ok(())) => tokio::task::yield_now().await,
                Ok(Err(_)) => return,
                Err(_) => return sender.fail(Failure("nobody reads it".into())),
            },
        }
    }
}

/// Hands the frames of a socket to its graph, one after the other: while one is worked on, the next ones wait in a bounded
/// channel, and TCP slows their sender.
async fn attend(object: Rc<GraphObject>, socket: Rc<Socket>, arrivals: Arrivals, mut stopping: watch::Receiver<bool>) {
    let Arrivals { mut frames, mut end } = arrivals;
    let mut told = false;
    let mut frames_over = false;
    let ended = loop {
        tokio::select! {
            biased;
            frame = frames.recv(), if !frames_over => {
                // Without it there are no more frames; how it ended is still to come.
                let Some((frame, _room)) = frame else {
                    frames_over = true;
                    continue;
                };
                object.touch();
                let Err(later) = sockets::on_frame_at_once(&*object, &object.memory, &socket, frame) else { continue };
                let finish = sockets::finish(&*object, &object.memory, &socket, later);
                let mut finish = std::pin::pin!(finish);
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
            }
            over = &mut end => break over.ok(),
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

fn leave(object: &Rc<GraphObject>, socket: &Rc<Socket>, end: Option<CloseFrame>) {
    let CloseFrame { code, reason } = end.unwrap_or(CloseFrame { code: 1006, reason: String::new() });
    sockets::on_close(&**object, &object.memory, socket, code, &reason);
    object.forget_socket(socket);
    object.touch();
}
