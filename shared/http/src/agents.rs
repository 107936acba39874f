//! Forwarding to the agents service (sync.md 2.4).

use http::{Method, Request, Response, StatusCode};
use web::{Forward, RequestBody, Upstream as _};

use crate::error::Error;
use crate::platform::Platform;
use crate::service::Service;

/// How often a local start of the service is waited for, and how long each time: thirty seconds in all.
const RETRIES: usize = 300;
const RETRY_MS: u32 = 100;

/// Bytes of a body that is kept to be sent again. Clients' first requests to a service that is starting are a few
/// kilobytes; what is longer is sent once, as it arrives.
pub const KEPT_BODY_BYTES: usize = 64 << 10;

/// Requests that wait for the service at the same time: with the bound above they send it five megabytes a second at
/// most. Those beyond are told at once that it is not there.
pub const WAITING_REQUESTS: usize = 8;

/// Passes a request on. On a local host the service may still be starting: a failure or a 503 is retried, if the request
/// is small enough to be kept and not too many are waiting already.
pub(crate) async fn forward<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let agents = platform.agents().ok_or(Error::AgentsUnavailable)?;
    let is_local = matches!(request.uri().host(), Some("127.0.0.1" | "localhost"));
    let place = if is_local && can_be_kept(request) { service.agents.enter() } else { None };
    let Some(_place) = place else { return Ok(agents.send(Forward::of(request)?).await?) };
    let bytes = if request.body().is_empty() { Vec::new() } else { web::read(request, KEPT_BODY_BYTES).await? };
    for _ in 0..RETRIES {
        match agents.send(Forward::copy(request, &bytes)).await {
            Ok(response) if response.status() != StatusCode::SERVICE_UNAVAILABLE => return Ok(response),
            _ => platform.sleep_ms(RETRY_MS).await,
        }
    }
    Ok(agents.send(Forward::copy(request, &bytes)).await?)
}

/// Whether a request has no body, or one that says it is short. Nobody makes a second GET with a body.
fn can_be_kept<B: RequestBody>(request: &Request<B>) -> bool {
    let takes_body = request.method() != Method::GET && request.method() != Method::HEAD;
    let is_short = web::declared_length(request).is_some_and(|length| length <= KEPT_BODY_BYTES as u64);
    request.body().is_empty() || (takes_body && is_short)
}
