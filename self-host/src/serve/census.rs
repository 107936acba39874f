//! What lies in the data directory, looked at now and then for the metrics: each look costs one at every file.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use database::{Database as _, ReadFrom};
use tokio::time::{MissedTickBehavior, interval};

use super::fronts::Shared;
use crate::metrics::Census;
use crate::store::{DataDir, beside, folder_bytes, totals};

/// How often it is looked at.
const EVERY: Duration = Duration::from_mins(1);

/// What was found last.
#[derive(Default)]
pub(crate) struct Found(Mutex<Census>);

impl Found {
    /// What was found, and how large the index is now.
    pub(super) fn get(&self, index: &std::path::Path) -> Census {
        let length = |path: &std::path::Path| path.metadata().map_or(0, |meta| meta.len());
        let census = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Census { index_bytes: length(index) + length(&beside(index, "-wal")), ..census }
    }
}

/// Looks again and again, for as long as the task lasts. With `each` the graphs are told one by one.
pub(super) async fn watch(shared: Arc<Shared>, each: bool) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let counted = shared.front.index.query(ReadFrom::Primary, "SELECT count(*) FROM graphs", &[]).await;
        let graphs = counted.ok().and_then(|rows| rows.first()?.int(0)).unwrap_or_default();
        let data = shared.data.clone();
        let looked = tokio::task::spawn_blocking(move || look(&data, each)).await;
        if let Ok(census) = looked {
            let census = Census { graphs: graphs.unsigned_abs(), ..census };
            *shared.space.found.0.lock().unwrap_or_else(PoisonError::into_inner) = census;
        }
    }
}

fn look(data: &DataDir, each: bool) -> Census {
    let (graph_bytes, asset_bytes) = totals(data);
    let folders = data.graph("").read_dir().into_iter().flatten().flatten().filter(|_| each);
    let of = |entry: std::fs::DirEntry| (entry.file_name().to_string_lossy().into_owned(), folder_bytes(&entry.path()));
    Census { graph_bytes, asset_bytes, each: folders.map(of).collect(), ..Census::default() }
}
