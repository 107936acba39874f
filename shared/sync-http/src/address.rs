//! The address under which clients reach this server (D-68): what is put before the paths that it gives out.
//!
//! A proxy that ends TLS asks in plain HTTP, maybe under another name. A client that follows such an address is
//! redirected, and loses its token on the way.

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, Request, Uri};

use web::url;

use crate::error::Error;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Elements of a forwarding header that are looked at: as many proxies stand in a row nowhere.
const PROXIES: usize = 64;

/// What is known of the server's own address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    base: Option<String>,
    trusts_loopback: bool,
}

/// Settings of an address that mean nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// `DB_SYNC_BASE_URL` is no scheme and host.
    #[error("DB_SYNC_BASE_URL must be an address such as https://notes.example, without a path, not {0:?}")]
    Base(String),
    /// `DB_SYNC_TRUSTED_PROXIES` names what a worker cannot know.
    #[error("DB_SYNC_TRUSTED_PROXIES knows only loopback in a worker, not {0:?}: set DB_SYNC_BASE_URL instead")]
    Proxies(String),
}

impl Address {
    /// Reads `DB_SYNC_BASE_URL`, `DB_SYNC_TRUSTED_PROXIES`, and `DB_SYNC_LOCAL_PEERS`, which whoever serves this worker sets
    /// when nobody but this machine can connect: a worker is not told who its peers are.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, AddressError> {
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let base = match get("DB_SYNC_BASE_URL") {
            Some(text) => Some(origin_of(&text).ok_or(AddressError::Base(text))?),
            None => None,
        };
        let proxies = get("DB_SYNC_TRUSTED_PROXIES").unwrap_or_default();
        let mut proxies = proxies.split(',').map(str::trim).filter(|entry| !entry.is_empty()).peekable();
        let named = proxies.peek().is_some();
        if let Some(unknown) = proxies.find(|entry| !entry.eq_ignore_ascii_case("loopback")) {
            return Err(AddressError::Proxies(unknown.to_owned()));
        }
        let only_local = get("DB_SYNC_LOCAL_PEERS").is_some_and(|peers| peers == "loopback");
        Ok(Self { base, trusts_loopback: named && only_local })
    }

    /// Always this address, which may have a path: for an adapter that takes the path off what it is asked.
    ///
    /// # Errors
    /// It is no address.
    pub fn at(text: &str) -> Result<Self, AddressError> {
        let base = base_of(text.trim()).ok_or_else(|| AddressError::Base(text.to_owned()))?;
        Ok(Self { base: Some(base), trusts_loopback: false })
    }

    /// The address that is always told, where there is one.
    pub(crate) fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// Scheme, host and port for what a request is answered with, and a path where there is one before all others.
    ///
    /// # Errors
    /// 400 where a trusted proxy says what is no scheme or host.
    pub(crate) fn of<B>(&self, request: &Request<B>) -> Result<String, Error> {
        let own = request.uri();
        if let Some(base) = &self.base {
            return Ok(base.clone());
        }
        if !self.trusts_loopback {
            return Ok(url::origin(own));
        }
        let said = Said::read(request.headers());
        if said.proto.is_none() && said.host.is_none() {
            return Ok(url::origin(own));
        }
        let invalid = || Error::BadRequest("invalid forwarded header");
        let scheme = match said.proto.map(|proto| proto.to_ascii_lowercase()) {
            Some(proto) if proto == "http" || proto == "https" => proto,
            Some(_) => return Err(invalid()),
            None => own.scheme_str().unwrap_or("http").to_owned(),
        };
        // A tunnel may tell the scheme alone; the name stands where it always does.
        let called = || request.headers().get(HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let host = match said.host.or_else(called) {
            Some(host) => host,
            None => own.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default(),
        };
        if is_host(&host) { Ok(format!("{scheme}://{host}")) } else { Err(invalid()) }
    }
}

