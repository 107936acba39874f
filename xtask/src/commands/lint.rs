//! `cargo xtask lint`: what a reviewer should not have to look for.

use std::process::Command;

use anyhow::Result;

use crate::process::{self, note, step};
use crate::tools::{self, toolchain};
use crate::workers::{self, WORKERS};

const HELP: &str = "\
Check formatting, clippy's lints (for this machine and for WebAssembly), documentation, spelling, unused dependencies,
licences, bans and sources of dependencies, and known advisories where their database can be fetched.

Usage: cargo xtask lint";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    if !super::no_arguments(args, HELP)? {
        return Ok(());
    }
    let root = workers::root();
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(&root);
        command
    };
    step("Formatting");
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
    step("Clippy, warnings denied");
    process::run(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;

    // What is compiled for the platform alone, and what is left out there.
    let wasm = tools::wasm_toolchain::ensure()?;
    if wasm.has_clippy() {
        step("Clippy for WebAssembly, warnings denied");
        let mut clippy = wasm.cargo()?;
        clippy.current_dir(&root).args(["clippy", "--quiet", "--target", toolchain::TARGET]);
        clippy.args(WORKERS.iter().flat_map(|worker| ["--package", worker.package]));
        process::run(clippy.args(["--", "-D", "warnings"]))?;
    } else {
        note("NOT CHECKED: the toolchain that compiles to WebAssembly here has no clippy");
    }

    step("Documentation, warnings denied");
    process::run(
        cargo()
            .args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"])
            // Private items are in these pages, so links to them lead somewhere.
            .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private-intra-doc-links"),
    )?;

    let linters = tools::cargo_tools::linters()?;
    step("Spelling");
    process::run(Command::new(&linters.typos).current_dir(&root))?;
    step("Unused dependencies");
    // Folder by folder: it would take `fuzz`, which is a workspace of its own, for that of `fuzz/targets`.
    let folders = ["shared", "self-host", "runner", "agent-shim", "xtask", "tests", "benches"]
        .into_iter()
        .chain(WORKERS.map(|worker| worker.package));
    process::run(Command::new(&linters.machete).current_dir(&root).arg("--skip-target-dir").args(folders))?;
    step("Bans, licences and sources of dependencies");
    process::run(Command::new(&linters.deny).current_dir(&root).args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))?;
    step("Advisories");
    if process::succeeds(Command::new(&linters.deny).current_dir(&root).args(["fetch", "db"])) {
        process::run(Command::new(&linters.deny).current_dir(&root).args(["check", "advisories"]))?;
    } else {
        note("NOT CHECKED: the advisory database cannot be fetched here");
    }
    Ok(())
}
