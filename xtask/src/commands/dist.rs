//! `cargo xtask dist`: what a release holds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use super::native;
use crate::process::{self, note, step};
use crate::tools::static_target::StaticTarget;
use crate::workers;

const HELP: &str = "\
Build the native server as one static binary, and put together what a release holds, in target/dist:

  logseq-sync-VERSION-TARGET.tar.gz   binary, licence, systemd unit, example of a proxy
  SHA256SUMS                          of all archives there
  image/                              what `docker build` takes: Dockerfile and binaries

Usage: cargo xtask dist [--check] [--target TARGET]...

  --check           run the black-box suite and the attacks against the binary of this machine first
  --target TARGET   x86_64-unknown-linux-musl or aarch64-unknown-linux-musl (default: that of this machine); another machine's
                    needs a C compiler for it, called aarch64-linux-musl-gcc or x86_64-linux-musl-gcc";

/// Files that go into an archive beside the binary.
const BESIDE: [&str; 3] = ["LICENSE", "self-host/packaging/logseq-sync.service", "self-host/packaging/Caddyfile"];

/// Name of the binary.
const BINARY: &str = "logseq-sync";

/// Runs the command.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<()> {
    let (mut targets, mut check) = (Vec::new(), false);
    while let Some(arg) = args.next()? {
        match arg {
            lexopt::Arg::Long("target") => targets.push(StaticTarget::named(&args.value()?.to_string_lossy())?),
            lexopt::Arg::Long("check") => check = true,
            lexopt::Arg::Long("help") | lexopt::Arg::Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if targets.is_empty() {
        targets.push(StaticTarget::of_this_machine()?);
    }
    let folder = native::target(&workers::root()).join("dist");
    for target in targets {
        let binary = build(target)?;
        if check && target.is_of_this_machine() {
            native::suites(&binary, &|| {
                let mut cargo = process::cargo();
                cargo.current_dir(workers::root());
                cargo
            })?;
        }
        archive(target, &binary, &folder)?;
        image(target, &binary, &folder.join("image"))?;
    }
    sums(&folder)
}

/// Builds the binary; it must need no interpreter, which would load shared libraries.
fn build(target: &StaticTarget) -> Result<PathBuf> {
    step(format!("Static binary for {}", target.triple));
    let mut cargo = target.cargo()?;
    cargo.current_dir(workers::root());
    process::run(cargo.args(["build", "--quiet", "--locked", "--release", "-p", BINARY, "--target", target.triple]))?;
    let binary = native::target(&workers::root()).join(target.triple).join("release").join(BINARY);
    let bytes = std::fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    ensure!(is_static(&bytes) == Some(true), "{} is not a static binary", binary.display());
    note(format!("{} bytes", bytes.len()));
    Ok(binary)
}

/// Whether an ELF file of 64 bits names no interpreter. `None`: it is no such file.
fn is_static(bytes: &[u8]) -> Option<bool> {
    const INTERPRETER: u32 = 3;
    let word = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let headers = usize::try_from(u64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(word(54)?), usize::from(word(56)?));
    for number in 0..count {
        let at = headers.checked_add(size * number)?;
        if u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?) == INTERPRETER {
            return Some(false);
        }
    }
    Some(true)
}

/// An archive whose bytes depend on what is in it alone.
fn archive(target: &StaticTarget, binary: &Path, folder: &Path) -> Result<()> {
    let name = format!("{BINARY}-{}-{}", env!("CARGO_PKG_VERSION"), target.triple);
    let work = tempfile::tempdir()?;
    let inside = work.path().join(&name);
    std::fs::create_dir_all(&inside)?;
    std::fs::create_dir_all(folder)?;
    for file in BESIDE.map(|file| workers::root().join(file)).into_iter().chain([binary.to_owned()]) {
        let to = inside.join(file.file_name().context("a file has a name")?);
        std::fs::copy(&file, &to).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let archive = folder.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"])
        .arg("--use-compress-program=gzip --no-name --best")
        .arg("--directory")
        .arg(work.path())
        .arg("--file")
        .arg(&archive)
        .arg(&name);
    process::run(&mut tar)?;
    note(archive.display().to_string());
    Ok(())
}

/// What `docker build` takes.
fn image(target: &StaticTarget, binary: &Path, folder: &Path) -> Result<()> {
    let place = folder.join(target.image);
    std::fs::create_dir_all(&place)?;
    // The data folder of the image: its owner becomes that of a new volume. Builders leave out empty folders of some sources.
    std::fs::create_dir_all(folder.join("data"))?;
    std::fs::copy(binary, place.join(BINARY))?;
    std::fs::copy(workers::root().join("self-host/packaging/Dockerfile"), folder.join("Dockerfile"))?;
    Ok(())
}

/// Checksums of all archives, as `sha256sum --check` reads them.
fn sums(folder: &Path) -> Result<()> {
    let mut archives: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        archives.push(entry?.path());
    }
    archives.retain(|path| path.extension().is_some_and(|extension| extension == "gz"));
    archives.sort();
    let mut text = String::new();
    for archive in archives {
        let digest = Sha256::digest(std::fs::read(&archive)?);
        digest.iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
        let name = archive.file_name().context("a file has a name")?.to_string_lossy();
        writeln!(text, "  {name}")?;
    }
    std::fs::write(folder.join("SHA256SUMS"), &text)?;
    print!("{text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_static;

    /// An ELF file of two program headers, of which the second is of this kind.
    fn elf(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 2 * 56];
        bytes.splice(..6, *b"\x7fELF\x02\x01");
        bytes.splice(32..40, 64_u64.to_le_bytes());
        bytes.splice(54..58, [56, 0, 2, 0]);
        bytes.splice(64..68, 1_u32.to_le_bytes());
        bytes.splice(120..124, kind.to_le_bytes());
        bytes
    }

    #[test]
    fn a_binary_with_an_interpreter_is_not_static() {
        assert_eq!(is_static(&elf(2)), Some(true));
        assert_eq!(is_static(&elf(3)), Some(false));
        assert_eq!(is_static(b"#!/bin/sh"), None);
        let mut cut = elf(2);
        cut.truncate(100);
        assert_eq!(is_static(&cut), None);
    }
}
