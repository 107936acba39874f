//! `cargo xtask serve`: serves what was built.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, TryLockError};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lexopt::ValueExt as _;

use super::build::Profile;
use crate::process::{self, step};
use crate::workers::{self, SYNC, WORKERS, Worker};

const HELP: &str = "\
Serve the workers that were built last, without building: the same as `dev` from there on. The sync worker answers, and
forwards /sessions, /auth, /runners, /agents and /worker to the agents worker behind it.
SIGTERM and SIGINT end everything that was started.

Usage: cargo xtask serve [OPTIONS]

Options:
  --worker NAME    sync or agents: only this worker (default: both)
  --port N         port (default 8787, the agents worker alone 8788); 0: a free one, which is printed
  --host ADDRESS   this machine's address to serve on (default 127.0.0.1): with another one, or with 0.0.0.0, other
                   devices of the network reach the server, and it says what is open to whom
  --data DIR       where graphs, assets and the index are kept (default: DATA_DIR, else .wrangler/state)
  --wrapper FILE   ES module that takes the worker's place and imports it as ./index.js (tests/faults)

Settings of the workers in the environment (COGNITO_*, DB_SYNC_*, SENTRY_*, ASSET_LINK_SECRET, AGENT_*, E2B_*,
SANDBOX_AGENT_*, GITHUB_APP_*, …) go before wrangler.toml and wrangler.agents.toml. AGENTS_SERVICE_URL names an agents
worker that runs elsewhere: then the sync worker forwards to that one, and none is started here.";

/// Where to serve and from which folder.
#[derive(Debug)]
pub(crate) struct Options {
    /// What is served, in the order of [`WORKERS`]: the first answers on the port.
    pub(crate) workers: Vec<&'static Worker>,
    host: IpAddr,
    port: u16,
    data: PathBuf,
    wrapper: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments; `None`: `help` was printed. `more` takes the long options that another command has besides.
    pub(crate) fn parse(
        mut args: lexopt::Parser,
        help: &str,
        mut more: impl FnMut(&str) -> bool,
    ) -> Result<Option<Self>> {
        let mut host = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (mut port, mut data, mut wrapper) = (None, None, None);
        let mut named = Vec::new();
        while let Some(arg) = args.next()? {
            match arg {
                lexopt::Arg::Long("port") => {
                    let text: String = args.value()?.parse()?;
                    let number = text.parse::<u16>().ok();
                    port = Some(number.with_context(|| format!("--port needs a number up to 65535, not {text:?}"))?);
                }
                lexopt::Arg::Long("worker") => named.push(workers::named(&args.value()?.parse::<String>()?)?.name),
                lexopt::Arg::Long("host") => {
                    let text: String = args.value()?.parse()?;
                    host = text.parse().with_context(|| format!("--host needs an IP address, not {text:?}"))?;
                }
                lexopt::Arg::Long("data") => data = Some(PathBuf::from(args.value()?)),
                lexopt::Arg::Long("wrapper") => wrapper = Some(std::path::absolute(args.value()?)?),
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                    println!("{help}");
                    return Ok(None);
                }
                lexopt::Arg::Long(name) if more(name) => {}
                other => return Err(other.unexpected().into()),
            }
        }
        let data: PathBuf = data
            .or_else(|| std::env::var_os("DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from))
            .unwrap_or_else(|| workers::root().join(".wrangler/state"));
        if data.exists() && !data.is_dir() {
            bail!("--data (or DATA_DIR) needs a folder, and {} is a file", data.display());
        }
        let workers = chosen(&named, std::env::var_os("AGENTS_SERVICE_URL").is_some_and(|url| !url.is_empty()));
        let port = port.unwrap_or_else(|| workers.first().map_or(SYNC.port, |worker| worker.port));
        Ok(Some(Self { workers, host, port, data: std::path::absolute(data)?, wrapper }))
    }
}

/// The workers with these names, in the order of [`WORKERS`]. Without names all of them, but only the first where the others
/// run elsewhere.
fn chosen(named: &[&str], others_elsewhere: bool) -> Vec<&'static Worker> {
    let here = if others_elsewhere { 1 } else { WORKERS.len() };
    match named {
        [] => WORKERS.into_iter().take(here).collect(),
        named => WORKERS.into_iter().filter(|worker| named.contains(&worker.name)).collect(),
    }
}

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    match Options::parse(args, HELP, |_| false)? {
        Some(options) => serve(&options, None),
        None => Ok(()),
    }
}

/// How long a server that was killed may take to let go of its folder: its workerd is ended first.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// The data folder, for one server alone: two would both take writes to the same graphs. The lock lives as long as
/// somebody has the file open, and ends with them however they end.
fn lock(data: &Path) -> Result<File> {
    let mut folder = DirBuilder::new();
    let mut file = File::options();
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        folder.mode(0o700);
        file.mode(0o600);
    }
    let shown = data.display();
    folder.recursive(true).create(data).with_context(|| format!("cannot make {shown}"))?;
    let file = file.read(true).write(true).create(true).truncate(false).open(data.join("lock"));
    let file = file.with_context(|| format!("cannot write into {shown}"))?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => {
                bail!("{shown} is served by another process: end it, or name another folder with --data")
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {shown}")),
        }
    }
}

