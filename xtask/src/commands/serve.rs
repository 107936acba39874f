//! `cargo xtask serve`: serves what was built.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
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

Settings of the worker in the environment (COGNITO_*, DB_SYNC_*, SENTRY_*, ASSET_LINK_SECRET, …) go before wrangler.toml.
AGENTS_SERVICE_URL names a running agents worker to which /sessions, /auth and /runners are forwarded.";

const DEFAULT_PORT: u16 = 8787;

/// Where to serve and from which folder.
pub(crate) struct Options {
    port: u16,
    data: PathBuf,
}

impl Options {
    /// Reads the arguments; `None`: `help` was printed.
    pub(crate) fn parse(mut args: lexopt::Parser, help: &str) -> Result<Option<Self>> {
        let mut port = DEFAULT_PORT;
        let mut data = None;
        while let Some(arg) = args.next()? {
            match arg {
                lexopt::Arg::Long("port") => port = args.value()?.parse()?,
                lexopt::Arg::Long("data") => data = Some(PathBuf::from(args.value()?)),
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
        Ok(Some(Self { port, data: std::path::absolute(data)? }))
    }
}

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    match Options::parse(args, HELP)? {
        Some(options) => serve(&options),
        None => Ok(()),
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
            .envs(crate::tools::npm::QUIET),
    )
}
