//! Threads that accept connections and answer them. Futures of the surface stay on the thread that made them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sync_http::service::Service;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use web::{Event, Level};

use super::accept::{Accepting, BREATHER, Peer, Stream, accept};
use super::connection;
use super::forwarded::Trusted;
use super::health::Health;
use super::limits::Bounds;
use super::listen::Listener;
use super::live::Live;
use super::one_graph::OneGraph;
use super::places::Places;
use super::platform::Front;
use super::pulse::Pulse;
use super::space::Space;
use super::status::{Known, Sessions};
use super::storage::Trial;
use super::strikes::Strikes;
use super::tls::Tls;
use crate::auth::HttpKeys;
use crate::daemon::{Clients, Hold};
use crate::graphs::Devices;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::pg_sync::Observations;
use crate::store::DataDir;

/// What a client names that wants HTTP/2 (RFC 9113, 3.1).
pub(super) const H2: &[u8] = b"h2";

/// How far the server is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It answers.
    Open,
    /// Nobody new is let in; what runs goes on.
    Stopping,
    /// What still runs is cut.
    Over,
}

/// What all fronts share.
pub(crate) struct Shared {
    pub(crate) front: Front,
    pub(crate) service: Service<HttpKeys>,
    pub(crate) health: Health,
    /// Whether connections are taken.
    pub(crate) pulse: Pulse,
    /// Where everything is kept.
    pub(crate) data: DataDir,
    pub(crate) log: Log,
    /// What encrypted connections are accepted with, where all are.
    pub(crate) tls: Option<Tls>,
    pub(crate) metrics: Arc<Metrics>,
    /// Clients that may read the metrics without the operator's token.
    pub(crate) metrics_allow: Live<Trusted>,
    /// The metrics are on an address of their own, and only there.
    pub(crate) metrics_apart: bool,
    /// Which peers may say who asks.
    pub(crate) trusted: Live<Trusted>,
    /// What stands before the path of each address, without a slash at its end.
    pub(crate) base_path: String,
    /// Addresses of which a request may name its own; empty: any.
    pub(crate) base_urls: Vec<String>,
    /// Whoever is connected.
    pub(crate) clients: Arc<Clients>,
    /// The lock, without which nothing is answered.
    pub(crate) hold: Arc<Hold>,
    /// The graph that is served, where it is one alone.
    pub(crate) only: Option<OneGraph>,
    /// What is observed of databases, where anything is.
    pub(crate) observations: Option<Observations>,
    /// Places of each address.
    pub(crate) places: Places,
    /// Tokens that counted for nothing.
    pub(crate) strikes: Strikes,
    /// Room on the disk.
    pub(crate) space: Space,
    /// Whether the disk takes what is written.
    pub(crate) trial: Trial,
    /// When the server was started.
    pub(crate) started: Instant,
    /// What is taken at once.
    pub(crate) bounds: Bounds,
    /// Who sits at graphs.
    pub(crate) devices: Arc<Devices>,
    /// What the status page knows of graphs.
    pub(crate) figures: Known,
    /// Who has signed in to it.
    pub(crate) sessions: Sessions,
    /// Wrong tokens that were entered there.
    pub(crate) logins: Strikes,
    /// There is such a page.
    pub(crate) status_page: bool,
    /// Who vouches for users, by the names of the drivers.
    pub(crate) drivers: Vec<String>,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// The running threads.
pub(crate) struct Fronts {
    phase: watch::Sender<Phase>,
    threads: Vec<std::thread::JoinHandle<()>>,
    running: mpsc::Receiver<()>,
}

impl Fronts {
    /// A place to tell the phase.
    pub(crate) fn phase() -> (watch::Sender<Phase>, watch::Receiver<Phase>) {
        watch::channel(Phase::Open)
    }

    /// Starts so many threads, each of which accepts from all listeners.
    ///
    /// # Errors
    /// The system gives no more threads or descriptors.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        phase: watch::Sender<Phase>,
        listeners: &[Listener],
        threads: usize,
    ) -> std::io::Result<Self> {
        let mut started = Vec::new();
        let (runs, running) = mpsc::channel(1);
        for number in 0..threads.max(1) {
            let shared = Arc::clone(shared);
            let listeners: Vec<_> = listeners.iter().map(Listener::again).collect::<Result<_, _>>()?;
            let thread = std::thread::Builder::new().name(format!("front-{number}"));
            let runs = runs.clone();
            let work = move || {
                run(&shared, listeners);
                drop(runs);
            };
            started.push(thread.spawn(work)?);
        }
        Ok(Self { phase, threads: started, running })
    }

