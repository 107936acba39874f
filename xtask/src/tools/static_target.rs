//! A compiler for a statically linked Linux binary, and the C compiler that belongs to it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt;
use crate::process::{self, note, step};

/// A target without a shared library.
#[derive(Debug)]
pub(crate) struct StaticTarget {
    /// What rustc calls it.
    pub(crate) triple: &'static str,
    /// What container images call its architecture.
    pub(crate) image: &'static str,
    /// C compilers for it, by the names that they have in distributions.
    c_compilers: &'static [&'static str],
}

/// All that are built for releases.
pub(crate) const TARGETS: [StaticTarget; 2] = [
    StaticTarget {
        triple: "x86_64-unknown-linux-musl",
        image: "linux-amd64",
        c_compilers: &["x86_64-linux-musl-gcc", "musl-gcc"],
    },
    StaticTarget {
        triple: "aarch64-unknown-linux-musl",
        image: "linux-arm64",
        c_compilers: &["aarch64-linux-musl-gcc", "musl-gcc"],
    },
];

impl StaticTarget {
    /// That of this machine.
    pub(crate) fn of_this_machine() -> Result<&'static Self> {
        let host = std::env::consts::ARCH;
        let found = TARGETS.iter().find(|target| target.triple.starts_with(host));
        found.with_context(|| format!("there is no static target for {host}: `--target` names one"))
    }

    /// The target called `triple`.
    pub(crate) fn named(triple: &str) -> Result<&'static Self> {
        let names = || TARGETS.each_ref().map(|target| target.triple).join(", ");
        TARGETS
            .iter()
            .find(|target| target.triple == triple)
            .with_context(|| format!("{triple:?} is none of {}", names()))
    }

    /// Whether this machine can run what is built for it.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        self.triple.starts_with(std::env::consts::ARCH)
    }

    /// A cargo that builds for it: its standard library is in the active toolchain, or rustup adds it.
    pub(crate) fn cargo(&self) -> Result<Command> {
        if !self.has_library() {
            step(format!("Static target: rustup target add {}", self.triple));
            let added = process::find("rustup").is_some()
                && process::run(Command::new("rustup").args(["target", "add", self.triple])).is_ok();
            if !added || !self.has_library() {
                bail!("the standard library for {} cannot be had here", self.triple);
            }
        }
        let compiler = self.c_compiler()?;
        let variable = self.triple.replace('-', "_");
        let mut cargo = process::cargo();
        cargo.env(format!("CC_{variable}"), &compiler);
        // On the machine itself the usual linker does it, with what the toolchain brings: `musl-gcc` would make a binary that asks
        // for an interpreter.
        if !self.is_of_this_machine() {
            cargo.env(format!("CARGO_TARGET_{}_LINKER", variable.to_uppercase()), &compiler);
        }
        Ok(cargo)
    }

    fn has_library(&self) -> bool {
        let folder = process::output(Command::new("rustc").args(["--print", "target-libdir", "--target", self.triple]));
        folder.is_ok_and(|folder| {
            std::fs::read_dir(Path::new(&folder)).is_ok_and(|files| {
                files.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
            })
        })
    }

    /// SQLite and the cryptography are written in C.
    fn c_compiler(&self) -> Result<String> {
        let of_this_machine = self.is_of_this_machine();
        // `musl-gcc` makes code for the machine that it is on.
        let names = || self.c_compilers.iter().filter(|name| of_this_machine || **name != "musl-gcc");
        let found = || names().find(|name| process::find(name).is_some()).map(|name| (*name).to_owned());
        if let Some(found) = found() {
            return Ok(found);
        }
        if of_this_machine {
            apt::install("C compiler for static binaries", &["musl-tools"])?;
            return found().context("musl-tools brings no compiler");
        }
        note(format!("looked for {}", names().copied().collect::<Vec<_>>().join(", ")));
        bail!("there is no C compiler for {} here", self.triple)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_by_their_names() -> Result<()> {
        for target in &TARGETS {
            anyhow::ensure!(StaticTarget::named(target.triple)?.image == target.image);
        }
        anyhow::ensure!(StaticTarget::named("x86_64-unknown-linux-gnu").is_err());
        Ok(())
    }
}
