//! A server from its start to its end (self-host.md 3).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::auth::{Secret, StoredTokens};
use socket2::{Domain, Protocol, Socket, Type};
use sync_http::service::Service;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::interval;

use super::agents::Agents;
use super::fronts::{Fronts, Shared};
use super::health::Health;
use super::notify::Notifier;
use super::places::Places;
use super::platform::Front;
use super::tls::{Tls, TlsError};
use crate::auth::{HttpKeys, Stored, UsersError};
use crate::config::Config;
use crate::graphs::{Graphs, Options};
use crate::host::NativeHost;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::store::{
    Assets, DataDir, DataDirError, FormatError, Index, IndexError, IndexThread, Lock, LockError, check_format,
    link_secret,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Threads of either kind at most: beyond that many they wait for the disk, not for processors.
const THREADS: usize = 8;

/// How often the files of the certificate are looked at.
const CERTIFICATES: Duration = Duration::from_mins(1);

/// What sockets get at the end to answer their close.
const CLOSING: Duration = Duration::from_secs(2);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Its data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The directory's format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The directory's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Stored users.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// An address.
    #[error("{address}: {cause}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No issuer, no token, no user.
    #[error("nobody could sign in")]
    NobodyCanSignIn,
    /// Something else.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Who has started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Somebody at a terminal.
    Cli,
    /// The desktop app.
    Desktop,
    /// A service manager.
    Service,
}

impl Owner {
    /// By its name; without one it is the service manager where one waits to be told.
    pub(crate) fn named(name: Option<&str>) -> Self {
        match name {
            Some("desktop" | "electron") => Self::Desktop,
            Some("service") => Self::Service,
            None if std::env::var_os("NOTIFY_SOCKET").is_some() => Self::Service,
            _ => Self::Cli,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Desktop => "desktop",
            Self::Service => "service",
        }
    }
}

/// The keys that take effect with SIGHUP; all others need another start.
pub(crate) const RELOADED: [&str; 3] = ["log.level", "auth.allow_subs", "auth.allow_emails"];

/// A configuration that was read again.
pub(crate) struct Reload {
    /// All of it.
    pub(crate) config: Config,
    /// Keys that changed and need another start.
    pub(crate) later: Vec<&'static str>,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Graceful,
    /// At once, after a second SIGINT.
    Interrupted,
    /// At once, after a second SIGTERM.
    Terminated,
}

/// A server that accepts connections.
pub(crate) struct Server {
    config: Config,
    data: DataDir,
    log: Log,
    listening: Vec<SocketAddr>,
    graphs: Graphs,
    shared: Arc<Shared>,
    stored: Arc<Stored>,
    fronts: Fronts,
    index: IndexThread,
    runtime: Runtime,
    signals: Signals,
    _lock: Lock,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Server {
    /// Starts in the order of self-host.md 3.1: what fails has changed nothing that comes later.
    pub(crate) fn start(config: Config) -> Result<Self, StartError> {
        let log = Log::open(config.log_format, config.log_level, config.log_file.as_deref())?;
        config.warnings.iter().for_each(|warning| log.warn(warning));
        let data = DataDir::open(&config.data_dir)?;
        let lock = Lock::take(&data)?;
        check_format(&data)?;
        let (index, index_thread) = Index::open(&data.index())?;
        let stored = Stored::open(data.users())?;
        if !config.has_way_in && stored.is_empty() {
            return Err(StartError::NobodyCanSignIn);
        }
        let mut settings = config.settings.clone();
        settings.auth.stored = Some(Arc::clone(&stored) as Arc<dyn StoredTokens>);
        if settings.auth.asset_link_secret.is_none() {
            settings.auth.asset_link_secret = Secret::new(link_secret(&data)?);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        // Before anything can be sent one.
        let signals = runtime.block_on(async { Signals::new() })?;
        let listeners = config.binds.iter().map(|address| listen(*address)).collect::<Result<Vec<_>, _>>()?;
        let listening = listeners.iter().map(std::net::TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, THREADS);
        let tls = config.tls.as_ref().map(|(cert, key)| Tls::open(cert, key)).transpose()?;
        let metrics = Arc::<Metrics>::default();
        let options = Options {
            settings: settings.clone(),
            data: data.clone(),
            index: index.clone(),
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            idle: config.graph_idle,
            open: config.open_graphs,
            patience: config.body_idle,
        };
        let graphs = Graphs::start(&options, threads)?;
        drop(options);
        let front = Front {
            host: NativeHost::new(log.clone(), Arc::clone(&metrics)),
            index,
            assets: Assets::new(&data),
            graphs: graphs.clone(),
            agents: config.agents.clone().map(Agents::new),
        };
        let (phase, seen) = Fronts::phase();
        let shared = Arc::new(Shared {
            front,
            service: Service::new(settings, HttpKeys::new()),
            health: Health::default(),
            tls,
            places: Places::new(config.per_address),
            metrics,
            metrics_allow: config.metrics_allow.clone(),
            trusted: config.trusted.clone(),
            base_urls: config.base_urls.clone(),
            log: log.clone(),
            connections: Arc::new(Semaphore::new(config.connections.min(Semaphore::MAX_PERMITS))),
            phase: seen,
            body_idle: config.body_idle,
            head: config.head,
            head_bytes: config.head_bytes,
            ping: config.ping,
        });
        let fronts = Fronts::start(&shared, phase, &listeners, threads)?;
        Ok(Self {
            config,
            data,
            log,
            listening,
            graphs,
            shared,
            stored,
            fronts,
            index: index_thread,
            runtime,
            signals,
            _lock: lock,
        })
    }

    /// The data directory, absolute.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.root()
    }

    /// Where it listens, with the ports that it got.
    pub(crate) fn listen(&self) -> Vec<String> {
        let scheme = self.scheme();
        self.listening.iter().map(|address| format!("{scheme}://{address}")).collect()
    }

    fn scheme(&self) -> &'static str {
        if self.config.tls.is_some() { "https" } else { "http" }
    }

