//! The daemon's own routes, on the socket in its data directory (docs/spec/daemon.md 4.7). What they answer is decided in
//! [`admin`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use daemon_lifecycle::Build;
use daemon_lifecycle::admin::{self, Act, Standing};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::sync::Notify;

use super::{Clients, Hold, build};

/// Bytes of a request's body.
const BODY_BYTES: usize = 4096;

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

    /// Whether a request carries the token that lies beside the socket.
    pub(crate) fn lets_in<B>(&self, request: &Request<B>) -> bool {
        let token = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer "));
        token.is_some_and(|token| token.as_bytes().ct_eq(self.hold.holder().token().as_bytes()).into())
    }

    /// Answers a request to one of the daemon's own routes. True in `ends`: the server is to end once the answer is out.
    pub(crate) async fn answer(&self, request: Request<Incoming>, ends: &AtomicBool) -> Response<Vec<u8>> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
            return respond(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large");
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
                    return respond(StatusCode::CONFLICT, error.code());
                }
            }
            Some(Act::Shutdown) => ends.store(true, Ordering::Relaxed),
            None => {}
        }
        answer_of(StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &reply.body)
    }
}

/// A refusal by its code.
pub(crate) fn respond(status: StatusCode, code: &str) -> Response<Vec<u8>> {
    answer_of(status, &json!({ "error": code }))
}

fn answer_of(status: StatusCode, body: &serde_json::Value) -> Response<Vec<u8>> {
    let mut response = Response::new(body.to_string().into_bytes());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
