//! The tools that building, serving and checking need, and how each is come by.

pub(crate) mod apt;
pub(crate) mod c_compiler;
pub(crate) mod cache;
pub(crate) mod cargo_tools;
pub(crate) mod chromium;
pub(crate) mod debian_rust;
pub(crate) mod fingerprint;
pub(crate) mod for_tests;
pub(crate) mod npm;
pub(crate) mod postgres;
pub(crate) mod sandbox_agent;
pub(crate) mod schemathesis;
pub(crate) mod static_target;
pub(crate) mod toolchain;
pub(crate) mod versions;
pub(crate) mod wasm_toolchain;

use std::path::PathBuf;

/// Everything a build of the worker needs.
pub(crate) struct Tools {
    /// Compiler for WebAssembly.
    pub(crate) wasm: toolchain::WasmToolchain,
    /// The `worker-build` executable.
    pub(crate) worker_build: PathBuf,
    /// The `wasm-bindgen` executable, of the version in Cargo.lock.
    pub(crate) wasm_bindgen: PathBuf,
}

impl Tools {
    /// Text that changes when a tool does: the folders of the cache carry the versions.
    pub(crate) fn versions(&self) -> String {
        format!("{} {}", self.worker_build.display(), self.wasm_bindgen.display())
    }
}
