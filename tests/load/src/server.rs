//! The server under load: one that is started, or one that runs already; and what it says of itself.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use conformance::{Client, TestGraph};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::options::Options;
use crate::room::Room;

/// Descriptors besides those of sockets: graphs have up to three each, and there are some of the process itself.
const SPARE_FILES: u64 = 1024;

/// Tokens of a server that is started here, on loopback and for this run alone.
const TOKEN: &str = "token-of-the-load-harness";
const ADMIN: &str = "operator-of-the-load-harness";

/// Ticks of a second in which the system counts processor time.
const TICKS: f64 = 100.0;

/// A server.
pub(crate) struct Target {
    /// Its address.
    pub(crate) base: String,
    /// Who writes and reads.
    pub(crate) user: Client,
    operator: Option<Client>,
    own: Option<Own>,
}

/// One that was started here. Dropped, it is killed.
struct Own {
    child: Child,
    folder: tempfile::TempDir,
    binary: std::path::PathBuf,
}

/// What a server has used until some moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Syncs of graphs' logs.
    pub(crate) syncs: Option<f64>,
    /// Resident memory in MiB, and the most of it.
    pub(crate) memory: Option<f64>,
    pub(crate) peak: Option<f64>,
    /// Seconds of processor time.
    pub(crate) processor: Option<f64>,
}

/// Raises the number of open files as far as the system lets us, and fails when it is too low.
pub(crate) fn raise_open_files(sockets: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(sockets)? + SPARE_FILES;
    // Whoever may raise the hard limit does; else it is what there is.
    let raised = limit.maximum.map(|maximum| maximum.max(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: raised, maximum: raised }).is_err() {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    }
    let now = getrlimit(Resource::Nofile).current;
    ensure!(now.is_none_or(|now| now >= wanted), "{sockets} sockets need {wanted} open files; the limit is {now:?}");
    Ok(())
}

impl Target {
    /// Starts the server, or takes the one that runs.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        if let (Some(base), Some(token)) = (&options.base_url, &options.token) {
            let base = base.trim_end_matches('/').to_owned();
            let client = |token: &str| Client::new(&base, "load", Some(token.to_owned()));
            let operator = options.admin_token.as_deref().map(client);
            return Ok(Self { user: client(token), operator, own: None, base });
        }
        let binary = options.binary.as_deref().context("no server was named")?;
        let folder = match &options.data {
            Some(data) => tempfile::tempdir_in(data)?,
            None => tempfile::tempdir()?,
        };
        let (own, base) = Own::start(binary, folder, options.sockets)?;
        let client = |token: &str| Client::new(&base, "load", Some(token.to_owned()));
        Ok(Self { user: client(TOKEN), operator: Some(client(ADMIN)), own: Some(own), base })
    }

    /// Graphs with the standard initial content.
    pub(crate) fn make_graphs(&self, count: usize) -> Vec<Room> {
        (0..count).map(|_| TestGraph::initial(&self.user)).map(|graph| Room::new(graph.id)).collect()
    }

    /// What it has used until now.
    pub(crate) fn usage(&self) -> Usage {
        let metrics = self.operator.as_ref().map(|operator| operator.get("/metrics"));
        let text = metrics.filter(|answer| answer.status == 200).map(|answer| answer.bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let metric = |name: &str| -> Option<f64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        };
        let syncs = metric("logseq_sync_fsyncs_total");
        let Some(own) = &self.own else {
            let memory = metric("process_resident_memory_bytes").map(|bytes| bytes / 1_048_576.0);
            return Usage { syncs, memory, peak: None, processor: None };
        };
        Usage { syncs, memory: own.memory("VmRSS:"), peak: own.memory("VmHWM:"), processor: own.processor() }
    }

    /// Ends a server that was started here in order, and lets `verify` read all that it has written.
    pub(crate) fn stop(mut self) -> Result<()> {
        let Some(mut own) = self.own.take() else { return Ok(()) };
        let told = Command::new("kill").arg(own.child.id().to_string()).status()?;
        let status = own.child.wait()?;
        ensure!(told.success() && status.success(), "the server ended with {status}");
        let verified = Command::new(&own.binary).args(["verify", "--json", "--data-dir"]).arg(own.data()).output()?;
        let said: Value = serde_json::from_slice(&verified.stdout).unwrap_or_default();
        ensure!(verified.status.success(), "verify: {said}");
        Ok(())
    }
}

impl Own {
    fn start(binary: &Path, folder: tempfile::TempDir, sockets: usize) -> Result<(Self, String)> {
        let many = (sockets + 1000).to_string();
        let child = Command::new(binary)
            .args(["serve", "--json", "--quiet", "--port", "0", "--bind", "127.0.0.1", "--data-dir"])
            .arg(folder.path().join("data"))
            .env("DB_SYNC_LOG_LEVEL", "warn")
            .env("DB_SYNC_AUTH_DRIVER", "static")
            .env("DB_SYNC_AUTH_TOKEN", TOKEN)
            .env("DB_SYNC_ADMIN_TOKEN", ADMIN)
            .envs(
                ["CONNECTIONS", "USER_SOCKETS", "GRAPH_SOCKETS"].map(|limit| (format!("DB_SYNC_LIMIT_{limit}"), &many)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut own = Self { child, folder, binary: binary.to_owned() };
        let mut ready = String::new();
        if let Some(stdout) = own.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut ready)?;
        }
        let ready: Value = serde_json::from_str(&ready).unwrap_or_default();
        match ready.pointer("/listen/0").and_then(Value::as_str) {
            Some(base) => Ok((own, base.to_owned())),
            None => bail!("the server did not start: {ready}"),
        }
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// A line of the process's status that tells KiB, in MiB.
    fn memory(&self, name: &str) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
    }

    fn processor(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // After the name, which may hold anything but ends with the last parenthesis: user and system time are the 12th and 13th.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace().skip(11).map(str::parse::<f64>);
        Some((fields.next()?.ok()? + fields.next()?.ok()?) / TICKS)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _already_gone = self.child.kill();
            let _reaped = self.child.wait();
        }
    }
}
