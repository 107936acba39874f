//! `cargo xtask load`: many sockets on many graphs of the native server.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::native;
use crate::process::{self, step};
use crate::workers;

const HELP: &str = "\
Open N sockets on M graphs of the native server, write into each graph, and print throughput, how late the other clients learn
of a commit, memory and fsyncs. Builds server and clients, and starts the server over data of its own; `--base-url` names one
that runs. Fails when a socket ends, a batch is refused, or clients and server do not agree at the end.

Usage: cargo xtask load [OPTIONS]

Options (those of the program tests/load):
  --sockets N, --graphs M, --seconds S, --rate R, --batch N, --idle, --max-memory MIB, --data DIR,
  --base-url URL --token T [--admin-token T]

  cargo xtask load                                                             1000 sockets on 20 graphs for 30 s
  cargo xtask load --sockets 10000 --graphs 40 --idle  --max-memory 256        10000 idle ones";

/// Runs the command.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<()> {
    let given: Vec<OsString> = args.raw_args()?.collect();
    if given.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let root = workers::root();
    let cargo = || {
        let mut command = process::cargo();
        command.current_dir(&root);
        command
    };
    let binary = if given.iter().any(|arg| arg == "--base-url") {
        None
    } else {
        step("Native server: build");
        process::run(cargo().args(["build", "--quiet", "--profile", "fast", "-p", "logseq-sync"]))?;
        Some(native::target(&root).join("fast/logseq-sync"))
    };
    play(&cargo, binary.as_deref(), given)
}

/// Runs the program with these options, against this binary unless they name a server.
pub(super) fn play(
    cargo: &dyn Fn() -> Command,
    binary: Option<&Path>,
    options: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--profile", "fast", "-p", "load", "--"]);
    if let Some(binary) = binary {
        command.arg("--binary").arg(binary);
    }
    process::run(command.args(options.into_iter().map(Into::into)))
}