    /// Lets nobody new in.
    pub(crate) fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
    }

    /// Waits until nothing runs any more, but no longer than that; then cuts what still does.
    pub(crate) async fn end(mut self, limit: Duration) {
        // Each thread holds a sender for as long as it runs.
        let _ = timeout(limit, self.running.recv()).await;
        self.phase.send_replace(Phase::Over);
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // One that has panicked is over, too.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }
}

fn run(shared: &Arc<Shared>, listeners: Vec<Listener>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build();
    let failed = match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(Arc::clone(shared), listeners)).err(),
        Err(error) => Some(error),
    };
    if let Some(error) = failed {
        shared.log.event(&Event::new(Level::Error, "db-sync/thread-failed").with_error(&error.to_string()));
    }
}

async fn serve(shared: Arc<Shared>, listeners: Vec<Listener>) -> std::io::Result<()> {
    let tasks = TaskTracker::new();
    let mut accepting = Vec::new();
    for listener in listeners {
        accepting.push(tokio::task::spawn_local(attend(listener, Arc::clone(&shared), tasks.clone())));
    }
    for task in accepting {
        // Each ends with the phase.
        let _ = task.await;
    }
    tasks.close();
    let mut phase = shared.phase.clone();
    tokio::select! {
        () = tasks.wait() => {}
        _ = phase.wait_for(|phase| *phase == Phase::Over) => {
            // Those that end by themselves now are given a moment.
            let _ = timeout(BREATHER, tasks.wait()).await;
        }
    }
    Ok(())
}

/// Takes connections for as long as the server is open. One too many is closed at once.
async fn attend(listener: Listener, shared: Arc<Shared>, tasks: TaskTracker) {
    let failed = |error: &std::io::Error| {
        shared.log.event(&Event::new(Level::Warning, "db-sync/accept-failed").with_error(&error.to_string()));
    };
    // Also where it fails: then no connections are taken.
    let turning = shared.pulse.join();
    let accepting = match Accepting::new(listener) {
        Ok(accepting) => accepting,
        Err(error) => return failed(&error),
    };
    let mut phase = shared.phase.clone();
    let until = async { drop(phase.wait_for(|phase| *phase != Phase::Open).await) };
    accept(&accepting, turning, until, failed, |stream, peer| {
        let Some(place) = shared.bounds.enter() else { return };
        let shared = Arc::clone(&shared);
        tasks.spawn_local(async move {
            greet(stream, peer, &shared).await;
            drop(place);
        });
    })
    .await;
}

/// Serves a connection, after the handshake where connections are encrypted.
async fn greet(stream: Stream, peer: Peer, shared: &Arc<Shared>) {
    let _client = shared.clients.enter();
    // Proxies bring the connections of many.
    let place = shared.places.enter(peer.address);
    if place.is_none() && !shared.trusted.with(|trusted| trusted.trusts(peer)) {
        return refuse(stream).await;
    }
    let Some(tls) = shared.tls.as_ref().filter(|_| peer.is_tls) else {
        // Apart: there are tens of thousands of these, and each would have room for the larger kind.
        return Box::pin(connection::serve(stream, peer, shared)).await;
    };
    // Whoever cannot shake hands in time speaks something else.
    if let Ok(Ok(stream)) = timeout(shared.bounds.head(), tls.acceptor().accept(stream)).await {
        if stream.get_ref().1.alpn_protocol() == Some(H2) {
            Box::pin(connection::serve_h2(stream, peer, shared)).await;
        } else {
            Box::pin(connection::serve(stream, peer, shared)).await;
        }
    }
}

/// The answer to a connection too many, whatever it asks.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 32\r\n\
    retry-after: 5\r\nconnection: close\r\n\r\n{\"error\":\"too many connections\"}";

async fn refuse(mut stream: Stream) {
    // Whoever does not read it is not waited for.
    let _ = timeout(BREATHER, stream.write_all(TOO_MANY)).await;
}
