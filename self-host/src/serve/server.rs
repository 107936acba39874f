//! A server from its start to its end (self-host.md 3).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::auth::{Secret, StoredTokens};
use daemon_lifecycle::ready::Reporter;
use daemon_lifecycle::{Error as DaemonError, Owner, Scope, Spawned, endpoint};
use socket2::{Domain, Protocol, Socket, Type};
use sync_http::service::Service;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::interval;
use web::{Event, Level};

use super::agents::Agents;
use super::fronts::{Fronts, Shared};
use super::health::Health;
use super::live::Live;
use super::measure;
use super::notify::Notifier;
use super::operator::{self, OperatorToken};
use super::places::Places;
use super::platform::Front;
use super::space::Space;
use super::strikes::Strikes;
use super::tls::{Tls, TlsError};
use crate::auth::{HttpKeys, Stored, UsersError};
use crate::config::Config;
use crate::daemon::{Clients, Hold, Routes};
use crate::graphs::{Graphs, Options};
use crate::host::NativeHost;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::store::{
    Assets, DataDir, DataDirError, FormatError, Index, IndexError, IndexThread, check_format, link_secret,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Threads of either kind at most: beyond that many they wait for the disk, not for processors.
const THREADS: usize = 8;

/// How often the files of the certificate are looked at.
const CERTIFICATES: Duration = Duration::from_mins(1);

/// How often an idle server makes sure that it has its lock (docs/spec/daemon.md 4.2).
const LOCK_CHECKED: Duration = Duration::from_secs(5);

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
    /// The directory's lock, and what belongs to it.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
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

/// The keys that take effect with SIGHUP; all others need another start.
pub(crate) const RELOADED: [&str; 8] = [
    "log.level",
    "auth.allow_subs",
    "auth.allow_emails",
    "proxy.trusted",
    "metrics.allow",
    "min_free_mib",
    "limits.per_address",
    "limits.failed_logins",
];

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
    /// Without touching a file: another server may have the data directory.
    LockLost,
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
    hold: Arc<Hold>,
    routes: Arc<Routes>,
    socket: UnixListener,
    operator: OperatorToken,
    measuring: Option<std::net::TcpListener>,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    user: Signal,
}

impl Server {
    /// Starts in the order of self-host.md 3.1: what fails has changed nothing that comes later. Whoever started this process
    /// is told how far it is.
    pub(crate) fn start(config: Config, owner: Owner, spawned: &mut Spawned) -> Result<Self, StartError> {
        let log = Log::open(config.log_format, config.log_level, config.log_file.as_deref())?;
        config.warnings.iter().for_each(|warning| log.warn(warning));
        prepare(&config.data_dir)?;
        let data = DataDir::open(&config.data_dir)?;
        let scope = Scope::new(data.root(), None).map_err(|error| DaemonError::Usage(error.to_string()))?;
        let taken = Hold::take(&scope, owner, config.shutdown + CLOSING)?;
        taken.warnings.iter().for_each(|warning| log.warn(warning));
        let hold = taken.hold;
        let started = Self::open(config, log, data, &scope, &hold, &mut spawned.reporter)
            .inspect_err(|_| hold.holder().clean_up())?;
        if let Some(leash) = spawned.leash() {
            // The app that this server belongs to: it goes, and so does the server.
            let routes = Arc::clone(&started.routes);
            std::thread::Builder::new().name("leash".into()).spawn(move || {
                // Without a way to wait for it there is nobody to wait for.
                let _ = leash.wait();
                routes.shut_down();
            })?;
        }
        spawned.reporter.ready(&hold.holder().record(), &taken.recovered);
        Ok(started)
    }

