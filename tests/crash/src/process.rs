//! The real server as a process that can be killed.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::{Result, fail};

/// The token of all clients.
pub(crate) const TOKEN: &str = "a-token-that-is-long-enough";

/// A server; dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// Where the binary and its data are.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) binary: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Place {
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The last lines of what servers said.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Starts a server, and waits for nothing.
    pub(crate) fn spawn(&self) -> Result<Process> {
        let log = File::options().create(true).append(true).open(self.log()).map_err(fail)?;
        let mut child = Command::new(&self.binary)
            .args(["serve", "--port", "0", "--bind", "127.0.0.1", "--json", "--data-dir"])
            .arg(self.data())
            .env_clear()
            .envs([("DB_SYNC_AUTH_DRIVER", "static"), ("DB_SYNC_AUTH_TOKEN", TOKEN), ("DB_SYNC_MIN_FREE", "0")])
            .env("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.binary.display()))?;
        let output = child.stdout.take().ok_or("a child without output")?;
        Ok(Process { child, output: BufReader::new(output) })
    }

    /// Checks the directory with the server's own verb, which computes everything anew. For when no server runs.
    pub(crate) fn verify(&self) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.args(["verify", "--json", "--data-dir"]).arg(self.data()).env_clear().stdin(Stdio::null());
        let output = command.output().map_err(fail)?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("verify: {}", String::from_utf8_lossy(&output.stdout)))
    }

    /// Files that a start must have thrown away.
    pub(crate) fn temporaries(&self) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.data().join("tmp")).map_err(fail)?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(fail)).collect()
    }
}

impl Process {
    /// Waits for the line that says that the server is ready; its address.
    pub(crate) fn ready(&mut self) -> Result<SocketAddr> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(fail)?;
        let ready: Value = serde_json::from_str(&line).map_err(|error| format!("{line:?}: {error}"))?;
        let address = ready["listen"][0].as_str().and_then(|url| url.strip_prefix("http://"));
        address.and_then(|address| address.parse().ok()).ok_or_else(|| format!("no address in {ready}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end in order.
    pub(crate) fn terminate(&self) {
        // One that has ended needs it no more.
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
    }

    /// SIGKILL, and the end of it.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().map_err(fail)?;
        self.child.wait().map_err(fail)?;
        Ok(())
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The binary to test: `LOGSEQ_SYNC`, or that of the profile `fast`.
pub(crate) fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    std::env::var_os("LOGSEQ_SYNC").map_or_else(|| target.join("fast/logseq-sync"), PathBuf::from)
}
