//! Node and the npm packages of package-lock.json.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{fingerprint, versions};
use crate::process::{self, step};
use crate::workers;

/// Environment in which wrangler neither reports nor looks for updates, and npm prints results only.
pub(crate) const QUIET: [(&str, &str); 5] = [
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_SEND_ERROR_REPORTS", "false"),
    ("WRANGLER_HIDE_BANNER", "true"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
    ("NO_UPDATE_NOTIFIER", "1"),
];

/// npm's executable.
pub(crate) const PROGRAM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// Checks that Node is there and new enough, and tells which it is.
pub(crate) fn ensure_node() -> Result<()> {
    step(format!("Node: {}", require_node()?));
    Ok(())
}

/// The version of Node; fails when it is missing or too old.
pub(crate) fn require_node() -> Result<String> {
    let (major, minor) = versions::OLDEST_NODE;
    let text = process::output(Command::new("node").arg("--version"))
        .with_context(|| format!("Node is missing: install version {major}.{minor} or newer, with npm"))?;
    if versions::parse(&text).is_none_or(|version| version < versions::OLDEST_NODE) {
        bail!("Node is {text}: version {major}.{minor} or newer is needed");
    }
    Ok(text)
}

/// Installs the packages of package-lock.json unless they are there.
pub(crate) fn ensure_packages() -> Result<()> {
    if installed_here()? {
        step("npm packages: in place");
        return Ok(());
    }
    install()
}

/// The same where a program may be running out of the packages: those that are there stay, whoever installed them.
pub(crate) fn keep_packages() -> Result<()> {
    if !workers::root().join("node_modules").exists() {
        return install();
    }
    // package.json names exact versions; npm takes a second to compare them.
    if !installed_here()? && !process::succeeds(npm().args(["ls", "--depth=0"])) {
        bail!("the npm packages are not those of package.json: end what runs out of them, then `cargo xtask setup`");
    }
    step("npm packages: in place");
    Ok(())
}

/// Remembers from which package-lock.json the packages were installed.
fn stamp() -> PathBuf {
    workers::root().join("node_modules/.logseq-workers")
}

fn wanted() -> Result<String> {
    fingerprint::of_files(&["package.json", "package-lock.json"])
}

fn installed_here() -> Result<bool> {
    let wanted = wanted()?;
    Ok(std::fs::read_to_string(stamp()).is_ok_and(|installed| installed == wanted))
}

fn install() -> Result<()> {
    step("npm packages: installing as package-lock.json says");
    // No package needs its install script: the executables come as packages of their own.
    process::run(npm().args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]))?;
    let stamp = stamp();
    std::fs::write(&stamp, wanted()?).with_context(|| format!("cannot write {}", stamp.display()))
}

fn npm() -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(workers::root()).envs(QUIET);
    command
}