    /// The rest of a start, under the lock.
    fn open(
        config: Config,
        log: Log,
        data: DataDir,
        scope: &Scope,
        hold: &Arc<Hold>,
        reporter: &mut Reporter,
    ) -> Result<Self, StartError> {
        data.empty_tmp()?;
        check_format(&data)?;
        reporter.starting("opening the index");
        let (index, index_thread) = Index::open(&data.index(), Arc::clone(hold))?;
        let stored = Stored::open(data.users())?;
        if !config.has_way_in && stored.is_empty() {
            return Err(StartError::NobodyCanSignIn);
        }
        let mut settings = config.settings.clone();
        settings.auth.stored = Some(Arc::clone(&stored) as Arc<dyn StoredTokens>);
        if settings.auth.asset_link_secret.is_none() {
            settings.auth.asset_link_secret = Secret::new(link_secret(&data)?);
        }
        let operator = if let Some(token) = &config.operator {
            token.clone()
        } else {
            // Nobody knows it: it lets in whoever comes through the socket in the data directory, and has its token.
            let no_random = || std::io::Error::other("no random bytes");
            let token = web::random_uuid().map_err(|_| no_random())?.to_string();
            settings.auth.admin_token = Secret::new(token.as_str());
            OperatorToken::new(&token).ok_or_else(no_random)?
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        // Before anything can be sent one.
        let signals = runtime.block_on(async { Signals::new() })?;
        let listeners = config.binds.iter().map(|address| listen(*address)).collect::<Result<Vec<_>, _>>()?;
        let listening = listeners.iter().map(std::net::TcpListener::local_addr).collect::<Result<Vec<_>, _>>()?;
        let measuring = config.metrics_bind.map(listen).transpose()?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, THREADS);
        let tls = config.tls.as_ref().map(|(cert, key)| Tls::open(cert, key)).transpose()?;
        let metrics = Arc::<Metrics>::default();
        let options = Options {
            settings: settings.clone(),
            data: data.clone(),
            index: index.clone(),
            hold: Arc::clone(hold),
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
        let clients = Arc::<Clients>::default();
        let (phase, seen) = Fronts::phase();
        let shared = Arc::new(Shared {
            front,
            service: Service::new(settings, HttpKeys::new()),
            health: Health::default(),
            tls,
            places: Places::new(config.per_address),
            strikes: Strikes::new(config.failed_logins),
            space: Space::new(data.root(), config.min_free),
            clients: Arc::clone(&clients),
            hold: Arc::clone(hold),
            metrics,
            metrics_allow: Live::new(config.metrics_allow.clone()),
            metrics_apart: measuring.is_some(),
            trusted: Live::new(config.trusted.clone()),
            base_urls: config.base_urls.clone(),
            log: log.clone(),
            connections: Arc::new(Semaphore::new(config.connections.min(Semaphore::MAX_PERMITS))),
            phase: seen,
            body_idle: config.body_idle,
            head: config.head,
            head_bytes: config.head_bytes,
            ping: config.ping,
        });
        let routes = Routes::new(Arc::clone(hold), clients);
        let socket = {
            let _in = runtime.enter();
            let socket = endpoint::bind(scope)?;
            socket.set_nonblocking(true)?;
            UnixListener::from_std(socket)?
        };
        let fronts = Fronts::start(&shared, phase, &listeners, threads)?;
        let started = Self {
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
            hold: Arc::clone(hold),
            routes,
            socket,
            operator,
            measuring,
        };
        hold.holder().publish(format!("unix:{}", scope.socket().display()), started.listen())?;
        Ok(started)
    }

    /// What ends it from another thread.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes)
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
        let Self {
            config,
            log,
            graphs,
            shared,
            stored,
            fronts,
            index,
            runtime,
            mut signals,
            hold,
            routes,
            socket,
            operator,
            measuring,
            ..
        } = self;
        let watched = {
            let (graphs, shared) = (graphs.clone(), Arc::clone(&shared));
            stored.watch(log.clone(), async move |tokens| {
                shared.service.forget_tokens();
                graphs.revoke(&tokens).await;
            })
        };
        let notifier = Notifier::of_environment();
        // What the surface does is done on the thread that asked for it.
        let local = LocalSet::new();
        let end = local.block_on(&runtime, async {
            let attending = operator::serve(socket, Arc::clone(&shared), Arc::clone(&routes), operator);
            let answering = tokio::task::spawn_local(attending);
            let measuring =
                measuring.map(|listener| tokio::task::spawn_local(measure::serve(listener, Arc::clone(&shared))));
            notifier.ready("serving");
            {
                let mut watched = std::pin::pin!(watched);
                let mut certificates = interval(CERTIFICATES);
                let mut beats = notifier.beat().map(interval);
                let mut checks = interval(LOCK_CHECKED);
                loop {
                    tokio::select! {
                        () = &mut watched => {}
                        _ = signals.interrupt.recv() => break,
                        _ = signals.terminate.recv() => break,
                        () = routes.asked_to_end() => break,
                        () = hold.lost() => break,
                        // What it finds is told to whoever waits above.
                        _ = checks.tick() => {
                            let _ = hold.check();
                        }
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
            if !hold.is_lost()
                && let Err(error) = hold.holder().stopping()
            {
                log.warn(&format!("who looks is not told that the server stops: {error}"));
            }
            let end = tokio::select! {
                () = stop(&graphs, fronts, &hold, config.shutdown) => End::Graceful,
                _ = signals.interrupt.recv() => End::Interrupted,
                _ = signals.terminate.recv() => End::Terminated,
            };
            answering.abort();
            measuring.inspect(JoinHandle::abort);
            end
        });
        // With it go handles to the index.
        drop(local);
        // Also when it was lost on the way to the end.
        let end = if hold.is_lost() { End::LockLost } else { end };
        match end {
            End::LockLost => {
                log.event(&Event::new(Level::Error, "db-sync/lock-lost"));
                // Whoever closes the index writes into it.
                std::mem::forget((shared, graphs));
            }
            End::Graceful => {
                // The last handles to the index.
                drop((shared, graphs));
                index.join();
                log.info("directory can be handed over");
            }
            End::Interrupted | End::Terminated => {}
        }
        hold.holder().clean_up();
        // What still runs may write for as long as the process lives, so the lock goes with the process.
        std::mem::forget(hold);
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

/// Makes the data directory, and refuses one that somebody else could exchange or write.
fn prepare(given: &Path) -> Result<(), StartError> {
    match daemon_lifecycle::prepare(given) {
        // Told again with the rest, once the lock is there.
        Ok(_warnings) => Ok(()),
        Err(DaemonError::Io { path, source }) => Err(DataDirError::Create { path, cause: source }.into()),
        Err(error) => Err(error.into()),
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
    shared.trusted.replace(config.trusted);
    shared.metrics_allow.replace(config.metrics_allow);
    shared.space.reserve.replace(config.min_free);
    shared.places.limit.replace(config.per_address);
    shared.strikes.limit.replace(config.failed_logins);
    shared.service.forget_tokens();
    if later.is_empty() {
        log.info("the configuration was read again");
    } else {
        log.warn(&format!("the configuration was read again; these need another start: {}", later.join(", ")));
    }
}

/// Lets nobody in, answers what was received, closes sockets and graphs, and gives transfers their time. Without the lock
/// nothing is given time, and nothing is closed.
async fn stop(graphs: &Graphs, fronts: Fronts, hold: &Hold, limit: Duration) {
    let begun = Instant::now();
    fronts.stop();
    if hold.is_lost() {
        graphs.abandon().await;
        return fronts.end(CLOSING).await;
    }
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
