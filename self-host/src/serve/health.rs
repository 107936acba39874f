//! `/health` (self-host.md 4.1): whether the index answers, and for the operator what else there is to know.

use std::sync::atomic::Ordering;
use std::time::Duration;

use database::{Database as _, ReadFrom};
use http::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::fronts::Shared;
use crate::bodies::NativeResponse;
use crate::cli::{REVISION, VERSION};
use crate::metrics::Disk as _;
use crate::store::Index;

/// Touches the index: a constant would be answered without it.
const QUESTION: &str = "SELECT count(*) FROM (SELECT 1 FROM users LIMIT 1)";

/// How long the index may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer holds: the index is asked once a second at most.
const HOLDS: Duration = Duration::from_secs(1);

/// What the index said last: when, and after how long; none where it did not answer.
#[derive(Default)]
pub(crate) struct Health(Mutex<Option<(Instant, Option<Duration>)>>);

impl Health {
    /// Whether the index answers.
    pub(crate) async fn is_good(&self, index: &Index) -> bool {
        self.ask(index).await.is_some()
    }

    /// How long the index takes to answer; none where it does not.
    async fn ask(&self, index: &Index) -> Option<Duration> {
        let mut last = self.0.lock().await;
        if let Some((at, took)) = *last
            && at.elapsed() < HOLDS
        {
            return took;
        }
        let begun = Instant::now();
        let answered = timeout(PATIENCE, index.query(ReadFrom::Primary, QUESTION, &[])).await;
        let took = matches!(answered, Ok(Ok(_))).then(|| begun.elapsed());
        *last = Some((Instant::now(), took));
        took
    }
}

/// Whether a request asks for more than whether the server is well. Who may know is another question.
pub(super) fn asks_for_more<B>(request: &Request<B>) -> bool {
    *request.method() == Method::GET
        && request.uri().path() == "/health"
        && web::url::query(request.uri(), "verbose").as_deref() == Some("1")
}

/// What the operator may know. Tries whether the disk can be written.
pub(super) async fn tell(shared: &Shared) -> Response<NativeResponse> {
    let (took, writable) = tokio::join!(shared.health.ask(&shared.front.index), shared.trial.writable());
    let body = json!({
        "ok": took.is_some(),
        "version": VERSION,
        "revision": REVISION,
        "uptime_s": shared.started.elapsed().as_secs(),
        "graphs_open": shared.metrics.graphs.load(Ordering::Relaxed),
        "sockets": shared.metrics.sockets.load(Ordering::Relaxed),
        "index_ms": took.map(|took| took.as_secs_f64() * 1000.0),
        "free_bytes": shared.space.free(),
        "writable": writable,
        "degraded": shared.metrics.condition.degraded(),
    });
    let status = if took.is_some() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    of(status, body.to_string().into_bytes())
}

/// The answer of a server that is not well, or is about to end.
pub(super) fn unwell() -> Response<NativeResponse> {
    of(StatusCode::SERVICE_UNAVAILABLE, b"{\"ok\":false}".to_vec())
}

fn of(status: StatusCode, body: Vec<u8>) -> Response<NativeResponse> {
    let mut response = Response::new(NativeResponse::Full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
