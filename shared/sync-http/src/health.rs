//! `/health`: whether this worker can serve (sync.md 2.1).

use std::sync::atomic::Ordering;

use http::Response;

use crate::error::Error;
use crate::graph_routes::{PATIENCE_MS, within};
use crate::platform::Platform;
use crate::respond;
use crate::service::Service;

/// 200, unless the operator has yet to apply migrations. What was found once is not asked again; an index that does not
/// answer is told by the routes that need it.
pub(crate) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
) -> Result<Response<P::Response>, Error> {
    if let Some(db) = platform.db()
        && !service.has_schema.load(Ordering::Relaxed)
    {
        match within(index::migrations::missing(db), platform.sleep_ms(PATIENCE_MS)).await {
            Some(Ok(missing)) if !missing.is_empty() => return Err(Error::NotMigrated),
            Some(Ok(_)) => service.has_schema.store(true, Ordering::Relaxed),
            Some(Err(_)) | None => {}
        }
    }
    Ok(respond::ok(protocol::bodies::OK))
}
