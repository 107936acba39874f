//! A server, and how it starts (self-host.md 3.1).

mod run;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ::auth::{Secret, StoredTokens};
use daemon_lifecycle::ready::Reporter as Starter;
use daemon_lifecycle::{Error as DaemonError, Owner, Scope, Spawned, endpoint};
use inherited::Activated;
use sync_http::service::Service;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

use super::agents::Agents;
use super::fronts::{Fronts, Shared};
use super::health::Health;
use super::limits::Bounds;
use super::listen::{Listener, Listeners, SocketFile};
use super::live::Live;
use super::one_graph::OneGraph;
use super::operator::OperatorToken;
use super::places::Places;
use super::platform::Front;
use super::pulse::Pulse;
use super::reports::{Reporter, Waiting};
use super::space::Space;
use super::start::{StartError, raise_files};
use super::status;
use super::storage::Trial;
use super::strikes::Strikes;
use super::tls::Tls;
use crate::auth::{HttpKeys, Stored};
use crate::config::Config;
use crate::daemon::{Clients, Hold, Routes};
use crate::graphs::{Devices, Graphs, Options};
use crate::host::NativeHost;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::pg_sync::Observing;
use crate::store::{Assets, DataDir, DataDirError, Index, IndexThread, check_format, link_secret};
use run::{CLOSING, Signals};

/// Threads of either kind at most: beyond that many they wait for the disk, not for processors.
const THREADS: usize = 8;

/// Wrong tokens that one address may enter on the status page in a minute (self-host.md 4.5).
const LOGINS: u32 = 5;

pub(crate) use run::End;

/// A server that accepts connections.
pub(crate) struct Server {
    config: Config,
    data: DataDir,
    log: Log,
    listening: Vec<String>,
    /// Files of Unix sockets, which go with the server.
    _files: Vec<SocketFile>,
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
    measuring: Option<Listener>,
    reports: Option<Waiting>,
    observing: Option<Observing>,
}

/// Where a server works.
struct Place<'a> {
    data: DataDir,
    scope: &'a Scope,
    only: Option<OneGraph>,
    hold: &'a Arc<Hold>,
}

/// How a server is started, beside what its configuration says.
pub(crate) struct Launch {
    /// Who starts it.
    pub(crate) owner: Owner,
    /// The id of the graph that it is to serve alone (docs/spec/daemon.md 4.1).
    pub(crate) graph: Option<String>,
    /// It is meant to serve where locks do not hold (docs/spec/daemon.md 4.2).
    pub(crate) allow_weak_lock: bool,
    /// Listeners that a service manager has opened: they take the place of addresses.
    pub(crate) activated: Vec<Activated>,
}

impl Launch {
    /// By the command line, for the whole directory.
    pub(crate) fn of_command_line() -> Self {
        Self { owner: Owner::Cli, graph: None, allow_weak_lock: false, activated: Vec::new() }
    }
}

