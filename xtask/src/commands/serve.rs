//! `cargo xtask serve`: serves what was built.

use std::fs::{DirBuilder, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lexopt::ValueExt as _;

use crate::step::step;
use crate::{process, project};

const HELP: &str = "\
Serve the sync worker that was built last, without building: the same as `dev` from there on.
SIGTERM and SIGINT end everything that was started.

Usage: cargo xtask serve [OPTIONS]

Options:
  --port N     port on 127.0.0.1 (default 8787)
  --data DIR   where graphs, assets and the index are kept (default: DATA_DIR, else .wrangler/state)
  --wrapper FILE  ES module that takes the worker's place and imports it as ./index.js (tests/faults)

Settings of the worker in the environment (COGNITO_*, DB_SYNC_*, SENTRY_*, ASSET_LINK_SECRET, …) go before wrangler.toml.
AGENTS_SERVICE_URL names a running agents worker to which /sessions, /auth and /runners are forwarded.";

const DEFAULT_PORT: u16 = 8787;

/// Where to serve and from which folder.
pub(crate) struct Options {
    port: u16,
    data: PathBuf,
    wrapper: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments; `None`: `help` was printed.
    pub(crate) fn parse(mut args: lexopt::Parser, help: &str) -> Result<Option<Self>> {
        let mut port = DEFAULT_PORT;
        let (mut data, mut wrapper) = (None, None);
        while let Some(arg) = args.next()? {
            match arg {
                lexopt::Arg::Long("port") => port = args.value()?.parse()?,
                lexopt::Arg::Long("data") => data = Some(PathBuf::from(args.value()?)),
                lexopt::Arg::Long("wrapper") => wrapper = Some(std::path::absolute(args.value()?)?),
                lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                    println!("{help}");
                    return Ok(None);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        let data = data
            .or_else(|| std::env::var_os("DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from))
            .unwrap_or_else(|| project::root().join(".wrangler/state"));
        Ok(Some(Self { port, data: std::path::absolute(data)?, wrapper }))
    }
}

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    match Options::parse(args, HELP)? {
        Some(options) => serve(&options),
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

/// Migrates and serves. This process becomes the launcher, which ends workerd when it is told to end.
pub(crate) fn serve(options: &Options) -> Result<()> {
    let bundle = project::worker_bundle();
    if !bundle.join("index.js").is_file() {
        bail!("nothing was built yet: run `cargo xtask build` or `cargo xtask dev` first");
    }
    if !project::root().join("node_modules/wrangler").is_dir() {
        bail!("the npm packages are missing: run `cargo xtask setup` or `cargo xtask dev` first");
    }
    let lock = lock(&options.data)?;
    step(format!("Serving {} on port {} with data in {}", bundle.display(), options.port, options.data.display()));
    process::become_command(
        Command::new("node")
            .arg(project::root().join("xtask/launcher/serve.mjs"))
            .arg("--config")
            .arg(project::root().join("wrangler.toml"))
            .arg("--bundle")
            .arg(bundle)
            .arg("--data")
            .arg(&options.data)
            .arg("--port")
            .arg(options.port.to_string())
            .args(options.wrapper.iter().flat_map(|wrapper| ["--wrapper".as_ref(), wrapper.as_os_str()]))
            .envs(crate::tools::npm::QUIET)
            // The launcher and its guard hold the lock from here on.
            .stdin(lock),
    )
}
