//! A C compiler: it links every Rust program and compiles the bundled SQLite.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, step};
use crate::workers;

/// Looks for `cc`. Where it is missing, `xtask/linker.sh` installs it or prints the command that does.
pub(crate) fn ensure() -> Result<()> {
    if let Some(cc) = process::find("cc") {
        step(format!("C compiler: {}", cc.display()));
        return Ok(());
    }
    step("C compiler: missing");
    process::run(Command::new("sh").arg(workers::root().join("xtask/linker.sh")).arg("--version"))
        .context("a C compiler is needed")
}

/// Headers of OpenSSL, through which worker-build is built on Linux.
pub(crate) fn ensure_openssl() -> Result<()> {
    if !cfg!(target_os = "linux") || process::succeeds(Command::new("pkg-config").args(["--exists", "openssl"])) {
        return Ok(());
    }
    super::apt::install("Headers of OpenSSL, with which worker-build is built", &["libssl-dev", "pkg-config"])
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_set_up_links_with_what_installs() {
        let config = include_str!("../../../.cargo/config.toml");
        let tables = config.split("\n[").filter(|table| table.contains("xtask/linker.sh"));
        let conditions: Vec<_> = tables.filter_map(|table| table.lines().next()).collect();
        assert_eq!(conditions, [r#"target.'cfg(all(set_up, target_os = "linux", target_env = "gnu"))']"#]);
        assert_eq!(config.matches("set_up").count(), 3, "set by the alias alone, and told");
    }
}
