//! Forwarding to the agents service (sync.md 2.4).

use http::{Request, Response, StatusCode};

use crate::body;
use crate::error::Error;
use crate::platform::Platform;

/// How often a local start of the service is waited for, and how long each time: thirty seconds in all.
const RETRIES: usize = 300;
const RETRY_MS: u32 = 100;

/// Passes a request on as it is. On a local host the service may still be starting: a failure or a 503 is retried.
pub(crate) async fn forward<P: Platform>(
    platform: &P,
    request: &mut Request<P::Body>,
) -> Result<Response<P::Body>, Error> {
    if !platform.has_agents() {
        return Err(Error::AgentsUnavailable);
    }
    if !matches!(request.uri().host(), Some("127.0.0.1" | "localhost")) {
        return Ok(platform.call_agents(body::take(request)).await?);
    }
    for _ in 0..RETRIES {
        let copy = platform.duplicate(request)?;
        match platform.call_agents(copy).await {
            Ok(response) if response.status() != StatusCode::SERVICE_UNAVAILABLE => return Ok(response),
            _ => platform.sleep_ms(RETRY_MS).await,
        }
    }
    Ok(platform.call_agents(body::take(request)).await?)
}
