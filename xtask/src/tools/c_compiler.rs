//! A C compiler: it links every Rust program and compiles the bundled SQLite.

use std::process::Command;

use anyhow::{Context, Result};

use crate::step::step;
use crate::{process, project};

/// Looks for `cc`. Where it is missing, `.cargo/linker.sh` installs it or prints the command that does.
pub(crate) fn ensure() -> Result<()> {
    if let Some(cc) = process::find("cc") {
        step(format!("C compiler: {}", cc.display()));
        return Ok(());
    }
    step("C compiler: missing");
    process::run(Command::new("sh").arg(project::root().join(".cargo/linker.sh")).arg("--version"))
        .context("a C compiler is needed")
}

/// Headers of OpenSSL, through which worker-build is built on Linux.
pub(crate) fn ensure_openssl() -> Result<()> {
    if !cfg!(target_os = "linux") || process::succeeds(Command::new("pkg-config").args(["--exists", "openssl"])) {
        return Ok(());
    }
    super::apt::install("Headers of OpenSSL, with which worker-build is built", &["libssl-dev", "pkg-config"])
}
