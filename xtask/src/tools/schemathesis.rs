//! schemathesis, which asks the API whatever its description allows, and more.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{apt, cache, versions};
use crate::process::{self, step};

/// A Python of its own, with the program in it, installed into the cache folder unless it is there. It is run as
/// `python -m schemathesis.cli`: scripts of such a folder name the place where it was made.
pub(crate) fn ensure() -> Result<PathBuf> {
    let version = versions::SCHEMATHESIS;
    let key = format!("schemathesis-{version}");
    if cache::root()?.join(&key).is_dir() {
        step(format!("schemathesis {version}: in the cache"));
    }
    let folder = cache::entry(&key, |folder| {
        step(format!("schemathesis {version}: installing (once, into {})", cache::root()?.display()));
        let python = base_python()?;
        if !process::succeeds(Command::new(&python).args(["-m", "venv"]).arg(folder)) {
            apt::install("schemathesis has a Python of its own", &["python3-venv"])?;
            process::run(Command::new(&python).args(["-m", "venv"]).arg(folder))?;
        }
        process::run(
            Command::new(executable(folder))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"])
                .arg(format!("schemathesis=={version}")),
        )
    })?;
    Ok(executable(&folder))
}

fn base_python() -> Result<PathBuf> {
    let find = || ["python3", "python"].into_iter().find_map(process::find);
    if let Some(found) = find() {
        return Ok(found);
    }
    apt::install("schemathesis is a Python program", &["python3", "python3-venv"])?;
    find().context("Python was installed and is not found")
}

fn executable(folder: &Path) -> PathBuf {
    if cfg!(windows) { folder.join("Scripts/python.exe") } else { folder.join("bin/python") }
}
