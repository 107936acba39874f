//! `cargo xtask dev`: from a clean clone to a running worker.

use anyhow::Result;

use super::build::{self, Profile};
use super::{serve, setup};

const HELP: &str = "\
Prepare the tools, build the workers, migrate their local database and serve them on one port: the sync worker answers,
and forwards /sessions, /auth, /runners and /agents to the agents worker behind it. Each step is skipped when nothing changed
since it was done last.

Usage: cargo xtask dev [OPTIONS]

Options:
  --worker NAME    sync or agents: only this worker (default: both)
  --port N         port (default 8787, the agents worker alone 8788); 0: a free one, which is printed
  --host ADDRESS   this machine's address to serve on (default 127.0.0.1); see `cargo xtask serve --help`
  --data DIR       where graphs, assets and the index are kept (default: DATA_DIR, else .wrangler/state)
  --watch          build again after each edit, and load what was built
  --debug          build quickly, not for speed

Settings of the workers in the environment (COGNITO_*, DB_SYNC_*, SENTRY_*, ASSET_LINK_SECRET, AGENT_*, E2B_*,
SANDBOX_AGENT_*, GITHUB_APP_*, …) go before wrangler.toml and wrangler.agents.toml. AGENTS_SERVICE_URL names an agents
worker that runs elsewhere: then the sync worker forwards to that one, and none is started here.";

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
    let tools = setup::prepare()?;
    options.workers.iter().try_for_each(|worker| build::build(worker, &tools, profile))?;
    serve::serve(&options, watch.then_some(profile))
}
