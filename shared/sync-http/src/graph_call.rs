//! What the front worker sends to a graph: who asks, and which operation of its own it is, if it is one.
//!
//! Both travel in headers that no client can set: [`seal`] takes them away from every request and writes them itself. A
//! graph that finds none of them was not called by the front worker, and refuses.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use web::{Failure, Forward, Objects as _, url};

use crate::error::Error;
use crate::platform::Platform;

const CALLER: HeaderName = HeaderName::from_static("x-db-sync-caller");
const OPERATION: HeaderName = HeaderName::from_static("x-db-sync-operation");

/// The headers by which a graph knows the front worker.
const SEALED: [HeaderName; 2] = [CALLER, OPERATION];

/// On whose behalf the front worker calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A user whose access was found good, here or up to five seconds ago.
    User(String),
    /// Whoever has the operator's token.
    Operator,
}

/// What the front worker asks on its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// A user was removed: remember it, and close the user's sockets.
    Revoke(String),
    /// A user was added: ask the index, and let them in.
    Restore(String),
    /// A user who is no member asks to be removed: whoever was until a moment ago, or sits at the graph, is one who was.
    Leave(String),
    /// Whether the graph is there: not deleted, and not about to be.
    Exists,
    /// The graph is being deleted: refuse everything from now on.
    Delete,
    /// The last of a deleted graph: remove its rows.
    Erase,
}

/// What a sealed request is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A client's request.
    Client(Caller),
    /// The front worker's own.
    Front(Operation),
}

/// Marks a client's request with who asks.
pub(crate) fn seal<B>(request: &mut Forward<B>, caller: &Caller) -> Result<(), Failure> {
    let text = match caller {
        Caller::User(id) => format!("user {}", url::encode(id)),
        Caller::Operator => "operator".to_owned(),
    };
    write(request, CALLER, &text)
}

/// Marks a call of our own.
fn seal_operation<B>(request: &mut Forward<B>, operation: &Operation) -> Result<(), Failure> {
    let text = match operation {
        Operation::Revoke(id) => format!("revoke {}", url::encode(id)),
        Operation::Restore(id) => format!("restore {}", url::encode(id)),
        Operation::Leave(id) => format!("leave {}", url::encode(id)),
        Operation::Exists => "exists".to_owned(),
        Operation::Delete => "delete".to_owned(),
        Operation::Erase => "erase".to_owned(),
    };
    write(request, OPERATION, &text)
}

fn write<B>(request: &mut Forward<B>, name: HeaderName, text: &str) -> Result<(), Failure> {
    for sealed in SEALED {
        request.remove_header(sealed);
    }
    let value = HeaderValue::from_str(text).map_err(|error| Failure(error.to_string()))?;
    request.set_header(name, value);
    Ok(())
}

/// Reads what [`seal`] wrote.
pub(crate) fn open(headers: &HeaderMap) -> Result<Call, Error> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let words = |text: &str| match text.split_once(' ') {
        Some((word, id)) => (word.to_owned(), url::decode(id)),
        None => (text.to_owned(), None),
    };
    if let Some((word, id)) = text(OPERATION).map(words) {
        let operation = match (&*word, id) {
            ("revoke", Some(id)) => Operation::Revoke(id),
            ("restore", Some(id)) => Operation::Restore(id),
            ("leave", Some(id)) => Operation::Leave(id),
            ("exists", None) => Operation::Exists,
            ("delete", None) => Operation::Delete,
            ("erase", None) => Operation::Erase,
            _ => return Err(Error::Forbidden),
        };
        return Ok(Call::Front(operation));
    }
    match text(CALLER).map(words) {
        Some((word, Some(id))) if word == "user" => Ok(Call::Client(Caller::User(id))),
        Some((word, None)) if word == "operator" => Ok(Call::Client(Caller::Operator)),
        _ => Err(Error::Forbidden),
    }
}

/// Asks something of a graph on the front worker's own account; whatever it does not answer with success is a failure.
pub(crate) async fn ask<P: Platform>(platform: &P, graph_id: &str, operation: &Operation) -> Result<(), Failure> {
    match send(platform, graph_id, operation).await? {
        StatusCode::OK => Ok(()),
        status => Err(Failure(format!("the graph answered {status}"))),
    }
}

/// The same; gives the answer's status. Objects are named by the id as it stands in a path, encoded (sync.md 1, D-25).
pub(crate) async fn send<P: Platform>(
    platform: &P,
    graph_id: &str,
    operation: &Operation,
) -> Result<StatusCode, Failure> {
    let name = url::encode(graph_id);
    let uri = format!("http://graph.internal/?{}={name}", crate::sync::GRAPH_ID);
    let uri = uri.parse().map_err(|_| Failure("a graph id that no URL holds".into()))?;
    let mut request = Forward::new(Method::POST, uri);
    seal_operation(&mut request, operation)?;
    Ok(platform.graphs().send(&name, request).await?.status())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn own() -> Forward<()> {
        Forward::new(Method::POST, "/".parse().unwrap())
    }

    #[test]
    fn what_is_sealed_is_opened() {
        for id in ["u", "us-east-1:a b/c", "日本 operator", "delete", "", "user x"] {
            let mut request = own();
            seal(&mut request, &Caller::User(id.into())).unwrap();
            assert_eq!(open(request.headers()).unwrap(), Call::Client(Caller::User(id.into())), "{id}");
            for operation in [Operation::Revoke(id.into()), Operation::Restore(id.into()), Operation::Leave(id.into())]
            {
                seal_operation(&mut request, &operation).unwrap();
                assert_eq!(open(request.headers()).unwrap(), Call::Front(operation), "{id}");
            }
        }
        let mut request = own();
        for operation in [Operation::Delete, Operation::Erase, Operation::Exists] {
            seal_operation(&mut request, &operation).unwrap();
            assert_eq!(open(request.headers()).unwrap(), Call::Front(operation));
        }
        seal(&mut request, &Caller::Operator).unwrap();
        assert_eq!(open(request.headers()).unwrap(), Call::Client(Caller::Operator));
    }

    #[test]
    fn what_a_client_wrote_is_gone() {
        let mut client = Request::new(());
        for name in SEALED {
            for value in ["operator", "delete", "user admin", ""] {
                client.headers_mut().append(&name, HeaderValue::from_static(value));
            }
        }
        let mut request = Forward::copy(&client, b"");
        seal(&mut request, &Caller::User("u".into())).unwrap();
        assert_eq!(open(request.headers()).unwrap(), Call::Client(Caller::User("u".into())));
        assert_eq!(request.headers().len(), 1);
        let changes: Vec<_> = request.changes().map(|(name, value)| (name, value.is_some())).collect();
        assert!(SEALED.iter().all(|name| changes.contains(&(name, *name == CALLER))), "an adapter is told of both");
    }

    #[test]
    fn an_unsealed_request_is_refused() {
        assert!(matches!(open(&HeaderMap::new()), Err(Error::Forbidden)));
        for (name, value) in [
            (CALLER, ""),
            (CALLER, "user"),
            (CALLER, "operator x"),
            (CALLER, "Operator"),
            (CALLER, "user bad%zz"),
            (OPERATION, ""),
            (OPERATION, "delete now"),
            (OPERATION, "revoke"),
            (OPERATION, "reset"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            assert!(matches!(open(&headers), Err(Error::Forbidden)), "{value}");
        }
    }
}
