//! Load on a running server: N sockets on M graphs, one writer a graph. Prints throughput, how late the other clients learn of
//! a commit, memory and syncs, and fails when a socket ends, a batch is refused or the clients do not agree at the end.

mod client;
mod options;
mod quantiles;
mod report;
mod room;
mod server;

use std::process::ExitCode;

use anyhow::Result;
use tokio::task::LocalSet;

use options::Options;
use report::Report;
use server::Target;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(options) = Options::parse(lexopt::Parser::from_env())? else { return Ok(()) };
    server::raise_open_files(options.sockets)?;
    let target = Target::start(&options)?;
    let rooms = target.make_graphs(options.graphs);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, room::play(&options, &target, rooms))?;
    println!("{}", report.text());
    target.stop()?;
    check(&options, &report)
}

/// What the run was asked to keep to.
fn check(options: &Options, report: &Report) -> Result<()> {
    if let (Some(limit), Some(peak)) = (options.max_memory, report.peak_mib) {
        anyhow::ensure!(peak <= limit, "the server's memory reached {peak:.1} MiB, and {limit} were allowed");
    }
    Ok(())
}
