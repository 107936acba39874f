//! A native server for the length of a step.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::test::{ADMIN_TOKEN, CLIENT_ID, ISSUER};
use crate::process;
use crate::serving::{self, Serving};

/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// What a server is started with.
pub(super) struct Setup {
    folder: tempfile::TempDir,
    /// Where the suites serve the key set.
    pub(super) jwks_port: u16,
    settings: Vec<(String, String)>,
    /// What the suites are told besides where the server is.
    told: Vec<(String, String)>,
}

impl Setup {
    /// Data of its own, and the issuer that the suites play.
    pub(super) fn new() -> Result<Self> {
        let (folder, jwks_port) = (tempfile::tempdir()?, Serving::free_port()?);
        let setup = Self { folder, jwks_port, settings: Vec::new(), told: Vec::new() };
        Ok(setup.with("DB_SYNC_ADMIN_TOKEN", ADMIN_TOKEN).with("ASSET_LINK_SECRET", "asset-link-secret"))
    }

    /// The issuer as a Cognito pool.
    pub(super) fn of_cognito() -> Result<Self> {
        let setup = Self::new()?;
        let keys = format!("http://127.0.0.1:{}/jwks.json", setup.jwks_port);
        let setup = setup.with("COGNITO_ISSUER", ISSUER).with("COGNITO_CLIENT_ID", CLIENT_ID);
        Ok(setup.with("COGNITO_CLIENT_IDS", "second-client, third-client").with("COGNITO_JWKS_URL", keys))
    }

    /// The same with a setting of the server.
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// The same with something that the suites are told.
    pub(super) fn telling(mut self, name: &str, value: impl Into<String>) -> Self {
        self.told.push((name.to_owned(), value.into()));
        self
    }

    /// A folder that lasts as long as the server.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server's data directory.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it, and waits until it answers.
    pub(super) fn start(self, binary: &Path) -> Result<Native> {
        let port = Serving::free_port()?;
        // A session of its own has a share of the processor of its own: clients with hundreds of threads do not take it all.
        let mut command = match process::find("setsid") {
            Some(setsid) => {
                let mut command = Command::new(setsid);
                command.arg(binary);
                command
            }
            None => Command::new(binary),
        };
        let child = command
            .args(["serve", "--quiet", "--bind", "127.0.0.1", "--port", &port.to_string(), "--data-dir"])
            .arg(self.data())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut native = Native { child, port, setup: self };
        let until = Instant::now() + START_PATIENCE;
        while serving::status(port, "/health") != Some(200) {
            if let Some(status) = native.child.try_wait()? {
                bail!("the native server ended with {status}");
            }
            if Instant::now() > until {
                bail!("the native server did not become healthy within {} s", START_PATIENCE.as_secs());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(native)
    }
}

/// A running binary over data of its own; dropped, it ends.
pub(super) struct Native {
    child: Child,
    port: u16,
    setup: Setup,
}

impl Native {
    /// A command that is told where the server is.
    pub(super) fn told(&self, mut command: Command) -> Command {
        command
            .env("BASE_URL", format!("http://127.0.0.1:{}", self.port))
            .env("JWKS_PORT", self.setup.jwks_port.to_string())
            .env("SIGNING_KEY", self.setup.folder.path().join("signing-key.json"))
            .envs(self.setup.told.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The tests of a package against it.
    pub(super) fn tests(&self, cargo: &dyn Fn() -> Command, package: &str) -> Command {
        let mut command = self.told(cargo());
        command.args(["test", "--quiet", "-p", package, "--test", package]);
        command
    }

    /// Runs the tests of a package against it.
    pub(super) fn suite(&self, cargo: &dyn Fn() -> Command, package: &str) -> Result<()> {
        process::run(&mut self.tests(cargo, package))
    }

    /// Ends it; fails when it does not end well.
    pub(super) fn stop(mut self) -> Result<()> {
        process::run(Command::new("kill").arg(self.child.id().to_string()))?;
        let status = self.child.wait().context("waiting for the native server")?;
        if !status.success() {
            bail!("the native server ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