/// Migrates and serves. This process becomes the launcher, which ends workerd when it is told to end. With a profile, the
/// launcher has builds made of what is edited, and loads them.
pub(crate) fn serve(options: &Options, watch: Option<Profile>) -> Result<()> {
    if !options.workers.iter().all(|worker| worker.bundle().join("index.js").is_file()) {
        bail!("nothing was built yet: run `cargo xtask build` or `cargo xtask dev` first");
    }
    if !workers::root().join("node_modules/wrangler").is_dir() {
        bail!("the npm packages are missing: run `cargo xtask setup` or `cargo xtask dev` first");
    }
    let lock = lock(&options.data)?;
    let names: Vec<_> = options.workers.iter().map(|worker| worker.name).collect();
    step(format!("Serving {} with data in {}", names.join(" and "), options.data.display()));
    let builder = match watch {
        Some(profile) => [std::env::current_exe()?.as_os_str(), "build".as_ref(), "--watch".as_ref()]
            .into_iter()
            .chain([profile.argument().as_ref()])
            .chain(names.iter().flat_map(|name| ["--worker".as_ref(), OsStr::new(name)]))
            .map(OsStr::to_owned)
            .collect(),
        None => Vec::new(),
    };
    // A worker's tables rest on those of the workers before it, which are made whether they are served or not.
    let last = WORKERS.iter().rposition(|worker| names.contains(&worker.name)).unwrap_or_default();
    let configs = WORKERS.iter().take(last + 1).map(|worker| workers::root().join(worker.config));
    process::become_command(
        Command::new("node")
            .arg(workers::root().join("xtask/launcher/serve.mjs"))
            .args(configs.flat_map(|config| [OsString::from("--migrate"), config.into()]))
            .args(options.workers.iter().flat_map(|worker| launched(worker)))
            .arg("--data")
            .arg(&options.data)
            .arg("--host")
            .arg(options.host.to_string())
            .arg("--port")
            .arg(options.port.to_string())
            .args(options.wrapper.iter().flat_map(|wrapper| ["--wrapper".as_ref(), wrapper.as_os_str()]))
            .arg("--")
            .args(builder)
            .envs(crate::tools::npm::QUIET)
            // The launcher and its guard hold the lock from here on.
            .stdin(lock),
    )
}

/// What the launcher is told of a worker.
fn launched(worker: &Worker) -> [OsString; 6] {
    let config = workers::root().join(worker.config);
    ["--worker".into(), worker.name.into(), "--config".into(), config.into(), "--bundle".into(), worker.bundle().into()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(args: &[&str]) -> Result<IpAddr> {
        let parser = lexopt::Parser::from_args(args);
        Ok(Options::parse(parser, HELP, |_| false)?.context("no help was asked for")?.host)
    }

    #[test]
    fn only_this_machine_is_served_unless_an_address_is_named() {
        assert_eq!(host(&[]).unwrap(), IpAddr::from([127, 0, 0, 1]));
        assert_eq!(host(&["--host", "0.0.0.0"]).unwrap(), IpAddr::from([0, 0, 0, 0]));
        assert_eq!(host(&["--host", "::1"]).unwrap().to_string(), "::1");
        for wrong in ["", "notes.example", "127.0.0.1:8787", "[::1]"] {
            assert!(host(&["--host", wrong]).unwrap_err().to_string().contains("needs an IP address"), "{wrong}");
        }
    }

    #[test]
    fn both_workers_are_served_unless_one_is_named_or_runs_elsewhere() {
        let names = |named: &[&str], elsewhere| -> Vec<_> {
            chosen(named, elsewhere).into_iter().map(|worker| worker.name).collect()
        };
        assert_eq!(names(&[], false), ["sync", "agents"]);
        assert_eq!(names(&[], true), ["sync"]);
        assert_eq!(names(&["agents"], true), ["agents"]);
        assert_eq!(names(&["agents", "sync"], false), ["sync", "agents"]);
    }

    #[test]
    fn a_wrong_option_is_named() {
        let said = |args: &[&str]| host(args).unwrap_err().to_string();
        for wrong in ["", "eighty", "65536", "-1"] {
            assert_eq!(said(&["--port", wrong]), format!("--port needs a number up to 65535, not {wrong:?}"));
        }
        assert_eq!(said(&["--worker", "graph"]), "unknown worker \"graph\": sync, agents");
        let file = tempfile::NamedTempFile::new().unwrap();
        let shown = file.path().display().to_string();
        assert_eq!(said(&["--data", &shown]), format!("--data (or DATA_DIR) needs a folder, and {shown} is a file"));
    }
}
