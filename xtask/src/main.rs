//! `cargo xtask`: one command per intent. Every step prints one line that tells what it does.

mod commands;
// A unit test: one under `tests` would build, and replace, the program that runs the tests.
#[cfg(test)]
mod deployments;
mod process;
mod serving;
mod tools;
mod workers;

use std::process::ExitCode;

const HELP: &str = "\
One command per intent.

Usage: cargo xtask <COMMAND> [OPTIONS]

Commands:
  dev     Prepare the tools, build the workers, migrate their local database and serve them
  serve   Serve what was built, without building
  build   Build the workers
  setup   Prepare the tools only
  test    Run every test there is
  lint    Check formatting, lints, licences and dependencies
  bench   Run the benchmarks
  load    Put many sockets on the native server, and measure
  dist    Build what a release of the native server holds

For sessions of coding agents:
  sandbox-agent    Start a local server that runs coding agents
  smoke            One session from end to end
  kill-sandboxes   Kill the E2B sandboxes of an account

`cargo xtask <COMMAND> --help` tells the options of a command.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut args = lexopt::Parser::from_env();
    let command = match args.next()? {
        Some(lexopt::Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) | None => {
            println!("{HELP}");
            return Ok(());
        }
        Some(other) => return Err(other.unexpected().into()),
    };
    match command.as_str() {
        "dev" => commands::dev::run(args),
        "serve" => commands::serve::run(args),
        "build" => commands::build::run(args),
        "setup" => commands::setup::run(args),
        "test" => commands::test::run(args),
        "lint" => commands::lint::run(args),
        "bench" => commands::bench::run(args),
        "load" => commands::load::run(args),
        "dist" => commands::dist::run(args),
        "sandbox-agent" => commands::sandbox_agent::run(args),
        name @ ("smoke" | "kill-sandboxes") => commands::script::run(name, args),
        "help" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => anyhow::bail!("unknown command {unknown:?}; `cargo xtask --help` lists the commands"),
    }
}
