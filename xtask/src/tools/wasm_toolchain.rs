//! The compiler for `wasm32-unknown-unknown`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{debian_rust, versions};
use crate::process;
use crate::step::{note, step};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A toolchain that compiles to WebAssembly.
pub(crate) struct WasmToolchain {
    /// Folder whose `cargo` and `rustc` go before those of `PATH`; `None`: the active toolchain.
    pub(crate) bin: Option<PathBuf>,
    /// Linker, where the toolchain brings none.
    pub(crate) linker: Option<String>,
    /// Version text of its compiler.
    pub(crate) identity: String,
}

impl WasmToolchain {
    /// Makes `command`, and what it starts, use this toolchain.
    pub(crate) fn apply(&self, command: &mut Command) -> Result<()> {
        // Set by the `cargo run` that started this program; a build script of the worker must not see them.
        for leaked in ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME"] {
            command.env_remove(leaked);
        }
        if let Some(bin) = &self.bin {
            command.env("PATH", path_with(bin)?);
            command.env_remove("RUSTUP_TOOLCHAIN").env_remove("LD_LIBRARY_PATH").env_remove("RUSTC");
        }
        if let Some(linker) = &self.linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        Ok(())
    }
}

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

fn path_with(first: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).with_context(|| format!("{} cannot stand in PATH", first.display()))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}
