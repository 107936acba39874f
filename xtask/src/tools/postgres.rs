//! The database whose changes are observed in tests.

use std::path::Path;

use anyhow::{Result, ensure};

use super::apt;
use crate::process::{self, note};

/// Where Debian and its relatives put the programs of each version, besides the path.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Makes sure that Postgres's server is installed. The tests start one of their own, in a temporary folder.
fn install() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    apt::install("tests of observing changes need PostgreSQL", &["postgresql"])?;
    ensure!(is_there(), "PostgreSQL was installed and is not found");
    Ok(())
}

/// The same for a test that is left out, and says so, where there is no server; with `REQUIRE_POSTGRES` in the environment that is
/// an error.
pub(crate) fn is_usable() -> Result<bool> {
    let Err(error) = install() else { return Ok(true) };
    ensure!(std::env::var_os("REQUIRE_POSTGRES").is_none(), error);
    note(format!("NOT RUN, as PostgreSQL is missing: {error:#}"));
    Ok(false)
}

fn is_there() -> bool {
    let has_server = |folder: &Path| folder.join("bin/initdb").is_file() && folder.join("bin/postgres").is_file();
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    process::find("initdb").is_some() || versions.map(|entry| entry.path()).any(|folder| has_server(&folder))
}