impl Server {
    /// Starts in the order of self-host.md 3.1: what fails has changed nothing that comes later. Whoever started this process
    /// is told how far it is.
    pub(crate) fn start(config: Config, launch: Launch, spawned: &mut Spawned) -> Result<Self, StartError> {
        let Launch { owner, graph, allow_weak_lock, activated } = launch;
        raise_files()?;
        let log = Log::open(config.log_format, config.log_level, config.log_file.as_deref())?;
        config.warnings.iter().for_each(|warning| log.warn(warning));
        prepare(&config.data_dir)?;
        let data = DataDir::open(&config.data_dir)?;
        let scope = Scope::new(data.root(), graph.as_deref()).map_err(|error| DaemonError::Usage(error.to_string()))?;
        let only = OneGraph::find(&data, &scope)?;
        let taken = Hold::take(&scope, owner, config.shutdown + CLOSING, allow_weak_lock)?;
        taken.warnings.iter().for_each(|warning| log.warn(warning));
        let hold = taken.hold;
        let place = Place { data, scope: &scope, only, hold: &hold };
        let started = Self::open(config, log, place, &mut spawned.reporter, activated)
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
        place: Place<'_>,
        reporter: &mut Starter,
        activated: Vec<Activated>,
    ) -> Result<Self, StartError> {
        let Place { data, scope, only, hold } = place;
        if only.is_none() {
            // Servers of graphs share what lies there.
            data.empty_tmp()?;
        }
        check_format(&data)?;
        reporter.starting("opening the index");
        let metrics = Arc::<Metrics>::default();
        let (index, index_thread) = Index::open(&data.index(), Arc::clone(hold), Arc::clone(&metrics))?;
        let stored = Stored::open(data.users(), hold.journal())?;
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
        let opened = Listeners::open(&config.binds, config.metrics_bind, config.tls.is_some(), activated)?;
        let Listeners { public: listeners, metrics: measuring, files } = opened;
        let listening = listeners.iter().map(Listener::name).collect::<Result<Vec<_>, _>>()?;
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, THREADS);
        let tls = config.tls.as_ref().map(|(cert, key)| Tls::open(cert, key)).transpose()?;
        let bounds = Bounds::new(config.limits, threads, &settings.limits);
        let devices = Arc::<Devices>::default();
        let (reporter, reports) = Reporter::new(config.sentry.clone());
        let options = Options {
            reporter: reporter.clone(),
            settings: settings.clone(),
            data: data.clone(),
            index: index.clone(),
            hold: Arc::clone(hold),
            only: only.clone(),
            log: log.clone(),
            metrics: Arc::clone(&metrics),
            idle: config.graph_idle,
            limits: bounds.of_graphs(),
            devices: Arc::clone(&devices),
            patience: config.limits.body_idle,
        };
        let graphs = Graphs::start(&options, threads)?;
        drop(options);
        let front = Front {
            host: NativeHost::new(log.clone(), Arc::clone(&metrics), reporter),
            index,
            assets: Assets::new(&data),
            graphs: graphs.clone(),
            agents: config.agents.clone().map(Agents::new),
        };
        // A database is observed once, by the server of the directory.
        let observing = match only {
            None => Observing::start(&data.pg_sync(), &config.pg_sync, hold, &log)?,
            Some(_) => None,
        };
        let clients = Arc::<Clients>::default();
        let (phase, seen) = Fronts::phase();
        let shared = Arc::new(Shared {
            front,
            service: Service::new(settings, HttpKeys::new(Arc::clone(&metrics))),
            health: Health::default(),
            pulse: Pulse::default(),
            data: data.clone(),
            tls,
            bounds,
            devices,
            figures: status::Known::default(),
            sessions: status::Sessions::default(),
            logins: Strikes::of_all(LOGINS),
            status_page: config.status_page,
            drivers: config.drivers.clone(),
            warnings: config.warnings.clone(),
            places: Places::new(config.limits.per_address),
            strikes: Strikes::new(config.limits.failed_logins),
            space: Space::new(data.root(), config.min_free),
            trial: Trial::new(&data, log.clone(), Arc::clone(&metrics)),
            started: Instant::now(),
            clients: Arc::clone(&clients),
            hold: Arc::clone(hold),
            only,
            observations: observing.as_ref().map(Observing::observations),
            metrics,
            metrics_allow: Live::new(config.metrics_allow.clone()),
            metrics_apart: measuring.is_some(),
            trusted: Live::new(config.trusted.clone()),
            base_path: config.base_path.clone(),
            base_urls: config.base_urls.clone(),
            log: log.clone(),
            phase: seen,
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
            _files: files,
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
            reports,
            observing,
        };
        hold.holder().publish(format!("unix:{}", scope.socket().display()), started.listen())?;
        Ok(started)
    }

    /// What ends it from another thread.
    pub(crate) fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes)
    }

    /// The id of the graph that it serves alone.
    pub(crate) fn graph(&self) -> Option<&str> {
        self.hold.holder().scope().graph()
    }

    /// The data directory, absolute.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.root()
    }

    /// Where it listens, with the ports that it got.
    pub(crate) fn listen(&self) -> Vec<String> {
        self.listening.clone()
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
        let reached = |listen: &String| match listen.split_once("://") {
            Some((scheme, address)) => match address.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_unspecified() => {
                    format!("{scheme}://<this machine>:{}", address.port())
                }
                _ => listen.clone(),
            },
            None => listen.clone(),
        };
        self.listening.iter().map(reached).collect()
    }

    /// Who vouches for users.
    pub(crate) fn drivers(&self) -> &[String] {
        &self.config.drivers
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
