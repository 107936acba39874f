//! `cargo xtask dev`: from a clean clone to a running worker.

use anyhow::Result;

use super::{build, serve, setup};

const HELP: &str = "\
Prepare the tools, build the sync worker, migrate its local database and serve it. Each step is skipped when nothing
changed since it was done last.

Usage: cargo xtask dev [OPTIONS]

Options:
  --port N         port (default 8787)
  --host ADDRESS   this machine's address to serve on (default 127.0.0.1); see `cargo xtask serve --help`
  --data DIR       where graphs, assets and the index are kept (default: DATA_DIR, else .wrangler/state)

Settings of the worker in the environment (COGNITO_*, DB_SYNC_*, SENTRY_*, ASSET_LINK_SECRET, …) go before wrangler.toml.
AGENTS_SERVICE_URL names a running agents worker to which /sessions, /auth and /runners are forwarded.";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    let Some(options) = serve::Options::parse(args, HELP)? else { return Ok(()) };
    let tools = setup::prepare()?;
    build::build(&tools, build::Profile::Release)?;
    serve::serve(&options)
}
