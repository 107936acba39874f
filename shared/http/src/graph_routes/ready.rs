//! Whether a graph may be used (sync.md 5).

use super::{GraphHost, GraphState};
use crate::error::Error;

/// Refuses while an upload runs here or the index says so. The local flag is asked again at the end: an upload may
/// have begun while the index was asked.
pub(super) async fn require<H: GraphHost>(host: &H, state: &GraphState) -> Result<(), Error> {
    require_local(host)?;
    if let (Some(db), Some(graph_id)) = (host.db(), state.graph_id()) {
        if !index::graphs::is_ready(&*db, &graph_id).await? {
            return Err(Error::NotReady);
        }
        require_local(host)?;
    }
    Ok(())
}

fn require_local<H: GraphHost>(host: &H) -> Result<(), Error> {
    if host.graph().borrow_mut().is_uploading()? { Err(Error::NotReady) } else { Ok(()) }
}
