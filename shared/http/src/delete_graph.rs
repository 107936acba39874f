//! Deleting a graph (sync.md 4.4), in an order that survives a failure at each step.

use index::{Database, graphs};

use crate::error::Error;
use crate::graph_call::{self, Operation};
use crate::platform::{AssetStore, Platform};
use crate::report::{Event, Level};

/// Pages of assets deleted at most: with a thousand objects a page, a hundred thousand assets.
const MAX_ASSET_PAGES: usize = 100;

/// First the mark in the graph's object, so that nothing reaches the graph from here on, whatever caches still say; then
/// members and keys, assets, the object's rows; the graph's own row last, so that its owner can repeat what broke off
/// (D-70). Assets are deleted as far as possible (D-03): what is left of them is out of reach and costs space only.
pub(crate) async fn run<P: Platform>(platform: &P, db: &impl Database, graph_id: &str) -> Result<(), Error> {
    graph_call::ask(platform, graph_id, &Operation::Delete).await?;
    graphs::delete_keys_and_members(db, graph_id).await?;
    delete_assets(platform, graph_id).await;
    graph_call::ask(platform, graph_id, &Operation::Erase).await?;
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
