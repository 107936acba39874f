//! The server under test: named by `BASE_URL`, or the worker started under workerd.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::agents::Agents;
use crate::client::Client;
use crate::tokens::Issuer;

/// How long a start may take before the suite gives up.
const START_PATIENCE: Duration = Duration::from_mins(2);

/// A running server and the keys to it.
pub struct Server {
    pub base: String,
    pub issuer: Issuer,
    pub admin_token: String,
    pub asset_link_secret: String,
    /// The agents worker that the server forwards to, if it does.
    pub agents: Option<Agents>,
    child: Option<(Child, tempfile::TempDir)>,
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// A port nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

impl Server {
    /// Takes `BASE_URL`, or starts the built worker with settings of its own.
    pub fn start() -> Self {
        let given = std::env::var("BASE_URL").ok();
        let key_file = std::env::var_os("SIGNING_KEY").map(PathBuf::from);
        let issuer = Issuer::new(
            key_file.as_deref(),
            setting("ISSUER", "https://issuer.test/pool"),
            setting("CLIENT_ID", "client-under-test"),
        );
        let jwks_port = match std::env::var("JWKS_PORT") {
            Ok(port) => port.parse().expect("JWKS_PORT is a port"),
            Err(_) if given.is_some() => 8799,
            Err(_) => free_port(),
        };
        issuer.serve(jwks_port);
        let mut server = Self {
            base: String::new(),
            issuer,
            admin_token: setting("ADMIN_TOKEN", "admin-secret"),
            asset_link_secret: setting("ASSET_LINK_SECRET", "asset-link-secret"),
            agents: None,
            child: None,
        };
        let agents_port = std::env::var("AGENTS_PORT").ok().map(|port| port.parse().expect("AGENTS_PORT is a port"));
        if let Some(port) = agents_port.or_else(|| given.is_none().then(free_port)) {
            server.agents = Some(Agents::serve(port));
        }
        if let Some(base) = given {
            base.trim_end_matches('/').clone_into(&mut server.base);
        } else {
            server.spawn(jwks_port);
        }
        server.await_health();
        server
    }

    fn spawn(&mut self, jwks_port: u16) {
        let port = free_port();
        let data = tempfile::tempdir().expect("temporary folder");
        let child = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--package", "xtask", "--", "serve", "--port", &port.to_string(), "--data"])
            .arg(data.path())
            .env("COGNITO_ISSUER", &self.issuer.issuer)
            .env("COGNITO_CLIENT_ID", &self.issuer.client_id)
            .env("COGNITO_CLIENT_IDS", "second-client, third-client")
            .env("COGNITO_JWKS_URL", format!("http://127.0.0.1:{jwks_port}/jwks.json"))
            .env("DB_SYNC_ADMIN_TOKEN", &self.admin_token)
            .env("ASSET_LINK_SECRET", &self.asset_link_secret)
            .envs(self.agents.iter().map(|agents| ("AGENTS_SERVICE_URL", format!("http://127.0.0.1:{}", agents.port))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("cargo runs");
        self.base = format!("http://127.0.0.1:{port}");
        self.child = Some((child, data));
    }

    fn await_health(&mut self) {
        let until = Instant::now() + START_PATIENCE;
        let address = self.base.trim_start_matches("http://").to_owned();
        loop {
            // A plain connection first: the client below treats a refused one as a failed case.
            if std::net::TcpStream::connect(&address).is_ok() && self.anonymous().get("/health").status == 200 {
                return;
            }
            if let Some((child, _)) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("the server ended with {status}; was it built (cargo xtask build)?");
            }
            assert!(Instant::now() < until, "server at {} did not become healthy", self.base);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A new person whom the server has never seen.
    pub fn person(&self, name: &str) -> Client {
        let user = format!("{name}-{}", uuid::Uuid::new_v4().simple());
        Client::new(&self.base, &user, Some(self.issuer.token(&user)))
    }

    /// Someone without credentials.
    pub fn anonymous(&self) -> Client {
        Client::new(&self.base, "anonymous", None)
    }

    /// Ends what `start` started.
    pub fn stop(mut self) {
        if let Some((mut child, _data)) = self.child.take() {
            let _already_gone = Command::new("kill").arg(child.id().to_string()).status();
            let _reaped = child.wait();
        }
    }
}
