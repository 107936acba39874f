//! Graphs on threads (ARCHITECTURE.md, "Threads"): a graph belongs to one thread, which owns its database and its sockets.
//!
//! [`Graphs`] is what fronts hold: it finds the thread of a graph and sends it a call. What crosses is the head of a request
//! with a body that is a bounded channel, the head of an answer with bytes, a bounded channel or the ends of a socket.

mod call;
mod care;
mod devices;
mod durable;
mod failing;
mod object;
mod sockets;
mod thread;

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use sync_http::service::{Limit, Settings};
use tokio::sync::{mpsc, oneshot};
use web::{Failure, Forward, Objects};

pub(crate) use care::{Done, Task};
pub(crate) use devices::{Devices, Present};
pub(crate) use durable::Commits;
pub(crate) use sockets::{CloseFrame, FrameSender, Outgoing, Queue, Said, SocketEnds};

use crate::bodies::{NativeRequest, NativeResponse};
use crate::daemon::Hold;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::serve::{OneGraph, Reporter};
use crate::store::{DataDir, Index, Quarantine, graph_folder};
use call::{Call, Command};

/// Calls that may wait for one thread. Whoever comes later waits at the front, with a connection that nobody reads from.
const WAITING_CALLS: usize = 256;

/// How graphs are kept.
#[derive(Clone)]
pub(crate) struct Options {
    /// The surface's settings.
    pub(crate) settings: Settings,
    /// Where the files are.
    pub(crate) data: DataDir,
    /// The index, as graphs ask it.
    pub(crate) index: Index,
    /// The lock of the data directory, without which nothing is written.
    pub(crate) hold: Arc<Hold>,
    /// The graph that is served, where it is one alone: other graphs have servers, or none, but not this one.
    pub(crate) only: Option<OneGraph>,
    /// The log.
    pub(crate) log: Log,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Where errors are reported.
    pub(crate) reporter: Reporter,
    /// A graph that nobody used for so long is closed.
    pub(crate) idle: Duration,
    /// How much is taken at once.
    pub(crate) limits: GraphLimits,
    /// Who sits at graphs.
    pub(crate) devices: Arc<Devices>,
    /// How long the next bytes of a body are waited for.
    pub(crate) patience: Duration,
}

/// How much is taken of graphs at once; all of it may change (self-host.md 9.3).
#[derive(Clone, Debug)]
pub(crate) struct GraphLimits {
    /// Graphs that are open, of one thread.
    pub(crate) open: Limit,
    /// Bytes that may wait for the reader of a socket.
    pub(crate) unread: Limit,
    /// Downloads of a graph.
    pub(crate) exports: Limit,
}

/// A handle to all graphs. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Graphs {
    threads: Arc<[mpsc::Sender<Command>]>,
    patience: Duration,
}

impl Graphs {
    /// Starts the threads; they end when the last handle is gone, or when they are told to.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(crate) fn start(options: &Options, threads: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let start = |number| {
            let (sender, receiver) = mpsc::channel(WAITING_CALLS);
            let options = options.clone();
            let thread = std::thread::Builder::new().name(format!("graphs-{number}"));
            thread.spawn(move || thread::run(options, receiver))?;
            Ok(sender)
        };
        let threads = (0..threads).map(start).collect::<std::io::Result<_>>()?;
        Ok(Self { threads, patience: options.patience })
    }

    fn thread(&self, folder: &str) -> Option<&mpsc::Sender<Command>> {
        let hash = keyed_hash(folder);
        let place = usize::try_from(hash % u64::try_from(self.threads.len()).ok()?).ok()?;
        self.threads.get(place)
    }

    /// Closes the sockets that came with one of these tokens.
    pub(crate) async fn revoke(&self, tokens: &Arc<[String]>) {
        for thread in self.threads.iter() {
            // A thread that has ended has no sockets.
            let _ = thread.send(Command::Revoke(Arc::clone(tokens))).await;
        }
    }

    /// Has something done with the graph of a folder, beside its clients.
    pub(crate) async fn care(&self, folder: String, task: Task, quarantine: Quarantine) -> Result<Done, Failure> {
        let gone = || Failure("the graph's thread has ended".into());
        let (told, hears) = oneshot::channel();
        let thread = self.thread(&folder).ok_or_else(gone)?;
        thread.send(Command::Care { folder, task, quarantine, told }).await.map_err(|_| gone())?;
        hears.await.map_err(|_| gone())?
    }

    /// Writes what is journalled into the rows, of all open graphs.
    pub(crate) async fn checkpoint(&self) {
        for thread in self.threads.iter() {
            let _ = thread.send(Command::Checkpoint).await;
        }
    }

    /// Ends all sockets and answers nothing any more: the lock is lost. No file is touched; graphs stay open until the process
    /// ends.
    pub(crate) async fn abandon(&self) {
        let mut told = Vec::new();
        for thread in self.threads.iter() {
            let (done, end) = oneshot::channel();
            if thread.send(Command::Abandon(done)).await.is_ok() {
                told.push(end);
            }
        }
        for end in told {
            let _ = end.await;
        }
    }

    /// Closes all sockets, commits what was received, and closes all graphs: what still runs has until `limit`.
    pub(crate) async fn stop(&self, limit: Duration) {
        let mut ended = Vec::new();
        for thread in self.threads.iter() {
            let (done, end) = oneshot::channel();
            if thread.send(Command::Stop { limit, done }).await.is_ok() {
                ended.push(end);
            }
        }
        for end in ended {
            let _ = end.await;
        }
    }
}

/// The same graph has the same thread for as long as the process lives; which one is nobody's business.
fn keyed_hash(folder: &str) -> u64 {
    keyed::Build::default().hash_one(folder)
}

impl Objects<NativeRequest, NativeResponse> for Graphs {
    async fn send(&self, name: &str, request: Forward<NativeRequest>) -> Result<Response<NativeResponse>, Failure> {
        let gone = || Failure("the graph's thread has ended".into());
        let folder = graph_folder(name);
        let thread = self.thread(&folder).ok_or_else(gone)?;
        let patience = self.patience;
        let request = request.into_request(|payload| NativeRequest::of(payload, patience));
        let (answer, answered) = oneshot::channel();
        thread.send(Command::Call(Box::new(Call { folder, request, answer }))).await.map_err(|_| gone())?;
        // Whoever gives this up drops the other end of the channel, and the graph gives up the call.
        answered.await.map_err(|_| gone())?.map(call::Answer::into_response)
    }
}
