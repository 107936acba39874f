//! The small verbs.

use std::path::Path;
use std::time::Duration;

use mailbox::agent::{Lock, recover as recover_files};
use mailbox::doorbell::{self, Watcher};
use mailbox::{Error, fsafe};

use crate::failure::Failure;

/// How long another process may keep the lock.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Takes the lock of a folder.
pub(crate) fn lock(outside: &Path) -> Result<Lock, Failure> {
    Lock::take(fsafe::folder(outside)?, PATIENCE).map_err(|error| match error {
        Error::Busy => Failure::Held,
        other => other.into(),
    })
}

/// Rolls back what a dead process has left half done, and looks at the whole file.
pub(crate) fn recover(outside: &Path) -> Result<(), Failure> {
    let outside = outside.canonicalize()?;
    let _lock = lock(&outside)?;
    Ok(recover_files(&outside)?)
}

/// Prints the version.
#[expect(
    clippy::print_stdout,
    clippy::unnecessary_wraps,
    reason = "that is what the verb is for; all verbs have one type"
)]
pub(crate) fn version() -> Result<(), Failure> {
    println!("agent-shim {}", env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Prints what of the folders works, as JSON.
#[expect(clippy::print_stdout, reason = "that is what the verb is for")]
pub(crate) fn check(inside: &Path, outside: &Path) -> Result<(), Failure> {
    let (inside, outside) = (inside.canonicalize()?, outside.canonicalize()?);
    let writable = |folder: &Path| -> Result<bool, Failure> {
        let opened = fsafe::folder(folder)?;
        Ok(doorbell::touch(&opened, ".check").is_ok()
            && rustix::fs::unlinkat(&opened, ".check", rustix::fs::AtFlags::empty()).is_ok())
    };
    let locks = match lock(&outside) {
        Ok(_lock) => "free",
        Err(Failure::Held) => "held",
        Err(_) => "refused",
    };
    let told = serde_json::json!({
        "in": {"path": inside, "read-only": !writable(&inside)?, "config": fsafe::exists(fsafe::folder(&inside)?, "config.json")?},
        "out": {"path": outside, "writable": writable(&outside)?, "lock": locks},
        "inotify": Watcher::new().is_ok(),
    });
    println!("{told}");
    Ok(())
}
