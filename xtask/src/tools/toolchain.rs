//! A compiler for `wasm32-unknown-unknown`, and how a command is made to use it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// What is compiled to.
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
    /// Its cargo.
    pub(crate) fn cargo(&self) -> Result<Command> {
        let mut command = match &self.bin {
            Some(bin) => Command::new(bin.join("cargo")),
            None => process::cargo(),
        };
        self.apply(&mut command)?;
        Ok(command)
    }

    /// Whether clippy comes with it.
    pub(crate) fn has_clippy(&self) -> bool {
        self.cargo().is_ok_and(|mut cargo| process::succeeds(cargo.args(["clippy", "--version"])))
    }

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

fn path_with(first: &Path) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).with_context(|| format!("{} cannot stand in PATH", first.display()))
}
