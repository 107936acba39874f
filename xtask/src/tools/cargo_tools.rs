//! Pinned tools that `cargo install` builds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{c_compiler, cache, versions};
use crate::process::{self, step};
use crate::workers;

/// Turns the worker crate into a module that workerd loads.
pub(crate) fn worker_build() -> Result<PathBuf> {
    install("worker-build", "worker-build", versions::WORKER_BUILD, c_compiler::ensure_openssl)
}

/// Writes the JavaScript glue. Its version must be that of the library, which Cargo.lock tells.
pub(crate) fn wasm_bindgen() -> Result<PathBuf> {
    let lock = workers::root().join("Cargo.lock");
    let text = std::fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let version = locked_version(&text, "wasm-bindgen").context("Cargo.lock has no wasm-bindgen")?;
    install("wasm-bindgen-cli", "wasm-bindgen", version, || Ok(()))
}

/// What `cargo xtask lint` runs besides cargo's own tools.
pub(crate) struct Linters {
    /// Checks licences, bans and sources of dependencies.
    pub(crate) deny: PathBuf,
    /// Finds dependencies that nothing uses.
    pub(crate) machete: PathBuf,
    /// Finds misspelt words.
    pub(crate) typos: PathBuf,
}

/// Prepares the linters.
pub(crate) fn linters() -> Result<Linters> {
    let linter = |package, program, version| install(package, program, version, || Ok(()));
    Ok(Linters {
        deny: linter("cargo-deny", "cargo-deny", versions::CARGO_DENY)?,
        machete: linter("cargo-machete", "cargo-machete", versions::CARGO_MACHETE)?,
        typos: linter("typos-cli", "typos", versions::TYPOS)?,
    })
}

fn install(package: &str, program: &str, version: &str, before: impl FnOnce() -> Result<()>) -> Result<PathBuf> {
    let key = format!("{package}-{version}");
    if cache::root()?.join(&key).is_dir() {
        step(format!("{package} {version}: in the cache"));
    }
    let folder = cache::entry(&key, |folder| {
        before()?;
        step(format!("{package} {version}: building (once, into {})", cache::root()?.display()));
        let install = |lock: &[&str]| {
            process::run(
                process::cargo()
                    .args(["install", "--quiet"])
                    .args(lock)
                    .args(["--no-track", "--version", version, "--root"])
                    .arg(folder)
                    .args(["--bin", program, package])
                    // Neither this project's settings nor the caller's target folder concern a tool.
                    .current_dir(folder)
                    .env_remove("CARGO_TARGET_DIR"),
            )
        };
        // The versions that the tool's authors tried come first. A mirror of the registry may lag behind them by a
        // dependency; any version that the tool's own requirements allow is then better than no tool.
        install(&["--locked"]).or_else(|error| {
            step(format!("{package} {version}: {error:#}; again with other versions of its dependencies"));
            install(&[])
        })
    })?;
    Ok(executable(&folder, program))
}

fn executable(folder: &Path, program: &str) -> PathBuf {
    folder.join("bin").join(format!("{program}{}", std::env::consts::EXE_SUFFIX))
}

/// Version of `package` in the text of a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    #[test]
    fn a_locked_version_is_found_by_the_whole_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"0.1.0\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "wasm"), None);
    }
}
