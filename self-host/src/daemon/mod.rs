//! The server as the daemon of its data directory (docs/spec/daemon.md 4): it holds the lock, says what it is, and answers
//! whoever manages it.

mod clients;
mod hold;
mod routes;

use daemon_lifecycle::{Build, Program};

pub(crate) use clients::Clients;
pub(crate) use hold::Hold;
pub(crate) use routes::{Routes, respond};

use crate::cli::{REVISION, VERSION};

/// What this program is built from.
pub(crate) fn build() -> Build {
    Build { version: VERSION.to_owned(), revision: REVISION.to_owned() }
}

/// This program, as daemons are started with it.
///
/// # Errors
/// The system does not say which file it is.
pub(crate) fn program() -> std::io::Result<Program> {
    Ok(Program { executable: std::env::current_exe()?, serve: "serve", launch: &["server", "launch"], build: build() })
}
