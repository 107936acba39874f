//! The compiler of Debian's packages with a standard library for WebAssembly, for machines where rustup cannot fetch
//! one. The packages bring the library's sources but not the compiled target, so it is built once, into an overlay
//! in the cache: a sysroot whose host part is a link to the packages' and whose `rustc` names the overlay.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::toolchain::{TARGET, WasmToolchain};
use super::{apt, cache, versions};
use crate::process::{self, step};

const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
const LINKER: &str = "wasm-ld-19";
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

/// The overlay for the installed packages, if it was built before.
pub(crate) fn cached() -> Result<Option<WasmToolchain>> {
    match identity() {
        Some(identity) if complete() => {
            let folder = cache::root()?.join(key(&identity));
            Ok(folder.is_dir().then(|| toolchain(&folder, identity)))
        }
        _ => Ok(None),
    }
}

/// Installs the packages and builds the overlay.
pub(crate) fn install() -> Result<WasmToolchain> {
    if !(complete() && identity().is_some()) {
        apt::install("Rust with sources of its standard library", &PACKAGES)?;
    }
    let identity = identity().with_context(|| format!("{RUSTC} does not run"))?;
    if versions::parse(&identity).is_none_or(|found| found < versions::OLDEST_RUST) {
        let (major, minor) = versions::OLDEST_RUST;
        bail!("{RUSTC} is too old ({identity}): {major}.{minor} or newer is needed");
    }
    let key = key(&identity);
    let folder = cache::entry(&key, |unfinished| {
        step(format!("WebAssembly target: building the standard library (once, into {})", cache::root()?.display()));
        build(unfinished, &cache::root()?.join(&key))
    })?;
    Ok(toolchain(&folder, identity))
}

fn toolchain(folder: &Path, identity: String) -> WasmToolchain {
    WasmToolchain { bin: Some(folder.join("bin")), linker: Some(LINKER.to_owned()), identity }
}

/// Whether all that the packages bring is there.
fn complete() -> bool {
    Path::new(CARGO).is_file() && process::find(LINKER).is_some() && sources().is_some()
}

/// Version text of the packages' compiler.
fn identity() -> Option<String> {
    process::output(Command::new(RUSTC).arg("-vV").env_remove("LD_LIBRARY_PATH")).ok()
}

fn key(identity: &str) -> String {
    let release = identity.lines().find_map(|line| line.strip_prefix("release: ")).unwrap_or("unknown");
    format!("debian-rust-{release}-{TARGET}")
}

fn sysroot() -> Option<PathBuf> {
    process::output(Command::new(RUSTC).args(["--print", "sysroot"]).env_remove("LD_LIBRARY_PATH"))
        .ok()
        .map(PathBuf::from)
}

fn sources() -> Option<PathBuf> {
    let library = sysroot()?.join("lib/rustlib/src/rust/library");
    library.join("std/Cargo.toml").is_file().then_some(library)
}

/// Fills `folder`, which will be called `name` when it is complete.
fn build(folder: &Path, name: &Path) -> Result<()> {
    let rustlib = folder.join("lib/rustlib");
    let libraries = rustlib.join(TARGET).join("lib");
    std::fs::create_dir_all(&libraries)?;
    std::fs::create_dir_all(folder.join("bin"))?;
    compile(&folder.join("std"), &libraries)?;
    let host = sysroot().with_context(|| format!("{RUSTC} does not tell its sysroot"))?.join("lib/rustlib");
    for entry in std::fs::read_dir(&host).with_context(|| format!("cannot read {}", host.display()))? {
        let entry = entry?;
        let link = rustlib.join(entry.file_name());
        if !link.exists() {
            symlink(&entry.path(), &link)?;
        }
    }
    symlink(Path::new(CARGO), &folder.join("bin/cargo"))?;
    write_executable(
        &folder.join("bin/rustc"),
        &format!("#!/bin/sh\nexec {RUSTC} --sysroot '{}' \"$@\"\n", name.display()),
    )
}

/// Builds the standard library for an empty crate in `scratch` and moves its libraries to `libraries`.
fn compile(scratch: &Path, libraries: &Path) -> Result<()> {
    std::fs::create_dir_all(scratch.join("src"))?;
    std::fs::write(
        scratch.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    std::fs::write(scratch.join("src/lib.rs"), "#![no_std]\n")?;
    process::run(
        Command::new(CARGO)
            .current_dir(scratch)
            .args(["build", "--quiet", "--release", "--target", TARGET])
            .arg("-Zbuild-std=core,alloc,std,panic_abort,proc_macro")
            // `-Z` options of a released compiler; the workspace's own code is built without them.
            .env("RUSTC_BOOTSTRAP", "1")
            // With bitcode the library takes part in link-time optimisation.
            .env("RUSTFLAGS", "-Cembed-bitcode=yes")
            .env("RUSTC", RUSTC)
            .env("CARGO_TARGET_DIR", scratch.join("target"))
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("LD_LIBRARY_PATH"),
    )?;
    let built = scratch.join("target").join(TARGET).join("release/deps");
    for entry in std::fs::read_dir(&built).with_context(|| format!("cannot read {}", built.display()))? {
        let path = entry?.path();
        let Some(file) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.extension().is_some_and(|extension| extension == "rlib") && !file.starts_with("libempty-") {
            std::fs::rename(&path, libraries.join(file))?;
        }
    }
    std::fs::remove_dir_all(scratch).with_context(|| format!("cannot remove {}", scratch.display()))
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> Result<()> {
    std::os::unix::fs::symlink(target, link).with_context(|| format!("cannot link {}", link.display()))
}

#[cfg(unix)]
fn write_executable(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, text)?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[cfg(not(unix))]
fn symlink(_target: &Path, _link: &Path) -> Result<()> {
    bail!("Debian's packages are for Linux")
}

#[cfg(not(unix))]
fn write_executable(_file: &Path, _text: &str) -> Result<()> {
    bail!("Debian's packages are for Linux")
}
