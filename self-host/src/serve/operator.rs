//! The socket in the data directory: the daemon's own routes (docs/spec/daemon.md 4.7), and behind its token everything that
//! the server answers, with the operator's rights (self-host.md 7). Whoever can read that token can read the data, too.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use daemon_lifecycle::admin;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sync_http::early::Early;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::accept::{Accepting, Stream, accept};
use super::care;
use super::connection::{brings_much, exchange, expects_continue, length_of};
use super::fronts::{Phase, Shared};
use super::health;
use crate::bodies::{NativeRequest, NativeResponse, SentBody};
use crate::daemon::{Routes, respond};

/// The header of the operator's token.
pub(super) const ADMIN_TOKEN: HeaderName = HeaderName::from_static("x-db-sync-admin-token");

/// Connections at once. Only the directory's owner gets one at all.
const CONNECTIONS: usize = 64;

/// How long the head of a request may take, and one of the daemon's own routes as a whole.
const PATIENCE: Duration = Duration::from_secs(10);

/// The operator's token as it is written in a header.
#[derive(Clone)]
pub(crate) struct OperatorToken(HeaderValue);

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken(…)")
    }
}

impl OperatorToken {
    /// None where no header can hold it: then it lets nobody in.
    pub(crate) fn new(text: &str) -> Option<Self> {
        HeaderValue::from_str(text).ok().map(Self)
    }
}

/// Answers whoever comes to the socket, for as long as the task lasts. Runs on a local task set.
pub(super) async fn serve(listener: Accepting, shared: Arc<Shared>, routes: Arc<Routes>, token: OperatorToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    accept(
        &listener,
        shared.pulse.join(),
        std::future::pending(),
        |_| (),
        |stream, _| {
            // One too many is closed at once.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
            let (shared, routes, token) = (Arc::clone(&shared), Arc::clone(&routes), token.clone());
            tokio::task::spawn_local(async move {
                attend(stream, &shared, &routes, &token).await;
                drop(place);
            });
        },
    )
    .await;
}

/// Answers one request, and stays for the socket that it may become.
async fn attend(stream: Stream, shared: &Arc<Shared>, routes: &Arc<Routes>, token: &OperatorToken) {
    let ends = AtomicBool::new(false);
    let sockets = TaskTracker::new();
    let service = service_fn(|request: Request<Incoming>| async {
        let answer = if admin::is_route(request.uri().path()) {
            let answered = timeout(PATIENCE, routes.answer(request, &ends)).await;
            answered.unwrap_or_else(|_| respond(StatusCode::REQUEST_TIMEOUT, "timeout")).map(full)
        } else {
            exchange(shared, &sockets, None, request, async |request| operate(shared, routes, token, request).await)
                .await
        };
        Ok::<_, Infallible>(answer)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    // Whoever breaks off is not our affair.
    let _ = builder.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    // Only now: whoever asked has its answer.
    if ends.load(Ordering::Relaxed) {
        routes.shut_down();
    }
    sockets.close();
    sockets.wait().await;
}

fn full(bytes: Vec<u8>) -> SentBody {
    NativeResponse::Full(bytes).into()
}

/// What the surface answers the operator.
async fn operate(
    shared: &Arc<Shared>,
    routes: &Routes,
    token: &OperatorToken,
    mut request: Request<Incoming>,
) -> Response<NativeResponse> {
    if !routes.lets_in(&request) {
        return respond(StatusCode::UNAUTHORIZED, "unauthorized").map(NativeResponse::Full);
    }
    if *shared.phase.borrow() != Phase::Open || shared.hold.check().is_err() {
        return Early::Stopping.answer();
    }
    if health::asks_for_more(&request) {
        return health::tell(shared).await;
    }
    if shared.only.as_ref().is_some_and(|only| !only.answers(&request)) {
        return Early::OtherGraph.answer();
    }
    if brings_much(&request) && !shared.space.takes(length_of(&request)) {
        return Early::StorageFull.answer();
    }
    if request.uri().path() == care::PATH {
        return care::answer(shared, request).await.map(NativeResponse::Full);
    }
    let expects = expects_continue(&request);
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let Ok(uri) = format!("http://localhost{path}").parse::<Uri>() else { return Early::InvalidHost.answer() };
    *request.uri_mut() = uri;
    // Its token is that of the socket: the surface would take it for a user's.
    request.headers_mut().remove(AUTHORIZATION);
    request.headers_mut().insert(ADMIN_TOKEN, token.0.clone());
    let body_idle = shared.bounds.body_idle();
    let request = request.map(|body| NativeRequest::incoming(body, body_idle, expects));
    sync_http::handle(&shared.front, &shared.service, request).await
}
