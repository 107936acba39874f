//! `cargo xtask build`: the sync worker as WebAssembly and its JavaScript glue.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::setup;
use crate::step::step;
use crate::tools::{Tools, fingerprint};
use crate::{process, project};

const HELP: &str = "\
Build the sync worker into build/sync. Nothing is done when neither sources nor tools changed since the last build.

Usage: cargo xtask build [--release | --debug]

Options:
  --release   optimised, as deployed (default)
  --debug     quick to build, with names in stack traces";

/// How much work the compiler puts in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As deployed.
    Release,
    /// Quick to build.
    Debug,
}

impl Profile {
    fn flag(self) -> &'static str {
        match self {
            Self::Release => "--release",
            Self::Debug => "--dev",
        }
    }
}

/// Runs the command.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<()> {
    let mut profile = Profile::Release;
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("release") => profile = Profile::Release,
            lexopt::Arg::Long("debug") => profile = Profile::Debug,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    build(&setup::prepare()?, profile)
}

/// Builds the worker unless the last build had the same sources, tools and profile.
pub(crate) fn build(tools: &Tools, profile: Profile) -> Result<()> {
    let root = project::root();
    let bundle = project::worker_bundle();
    let stamp = root.join("build/sync.fingerprint");
    let current = fingerprint::of_worker(&root, &[profile.flag(), &tools.wasm.identity, &tools.versions()])?;
    if bundle.join("index.js").is_file() && std::fs::read_to_string(&stamp).is_ok_and(|built| built == current) {
        step("Sync worker: unchanged since the last build");
        return Ok(());
    }
    step("Sync worker: building to WebAssembly (the first build takes minutes)");
    // A build that is cut short must not look like a finished one.
    remove_if_present(&stamp)?;
    let mut command = Command::new(&tools.worker_build);
    command.current_dir(root.join("sync-worker")).arg(profile.flag()).args(["--out-dir", "../build/sync"]);
    tools.wasm.apply(&mut command)?;
    command
        .env("WASM_BINDGEN_BIN", &tools.wasm_bindgen)
        .env("WASM_OPT_BIN", project::npm_bin("wasm-opt"))
        .env("ESBUILD_BIN", project::npm_bin("esbuild"));
    process::run(&mut command)?;
    std::fs::write(&stamp, current).with_context(|| format!("cannot write {}", stamp.display()))
}

fn remove_if_present(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}
