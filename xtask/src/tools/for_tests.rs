//! Programs that tests need beside what builds need.

use anyhow::Result;

use super::{apt, chromium, postgres, sandbox_agent, schemathesis};

/// Lets system calls of a program fail.
pub(crate) fn strace() -> Result<()> {
    apt::ensure("strace", "tests let system calls fail", "strace")
}

/// Checks a unit of systemd's.
pub(crate) fn systemd_analyze() -> Result<()> {
    apt::ensure("systemd-analyze", "the systemd unit is checked", "systemd")
}

/// Walls in what agents start. Whether namespaces can be made is for the tests to say.
pub(crate) fn bubblewrap() -> Result<()> {
    apt::ensure("bwrap", "agents of tests are walled in", "bubblewrap")
}

/// All of them, before tests begin that run side by side and would install the same at the same time.
pub(crate) fn ensure() -> Result<()> {
    strace()?;
    systemd_analyze()?;
    bubblewrap()?;
    chromium::ensure()?;
    // Tests that need it say so where it is missing.
    postgres::is_usable()?;
    sandbox_agent::ensure()?;
    schemathesis::ensure()?;
    Ok(())
}
