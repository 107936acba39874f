//! What answers inside a graph (sync.md 5, 7, 10): the routes, and the sockets in [`sockets`].
//!
//! Requests come from the front worker alone, which has authorised them, named the graph in the query and sealed who asks
//! ([`crate::graph_call`]). A header that claims another graph is ignored (D-01).

mod admission;
mod allowance;
mod host;
mod line;
mod pulls;
mod question;
mod ready;
mod rest;
mod roster;
mod single;
mod snapshot;
pub mod sockets;
mod stream;
mod version;

use std::rc::Rc;

use graph::sockets::Close;
use http::header::ORIGIN;
use http::{Request, Response};
use protocol::bodies::OK;
use protocol::limits::MESSAGE_BYTES;
use protocol::query::parse_since;
use protocol::{TxBatch, body_text};
use web::{Event, url};

pub(crate) use admission::{PATIENCE_MS, within};
pub use host::{GraphHost, GraphState, SharedGraph, Sockets};
pub use rest::on_rest;

use crate::error::Error;
use crate::graph_call::{self, Call, Caller, Operation};
use crate::route::{self, GraphRoute};
use crate::sync::{GRAPH_ID, is_upgrade};
use crate::{graph_subject, guests, refuse, respond};

/// Answers a request to a graph.
///
/// A platform that learns that nobody waits for the answer any more may drop the future: an upload is given up then, and
/// whatever took effect stays.
pub async fn handle<H: GraphHost>(
    host: &H,
    state: &GraphState,
    mut request: Request<H::Request>,
) -> Response<H::Response> {
    let origin = request.headers().get(ORIGIN).cloned();
    let outcome = dispatch(host, state, &mut request).await;
    sockets::report_notice(host, state);
    rest::later(host, state);
    let mut response = match outcome {
        Ok(response) => response,
        Err(error) => {
            // Whoever gets here has access to the graph.
            web::hear_out(request.body_mut(), &state.heard_out).await;
            refuse(&error, host.random_uuid(), |event| {
                host.report(&Event { subject: state.graph_id().as_deref().map(graph_subject), ..*event });
            })
        }
    };
    guests::name_origin(state.settings.auth.guests(), origin.as_ref(), response.headers_mut());
    response
}

async fn dispatch<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &mut Request<H::Request>,
) -> Result<Response<H::Response>, Error> {
    if let Some(graph_id) = url::query(request.uri(), GRAPH_ID).filter(|id| !id.is_empty()) {
        state.remember_graph_id(&graph_id);
    }
    let caller = match graph_call::open(request.headers())? {
        Call::Client(caller) => caller,
        Call::Front(operation) => return operate(host, state, &operation).await,
    };
    admission::require_undeleted(host)?;
    if is_upgrade(request) {
        ready::require(host, state).await?;
        admission::require(host, state, &caller).await?;
        return sockets::accept(host, state, request, &caller);
    }
    let (_, route) = route::graph_route(request.method(), request.uri().path()).ok_or(Error::NotFound)?;
    match route {
        GraphRoute::Health => {
            admission::require(host, state, &caller).await?;
            Ok(respond::ok(OK))
        }
        GraphRoute::Pull => pull(host, state, request, &caller).await,
        GraphRoute::Diagnostics => diagnostics(host, state, &caller).await,
        GraphRoute::SnapshotDescriptor => snapshot::descriptor(host, state, request, &caller).await,
        GraphRoute::SnapshotStream => snapshot::stream(host, state, request, &caller).await,
        GraphRoute::SnapshotUpload => snapshot::upload(host, state, request, &caller).await,
        GraphRoute::TxBatch => tx_batch(host, state, request, &caller).await,
        GraphRoute::Reset if caller == Caller::Operator => reset(host, state),
        GraphRoute::Reset => Err(Error::Forbidden),
    }
}

