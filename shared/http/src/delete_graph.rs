//! Deleting a graph (sync.md 4.4), in an order that survives a failure at each step.

use index::{Database, graphs};

use crate::error::Error;
use crate::graph_calls;
use crate::platform::{AssetStore, Platform};
use crate::report::{Event, Level};

/// Pages of assets deleted at most: with a thousand objects a page, a hundred thousand assets.
const MAX_ASSET_PAGES: usize = 100;

/// Keys and members first, so that nobody but the owner reaches the graph any more; then its contents; its row last,
/// so that the owner can retry when the contents could not be wiped. Assets are deleted as far as possible (D-03):
/// what is left of them is out of reach and costs space only.
pub(crate) async fn run<P: Platform>(platform: &P, db: &impl Database, graph_id: &str) -> Result<(), Error> {
    graphs::delete_keys_and_members(db, graph_id).await?;
    graph_calls::reset(platform, graph_id).await?;
    delete_assets(platform, graph_id).await;
    graphs::delete(db, graph_id).await?;
    Ok(())
}

async fn delete_assets<P: Platform>(platform: &P, graph_id: &str) {
    let Some(assets) = platform.assets() else { return };
    let prefix = format!("{graph_id}/");
    for _ in 0..MAX_ASSET_PAGES {
        match assets.delete_page(&prefix).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(failure) => {
                let event = Event::new(Level::Warning, "db-sync/asset-deletion-failed");
                return platform.report(&event.about(graph_id).with_error(&failure.0));
            }
        }
    }
    platform.report(&Event::new(Level::Warning, "db-sync/asset-deletion-unfinished").about(graph_id));
}
