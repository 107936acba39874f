//! The native server under the suites of the sync worker: what they ask, it answers the same.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::test::{ADMIN_TOKEN, CLIENT_ID, ISSUER};
use crate::process::{self, step};
use crate::serving::{self, Serving};
use crate::tools::npm::QUIET;

/// How long a start may take.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// A running binary over data of its own; dropped, it ends.
struct Native {
    child: Child,
    port: u16,
    jwks_port: u16,
    folder: tempfile::TempDir,
}

impl Native {
    fn start(binary: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (port, jwks_port) = (Serving::free_port()?, Serving::free_port()?);
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
            .arg(folder.path().join("data"))
            .env("COGNITO_ISSUER", ISSUER)
            .env("COGNITO_CLIENT_ID", CLIENT_ID)
            .env("COGNITO_CLIENT_IDS", "second-client, third-client")
            .env("COGNITO_JWKS_URL", format!("http://127.0.0.1:{jwks_port}/jwks.json"))
            .env("DB_SYNC_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("ASSET_LINK_SECRET", "asset-link-secret")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut native = Self { child, port, jwks_port, folder };
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

    /// A command that is told where the server is.
    fn told(&self, mut command: Command) -> Command {
        command
            .env("BASE_URL", format!("http://127.0.0.1:{}", self.port))
            .env("JWKS_PORT", self.jwks_port.to_string())
            .env("SIGNING_KEY", self.folder.path().join("signing-key.json"));
        command
    }

    /// Ends it; fails when it does not end well.
    fn stop(mut self) -> Result<()> {
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

/// Builds the binary, and plays the suites and the recorded conversations against it.
pub(super) fn check(root: &Path, cargo: &dyn Fn() -> Command) -> Result<()> {
    step("Native server: build");
    process::run(cargo().args(["build", "--quiet", "--profile", "fast", "-p", "logseq-sync"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let binary = target.join("fast/logseq-sync");

    step("Black-box suite against the native server");
    let agents_port = Serving::free_port()?;
    let server = Native::start(&binary, &[("AGENTS_SERVICE_URL", &format!("http://127.0.0.1:{agents_port}"))])?;
    let suite = |package: &str| {
        let mut command = server.told(cargo());
        command.args(["test", "--quiet", "-p", package, "--test", package]).env("AGENTS_PORT", agents_port.to_string());
        process::run(&mut command)
    };
    suite("conformance")?;
    step("Attacks on the native server");
    suite("attacks")?;
    server.stop()?;

    step("Recorded conversations with the native server");
    let server = Native::start(&binary, &[("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false")])?;
    let mut node = server.told(Command::new("node"));
    process::run(node.current_dir(root).envs(QUIET).arg("tests/replay/check.mjs"))?;
    server.stop()?;

    step("A deployment moves from the native server to the worker and D1, and back");
    let mut moving = Command::new("node");
    moving.current_dir(root).envs(QUIET).env("LOGSEQ_SYNC", &binary);
    process::run(moving.args(["--test", "tests/moving/moving.test.mjs"]))
}
