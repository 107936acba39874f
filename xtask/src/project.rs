//! Where things lie in the repository.

use std::path::{Path, PathBuf};

/// Root of the repository. `cargo run` tells where this crate lies now, so a moved clone needs no rebuild.
pub(crate) fn root() -> PathBuf {
    let manifest_dir =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest_dir.parent().map_or(manifest_dir.clone(), Path::to_path_buf)
}

/// The built sync worker: `index.js` and its WebAssembly.
pub(crate) fn worker_bundle() -> PathBuf {
    root().join("build/sync")
}

/// An executable that an npm package brings.
pub(crate) fn npm_bin(name: &str) -> PathBuf {
    root().join("node_modules/.bin").join(name)
}
