//! `cargo xtask lint`: what a reviewer should not have to look for.

use anyhow::Result;

use crate::step::{note, step};
use crate::{process, project, tools};

const HELP: &str = "\
Check formatting, clippy's lints, licences, bans and sources of dependencies, and known advisories where their
database can be fetched.

Usage: cargo xtask lint";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    if !super::no_arguments(args, HELP)? {
        return Ok(());
    }
    let root = project::root();
    step("Formatting");
    process::run(process::cargo().current_dir(&root).args(["fmt", "--all", "--check"]))?;
    step("Clippy, warnings denied");
    process::run(process::cargo().current_dir(&root).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    let deny = tools::cargo_tools::cargo_deny()?;
    step("Bans, licences and sources of dependencies");
    process::run(std::process::Command::new(&deny).current_dir(&root).args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    step("Advisories");
    let mut fetch = std::process::Command::new(&deny);
    if process::succeeds(fetch.current_dir(&root).args(["fetch", "db"])) {
        process::run(std::process::Command::new(&deny).current_dir(&root).args(["check", "advisories"]))?;
    } else {
        note("NOT CHECKED: the advisory database cannot be fetched here");
    }
    Ok(())
}
