//! Trying again what may fail for a moment.

use crate::{Failure, Host};

/// How often something is tried at most.
const ATTEMPTS: u32 = 3;

/// Milliseconds before the second attempt; twice as many before the third.
const PAUSE_MS: u32 = 200;

/// What `work` gives when it succeeds, or the failure of the last attempt.
pub async fn retried<T>(host: &impl Host, work: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    for attempt in 1..ATTEMPTS {
        match work().await {
            Ok(done) => return Ok(done),
            Err(_) => host.sleep_ms(PAUSE_MS << (attempt - 1)).await,
        }
    }
    work().await
}
