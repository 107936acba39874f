//! Threads that accept connections and answer them. Futures of the surface stay on the thread that made them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sync_http::service::Service;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use web::{Event, Level};

use super::connection;
use super::forwarded::Trusted;
use super::health::Health;
use super::live::Live;
use super::places::Places;
use super::platform::Front;
use super::space::Space;
use super::strikes::Strikes;
use super::tls::Tls;
use crate::auth::HttpKeys;
use crate::daemon::{Clients, Hold};
use crate::log::Log;
use crate::metrics::Metrics;

/// How long to wait after the system gave no connection: most often there are too many open files.
const BREATHER: Duration = Duration::from_millis(100);

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
    /// Addresses of which a request may name its own; empty: any.
    pub(crate) base_urls: Vec<String>,
    /// Whoever is connected.
    pub(crate) clients: Arc<Clients>,
    /// The lock, without which nothing is answered.
    pub(crate) hold: Arc<Hold>,
    /// Places of each address.
    pub(crate) places: Places,
    /// Tokens that counted for nothing.
    pub(crate) strikes: Strikes,
    /// Room on the disk.
    pub(crate) space: Space,
    /// Places for connections.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// How long the next bytes of a body are waited for.
    pub(crate) body_idle: Duration,
    /// How long the head of a request may take.
    pub(crate) head: Duration,
    /// Bytes of the head of a request.
    pub(crate) head_bytes: usize,
    /// How often a socket is asked whether it is there.
    pub(crate) ping: Duration,
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
        listeners: &[std::net::TcpListener],
        threads: usize,
    ) -> std::io::Result<Self> {
        let mut started = Vec::new();
        let (runs, running) = mpsc::channel(1);
        for number in 0..threads.max(1) {
            let shared = Arc::clone(shared);
            let listeners: Vec<_> = listeners.iter().map(std::net::TcpListener::try_clone).collect::<Result<_, _>>()?;
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

fn run(shared: &Arc<Shared>, listeners: Vec<std::net::TcpListener>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build();
    let failed = match runtime {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(Arc::clone(shared), listeners)).err(),
        Err(error) => Some(error),
    };
    if let Some(error) = failed {
        shared.log.event(&Event::new(Level::Error, "db-sync/thread-failed").with_error(&error.to_string()));
    }
}

async fn serve(shared: Arc<Shared>, listeners: Vec<std::net::TcpListener>) -> std::io::Result<()> {
    let tasks = TaskTracker::new();
    let mut accepting = Vec::new();
    for listener in listeners {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        accepting.push(tokio::task::spawn_local(accept(Rc::new(listener), Arc::clone(&shared), tasks.clone())));
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

async fn accept(listener: Rc<TcpListener>, shared: Arc<Shared>, tasks: TaskTracker) {
    let mut phase = shared.phase.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Open) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                // One too many is closed at once.
                let Ok(place) = Arc::clone(&shared.connections).try_acquire_owned() else { continue };
                // Only costs time where the system does not know it.
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&shared);
                tasks.spawn_local(async move {
                    greet(stream, peer, &shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                shared.log.event(&Event::new(Level::Warning, "db-sync/accept-failed").with_error(&error.to_string()));
                tokio::time::sleep(BREATHER).await;
            }
        }
    }
}

/// Serves a connection, after the handshake where connections are encrypted.
async fn greet(stream: TcpStream, address: SocketAddr, shared: &Arc<Shared>) {
    let _client = shared.clients.enter();
    // Proxies bring the connections of many.
    let place = shared.places.enter(address.ip());
    if place.is_none() && !shared.trusted.with(|trusted| trusted.includes(address.ip())) {
        return refuse(stream).await;
    }
    let Some(tls) = &shared.tls else {
        return connection::serve(stream, Peer { address, is_tls: false }, shared).await;
    };
    // Whoever cannot shake hands in time speaks something else.
    if let Ok(Ok(stream)) = timeout(shared.head, tls.acceptor().accept(stream)).await {
        connection::serve(stream, Peer { address, is_tls: true }, shared).await;
    }
}

/// The answer to a connection too many, whatever it asks.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 32\r\n\
    retry-after: 5\r\nconnection: close\r\n\r\n{\"error\":\"too many connections\"}";

async fn refuse(mut stream: TcpStream) {
    // Whoever does not read it is not waited for.
    let _ = timeout(BREATHER, stream.write_all(TOO_MANY)).await;
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The connection is encrypted.
    pub(crate) is_tls: bool,
}
