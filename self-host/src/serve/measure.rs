//! `/metrics` on an address of its own (self-host.md 4.2): open to whoever reaches it, and nothing else is there.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;

use super::accept::{Accepting, accept};
use super::connection::measured;
use super::fronts::Shared;
use super::listen::Listener;
use crate::bodies::{NativeResponse, SentBody};

/// Connections at once: there are few who measure.
const CONNECTIONS: usize = 16;

/// Answers whoever comes, for as long as the task lasts. Runs on a local task set.
pub(super) async fn serve(listener: Listener, shared: Arc<Shared>) {
    let Ok(listener) = Accepting::new(listener) else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    accept(
        &listener,
        shared.pulse.join(),
        std::future::pending(),
        |_| (),
        |stream, _| {
            // One too many is closed at once.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { return };
            let shared = Arc::clone(&shared);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let response = answer(&shared, &request).map(SentBody::from);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(shared.bounds.head()).keep_alive(false);
                // Whoever breaks off is not our affair.
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                drop(place);
            });
        },
    )
    .await;
}

fn answer(shared: &Shared, request: &Request<Incoming>) -> Response<NativeResponse> {
    if request.method() == Method::GET && request.uri().path() == "/metrics" {
        return measured(shared);
    }
    let mut response = Response::new(NativeResponse::Empty);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
