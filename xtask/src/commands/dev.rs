//! `cargo xtask dev`: from a clean clone to a running worker.

use anyhow::Result;

use super::build::{self, Profile};
use super::{serve, setup};
use crate::workers::SYNC;

const HELP: &str = "\
Prepare the tools, build the sync worker, migrate its local database and serve it. Each step is skipped when nothing
changed since it was done last.

Usage: cargo xtask dev [OPTIONS]

Options:
  --port N         port (default 8787); 0: a free one, which is printed
  --host ADDRESS   this machine's address to serve on (default 127.0.0.1); see `cargo xtask serve --help`
  --data DIR       where graphs, assets and the index are kept (default: DATA_DIR, else .wrangler/state)
  --watch          build again after each edit, and load what was built
  --debug          build quickly, not for speed

Settings of the worker in the environment (COGNITO_*, DB_SYNC_*, SENTRY_*, ASSET_LINK_SECRET, …) go before wrangler.toml.
AGENTS_SERVICE_URL names a running agents worker to which /sessions, /auth, /runners and /agents are forwarded.";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    let mut profile = Profile::Release;
    let mut watch = false;
    let options = serve::Options::parse(args, HELP, |option| match option {
        "watch" => {
            watch = true;
            true
        }
        "debug" => {
            profile = Profile::Debug;
            true
        }
        _ => false,
    })?;
    let Some(options) = options else { return Ok(()) };
    build::build(&SYNC, &setup::prepare()?, profile)?;
    serve::serve(&options, watch.then_some(profile))
}