/// `scheme://host[:port]` and maybe a path, without a slash at its end.
fn base_of(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let path = uri.path().trim_end_matches('/').to_owned();
    let bare = text.trim_end_matches('/').strip_suffix(&*path)?;
    let is_path = !path.split('/').any(|part| matches!(part, "." | "..")) && !path.contains("//");
    (is_path && uri.query().is_none()).then(|| origin_of(bare).map(|origin| origin + &path))?
}

/// `scheme://host[:port]`, a slash behind it included or not.
fn origin_of(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let host = uri.authority()?.as_str().to_ascii_lowercase();
    let plain = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains('#');
    (plain && matches!(&*scheme, "http" | "https") && is_host(&host)).then(|| format!("{scheme}://{host}"))
}

/// A name, an address or an address in brackets, and maybe a port.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (None, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("0")))
        }
        None => match text.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(text), Some("0")),
        },
    };
    let named = name.is_none_or(|name| {
        !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    });
    named && port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// What a proxy says about the request that it got.
#[derive(Debug, Default)]
struct Said {
    proto: Option<String>,
    host: Option<String>,
}

impl Said {
    /// `Forwarded` where it is there, else the headers that are older than it.
    fn read(headers: &HeaderMap) -> Self {
        if headers.contains_key(FORWARDED) {
            let elements = list(headers, &FORWARDED);
            let by =
                |name| -> Vec<Option<String>> { elements.iter().map(|element| parameter(element, name)).collect() };
            let senders: Vec<String> = by("for").into_iter().map(Option::unwrap_or_default).collect();
            let place = place_of_client(&senders);
            let at = |values: Vec<Option<String>>| values.into_iter().nth(place).flatten();
            return Self { proto: at(by("proto")), host: at(by("host")) };
        }
        let senders = list(headers, &FORWARDED_FOR);
        let place = place_of_client(&senders);
        let at = |name| {
            let values = list(headers, name);
            let place = if values.len() == senders.len() { place } else { values.len().saturating_sub(1) };
            values.into_iter().nth(place)
        };
        Self { proto: at(&FORWARDED_PROTO), host: at(&FORWARDED_HOST) }
    }
}

/// The place of the first sender, seen from here, that is not trusted; where all are, the first of all.
fn place_of_client(senders: &[String]) -> usize {
    senders.iter().rposition(|sender| !is_loopback(sender)).unwrap_or_default()
}

fn is_loopback(sender: &str) -> bool {
    let sender = sender.to_ascii_lowercase();
    let name = match sender.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if sender.matches(':').count() == 1 => sender.split(':').next().unwrap_or_default(),
        None => &sender,
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The elements of a list, which may stand in several headers; of too many the last ones, which are nearest.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let texts = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default());
    let mut elements: Vec<String> = texts.flat_map(elements).map(|element| element.trim().to_owned()).collect();
    let surplus = elements.len().saturating_sub(PROXIES);
    elements.drain(..surplus);
    elements
}

/// Splits at commas that stand in no quotes. The length of a header bounds it.
fn elements(text: &str) -> Vec<&str> {
    split(text, b',')
}

fn split(text: &str, separator: u8) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// A parameter of an element of `Forwarded` (RFC 7239, 4).
fn parameter(element: &str, name: &str) -> Option<String> {
    split(element, b';').into_iter().find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| unquote(value.trim()))
    })
}

