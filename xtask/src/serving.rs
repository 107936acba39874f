//! A worker served for the length of a step.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process;

/// As long as the beginning of an answer that tells its status, `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

const START_PATIENCE: Duration = Duration::from_mins(1);

/// `cargo xtask serve` with data of its own; dropped, it ends.
pub(crate) struct Serving {
    child: Child,
    port: u16,
    jwks_port: u16,
    folder: tempfile::TempDir,
}

impl Serving {
    /// A port nobody listens on.
    pub(crate) fn free_port() -> Result<u16> {
        Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
    }

    /// Serves what was built, with these settings and a key set on `jwks_port`, and waits until it answers.
    pub(crate) fn start<'a>(jwks_port: u16, settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = Self::free_port()?;
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", "--port", &port.to_string(), "--data"])
            .arg(folder.path().join("data"))
            .env("COGNITO_JWKS_URL", format!("http://127.0.0.1:{jwks_port}/jwks.json"))
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        let mut serving = Self { child, port, jwks_port, folder };
        serving.await_health()?;
        Ok(serving)
    }

    fn await_health(&mut self) -> Result<()> {
        let until = Instant::now() + START_PATIENCE;
        while !self.healthy() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            if Instant::now() > until {
                bail!("the server did not become healthy within {} s", START_PATIENCE.as_secs());
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn healthy(&self) -> bool {
        status(self.port, "/health") == Some(200)
    }

    /// Where it answers.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it expects the key set.
    pub(crate) fn jwks_port(&self) -> u16 {
        self.jwks_port
    }

    /// A folder that lives as long.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it; fails when it does not end well.
    pub(crate) fn stop(mut self) -> Result<()> {
        process::run(Command::new("kill").arg(self.child.id().to_string()))?;
        let status = self.child.wait().context("waiting for the server")?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

/// The status of a GET without credentials; none when nobody answers.
pub(crate) fn status(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").ok()?;
    // The connection may stay open, so no more is read than is looked at.
    let mut beginning = [0; STATUS_BYTES];
    stream.read_exact(&mut beginning).ok()?;
    std::str::from_utf8(&beginning).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
}

impl Drop for Serving {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = process::succeeds(Command::new("kill").arg(self.child.id().to_string()));
            let _reaped = self.child.wait();
        }
    }
}
