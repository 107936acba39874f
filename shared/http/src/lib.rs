//! The HTTP surface of the sync server, once, over ports.
//!
//! [`handle`] is the front worker: it authenticates, authorises, answers the routes of the index and of assets itself
//! and forwards the rest to the graph it belongs to. [`graph_routes`] is what answers inside a graph. Both know their
//! platform only through the traits of [`platform`]. Statuses and error bodies are decided in [`error`] alone.

pub mod address;
pub mod agents;
pub mod asset_conditions;
pub mod asset_path;
pub mod assets;
pub mod body;
pub mod cors;
pub mod error;
pub mod graph_call;
pub mod graph_routes;
pub mod platform;
pub mod report;
pub mod route;
pub mod sentry;
pub mod service;

mod delete_graph;
mod gate;
mod guests;
mod identity;
mod index_routes;
mod respond;
mod retry;
mod sync;
mod url;

use http::header::ORIGIN;
use http::{Request, Response};

use error::Error;
use platform::{Body as _, Platform};
use report::{Event, Level, Trace};
use route::Target;
use service::Service;

/// Answers a request to the front worker.
pub async fn handle<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    mut request: Request<P::Body>,
) -> Response<P::Body> {
    let started_ms = platform.now_ms();
    let method = request.method().clone();
    let route = route::pattern(&method, request.uri().path());
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = match dispatch(platform, service, &mut request).await {
        Ok(response) => response,
        Err(error) => {
            if error.is_of_known_sender() {
                body::hear_out(request.body_mut(), &service.heard_out).await;
            } else {
                request.body_mut().cancel().await;
            }
            refuse(&error, platform.random_uuid(), |event| platform.report(&Event { route: Some(route), ..*event }))
        }
    };
    guests::name_origin(service.settings.auth.guests(), origin.as_ref(), response.headers_mut());
    let (status, ended_ms) = (response.status().as_u16(), platform.now_ms());
    platform.trace(&Trace { method: method.as_str(), route, status, started_ms, ended_ms });
    response
}

async fn dispatch<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Body>,
) -> Result<Response<P::Body>, Error> {
    guests::admit(&service.settings, request)?;
    let path = request.uri().path().to_owned();
    match route::target(request.method(), &path) {
        Target::Health => Ok(respond::ok(protocol::bodies::OK)),
        Target::Index => index_routes::handle(platform, service, request).await,
        Target::Agents => agents::forward(platform, service, request).await,
        Target::Asset(rest) => assets::handle(platform, service, request, rest).await,
        Target::Preflight => Ok(respond::no_content()),
        Target::Graph(rest) => sync::forward(platform, service, request, rest).await,
        Target::None => Err(Error::NotFound),
    }
}

/// The answer for an error. An internal one is reported under an id that the answer carries (D-21).
fn refuse<B: platform::Body>(error: &Error, id: uuid::Uuid, report: impl FnOnce(&Event<'_>)) -> Response<B> {
    if !error.is_internal() {
        return error.response(None);
    }
    let id = id.to_string();
    let name = match error {
        Error::IndexMissing => "db-sync/index-db-missing",
        _ => "db-sync/http-error",
    };
    let text = error.to_string();
    report(&Event { correlation_id: Some(&id), ..Event::new(Level::Error, name).with_error(&text) });
    error.response(Some(&id))
}
