//! `cargo xtask setup`: everything that building and serving need.

use anyhow::Result;

use crate::tools::{self, Tools};

const HELP: &str = "\
Prepare the tools that building and serving need: C compiler, WebAssembly target, pinned cargo tools, npm packages.
What is there already is used; what is built lies in $XDG_CACHE_HOME/logseq-workers (or ~/.cache/logseq-workers).

Usage: cargo xtask setup";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    if super::no_arguments(args, HELP)? {
        prepare()?;
    }
    Ok(())
}

/// Prepares all tools. A second call finds everything in place and takes well under a second.
pub(crate) fn prepare() -> Result<Tools> {
    tools::c_compiler::ensure()?;
    tools::npm::ensure_node()?;
    let wasm = tools::wasm_toolchain::ensure()?;
    let worker_build = tools::cargo_tools::worker_build()?;
    let wasm_bindgen = tools::cargo_tools::wasm_bindgen()?;
    tools::npm::ensure_packages()?;
    Ok(Tools { wasm, worker_build, wasm_bindgen })
}
