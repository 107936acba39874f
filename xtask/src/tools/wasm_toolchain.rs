//! Where the compiler for WebAssembly comes from.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::toolchain::{TARGET, WasmToolchain};
use super::{debian_rust, versions};
use crate::process::{self, note, step};

/// Finds or makes a toolchain: the active one with the target installed, the target added through rustup, and at last
/// the compiler of Debian with a standard library built for the target.
pub(crate) fn ensure() -> Result<WasmToolchain> {
    let version = process::output(Command::new("rustc").arg("--version")).context("rustc is missing")?;
    if versions::parse(&version).is_none_or(|found| found < versions::OLDEST_RUST) {
        let (major, minor) = versions::OLDEST_RUST;
        bail!("the active toolchain is {version}: {major}.{minor} or newer is needed (rustup update)");
    }
    if has_target("rustc") {
        step(format!("WebAssembly target: in the active toolchain ({version})"));
        return active();
    }
    if let Some(toolchain) = debian_rust::cached()? {
        step(format!("WebAssembly target: standard library in the cache, for {}", first_line(&toolchain.identity)));
        return Ok(toolchain);
    }
    if process::find("rustup").is_some() {
        step(format!("WebAssembly target: rustup target add {TARGET}"));
        if process::run(Command::new("rustup").args(["target", "add", TARGET])).is_ok() && has_target("rustc") {
            return active();
        }
        note("rustup could not add it: building it with the compiler of the system's packages");
    }
    debian_rust::install()
}

fn active() -> Result<WasmToolchain> {
    let identity = process::output(Command::new("rustc").arg("-vV"))?;
    Ok(WasmToolchain { bin: None, linker: None, identity })
}

/// Whether the standard library for the target lies beside `rustc`.
fn has_target(rustc: &str) -> bool {
    let folder = process::output(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    folder.is_ok_and(|folder| has_libraries(Path::new(&folder)))
}

fn has_libraries(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}
