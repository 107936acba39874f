//! Calls that the front worker makes to a graph on its own account.

use http::{Method, Request, Response, StatusCode};

use crate::platform::{Body, Failure, Platform};
use crate::route::{RESET, REVOKE_ACCESS};
use crate::url;

/// Wipes the graph's object: its database, its alarm, its sockets.
pub(crate) async fn reset<P: Platform>(platform: &P, graph_id: &str) -> Result<(), Failure> {
    call(platform, graph_id, Method::DELETE, format!("{INTERNAL}{RESET}")).await
}

/// Closes the sockets that a user has open on the graph.
pub(crate) async fn revoke_access<P: Platform>(platform: &P, graph_id: &str, user_id: &str) -> Result<(), Failure> {
    let uri = format!("{INTERNAL}{REVOKE_ACCESS}?user-id={}", url::encode(user_id));
    call(platform, graph_id, Method::POST, uri).await
}

const INTERNAL: &str = "http://graph.internal";

/// Objects are named by the id as it stands in a path, encoded (sync.md 1, D-25).
async fn call<P: Platform>(platform: &P, graph_id: &str, method: Method, uri: String) -> Result<(), Failure> {
    let request = Request::builder().method(method).uri(uri).body(P::Body::empty());
    let request = request.map_err(|error| Failure(error.to_string()))?;
    let response: Response<_> = platform.call_graph(&url::encode(graph_id), request).await?;
    match response.status() {
        StatusCode::OK => Ok(()),
        status => Err(Failure(format!("the graph answered {status}"))),
    }
}
