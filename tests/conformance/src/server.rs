//! The server under test: named by `BASE_URL`, or the worker started under workerd.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::agents::Agents;
use crate::client::Client;
use crate::people::People;
use crate::tokens::Issuer;

/// How often the start of a killed server is tried.
const RESTARTS: usize = 5;

/// How long a start may take before the suite gives up.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// A running server and the keys to it.
pub struct Server {
    pub base: String,
    pub issuer: Issuer,
    pub people: People,
    pub admin_token: String,
    pub asset_link_secret: String,
    /// The agents worker that the server forwards to, if it does.
    pub agents: Option<Agents>,
    /// `wrangler dev` stands between: what it makes of a request is not the server's answer.
    pub proxied: bool,
    own: Option<Own>,
}

/// A server that the suite has started.
struct Own {
    child: Child,
    port: u16,
    jwks_port: u16,
    data: tempfile::TempDir,
    wrapping: Option<Wrapping>,
    /// Settings besides those of every server.
    settings: Vec<(String, String)>,
}

/// A module between the worker and the platform.
#[derive(Clone)]
pub struct Wrapping {
    /// An ES module that takes the worker's place and imports it as `./index.js`.
    pub module: PathBuf,
    /// The file to which the server's output is appended: faults cause much output.
    pub log: PathBuf,
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn agents_port() -> Option<u16> {
    std::env::var("AGENTS_PORT").ok().map(|port| port.parse().expect("AGENTS_PORT is a port"))
}

/// A port nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

impl Server {
    /// Takes `BASE_URL`, or starts the built worker with settings of its own.
    pub fn start() -> Self {
        Self::start_behind(None)
    }

    /// The same, with the worker behind a module. A server named by `BASE_URL` must have the module already.
    pub fn start_behind(wrapping: Option<Wrapping>) -> Self {
        match std::env::var("BASE_URL") {
            Ok(base) => Self::given(base.trim_end_matches('/').to_owned()),
            Err(_) => Self::own(wrapping),
        }
    }

    fn given(base: String) -> Self {
        let jwks_port = std::env::var("JWKS_PORT").map_or(8799, |port| port.parse().expect("JWKS_PORT is a port"));
        let mut server = Self::at(base, jwks_port);
        server.agents = agents_port().map(Agents::serve);
        server.await_health();
        server
    }

    /// Starts a server for the caller alone, whatever `BASE_URL` says, so that it can be killed.
    pub fn own(wrapping: Option<Wrapping>) -> Self {
        let agents = Agents::serve(agents_port().unwrap_or_else(free_port));
        Self::started(Some(agents), wrapping, Vec::new())
    }

    /// The same with the real agents worker behind it, and with further settings.
    pub fn with_agents(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self::started(None, None, settings.collect())
    }

    fn started(agents: Option<Agents>, wrapping: Option<Wrapping>, settings: Vec<(String, String)>) -> Self {
        let jwks_port = std::env::var("JWKS_PORT").ok().filter(|_| std::env::var_os("BASE_URL").is_none());
        let jwks_port = jwks_port.map_or_else(free_port, |port| port.parse().expect("JWKS_PORT is a port"));
        let port = free_port();
        let mut server = Self::at(format!("http://127.0.0.1:{port}"), jwks_port);
        server.agents = agents;
        let data = tempfile::tempdir().expect("temporary folder");
        let child = server.spawn(port, jwks_port, data.path(), wrapping.as_ref(), &settings);
        server.own = Some(Own { child, port, jwks_port, data, wrapping, settings });
        server.await_health();
        server
    }

    fn at(base: String, jwks_port: u16) -> Self {
        let key_file = std::env::var_os("SIGNING_KEY").map(PathBuf::from);
        let issuer = Issuer::new(
            key_file.as_deref(),
            setting("ISSUER", "https://issuer.test/pool"),
            setting("CLIENT_ID", "client-under-test"),
        );
        issuer.serve(jwks_port);
        Self {
            base,
            issuer,
            people: People::from_environment(),
            admin_token: setting("ADMIN_TOKEN", "admin-secret"),
            asset_link_secret: setting("ASSET_LINK_SECRET", "asset-link-secret"),
            agents: None,
            proxied: std::env::var("PROXY").is_ok_and(|proxy| proxy == "wrangler"),
            own: None,
        }
    }

