//! Packages of Debian and its relatives.

use std::process::Command;

use anyhow::{Result, bail};

use crate::process::{self, note, step};

/// Installs `package` where `program` is not found.
pub(crate) fn ensure(program: &str, reason: &str, package: &str) -> Result<()> {
    if process::find(program).is_some() { Ok(()) } else { install(reason, &[package]) }
}

/// Installs `packages`, with sudo where that is needed. The error tells the command that could not be run.
pub(crate) fn install(reason: &str, packages: &[&str]) -> Result<()> {
    step(format!("{reason}: installing {} with apt", packages.join(" ")));
    if process::find("apt-get").is_some() {
        if attempt(packages) {
            return Ok(());
        }
        note("apt-get failed: refreshing its lists and trying once more");
        if privileged(&["update"]).is_some_and(|mut command| process::run(&mut command).is_ok()) && attempt(packages) {
            return Ok(());
        }
    }
    bail!(
        "{reason}: the packages could not be installed here. On Debian or Ubuntu run:\n  \
         sudo apt-get update && sudo apt-get install -y {}\nand start again; elsewhere install what corresponds to them",
        packages.join(" ")
    )
}

fn attempt(packages: &[&str]) -> bool {
    let arguments: Vec<&str> =
        ["install", "-y", "--no-install-recommends", "-qq"].iter().chain(packages).copied().collect();
    privileged(&arguments).is_some_and(|mut command| process::run(&mut command).is_ok())
}

/// apt-get as root: directly when this is root, else through sudo. `None` when neither is possible.
fn privileged(arguments: &[&str]) -> Option<Command> {
    let mut command = if process::output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0") {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new(process::find("sudo")?);
        sudo.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    };
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    Some(command)
}
