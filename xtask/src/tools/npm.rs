//! Node and the npm packages of package-lock.json.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{fingerprint, versions};
use crate::step::step;
use crate::{process, project};

/// Environment in which wrangler neither reports nor looks for updates, and npm prints results only.
pub(crate) const QUIET: [(&str, &str); 5] = [
    ("WRANGLER_SEND_METRICS", "false"),
    ("WRANGLER_SEND_ERROR_REPORTS", "false"),
    ("WRANGLER_HIDE_BANNER", "true"),
    ("CLOUDFLARE_CF_FETCH_ENABLED", "false"),
    ("NO_UPDATE_NOTIFIER", "1"),
];

/// Checks that Node is there and new enough.
pub(crate) fn ensure_node() -> Result<()> {
    let (major, minor) = versions::OLDEST_NODE;
    let text = process::output(Command::new("node").arg("--version"))
        .with_context(|| format!("Node is missing: install version {major}.{minor} or newer, with npm"))?;
    if versions::parse(&text).is_none_or(|version| version < versions::OLDEST_NODE) {
        bail!("Node is {text}: version {major}.{minor} or newer is needed");
    }
    step(format!("Node: {text}"));
    Ok(())
}

/// Installs the packages of package-lock.json unless they are there.
pub(crate) fn ensure_packages() -> Result<()> {
    let root = project::root();
    let stamp = root.join("node_modules/.logseq-workers");
    let wanted = fingerprint::of_files(&root, &["package.json", "package-lock.json"])?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        step("npm packages: in place");
        return Ok(());
    }
    step("npm packages: installing as package-lock.json says");
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    // No package needs its install script: the executables come as packages of their own.
    let mut command = Command::new(npm);
    command.current_dir(&root).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    process::run(command.envs(QUIET))?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}
