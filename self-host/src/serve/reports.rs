//! Errors, and a share of the requests, on their way to Sentry (self-host.md 2). Nobody waits for them: what does not fit the queue
//! is lost, and counted as nothing else.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::time::timeout;
use web::{Envelope, Event, Sentry, Trace};

use super::client::{Client, plain};
use crate::host::{now_ms, random_uuid};
use crate::log::Log;

/// Reports that may wait to be sent.
const WAITING: usize = 64;

/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where reports are handed over. Cloning is cheap; without Sentry it does nothing.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<(Sentry, mpsc::Sender<Envelope>)>>);

/// Reports that wait.
pub(crate) type Waiting = mpsc::Receiver<Envelope>;

impl Reporter {
    /// A reporter, and what it is given, where there is a Sentry.
    pub(crate) fn new(sentry: Option<Sentry>) -> (Self, Option<Waiting>) {
        let Some(sentry) = sentry else { return (Self(None), None) };
        let (sender, waiting) = mpsc::channel(WAITING);
        (Self(Some(Arc::new((sentry, sender)))), Some(waiting))
    }

    /// Something has happened.
    pub(crate) fn event(&self, event: &Event<'_>) {
        self.send(|sentry| sentry.envelope(event, random_uuid(), now_ms()));
    }

    /// A request was answered.
    pub(crate) fn trace(&self, trace: &Trace<'_>) {
        self.send(|sentry| sentry.transaction(trace, random_uuid()));
    }

    fn send(&self, made: impl FnOnce(&Sentry) -> Option<Envelope>) {
        if let Some((sentry, sender)) = self.0.as_deref()
            && let Some(envelope) = made(sentry)
        {
            // A queue that is full says that too much goes wrong already.
            let _ = sender.try_send(envelope);
        }
    }
}

/// Sends what waits, one after the other, for as long as the task lasts. Of a Sentry that does not answer the log says so once.
pub(super) async fn deliver(mut waiting: Waiting, log: Log) {
    let client: Client<Full<bytes::Bytes>> = plain();
    let mut told = false;
    while let Some(envelope) = waiting.recv().await {
        let request = Request::post(&envelope.url)
            .header(CONTENT_TYPE, "application/x-sentry-envelope")
            .header("x-sentry-auth", envelope.auth)
            .body(Full::from(envelope.body));
        let Ok(request) = request else { continue };
        let sent = timeout(PATIENCE, client.request(request)).await;
        let is_taken = matches!(sent, Ok(Ok(response)) if response.status().is_success());
        if !is_taken && !std::mem::replace(&mut told, true) {
            log.warn("sentry-unreachable");
        }
    }
}
