//! `cargo xtask test`: every test there is.

use anyhow::Result;

use crate::process;
use crate::step::step;

const HELP: &str = "\
Run every test there is.

Usage: cargo xtask test";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    if !super::no_arguments(args, HELP)? {
        return Ok(());
    }
    step("Unit and integration tests of the workspace");
    process::run(process::cargo().args(["test", "--workspace", "--exclude", "sync-worker"]))
}
