//! Whether the disk takes what is written (self-host.md 9.1): tried every few seconds while it did not, so that what was over is
//! known to be over without a restart, and told to the operator.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use database::Trouble;
use tokio::time::{MissedTickBehavior, interval};
use web::{Event, Level};

use super::fronts::Shared;
use crate::host::{now_ms, random_uuid};
use crate::log::Log;
use crate::metrics::{Disk as _, Metrics};
use crate::store::DataDir;

/// How often it is tried.
const EVERY: Duration = Duration::from_secs(5);

/// Bytes of a trial: a disk that has not as much takes no transaction worth the name.
const TRIAL_BYTES: usize = 64 << 10;

/// Tries writing in a data directory.
#[derive(Clone)]
pub(crate) struct Trial {
    tmp: PathBuf,
    log: Log,
    metrics: Arc<Metrics>,
}

impl Trial {
    /// For this directory.
    pub(crate) fn new(data: &DataDir, log: Log, metrics: Arc<Metrics>) -> Self {
        Self { tmp: data.tmp(), log, metrics }
    }

    /// Whether the disk takes what is written; what comes of it is noted.
    pub(super) async fn writable(&self) -> bool {
        let tmp = self.tmp.clone();
        let tried = tokio::task::spawn_blocking(move || write(&tmp)).await;
        let error = match tried {
            Ok(Ok(())) => {
                if self.metrics.condition.works() {
                    self.log.info("storage can be written again");
                }
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        let trouble = Trouble::of(&error).unwrap_or(Trouble::Unavailable);
        if self.metrics.condition.failed(trouble, now_ms()) {
            self.log.event(&Event::new(Level::Error, "db-sync/storage-failed").with_error(&error));
        }
        false
    }
}

fn write(tmp: &std::path::Path) -> std::io::Result<()> {
    let path = tmp.join(format!("trial-{}", random_uuid()));
    let tried = File::options().create_new(true).write(true).mode(0o600).open(&path).and_then(|mut file| {
        file.write_all(&vec![0; TRIAL_BYTES])?;
        file.sync_all()
    });
    // The next start empties the folder.
    let _ = std::fs::remove_file(&path);
    tried
}

/// Tries again while storage fails, and warns of little room, for as long as the task lasts.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let condition = &shared.metrics.condition;
        let (free, reserve) = (shared.space.free(), shared.space.reserve.get());
        if condition.low(free < reserve, now_ms()) {
            shared.log.warn(&format!(
                "{free} bytes of the disk are free, and min_free_mib is to be left alone: uploads and assets are refused"
            ));
        }
        if condition.lasts() {
            shared.trial.writable().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_notes_what_came_of_it_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let log =
            Log::open(crate::log::Format::default(), crate::log::Threshold::Error, Some(&folder.path().join("log")))
                .unwrap();
        let metrics = Arc::<Metrics>::default();
        let trial = Trial::new(&data, log, Arc::clone(&metrics));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            metrics.condition.failed(Trouble::Full, 0);
            assert!(trial.writable().await && !metrics.condition.lasts());
            assert_eq!(data.tmp().read_dir().unwrap().count(), 0);
            std::fs::remove_dir(data.tmp()).unwrap();
            assert!(!trial.writable().await && metrics.condition.lasts());
        });
        let logged = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(logged.contains("db-sync/storage-failed"), "{logged}");
    }
}
