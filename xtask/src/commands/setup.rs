//! `cargo xtask setup`: everything that building and serving need.

use anyhow::Result;

use crate::tools::{self, Tools};

const HELP: &str = "\
Prepare the tools that building and serving need: C compiler, WebAssembly target, pinned cargo tools (those of
`cargo xtask lint` too), npm packages.
What is there already is used; what is built lies in $XDG_CACHE_HOME/logseq-workers (or ~/.cache/logseq-workers).

Usage: cargo xtask setup";

/// Runs the command.
pub(crate) fn run(args: lexopt::Parser) -> Result<()> {
    if super::no_arguments(args, HELP)? {
        prepare()?;
        tools::cargo_tools::linters()?;
    }
    Ok(())
}

/// Prepares all tools. A second call finds everything in place and takes well under a second.
pub(crate) fn prepare() -> Result<Tools> {
    let tools = build_tools()?;
    tools::npm::ensure_packages()?;
    Ok(tools)
}

/// The same for a build that somebody may have started out of the npm packages: they are installed where there are none,
/// and never replaced.
pub(crate) fn prepare_build() -> Result<Tools> {
    let tools = build_tools()?;
    tools::npm::keep_packages()?;
    Ok(tools)
}

fn build_tools() -> Result<Tools> {
    tools::c_compiler::ensure()?;
    tools::npm::ensure_node()?;
    let wasm = tools::wasm_toolchain::ensure()?;
    let worker_build = tools::cargo_tools::worker_build()?;
    let wasm_bindgen = tools::cargo_tools::wasm_bindgen()?;
    Ok(Tools { wasm, worker_build, wasm_bindgen })
}
