//! The real sandbox-agent server, which sessions are tested with, and which `cargo xtask sandbox-agent` starts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{cache, npm, versions};
use crate::process::{self, step};
use crate::workers;

/// Where its package and the lock of it lie, below the root.
const PACKAGE: &str = "tests/agents/sandbox-agent";

/// The executable, installed into the cache folder as the lock says unless it is there.
pub(crate) fn ensure() -> Result<PathBuf> {
    let key = format!("sandbox-agent-{}", versions::SANDBOX_AGENT);
    if cache::root()?.join(&key).is_dir() {
        step(format!("sandbox-agent {}: in the cache", versions::SANDBOX_AGENT));
    }
    let folder = cache::entry(&key, |folder| {
        step(format!(
            "sandbox-agent {}: installing (once, into {})",
            versions::SANDBOX_AGENT,
            cache::root()?.display()
        ));
        for file in ["package.json", "package-lock.json"] {
            let from = workers::root().join(PACKAGE).join(file);
            std::fs::copy(&from, folder.join(file)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        // Its install script makes the executable one, no more.
        process::run(Command::new(npm::PROGRAM).current_dir(folder).envs(npm::QUIET).args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ]))?;
        make_executable(&executable(folder)?)
    })?;
    executable(&folder)
}

/// The executable for this system: each comes as a package of its own, and npm installs the one that fits.
fn executable(folder: &Path) -> Result<PathBuf> {
    let scope = folder.join("node_modules/@sandbox-agent");
    let packages = std::fs::read_dir(&scope).with_context(|| format!("cannot read {}", scope.display()))?;
    for package in packages {
        let package = package?;
        let program =
            package.path().join("bin").join(if cfg!(windows) { "sandbox-agent.exe" } else { "sandbox-agent" });
        // The one of the package without a system's name is a script that looks for the others.
        if package.file_name() != "cli" && program.is_file() {
            return Ok(program);
        }
    }
    bail!("sandbox-agent has no executable for this system")
}

#[cfg(unix)]
fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let failed = || format!("cannot make {} executable", program.display());
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).with_context(failed)
}

#[cfg(not(unix))]
fn make_executable(_program: &Path) -> Result<()> {
    Ok(())
}
