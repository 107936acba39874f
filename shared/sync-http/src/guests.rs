//! Web pages at a server that asks nobody for a token (sync.md 3.6): which are let in, and what they are told.

use auth::Guests;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HOST, ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Request};

use crate::error::Error;
use crate::service::Settings;

/// Refuses a request from a page that is not let in, and one that calls this server by a name that is not its own. Where
/// callers have tokens, pages of all origins may try theirs.
pub(crate) fn admit<B>(settings: &Settings, request: &Request<B>) -> Result<(), Error> {
    let Some(guests) = settings.auth.guests() else { return Ok(()) };
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).unwrap_or_default();
    let called = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let hosts: Vec<String> = called.into_iter().chain(request.headers().get_all(HOST).iter().map(text)).collect();
    // The address and the header, where both are there: which of them a runtime shows is its own affair.
    if hosts.is_empty() || !hosts.iter().all(|host| guests.admits_host(host)) {
        return Err(Error::Stranger("host not allowed"));
    }
    if !request.headers().get_all(ORIGIN).iter().all(|origin| guests.admits_origin(&text(origin))) {
        return Err(Error::Stranger("origin not allowed"));
    }
    Ok(())
}

/// Names the page that asked in the headers of an answer, in place of everyone. Answers that were passed on have theirs
/// already, from the graph that made them.
pub(crate) fn name_origin(guests: Option<&Guests>, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    let Some(guests) = guests else { return };
    if headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN).is_none() {
        return;
    }
    headers.append(VARY, HeaderValue::from_static("origin"));
    let admitted = |origin: &&HeaderValue| origin.to_str().is_ok_and(|origin| guests.admits_origin(origin));
    if let Some(origin) = origin.filter(admitted) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
}
