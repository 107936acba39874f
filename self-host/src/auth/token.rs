//! Tokens of stored users (self-host.md 6.1): `lgs_<id>_<secret>`.

use http::Request;
use http::header::AUTHORIZATION;

/// What all of them begin with. No JWT does, as these have no dot.
pub(crate) const PREFIX: &str = "lgs_";

/// Characters of an id.
pub(crate) const ID_CHARS: usize = 8;

/// The id of a token, if this looks like one.
pub(crate) fn id(token: &str) -> Option<&str> {
    let rest = token.strip_prefix(PREFIX)?;
    let (id, secret) = rest.split_once('_')?;
    let is_id = id.len() == ID_CHARS && id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'));
    (is_id && !secret.is_empty()).then_some(id)
}

/// The id of the stored token that a request comes with.
pub(crate) fn id_of<B>(request: &Request<B>) -> Option<String> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let query = web::url::query(request.uri(), "token");
    ::auth::token_from_request(header, query.as_deref()).and_then(id).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_of_ours_have_an_id() {
        assert_eq!(id("lgs_abcdefg2_secret-of-any_kind"), Some("abcdefg2"));
        for other in ["", "lgs_", "lgs_abcdefg2", "lgs_abcdefg2_", "lgs_ABCDEFG2_s", "lgs_abcdefg1_s", "a.b.c"] {
            assert_eq!(id(other), None, "{other}");
        }
    }
}
