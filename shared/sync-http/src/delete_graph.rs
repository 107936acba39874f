//! Deleting a graph (sync.md 4.4), in an order that survives a failure at each step.

use database::Database;
use index::graphs;
use web::{ObjectStore as _, retried};

use crate::asset_path;
use crate::error::Error;
use crate::graph_call::{self, Operation};
use crate::platform::Platform;

/// Pages of assets that one request deletes at most: with a thousand objects a page, a hundred thousand assets. What is
/// beyond them is left to the next request.
const MAX_ASSET_PAGES: usize = 100;

/// First the mark in the graph's object, so that nothing reaches the graph from here on, whatever caches still say; then
/// members and keys, assets, the object's rows; the graph's own row last, so that its owner can repeat what broke off
/// (D-70). A graph is deleted when nothing of it is left: as long as an asset is, signed links would still open it (D-03).
pub(crate) async fn run<P: Platform>(platform: &P, db: &impl Database, graph_id: &str) -> Result<(), Error> {
    graph_call::ask(platform, graph_id, &Operation::Delete).await?;
    graphs::delete_keys_and_members(db, graph_id).await?;
    delete_assets(platform, graph_id).await?;
    graph_call::ask(platform, graph_id, &Operation::Erase).await?;
    graphs::delete(db, graph_id).await?;
    Ok(())
}

async fn delete_assets<P: Platform>(platform: &P, graph_id: &str) -> Result<(), Error> {
    let Some(assets) = platform.assets() else { return Ok(()) };
    let prefix = asset_path::prefix(graph_id);
    for _ in 0..MAX_ASSET_PAGES {
        if !retried(platform, async || assets.delete_page(&prefix).await).await? {
            return Ok(());
        }
    }
    Err(Error::Internal("the graph has more assets than one request deletes".into()))
}
