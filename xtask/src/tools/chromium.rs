//! The browser in which pages are tested.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::apt;
use crate::process;

/// What the program may be called.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Finds Chromium, or installs Debian's package of it.
pub(crate) fn ensure() -> Result<PathBuf> {
    let find = || NAMES.iter().find_map(|name| process::find(name));
    if let Some(found) = find() {
        return Ok(found);
    }
    apt::install("tests of pages need a browser", &["chromium"])?;
    find().context("chromium was installed and is not found")
}
