//! `/health`: whether this worker can serve.

use std::sync::atomic::Ordering;

use http::Response;
use serde_json::json;

use super::ok;
use super::platform::Platform;
use super::service::Service;
use crate::error::Error;
use crate::registry::{migrations, operator};

/// 200, unless the operator has yet to apply a migration. What was found once is not asked again.
pub(super) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
) -> Result<Response<P::Response>, Error> {
    if let Some(db) = platform.db()
        && !service.has_schema.load(Ordering::Relaxed)
    {
        // A database that does not answer is told by the routes that need it.
        if let Ok(missing) = migrations::missing(db).await {
            // A host may apply migrations without noting them; the newest table tells.
            if !missing.is_empty() && !operator::has_tables(db).await {
                return Err(Error::NotMigrated);
            }
            service.has_schema.store(true, Ordering::Relaxed);
        }
    }
    Ok(ok(&json!({"ok": true})))
}