/// Does what the front worker asks on its own account.
async fn operate<H: GraphHost>(
    host: &H,
    state: &GraphState,
    operation: &Operation,
) -> Result<Response<H::Response>, Error> {
    match operation {
        Operation::Revoke(user) => revoke(host, state, user)?,
        Operation::Leave(user) => {
            admission::require_undeleted(host)?;
            if host.graph().borrow_mut().revocation(user)?.is_none() && !sockets::is_there(host, state, user) {
                return Err(Error::Forbidden);
            }
            revoke(host, state, user)?;
        }
        Operation::Exists => admission::require_undeleted(host)?,
        Operation::Restore(user) => {
            state.forget_access();
            // Of two managers who remove and add at once the index knows who was last.
            if host.graph().borrow_mut().revocation(user)?.is_some() {
                admission::ask(host, state, user).await;
            }
        }
        Operation::Delete => {
            host.graph().borrow_mut().delete()?;
            state.forget_access();
            sockets::close_all(host, Close::GRAPH_DELETED);
        }
        Operation::Erase => host.graph().borrow_mut().erase()?,
    }
    Ok(respond::ok(OK))
}

/// Remembers that a user was removed, and closes the user's sockets.
fn revoke<H: GraphHost>(host: &H, state: &GraphState, user: &str) -> Result<(), Error> {
    // A deleted graph lets nobody in, and remembers nothing more.
    if !host.graph().borrow_mut().is_deleted()? {
        host.graph().borrow_mut().revoke(user)?;
    }
    state.forget_access();
    sockets::close_user(host, state, user, Close::ACCESS_REVOKED);
    Ok(())
}

async fn pull<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &Request<H::Request>,
    caller: &Caller,
) -> Result<Response<H::Response>, Error> {
    let since = url::query(request.uri(), "since");
    let since = parse_since(since.as_deref()).map_err(|_| Error::BadRequest("invalid since"))?;
    ready::require(host, state).await?;
    admission::require(host, state, caller).await?;
    let pull = host.graph().borrow_mut().pull(since)?;
    respond_pieces(host, state, stream::PullPieces::new(Rc::clone(host.graph()), pull))
}

async fn diagnostics<H: GraphHost>(
    host: &H,
    state: &GraphState,
    caller: &Caller,
) -> Result<Response<H::Response>, Error> {
    ready::require(host, state).await?;
    admission::require(host, state, caller).await?;
    let diagnostics = host.graph().borrow_mut().diagnostics()?;
    respond_pieces(host, state, stream::DiagnosticsPieces::new(Rc::clone(host.graph()), diagnostics))
}

/// A short answer is sent as a whole, a long one while it is made.
fn respond_pieces<H: GraphHost>(
    host: &H,
    state: &GraphState,
    source: impl stream::Pieces + 'static,
) -> Result<Response<H::Response>, Error> {
    let graph = Rc::clone(host.graph());
    let now_ms = move || graph.borrow().now_ms();
    Ok(match stream::Ahead::begin(source, &state.streams, now_ms)? {
        stream::Begun::Whole(bytes) => respond::ok(bytes),
        stream::Begun::Stream(source) => respond::json_stream(Box::new(source)),
    })
}

async fn tx_batch<H: GraphHost>(
    host: &H,
    state: &GraphState,
    request: &mut Request<H::Request>,
    caller: &Caller,
) -> Result<Response<H::Response>, Error> {
    let bytes = web::read(request, MESSAGE_BYTES).await?;
    let batch = TxBatch::parse(&body_text(&bytes))?.into_owned();
    // Of a long batch one copy is enough.
    drop(bytes);
    ready::require(host, state).await?;
    admission::require(host, state, caller).await?;
    let outcome = host.graph().borrow_mut().tx_batch(batch)?;
    if let Some(changed) = outcome.broadcast() {
        sockets::tell_all_of_change(host, state, &changed);
    }
    sockets::report_failure(host, state, outcome.failure);
    Ok(respond::ok(outcome.answer.to_json()))
}

fn reset<H: GraphHost>(host: &H, state: &GraphState) -> Result<Response<H::Response>, Error> {
    sockets::close_all(host, Close::GRAPH_DELETED);
    host.graph().borrow_mut().reset()?;
    state.forget_access();
    Ok(respond::ok(OK))
}
