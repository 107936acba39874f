//! From the front worker to the object of a session (agents.md 2.5).

use http::header::{CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use web::{Forward, Objects as _, url};

use super::identity::Caller;
use super::platform::Platform;
use crate::error::Error;
use crate::object::TOOL_CLAIMS;

/// Where objects are. They look at paths only.
pub(super) const ORIGIN: &str = "https://session/__session__/";
/// Headers of a client that an object needs; all others stay here.
const KEPT: [&str; 3] = ["last-event-id", "idempotency-key", "connection"];

/// What is sent to an object.
pub(super) struct Errand<'a> {
    /// The session.
    pub(super) session_id: &'a str,
    /// Who asks.
    pub(super) caller: &'a Caller,
    /// The object's path, without its prefix.
    pub(super) path: &'a str,
    /// Whether the query goes with it.
    pub(super) with_query: bool,
    /// The checked body; none where the route has none.
    pub(super) body: Option<&'a [u8]>,
    /// Under which address clients reach the service; for creations.
    pub(super) base: Option<&'a str>,
}

/// Sends a request to the object of a session and gives its answer, a protocol switch included.
pub(super) async fn send<P: Platform>(
    platform: &P,
    errand: &Errand<'_>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let names: Vec<HeaderName> = request.headers().keys().cloned().collect();
    let query = errand.with_query.then(|| query_without_token(request.uri())).filter(|query| !query.is_empty());
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let uri: Uri = format!("{ORIGIN}{}{query}", errand.path).parse().map_err(|_| Error::NotFound)?;
    let forward = match errand.body {
        Some(body) => Forward::copy(request, body),
        None => Forward::of(request).map_err(|failure| Error::Internal(failure.0))?,
    };
    let mut forward = forward.to(uri);
    for name in names {
        if !is_kept(&name) {
            forward.remove_header(name);
        }
    }
    let mut set = |name: &'static str, value: &str| -> Result<(), Error> {
        let value = HeaderValue::from_str(value).map_err(|error| Error::Internal(error.to_string()))?;
        forward.set_header(HeaderName::from_static(name), value);
        Ok(())
    };
    set("x-session-id", &url::encode(errand.session_id))?;
    set("x-user-id", &url::encode(errand.caller.user.as_deref().unwrap_or_default()))?;
    match &errand.caller.tool {
        Some(claims) => {
            let text = serde_json::to_string(claims).map_err(|error| Error::Internal(error.to_string()))?;
            set(TOOL_CLAIMS, &url::encode(&text))?;
            set("x-caller", "tool")?;
        }
        None => set("x-caller", if errand.caller.is_observer { "observer" } else { "user" })?,
    }
    if let Some(base) = errand.base {
        set("x-stream-base", base)?;
    }
    if errand.body.is_some() {
        forward.set_header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let sent = platform.objects().send(errand.session_id, forward).await;
    sent.map_err(|failure| Error::Internal(failure.0))
}

fn is_kept(name: &HeaderName) -> bool {
    let is_socket = *name == UPGRADE || (name.as_str().starts_with("sec-websocket-") && *name != SEC_WEBSOCKET_ACCEPT);
    is_socket || KEPT.contains(&name.as_str())
}

/// The query without the caller's token, which is nobody else's business.
fn query_without_token(uri: &Uri) -> String {
    let parts = uri.query().unwrap_or_default().split('&');
    let others = parts.filter(|part| !part.is_empty() && part.split('=').next() != Some("token"));
    others.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_behind() {
        for (query, expected) in [
            ("token=a", ""),
            ("cols=1&token=a&rows=2", "cols=1&rows=2"),
            ("token&x", "x"),
            ("tokens=a", "tokens=a"),
            ("", ""),
        ] {
            let uri: Uri = format!("http://h/p?{query}").parse().unwrap();
            assert_eq!(query_without_token(&uri), expected, "{query}");
        }
    }

    #[test]
    fn headers_of_clients_stay_behind() {
        let kept = |name: &str| is_kept(&name.parse().unwrap());
        assert!(kept("upgrade") && kept("sec-websocket-key") && kept("last-event-id"));
        for name in ["x-user-id", "x-session-id", "x-caller", "authorization", "cookie", "x-stream-base"] {
            assert!(!kept(name), "{name}");
        }
    }
}
