//! The daemon's own routes, on the socket in its data directory (docs/spec/daemon.md 4.7). What they answer is decided in
//! [`admin`].

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use daemon_lifecycle::Build;
use daemon_lifecycle::admin::{self, Act, Standing};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::{Clients, Hold, build};

/// Connections at once. Only the directory's owner gets one at all.
const CONNECTIONS: usize = 64;

/// Bytes of a request's body.
const BODY_BYTES: usize = 4096;

/// How long a request may take, its answer included.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait after the system gave no connection.
const BREATHER: Duration = Duration::from_millis(100);

/// What answers the daemon's own routes.
pub(crate) struct Routes {
    hold: Arc<Hold>,
    clients: Arc<Clients>,
    build: Build,
    shutdown: Notify,
}

impl Routes {
    /// Routes of the server that has this hold and these clients.
    pub(crate) fn new(hold: Arc<Hold>, clients: Arc<Clients>) -> Arc<Self> {
        Arc::new(Self { hold, clients, build: build(), shutdown: Notify::new() })
    }

    /// Asks the server to end.
    pub(crate) fn shut_down(&self) {
        self.shutdown.notify_one();
    }

    /// Waits until somebody asks the server to end.
    pub(crate) async fn asked_to_end(&self) {
        self.shutdown.notified().await;
    }

    /// Answers whoever comes, for as long as the runtime lasts.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(BREATHER).await;
                continue;
            };
            // One too many is closed at once.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let routes = Arc::clone(&self);
            tokio::spawn(async move {
                routes.attend(stream).await;
                drop(place);
            });
        }
    }

    /// Answers one request.
    async fn attend(&self, stream: UnixStream) {
        let ends = AtomicBool::new(false);
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.answer(request, &ends).await) });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
        // Whoever breaks off is not our affair.
        let _ = timeout(PATIENCE, builder.serve_connection(TokioIo::new(stream), service)).await;
        // Only now: whoever asked has its answer.
        if ends.load(Ordering::Relaxed) {
            self.shut_down();
        }
    }

    async fn answer(&self, request: Request<Incoming>, ends: &AtomicBool) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
            return respond(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": "payload-too-large" }));
        };
        let body = body.to_bytes();
        let text = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let graph = web::url::query(&head.uri, "graph");
        let asked = admin::Request {
            method: head.method.as_str(),
            path: head.uri.path(),
            graph: graph.as_deref(),
            host: text(HOST),
            tcp: false,
            token: text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")),
            body: &body,
        };
        let lost = self.hold.check().is_err();
        let holder = self.hold.holder();
        let record = holder.record();
        let clients = self.clients.recent();
        let reply = admin::answer(
            &asked,
            &Standing { record: &record, token: holder.token(), build: &self.build, clients, lost },
        );
        match reply.act {
            Some(Act::SetOwner(owner)) => {
                if let Err(error) = holder.set_owner(owner) {
                    return respond(StatusCode::CONFLICT, &json!({ "error": error.code() }));
                }
            }
            Some(Act::Shutdown) => ends.store(true, Ordering::Relaxed),
            None => {}
        }
        respond(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &reply.body)
    }
}

fn respond(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
