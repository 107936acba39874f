//! Parts of URLs: path parameters and query parameters.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The first value of a query parameter, decoded as a form field.
pub fn query<'a>(uri: &'a Uri, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(uri.query()?.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The query with one parameter set: every value that was there gives way to this one.
pub fn query_with(uri: &Uri, name: &str, value: &str) -> String {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).filter(|(key, _)| key != name);
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    query.append_pair(name, value);
    query.finish()
}

/// Scheme, host and port, as the client wrote them; never a name or password before the host.
pub fn origin(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = uri.host().unwrap_or_default();
    match uri.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Decodes a path parameter; none when an escape is broken or the bytes are no UTF-8 (D-38).
pub fn decode(text: &str) -> Option<String> {
    let mut escapes = text.split('%').skip(1);
    let is_whole = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    if !escapes.all(is_whole) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

/// What stands as it is in a path segment, besides letters and digits.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Encodes text as a path segment: what is neither a letter, a digit nor one of `-_.!~*'()` is escaped. A decoded
/// parameter that goes into another path passes through here (D-25).
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_strictly() {
        for (text, expected) in [
            ("plain", Some("plain")),
            ("us-east-1%3Aabc", Some("us-east-1:abc")),
            ("a%2fb%20c%2B%25", Some("a/b c+%")),
            ("%E6%97%A5", Some("日")),
            ("bad%zzescape", None),
            ("cut%4", None),
            ("cut%", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(text).as_deref(), expected, "{text}");
        }
        assert_eq!(encode("a/b c+%日-_.!~*'()"), "a%2Fb%20c%2B%25%E6%97%A5-_.!~*'()");
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (uri, expected) in [
            ("https://sync.test/p?q", "https://sync.test"),
            ("http://127.0.0.1:8787/p", "http://127.0.0.1:8787"),
            ("http://[::1]:8787/", "http://[::1]:8787"),
            ("http://user:secret@h/p", "http://h"),
            ("/p", "http://"),
        ] {
            assert_eq!(origin(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn a_set_parameter_replaces_what_was_there() {
        let uri: Uri = "http://h/p?graph-id=x&since=1%202&graph-id=y&email=a%2Bb".parse().unwrap();
        assert_eq!(query_with(&uri, "graph-id", "g&1"), "since=1+2&email=a%2Bb&graph-id=g%261");
        assert_eq!(query_with(&"http://h/p".parse().unwrap(), "graph-id", "g"), "graph-id=g");
        assert_eq!(query(&uri, "email").as_deref(), Some("a+b"));
        assert_eq!(query(&uri, "token"), None);
    }
}
