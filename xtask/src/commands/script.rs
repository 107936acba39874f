//! Commands that are scripts in `xtask/scripts`: what they do is requests to a server.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::{process, tools, workers};

/// Becomes the script called `name`, with the arguments of the command.
pub(crate) fn run(name: &str, mut args: lexopt::Parser) -> Result<()> {
    tools::npm::require_node()?;
    let script = workers::root().join("xtask/scripts").join(Path::new(name).with_extension("mjs"));
    let rest: Vec<OsString> = args.raw_args()?.collect();
    process::become_command(Command::new("node").arg(script).args(rest))
}
