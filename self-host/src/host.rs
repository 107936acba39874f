//! Time, ids, reports and what outlasts an answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use database::Trouble;
use uuid::Uuid;
use web::{Event, Host, Level, Trace, Undone};

use crate::log::Log;
use crate::metrics::Metrics;
use crate::serve::Reporter;

/// The platform under a request or a graph. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct NativeHost {
    log: Log,
    metrics: Arc<Metrics>,
    reporter: Reporter,
}

impl NativeHost {
    /// A host that writes what is reported into this log, and counts.
    pub(crate) fn new(log: Log, metrics: Arc<Metrics>, reporter: Reporter) -> Self {
        Self { log, metrics, reporter }
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A random UUID (version 4). A system without random bytes gives the nil one.
pub(crate) fn random_uuid() -> Uuid {
    web::random_uuid().unwrap_or_default()
}

impl Host for NativeHost {
    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(Duration::from_millis(ms.into()))
    }

    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static) {
        let log = self.log.clone();
        tokio::task::spawn_local(async move {
            if let Err(Undone { event, failure }) = work.await {
                log.event(&Event::new(Level::Warning, event).with_error(&failure.0));
            }
        });
    }

    fn random_uuid(&self) -> Uuid {
        random_uuid()
    }

    fn report(&self, event: &Event<'_>) {
        // What every request would say while the disk is full is said once a minute.
        let trouble = event.error.and_then(Trouble::of);
        if trouble.is_none_or(|trouble| self.metrics.condition.failed(trouble, now_ms())) {
            self.log.event(event);
            self.reporter.event(event);
        }
    }

    fn trace(&self, trace: &Trace<'_>) {
        self.metrics.answered(trace);
        self.log.trace(trace);
        self.reporter.trace(trace);
    }
}
