//! `cargo xtask bench`: the benchmarks.

use anyhow::Result;

use crate::process;
use crate::step::step;

const HELP: &str = "\
Run the benchmarks.

Usage: cargo xtask bench";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    if !super::no_arguments(args, HELP)? {
        return Ok(());
    }
    step("Benchmarks of the workspace");
    process::run(process::cargo().args(["bench", "--workspace", "--exclude", "sync-worker"]))
}
