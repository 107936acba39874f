//! The workers of this repository, and where they lie in it. What is built, served, fingerprinted and tested is this table.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A worker: one deployment on Cloudflare, one module under workerd.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Name in commands and in the `build` folder.
    pub(crate) name: &'static str,
    /// Name in sentences.
    pub(crate) title: &'static str,
    /// The crate that becomes the worker. Its folder is called the same.
    pub(crate) package: &'static str,
    /// wrangler's configuration of it.
    pub(crate) config: &'static str,
    /// Port on which it is served locally unless another is named.
    pub(crate) port: u16,
    /// Packages whose tests need it built and served.
    pub(crate) suites: &'static [Suite],
}

/// Tests of a running worker.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What the step is called.
    pub(crate) title: &'static str,
    /// The package with the tests.
    pub(crate) package: &'static str,
}

/// Graphs, snapshots, assets and keys.
pub(crate) const SYNC: Worker = Worker {
    name: "sync",
    title: "Sync worker",
    package: "sync-worker",
    config: "wrangler.toml",
    port: 8787,
    suites: &[
        Suite { title: "Black-box suite against the worker under workerd", package: "conformance" },
        Suite { title: "Attacks on the worker under workerd", package: "attacks" },
        Suite { title: "Faults of the platform", package: "faults" },
        Suite { title: "Kills between acknowledged writes", package: "durability" },
    ],
};

/// Sessions of coding agents.
pub(crate) const AGENTS: Worker = Worker {
    name: "agents",
    title: "Agents worker",
    package: "agents-worker",
    config: "wrangler.agents.toml",
    port: 8788,
    suites: &[],
};

/// Every worker. The first stands in front: with it, the others answer behind its bindings.
pub(crate) const WORKERS: [&Worker; 2] = [&SYNC, &AGENTS];

/// The worker called `name`.
pub(crate) fn named(name: &str) -> Result<&'static Worker> {
    let names = || WORKERS.map(|worker| worker.name).join(", ");
    let found = WORKERS.into_iter().find(|worker| worker.name == name);
    found.with_context(|| format!("unknown worker {name:?}: {}", names()))
}

/// What every worker is built from, besides its own folder.
const SHARED_SOURCES: [&str; 4] = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "shared"];

impl Worker {
    /// The built worker: `index.js` and its WebAssembly.
    pub(crate) fn bundle(&self) -> PathBuf {
        root().join("build").join(self.name)
    }

    /// Tells from what the bundle was built.
    pub(crate) fn stamp(&self) -> PathBuf {
        root().join("build").join(format!("{}.fingerprint", self.name))
    }

    /// Files and folders that it is built from, below the root.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &'static str> {
        SHARED_SOURCES.into_iter().chain([self.package])
    }
}

/// Root of the repository. `cargo run` tells where this crate lies now, so a moved clone needs no rebuild.
pub(crate) fn root() -> PathBuf {
    let manifest_dir =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().map_or(manifest_dir.clone(), Path::to_path_buf)
}

/// An executable that an npm package brings.
pub(crate) fn npm_bin(name: &str) -> PathBuf {
    root().join("node_modules/.bin").join(name)
}