    fn spawn(
        &self,
        port: u16,
        jwks_port: u16,
        data: &Path,
        wrapping: Option<&Wrapping>,
        settings: &[(String, String)],
    ) -> Child {
        let mut command = Command::new(env!("CARGO"));
        command
            .args(["run", "--quiet", "--package", "xtask", "--", "serve", "--port", &port.to_string(), "--data"])
            .arg(data);
        if let Some(Wrapping { module, log }) = wrapping {
            let log = File::options().create(true).append(true).open(log).expect("the log can be written");
            command.arg("--wrapper").arg(module).stderr(log);
        }
        command
            .env("COGNITO_ISSUER", &self.issuer.issuer)
            .env("COGNITO_CLIENT_ID", &self.issuer.client_id)
            .env("COGNITO_CLIENT_IDS", "second-client, third-client")
            .env("COGNITO_JWKS_URL", format!("http://127.0.0.1:{jwks_port}/jwks.json"))
            .env("DB_SYNC_ADMIN_TOKEN", &self.admin_token)
            .env("ASSET_LINK_SECRET", &self.asset_link_secret)
            .env_remove("AGENTS_SERVICE_URL")
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .envs(self.agents.iter().map(|agents| ("AGENTS_SERVICE_URL", format!("http://127.0.0.1:{}", agents.port))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("cargo runs")
    }

    /// Kills the server, as a power cut would, and waits until nobody listens on its port. Only for a server that the
    /// caller has started.
    pub fn kill(&mut self) {
        let own = self.own.as_mut().expect("a server of the caller's own");
        // `cargo run` has replaced itself with the launcher; workerd is killed as soon as that has ended.
        own.child.kill().expect("the server is killed");
        own.child.wait().expect("the server has ended");
        let until = Instant::now() + START_PATIENCE;
        while TcpStream::connect(("127.0.0.1", own.port)).is_ok() {
            assert!(Instant::now() < until, "somebody listens on port {} after the server was killed", own.port);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts a killed server again over the same data. Another connection may have its port for a moment, as the
    /// system gives out such ports; then the start is repeated.
    pub fn restart(&mut self) {
        for attempt in 1..=RESTARTS {
            let own = self.own.take().expect("a server of the caller's own");
            let child = self.spawn(own.port, own.jwks_port, own.data.path(), own.wrapping.as_ref(), &own.settings);
            self.own = Some(Own { child, ..own });
            match self.becomes_healthy() {
                Ok(()) => return,
                Err(status) => assert!(attempt < RESTARTS, "the server ended with {status} each time"),
            }
        }
    }

    fn await_health(&mut self) {
        if let Err(status) = self.becomes_healthy() {
            panic!("the server ended with {status}; was it built (cargo xtask build)?");
        }
    }

    /// Waits until the server answers; the error says how it ended instead.
    fn becomes_healthy(&mut self) -> Result<(), ExitStatus> {
        let until = Instant::now() + START_PATIENCE;
        let address = self.base.trim_start_matches("http://").to_owned();
        loop {
            // Tries a plain connection first: for the client below a refused one fails the case.
            if TcpStream::connect(&address).is_ok() && self.anonymous().get("/health").status == 200 {
                return Ok(());
            }
            if let Some(own) = &mut self.own
                && let Ok(Some(status)) = own.child.try_wait()
            {
                return Err(status);
            }
            assert!(Instant::now() < until, "server at {} did not become healthy", self.base);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the suite has started it: then it is the worker of this repository.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// The folder in which a server of the caller's own keeps what it stores.
    pub fn data(&self) -> &Path {
        self.own.as_ref().expect("a server of the caller's own").data.path()
    }

    /// A new person whom the server has never seen.
    pub fn person(&self, name: &str) -> Client {
        self.people.person(&self.base, name, &self.issuer)
    }

    /// Someone without credentials.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.base, "anonymous", None)
    }

    /// Ends what `start` started.
    pub fn stop(mut self) {
        if let Some(mut own) = self.own.take() {
            let _already_gone = Command::new("kill").arg(own.child.id().to_string()).status();
            let _reaped = own.child.wait();
        }
    }
}
