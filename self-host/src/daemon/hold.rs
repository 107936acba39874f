//! The lock of a data directory, and what becomes of a server that loses it (docs/spec/daemon.md 4.2).

use std::sync::Arc;
use std::time::Duration;

use daemon_lifecycle::record::Kind;
use daemon_lifecycle::{Claim, Error, Holder, Lost, Owner, Scope, Trial};
use database::local_sqlite::Journal;
use tokio::sync::Notify;

use super::program;

/// The hold of a data directory. Whoever writes into it asks first.
#[derive(Debug)]
pub(crate) struct Hold {
    holder: Holder,
    is_weak: bool,
    lost: Notify,
}

/// What a start got.
pub(crate) struct Taken {
    /// The hold.
    pub(crate) hold: Arc<Hold>,
    /// Processes without a lock that were ended.
    pub(crate) recovered: Vec<u32>,
    /// What the log should say.
    pub(crate) warnings: Vec<String>,
}

impl Hold {
    /// Takes the lock of a data directory, or of one graph of it; nobody waits for it. The metadata says that this server may take
    /// `stop_timeout` to end. Where locks do not hold it is taken only if `allow_weak_lock` says that this is meant.
    pub(crate) fn take(
        scope: &Scope,
        owner: Owner,
        stop_timeout: Duration,
        allow_weak_lock: bool,
    ) -> Result<Taken, Error> {
        let program = program().map_err(|error| Error::io(scope.directory(), error))?;
        let taken = Holder::take(&Claim {
            scope,
            kind: Kind::SelfHost,
            owner,
            program: &program,
            stop_timeout,
            allow_weak_lock,
            trial: trial(),
            step: &|_| {},
        })?;
        let hold = Arc::new(Self { holder: taken.holder, is_weak: taken.weak, lost: Notify::new() });
        Ok(Taken { hold, recovered: taken.recovered, warnings: taken.warnings })
    }

    /// Metadata, token, and how they change.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Makes sure that the lock is still the one that others find. Asked before anything is committed, and every few seconds.
    pub(crate) fn check(&self) -> Result<(), Lost> {
        self.holder.check().inspect_err(|_| self.lost.notify_one())
    }

    /// How databases are journalled under this lock: where locks do not hold there is no memory to share either, and each commit waits for
    /// the disk by itself.
    pub(crate) fn journal(&self) -> Journal {
        if self.is_weak { Journal::Rollback } else { Journal::WriteAhead }
    }

    /// Whether the lock was found lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.holder.is_lost()
    }

    /// Waits until somebody finds the lock lost. For one who waits.
    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// The hold of a folder, for tests of what needs one.
    #[cfg(test)]
    pub(crate) fn of_test(folder: &std::path::Path) -> Arc<Self> {
        Self::take(&Scope::new(folder, None).unwrap(), Owner::Cli, Duration::from_secs(1), false).unwrap().hold
    }
}

/// What tests make the file system say: in builds for tests alone.
fn trial() -> Trial {
    let said = if cfg!(debug_assertions) { std::env::var("TRIAL_FILE_SYSTEM").ok() } else { None };
    Trial { file_system: said.and_then(|number| number.parse().ok()), ..Trial::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_server() {
        let folder = tempfile::tempdir().unwrap();
        let first = Hold::of_test(folder.path());
        let scope = Scope::new(folder.path(), None).unwrap();
        let second = Hold::take(&scope, Owner::Cli, Duration::ZERO, false);
        assert!(matches!(second, Err(Error::RepoLocked { .. })));
        drop(first);
        Hold::of_test(folder.path());
    }

    #[test]
    fn whoever_waits_hears_of_a_loss_that_came_before() {
        let folder = tempfile::tempdir().unwrap();
        let hold = Hold::of_test(folder.path());
        assert!(hold.check().is_ok() && !hold.is_lost());
        std::fs::remove_file(folder.path().join(".daemon.lock")).unwrap();
        assert!(hold.check().is_err() && hold.is_lost());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), hold.lost()).await.unwrap() });
    }
}
