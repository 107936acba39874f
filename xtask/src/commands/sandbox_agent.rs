//! `cargo xtask sandbox-agent`: a local server that runs coding agents (agents.md 8.3).

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;
use lexopt::ValueExt as _;

use crate::process::{self, step};
use crate::tools;

const HELP: &str = "\
Start a local sandbox-agent server: the one in PATH, else the one that the tests use, which is installed into the cache folder.
With SANDBOX_AGENT_REPO, its sources are built and run.

Usage: cargo xtask sandbox-agent [OPTIONS]

Options:
  --host ADDRESS   default: SANDBOX_AGENT_HOST, else 127.0.0.1
  --port N         default: SANDBOX_AGENT_PORT, else 2468
  --install        install the one that the tests use, start nothing

SANDBOX_AGENT_TOKEN is the token that it asks for; without it, it asks for none. Turns may take a day, unless
SANDBOX_AGENT_ACP_REQUEST_TIMEOUT_MS says otherwise. Sessions use it with AGENT_RUNTIME_PROVIDER=local-dev.";

/// How long a turn may take before the server gives up, in milliseconds: a day.
const REQUEST_TIMEOUT_MS: &str = "86400000";

/// Runs the command.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<()> {
    let setting =
        |name: &str, default: &str| std::env::var(name).ok().filter(|text| !text.is_empty()).unwrap_or(default.into());
    let (mut host, mut port) = (setting("SANDBOX_AGENT_HOST", "127.0.0.1"), setting("SANDBOX_AGENT_PORT", "2468"));
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("host") => host = args.value()?.parse()?,
            lexopt::Arg::Long("port") => port = args.value()?.parse()?,
            lexopt::Arg::Long("install") => return tools::sandbox_agent::ensure().map(drop),
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut command = match std::env::var_os("SANDBOX_AGENT_REPO").filter(|folder| !folder.is_empty()) {
        Some(folder) => {
            let mut command = process::cargo();
            command.current_dir(folder).args(["run", "-p", "sandbox-agent", "--"]);
            command
        }
        None => Command::new(match process::find("sandbox-agent") {
            Some(program) => program,
            None => tools::sandbox_agent::ensure()?,
        }),
    };
    let token = setting("SANDBOX_AGENT_TOKEN", "");
    command.args(["server", "--host", &host, "--port", &port, "--no-telemetry"]);
    command.args(if token.is_empty() {
        vec![OsString::from("--no-token")]
    } else {
        vec!["--token".into(), token.into()]
    });
    if std::env::var_os("SANDBOX_AGENT_ACP_REQUEST_TIMEOUT_MS").is_none() {
        command.env("SANDBOX_AGENT_ACP_REQUEST_TIMEOUT_MS", REQUEST_TIMEOUT_MS);
    }
    step(format!("sandbox-agent: http://{host}:{port}"));
    process::become_command(&mut command)
}
