//! The agents service, to which requests about sessions go on (sync.md 2.4).

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{Request, Response, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use web::{Failure, Forward, Upstream};

use super::client::{Client, plain};
use crate::bodies::{NativeRequest, NativeResponse};

/// Headers that belong to one connection (RFC 9110, 7.6.1), beside `connection` and `transfer-encoding`.
const OF_THE_CONNECTION: [&str; 5] = ["keep-alive", "proxy-connection", "te", "trailer", "upgrade"];

/// A body that is sent on.
type Body = Either<Incoming, Full<Bytes>>;

/// The service. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Agents {
    client: Client<Body>,
    base: Uri,
}

impl Agents {
    /// The service at an address, of which scheme, host and port count.
    pub(crate) fn new(base: Uri) -> Self {
        Self { client: plain(), base }
    }

    fn address(&self, uri: &Uri) -> Result<Uri, Failure> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = uri.path_and_query().cloned();
        Uri::from_parts(parts).map_err(|error| Failure(error.to_string()))
    }
}

impl Upstream<NativeRequest, NativeResponse> for Agents {
    async fn send(&self, forward: Forward<NativeRequest>) -> Result<Response<NativeResponse>, Failure> {
        let patience = std::time::Duration::from_secs(30);
        let (mut parts, body) = forward.into_request(|payload| NativeRequest::of(payload, patience)).into_parts();
        parts.uri = self.address(&parts.uri)?;
        let headers = &mut parts.headers;
        for name in OF_THE_CONNECTION {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
        // What Miniflare's own workers tell its port: a local service may be served by it, and would take these for its own.
        let private: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("mf-")).cloned().collect();
        for name in private {
            headers.remove(name);
        }
        let body = match body.into_parts() {
            (Some(incoming), _) => Body::Left(incoming),
            (None, bytes) => {
                // The client counts for itself.
                headers.remove(CONTENT_LENGTH);
                headers.remove(TRANSFER_ENCODING);
                Body::Right(Full::from(bytes))
            }
        };
        if matches!(body, Either::Left(_)) && headers.contains_key(CONTENT_LENGTH) {
            headers.remove(TRANSFER_ENCODING);
        }
        headers.remove(HOST);
        let response = self.client.request(Request::from_parts(parts, body)).await;
        let (mut head, body) = response.map_err(|error| Failure(error.to_string()))?.into_parts();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        Ok(Response::from_parts(head, NativeResponse::Passed(body)))
    }
}