    /// The addresses that the configuration names.
    pub(crate) fn base_urls(&self) -> Vec<String> {
        self.config.base_url.iter().chain(&self.config.base_urls).cloned().collect()
    }

    /// Addresses to enter in a client: those of the configuration, else where it listens.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let named = self.base_urls();
        if !named.is_empty() {
            return named;
        }
        let scheme = self.scheme();
        let reached = |address: &SocketAddr| {
            if address.ip().is_unspecified() {
                format!("{scheme}://<this machine>:{}", address.port())
            } else {
                format!("{scheme}://{address}")
            }
        };
        self.listening.iter().map(reached).collect()
    }

    /// Who vouches for users.
    pub(crate) fn drivers(&self) -> &[String] {
        &self.config.drivers
    }

    /// Runs until it is told to end, and ends in the order of self-host.md 3.3.
    pub(crate) fn run(self, reload: &mut dyn FnMut() -> Result<Reload, String>) -> End {
        let Self { config, log, graphs, shared, stored, fronts, index, runtime, mut signals, .. } = self;
        let watched = {
            let (graphs, shared) = (graphs.clone(), Arc::clone(&shared));
            stored.watch(log.clone(), async move |tokens| {
                shared.service.forget_tokens();
                graphs.revoke(&tokens).await;
            })
        };
        let notifier = Notifier::of_environment();
        let end = runtime.block_on(async {
            notifier.ready("serving");
            {
                let mut watched = std::pin::pin!(watched);
                let mut certificates = interval(CERTIFICATES);
                let mut beats = notifier.beat().map(interval);
                loop {
                    tokio::select! {
                        () = &mut watched => {}
                        _ = signals.interrupt.recv() => break,
                        _ = signals.terminate.recv() => break,
                        _ = signals.hang_up.recv() => {
                            notifier.reloading();
                            apply(&shared, &log, reload());
                            refresh(&shared, &log);
                            notifier.ready("serving");
                        }
                        _ = certificates.tick() => refresh(&shared, &log),
                        () = next(&mut beats) => {
                            // Only a server that answers is alive.
                            if shared.health.is_good(&shared.front.index).await {
                                notifier.alive();
                            }
                        }
                        _ = signals.user.recv() => graphs.checkpoint().await,
                    }
                }
            }
            log.info("stopping");
            notifier.stopping(config.shutdown + CLOSING);
            tokio::select! {
                () = stop(&graphs, fronts, config.shutdown) => End::Graceful,
                _ = signals.interrupt.recv() => End::Interrupted,
                _ = signals.terminate.recv() => End::Terminated,
            }
        });
        if end == End::Graceful {
            // The last handles to the index.
            drop((shared, graphs));
            index.join();
            log.info("directory can be handed over");
        }
        // What still runs there is cut.
        runtime.shutdown_background();
        end
    }
}

/// The next beat, where there is one.
async fn next(beats: &mut Option<tokio::time::Interval>) {
    match beats {
        Some(beats) => drop(beats.tick().await),
        None => std::future::pending().await,
    }
}

/// Takes a new certificate into use.
fn refresh(shared: &Shared, log: &Log) {
    match shared.tls.as_ref().map(Tls::refresh) {
        None | Some(Ok(false)) => {}
        Some(Ok(true)) => log.info("the certificate was read again"),
        Some(Err(error)) => log.warn(&format!("the certificate stays as it is: {error}")),
    }
}

/// Applies what can change while the server runs. A configuration that is wrong changes nothing.
fn apply(shared: &Shared, log: &Log, reload: Result<Reload, String>) {
    let Reload { config, later } = match reload {
        Ok(reload) => reload,
        Err(problems) => return log.warn(&format!("the configuration stays as it is: {problems}")),
    };
    log.set_threshold(config.log_level);
    shared.service.settings.auth.allow.replace(&config.settings.auth.allow);
    shared.service.forget_tokens();
    if later.is_empty() {
        log.info("the configuration was read again");
    } else {
        log.warn(&format!("the configuration was read again; these need another start: {}", later.join(", ")));
    }
}

/// Lets nobody in, answers what was received, closes sockets and graphs, and gives transfers their time.
async fn stop(graphs: &Graphs, fronts: Fronts, limit: Duration) {
    let begun = Instant::now();
    fronts.stop();
    graphs.stop(limit.max(CLOSING)).await;
    fronts.end(limit.saturating_sub(begun.elapsed())).await;
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }
}

/// A listener on an address. On all of IPv6 it serves IPv4, too.
fn listen(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    let bind = |address: SocketAddr| -> std::io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        // A server that has just ended leaves connections behind that would be in the way.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    bind(address).map_err(|cause| StartError::Bind { address, cause })
}
