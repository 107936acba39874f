//! `/health` (self-host.md 4.1): whether the index answers.

use std::time::Duration;

use database::{Database as _, ReadFrom};
use http::{Response, StatusCode};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::bodies::NativeResponse;
use crate::store::Index;

/// How long the index may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer holds: the index is asked once a second at most.
const HOLDS: Duration = Duration::from_secs(1);

/// What the index said last.
#[derive(Default)]
pub(crate) struct Health(Mutex<Option<(Instant, bool)>>);

impl Health {
    /// Whether the index answers.
    pub(crate) async fn is_good(&self, index: &Index) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, good)) = *last
            && at.elapsed() < HOLDS
        {
            return good;
        }
        let good = matches!(timeout(PATIENCE, index.query(ReadFrom::Primary, "SELECT 1", &[])).await, Ok(Ok(_)));
        *last = Some((Instant::now(), good));
        good
    }
}

/// The answer of a server that is not well, or is about to end.
pub(super) fn unwell() -> Response<NativeResponse> {
    let mut response = Response::new(NativeResponse::Full(b"{\"ok\":false}".to_vec()));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
