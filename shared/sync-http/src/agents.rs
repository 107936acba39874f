//! Forwarding to the agents service (sync.md 2.4).

use std::sync::atomic::{AtomicI64, Ordering};

use http::{Method, Request, Response, StatusCode};
use web::{Event, Failure, Forward, Level, RequestBody, Upstream as _};

use crate::error::Error;
use crate::platform::Platform;
use crate::service::Service;

/// How often a local start of the service is waited for, and how long each time: thirty seconds in all.
const RETRIES: i64 = 300;
const RETRY_MS: u32 = 100;

/// Bytes of a body that is kept to be sent again. Clients' first requests to a service that is starting are a few
/// kilobytes; what is longer is sent once, as it arrives.
pub const KEPT_BODY_BYTES: usize = 64 << 10;

/// Requests that wait for the service at the same time: with the bound above they send it five megabytes a second at
/// most. Those beyond are told at once that it is not there.
pub const WAITING_REQUESTS: usize = 8;

/// Since when the service has not answered: a start takes so long at most, whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// Milliseconds since the epoch; 0: it has answered.
    since: AtomicI64,
}

impl Silence {
    /// It has answered.
    fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// Notes that it did not answer. False: it has not for so long that nobody starts it.
    fn goes_on(&self, now_ms: i64) -> bool {
        let since = self.since.compare_exchange(0, now_ms, Ordering::Relaxed, Ordering::Relaxed).err();
        now_ms - since.unwrap_or(now_ms) < RETRIES * i64::from(RETRY_MS)
    }
}

/// Passes a request on. Where whoever serves this worker starts the service too, it may not be there yet: a failure or a 503 is
/// retried, if the request is small enough to be kept and not too many are waiting already.
pub(crate) async fn forward<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let agents = platform.agents().ok_or(Error::AgentsUnavailable)?;
    let is_local = matches!(request.uri().host(), Some("127.0.0.1" | "localhost"));
    let may_start = is_local && service.settings.agents_start_here;
    let place = if may_start && can_be_kept(request) { service.agents.enter() } else { None };
    let Some(_place) = place else {
        return agents.send(Forward::of(request)?).await.map_err(|failure| absent(platform, &failure));
    };
    let bytes = if request.body().is_empty() { Vec::new() } else { web::read(request, KEPT_BODY_BYTES).await? };
    for _ in 0..RETRIES {
        match agents.send(Forward::copy(request, &bytes)).await {
            Ok(response) if response.status() != StatusCode::SERVICE_UNAVAILABLE => {
                service.agents_silence.end();
                return Ok(response);
            }
            _ if service.agents_silence.goes_on(platform.now_ms()) => platform.sleep_ms(RETRY_MS).await,
            answer => return answer.map_err(|failure| absent(platform, &failure)),
        }
    }
    agents.send(Forward::copy(request, &bytes)).await.map_err(|failure| absent(platform, &failure))
}

/// The service cannot be reached: told in the log with the reason, to the client without.
fn absent<P: Platform>(platform: &P, failure: &Failure) -> Error {
    platform.report(&Event::new(Level::Error, "db-sync/agents-unreachable").with_error(&failure.0));
    Error::AgentsUnavailable
}

/// Whether a request has no body, or one that says it is short. Nobody makes a second GET with a body.
fn can_be_kept<B: RequestBody>(request: &Request<B>) -> bool {
    let takes_body = request.method() != Method::GET && request.method() != Method::HEAD;
    let is_short = web::declared_length(request).is_some_and(|length| length <= KEPT_BODY_BYTES as u64);
    request.body().is_empty() || (takes_body && is_short)
}
