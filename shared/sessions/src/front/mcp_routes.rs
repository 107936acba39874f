//! Tools of agents at the front (pg-sync.md 4.12): only the agent of a session asks for them, with its token.

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use web::{Forward, Objects as _, RequestBody as _, ResponseBody as _, url};

use super::forward::ORIGIN;
use super::identity;
use super::platform::Platform;
use super::rates::Kind;
use super::service::Service;
use crate::error::Error;
use crate::object::TOOL_CLAIMS;

/// Headers of a request that the object needs.
const KEPT: [&str; 2] = ["content-type", "content-length"];

/// Answers `/sessions/:id/mcp`. What the head of a request says is judged here, what its body says by the object, which also knows whether the
/// token counts still.
///
/// # Errors
/// 429 beyond the session's rate. All other refusals are answers of the protocol.
pub(super) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    session_id: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let base = service.settings.base_url.clone().unwrap_or_else(|| url::origin(request.uri()));
    if let Err(refusal) = mcp::admit(request.method(), request.headers(), &origin_of(&base)) {
        request.body_mut().cancel().await;
        return Ok((*refusal).map(P::Response::full));
    }
    let Some(claims) = identity::tool_claims(service, request, session_id, platform.now_ms()) else {
        request.body_mut().cancel().await;
        return Ok(mcp::unauthorized().map(P::Response::full));
    };
    crate::request::check_session_id(session_id).map_err(|_| Error::NotFound)?;
    if service.settings.rate_limits {
        service.rates.take(session_id, Kind::Tools, platform.now_ms())?;
    }
    let internal = |text: String| Error::Internal(text);
    let names: Vec<HeaderName> = request.headers().keys().cloned().collect();
    let uri: Uri = format!("{ORIGIN}mcp").parse().map_err(|_| Error::NotFound)?;
    let mut forward = Forward::of(request).map_err(|failure| internal(failure.0))?.to(uri);
    for name in names.into_iter().filter(|name| !KEPT.contains(&name.as_str())) {
        forward.remove_header(name);
    }
    let said = serde_json::to_string(&claims).map_err(|error| internal(error.to_string()))?;
    let headers = [
        ("x-session-id", url::encode(session_id)),
        ("x-user-id", url::encode(&claims.sub)),
        ("x-caller", "tool".to_owned()),
        (TOOL_CLAIMS, url::encode(&said)),
    ];
    for (name, value) in headers {
        let value = HeaderValue::from_str(&value).map_err(|error| internal(error.to_string()))?;
        forward.set_header(HeaderName::from_static(name), value);
    }
    platform.objects().send(session_id, forward).await.map_err(|failure| internal(failure.0))
}

/// The origin of an address: what pages of it say of themselves.
fn origin_of(base: &str) -> String {
    base.parse().map_or_else(|_| base.to_owned(), |uri| url::origin(&uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path() {
        for (base, origin) in [
            ("https://agents.example/under/here", "https://agents.example"),
            ("http://127.0.0.1:8787", "http://127.0.0.1:8787"),
            ("https://agents.example", "https://agents.example"),
        ] {
            assert_eq!(origin_of(base), origin);
        }
    }
}
