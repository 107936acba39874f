//! Forwarding to graphs (sync.md 2.3).

use http::header::{ACCEPT_ENCODING, UPGRADE};
use http::{Request, Response, StatusCode, Uri};
use index::activity::Entity;
use protocol::limits::ID_CHARS;
use web::{Forward, Objects as _, url};

use crate::error::Error;
use crate::graph_call::{self, Caller};
use crate::identity;
use crate::index_routes::touch;
use crate::platform::Platform;
use crate::route::{self, GraphRoute};
use crate::service::Service;

/// The parameter that carries the graph's id into its object. It is always set here, over whatever a client sent.
pub(crate) const GRAPH_ID: &str = "graph-id";

/// The path of an upgrade inside a graph, whatever tail it came with (sync.md 7.1).
const SOCKET: &str = "/";

/// Forwards a request to its graph; `rest` is what follows `/sync/`.
pub(crate) async fn forward<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
    rest: &str,
) -> Result<Response<P::Response>, Error> {
    let (graph_id, tail) = route::graph_path(rest);
    if graph_id.is_empty() {
        return Err(Error::BadRequest("missing graph id"));
    }
    if graph_id.len() > ID_CHARS {
        return Err(Error::BadRequest("invalid graph id"));
    }
    if route::is_internal(tail) {
        return Err(Error::NotFound);
    }
    let caller = if identity::is_admin(&service.settings, request) {
        Caller::Operator
    } else {
        identity::require_access(platform, service, request, graph_id).await?;
        let claims = identity::verified_before(&service.settings, request);
        Caller::User(claims.as_ref().and_then(auth::Claims::sub).ok_or(Error::Unauthorized)?.to_owned())
    };
    let path = if is_upgrade(request) {
        SOCKET
    } else {
        let (path, route) = route::graph_route(request.method(), tail).ok_or(Error::NotFound)?;
        if route == GraphRoute::Reset && caller != Caller::Operator {
            // D-05
            return Err(Error::Forbidden);
        }
        path
    };
    // A handshake is a GET (RFC 6455, 4.1); the runtime gives no socket to anything else.
    if is_upgrade(request) && request.method() != http::Method::GET {
        return Err(Error::BadRequest("invalid upgrade"));
    }
    let uri = rewritten(&service.settings.address.of(request)?, request.uri(), graph_id, path)?;
    let mut forward = Forward::of(request)?.to(uri);
    graph_call::seal(&mut forward, &caller)?;
    // On the way from front to graph the runtime may write its own codings over those that the client takes.
    match request.headers().get(ACCEPT_ENCODING) {
        Some(accepted) => forward.set_header(ACCEPT_ENCODING, accepted.clone()),
        None => forward.remove_header(ACCEPT_ENCODING),
    }
    let response = platform.graphs().send(graph_id, forward).await?;
    if let (Caller::User(user), Some(db), true) = (&caller, platform.db(), response.status() < StatusCode::BAD_REQUEST)
    {
        let now_ms = platform.now_ms();
        touch(platform, service, db, Entity::Graph(graph_id), now_ms);
        touch(platform, service, db, Entity::User(user), now_ms);
    }
    Ok(response)
}

/// What the graph is asked: it makes addresses of the origin that it is called by.
fn rewritten(base: &str, uri: &Uri, graph_id: &str, path: &'static str) -> Result<Uri, Error> {
    let base: Uri = base.parse().map_err(|_| Error::BadRequest("invalid host"))?;
    let origin = url::origin(&base);
    let uri = format!("{origin}{path}?{}", url::query_with(uri, GRAPH_ID, graph_id));
    uri.parse().map_err(|_| Error::BadRequest("invalid graph id"))
}

/// Whether a request asks for a WebSocket.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.headers().get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}
