//! What every handler has of its platform.

use std::future::Future;

use uuid::Uuid;

use crate::{Event, Failure, Trace, Undone};

/// Time, ids, and what goes on beside an answer.
pub trait Host {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;

    /// Waits.
    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static;

    /// Lets work go on beside the answer and beyond it, for some seconds. The answer neither waits for it nor fails with it;
    /// what it could not do is reported as a warning.
    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static);

    /// A random UUID (version 4).
    fn random_uuid(&self) -> Uuid;

    /// Logs an event and, where that is configured, reports it. Never waits, never fails.
    fn report(&self, event: &Event<'_>);

    /// Reports an answered request where that is configured. Never waits, never fails.
    fn trace(&self, trace: &Trace<'_>);
}

/// What has a host is one: a platform says once which it is, and implements its other ports.
pub trait Hosted {
    /// The host.
    type Host: Host;

    /// The host.
    fn host(&self) -> &Self::Host;
}

impl<T: Hosted> Host for T {
    fn now_ms(&self) -> i64 {
        self.host().now_ms()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        self.host().sleep_ms(ms)
    }

    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static) {
        self.host().wait_until(work);
    }

    fn random_uuid(&self) -> Uuid {
        self.host().random_uuid()
    }

    fn report(&self, event: &Event<'_>) {
        self.host().report(event);
    }

    fn trace(&self, trace: &Trace<'_>) {
        self.host().trace(trace);
    }
}

impl<H: Host> Host for std::rc::Rc<H> {
    fn now_ms(&self) -> i64 {
        (**self).now_ms()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        (**self).sleep_ms(ms)
    }

    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static) {
        (**self).wait_until(work);
    }

    fn random_uuid(&self) -> Uuid {
        (**self).random_uuid()
    }

    fn report(&self, event: &Event<'_>) {
        (**self).report(event);
    }

    fn trace(&self, trace: &Trace<'_>) {
        (**self).trace(trace);
    }
}

/// A random UUID (version 4), of the platform's random bytes.
///
/// # Errors
/// Where the platform gives none; on Workers that is so outside of a request.
pub fn random_uuid() -> Result<Uuid, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

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