fn unquote(text: &str) -> String {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_may_have_a_path() {
        for (text, expected) in [
            ("https://h", Some("https://h")),
            ("https://h:8443/", Some("https://h:8443")),
            ("https://h/notes", Some("https://h/notes")),
            ("https://h/a/b/", Some("https://h/a/b")),
            ("https://h/a?q", None),
            ("https://h/a/../b", None),
            ("https://h//a", None),
            ("ftp://h/a", None),
            ("h/a", None),
        ] {
            assert_eq!(base_of(text).as_deref(), expected, "{text}");
        }
    }

    fn address(settings: &[(&str, &str)]) -> Result<Address, AddressError> {
        let find = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Address::from_lookup(find)
    }

    const TRUSTING: [(&str, &str); 2] = [("DB_SYNC_TRUSTED_PROXIES", "loopback"), ("DB_SYNC_LOCAL_PEERS", "loopback")];

    fn origin(settings: &[(&str, &str)], headers: &[(&str, &str)]) -> Result<String, String> {
        let mut request = Request::new(());
        *request.uri_mut() = "http://sync.internal:8787/sync/g/snapshot/download".parse().unwrap();
        request.headers_mut().insert(HOST, "sync.internal:8787".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        address(settings).unwrap().of(&request).map_err(|error| error.to_string())
    }

    const OWN: &str = "http://sync.internal:8787";
    const HTTPS: &str = "https://notes.example";

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        let lies = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "proto=https;host=evil.example"),
        ];
        let trusted = ("DB_SYNC_TRUSTED_PROXIES", "loopback");
        for settings in [
            &[][..],
            &[trusted],
            &[("DB_SYNC_LOCAL_PEERS", "loopback")],
            &[trusted, ("DB_SYNC_LOCAL_PEERS", "192.168.1.5")],
        ] {
            assert_eq!(origin(settings, &lies).as_deref(), Ok(OWN), "{settings:?}");
        }
        assert_eq!(origin(&TRUSTING, &[]).as_deref(), Ok(OWN));
    }

    #[test]
    fn a_trusted_proxy_tells_scheme_and_host() {
        let said = |headers: &[(&str, &str)]| origin(&TRUSTING, headers);
        let cases: [(&[(&str, &str)], &str); 17] = [
            (&[("x-forwarded-proto", "https"), ("x-forwarded-host", "notes.example")], HTTPS),
            (&[("x-forwarded-proto", "HTTPS")], "https://sync.internal:8787"),
            (&[("x-forwarded-host", "notes.example:8443")], "http://notes.example:8443"),
            (&[("x-forwarded-host", "[2001:db8::1]:8443")], "http://[2001:db8::1]:8443"),
            (&[("forwarded", "for=203.0.113.5;proto=https;host=notes.example")], HTTPS),
            (&[("forwarded", "For=\"[2001:db8::5]:4711\"; Proto=https ;HOST=\"notes.example\"")], HTTPS),
            // Only `Forwarded` counts where it is there.
            (&[("forwarded", "proto=https;host=notes.example"), ("x-forwarded-host", "evil.example")], HTTPS),
            (&[("forwarded", "for=1.2.3.4"), ("x-forwarded-host", "evil.example")], OWN),
            // The first sender from here that is not trusted.
            (
                &[(
                    "forwarded",
                    "host=evil.example;for=6.6.6.6, proto=https;host=notes.example;for=203.0.113.5, for=127.0.0.1;host=inner",
                )],
                HTTPS,
            ),
            (
                &[
                    ("forwarded", "host=evil.example;for=6.6.6.6"),
                    ("forwarded", "proto=https;host=notes.example;for=203.0.113.5"),
                ],
                HTTPS,
            ),
            (&[("forwarded", "for=127.0.0.1;proto=https;host=notes.example, for=127.0.0.1;host=inner")], HTTPS),
            (
                &[
                    ("x-forwarded-for", "6.6.6.6, 203.0.113.5, 127.0.0.1"),
                    ("x-forwarded-proto", "http, https, http"),
                    ("x-forwarded-host", "evil.example, notes.example, inner"),
                ],
                HTTPS,
            ),
            (
                &[
                    ("x-forwarded-for", "203.0.113.5, [::1]:99"),
                    ("x-forwarded-proto", "https,http"),
                    ("x-forwarded-host", "notes.example,inner"),
                ],
                HTTPS,
            ),
            // Lists of another length: the last value.
            (
                &[
                    ("x-forwarded-for", "203.0.113.5"),
                    ("x-forwarded-proto", "http, https"),
                    ("x-forwarded-host", "evil.example, notes.example"),
                ],
                HTTPS,
            ),
            (
                &[("x-forwarded-proto", "http"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "notes.example")],
                HTTPS,
            ),
            (&[("x-real-ip", "1.2.3.4"), ("x-forwarded-port", "1")], OWN),
            (&[("forwarded", "for=\"a,b;c\\\"\";proto=https;host=notes.example")], HTTPS),
        ];
        for (headers, expected) in cases {
            assert_eq!(said(headers).as_deref(), Ok(expected), "{headers:?}");
        }
    }

    #[test]
    fn nonsense_of_a_proxy_is_refused() {
        for (name, value) in [
            ("x-forwarded-proto", "ftp"),
            ("x-forwarded-proto", ""),
            ("x-forwarded-proto", "https://"),
            ("x-forwarded-host", ""),
            ("x-forwarded-host", "a b"),
            ("x-forwarded-host", "user@notes.example"),
            ("x-forwarded-host", "notes.example/path"),
            ("x-forwarded-host", "notes.example:"),
            ("x-forwarded-host", "notes.example:99999"),
            ("x-forwarded-host", "notes.example:80:80"),
            ("x-forwarded-host", "notes.example?x"),
            ("x-forwarded-host", "notes.example#x"),
            ("x-forwarded-host", "[::1"),
            ("x-forwarded-host", "[nonsense]"),
            ("x-forwarded-host", "notés.example"),
            ("x-forwarded-host", "\\evil"),
            ("forwarded", "proto=javascript"),
            ("forwarded", "host=\"a/b\""),
        ] {
            let refused = origin(&TRUSTING, &[(name, value)]);
            assert_eq!(refused, Err("invalid forwarded header".to_owned()), "{name}: {value}");
        }
        let long = format!("{}.example", "x".repeat(254));
        assert!(origin(&TRUSTING, &[("x-forwarded-host", &long)]).is_err());
    }

    #[test]
    fn a_base_address_goes_before_all() {
        let lies = [("x-forwarded-proto", "http"), ("x-forwarded-host", "evil.example")];
        for (text, expected) in [
            ("https://notes.example", HTTPS),
            ("https://notes.example/", HTTPS),
            (" HTTPS://Notes.Example ", HTTPS),
            ("http://192.168.1.5:8787", "http://192.168.1.5:8787"),
            ("http://[fe80::1]:8787/", "http://[fe80::1]:8787"),
        ] {
            let settings = [&TRUSTING[..], &[("DB_SYNC_BASE_URL", text)]].concat();
            assert_eq!(origin(&settings, &lies).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "notes.example",
            "ftp://notes.example",
            "https://",
            "https://user@notes.example",
            "https://notes.example/api",
            "https://notes.example?x",
            "https://notes.example#x",
            "//notes.example",
            "https://notes.example:x",
        ] {
            assert_eq!(address(&[("DB_SYNC_BASE_URL", text)]), Err(AddressError::Base(text.to_owned())), "{text}");
        }
        assert_eq!(address(&[("DB_SYNC_BASE_URL", " ")]), Ok(Address::default()));
    }

    #[test]
    fn a_worker_knows_loopback_alone() {
        for list in ["", " ", ",", "loopback", " Loopback , loopback,"] {
            assert!(address(&[("DB_SYNC_TRUSTED_PROXIES", list)]).is_ok(), "{list}");
        }
        for (list, unknown) in [("10.0.0.0/8", "10.0.0.0/8"), ("loopback, private", "private"), ("*", "*")] {
            let refused = address(&[("DB_SYNC_TRUSTED_PROXIES", list)]);
            assert_eq!(refused, Err(AddressError::Proxies(unknown.to_owned())), "{list}");
        }
    }
}
