//! Who asks, and under which address, where trusted proxies stand between (self-host.md 4.3).

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName};
use http::uri::{Authority, Scheme};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// Elements of a list that are looked at: as many proxies stand in a row nowhere.
const PROXIES: usize = 64;

use super::accept::Peer;

/// Which peers may say who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trusted {
    nets: Vec<Net>,
    /// Whoever comes through a Unix socket.
    unix: bool,
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Net {
    address: IpAddr,
    bits: u8,
}

/// What `private` stands for: RFC 1918, RFC 6598, RFC 4193 and link-local addresses.
const PRIVATE: [&str; 7] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

impl Trusted {
    /// Reads a list of addresses, ranges, `loopback`, `private` and `unix`; an error is the entry that is none of these.
    pub(crate) fn parse(entries: &[String]) -> Result<Self, String> {
        let (mut nets, mut unix) = (Vec::new(), false);
        for entry in entries {
            if entry.eq_ignore_ascii_case("unix") {
                unix = true;
                continue;
            }
            let texts: &[&str] = match entry.to_ascii_lowercase().as_str() {
                "loopback" => &["127.0.0.0/8", "::1"],
                "private" => &PRIVATE,
                _ => &[entry],
            };
            for text in texts {
                nets.push(Net::parse(text).ok_or_else(|| entry.clone())?);
            }
        }
        Ok(Self { nets, unix })
    }

    /// Whether what a peer says of others counts.
    pub(crate) fn trusts(&self, peer: Peer) -> bool {
        if peer.is_unix { self.unix } else { self.includes(peer.address) }
    }

    /// Whether an address is among them.
    pub(crate) fn includes(&self, peer: IpAddr) -> bool {
        self.nets.iter().any(|net| net.includes(peer))
    }
}

impl Net {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Self { address, bits })
    }

    fn includes(self, peer: IpAddr) -> bool {
        // A peer over IPv4 may show as an address of IPv6.
        let shift = |most: u32| most.saturating_sub(u32::from(self.bits));
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(peer)) => {
                let cut = |address: u32| address.checked_shr(shift(32)).unwrap_or_default();
                cut(net.to_bits()) == cut(peer.to_bits())
            }
            (IpAddr::V6(net), IpAddr::V6(peer)) => {
                let cut = |address: u128| address.checked_shr(shift(128)).unwrap_or_default();
                cut(net.to_bits()) == cut(peer.to_bits())
            }
            _ => false,
        }
    }
}

/// What is believed of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Whose request it is.
    pub(crate) client: IpAddr,
    /// The scheme that the client used, where a proxy says so.
    pub(crate) scheme: Option<Scheme>,
    /// The host that it called, where a proxy says so.
    pub(crate) host: Option<Authority>,
}

/// A trusted proxy says what is no scheme or host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// What headers of a trusted peer say; from anyone else they count for nothing.
pub(crate) fn read(trusted: &Trusted, peer: Peer, headers: &HeaderMap) -> Result<Asked, Invalid> {
    let is_trusted = trusted.trusts(peer);
    let peer = peer.address.to_canonical();
    let unsaid = Asked { client: peer, scheme: None, host: None };
    if !is_trusted {
        return Ok(unsaid);
    }
    let said = if headers.contains_key(FORWARDED) { of_standard(headers) } else { of_older(headers) };
    // From the right: what the nearest proxy says, as long as it names another trusted one.
    let place = said.senders.iter().rposition(|sender| !sender.is_some_and(|sender| trusted.includes(sender)));
    let place = place.unwrap_or_default();
    let client = said.senders.get(place).copied().flatten().map_or(peer, |sender| sender.to_canonical());
    let at = |values: &[Option<String>]| {
        let place = if values.len() == said.senders.len() { place } else { values.len().saturating_sub(1) };
        values.get(place).cloned().flatten()
    };
    let scheme = match at(&said.protos).map(|proto| proto.to_ascii_lowercase()).as_deref() {
        None => None,
        Some("http") => Some(Scheme::HTTP),
        Some("https") => Some(Scheme::HTTPS),
        Some(_) => return Err(Invalid),
    };
    let port = at(&said.ports);
    let host = at(&said.hosts).map(|host| match &port {
        Some(port) if !has_port(&host) && !is_usual(scheme.as_ref(), port) => format!("{host}:{port}"),
        _ => host,
    });
    let host = host.map(|host| host.parse::<Authority>().ok().filter(|_| is_host(&host)).ok_or(Invalid)).transpose()?;
    Ok(Asked { client, scheme, host })
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(name, _)| !name.contains(':') || name.ends_with(']'))
}

fn is_usual(scheme: Option<&Scheme>, port: &str) -> bool {
    port == if scheme == Some(&Scheme::HTTPS) { "443" } else { "80" }
}

fn is_host(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
}

/// What proxies say, one element for each of them.
#[derive(Default)]
struct Said {
    senders: Vec<Option<IpAddr>>,
    protos: Vec<Option<String>>,
    hosts: Vec<Option<String>>,
    ports: Vec<Option<String>>,
}

/// RFC 7239.
fn of_standard(headers: &HeaderMap) -> Said {
    let elements = list(headers, &FORWARDED, true);
    let parameter = |name: &str| -> Vec<Option<String>> {
        let of = |element: &String| {
            let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            let found = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim().trim_matches('"').to_owned())
        };
        elements.iter().map(of).collect()
    };
    let senders = parameter("for").iter().map(|sender| sender.as_deref().and_then(address)).collect();
    Said { senders, protos: parameter("proto"), hosts: parameter("host"), ports: Vec::new() }
}

fn of_older(headers: &HeaderMap) -> Said {
    let texts = |name| -> Vec<Option<String>> { list(headers, name, false).into_iter().map(Some).collect() };
    Said {
        senders: list(headers, &FORWARDED_FOR, false).iter().map(|sender| address(sender)).collect(),
        protos: texts(&FORWARDED_PROTO),
        hosts: texts(&FORWARDED_HOST),
        ports: texts(&FORWARDED_PORT),
    }
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((bare, _)) => bare,
        None if text.matches(':').count() == 1 => text.split(':').next().unwrap_or_default(),
        None => text,
    };
    bare.parse().ok()
}

/// The elements of a list, which may stand in several headers; of too many the last ones, which are nearest.
fn list(headers: &HeaderMap, name: &HeaderName, quoted: bool) -> Vec<String> {
    let mut elements = Vec::new();
    for value in headers.get_all(name) {
        let mut in_quotes = false;
        let text = value.to_str().unwrap_or_default();
        let parts = text.split(|letter| {
            in_quotes ^= quoted && letter == '"';
            letter == ',' && !in_quotes
        });
        elements.extend(parts.map(|part| part.trim().to_owned()));
    }
    let surplus = elements.len().saturating_sub(PROXIES);
    elements.drain(..surplus);
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(entries: &[&str]) -> Trusted {
        Trusted::parse(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn ask(entries: &[&str], peer: &str, headers: &[(&'static str, &str)]) -> Result<(String, String), Invalid> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let is_unix = peer == "unix";
        let address = if is_unix { "127.0.0.1" } else { peer }.parse().unwrap();
        let asked = read(&trusted(entries), Peer { address, is_unix, is_tls: false }, &map)?;
        let scheme = asked.scheme.map(|scheme| format!("{scheme}://")).unwrap_or_default();
        let host = asked.host.map(|host| host.to_string()).unwrap_or_default();
        Ok((asked.client.to_string(), scheme + &host))
    }

    #[expect(clippy::unnecessary_wraps, reason = "compared with what may be wrong")]
    fn said(client: &str, origin: &str) -> Result<(String, String), Invalid> {
        Ok((client.to_owned(), origin.to_owned()))
    }

    #[test]
    fn ranges_are_what_they_say() {
        let list = trusted(&["loopback", "10.1.0.0/16", "2001:db8::/32", "192.0.2.7"]);
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "10.1.255.1", "2001:db8::1", "192.0.2.7", "::ffff:10.1.0.1"] {
            assert!(list.includes(peer.parse().unwrap()), "{peer}");
        }
        for peer in ["10.2.0.1", "128.0.0.1", "::2", "2001:db9::1", "192.0.2.8", "::ffff:10.2.0.1"] {
            assert!(!list.includes(peer.parse().unwrap()), "{peer}");
        }
        assert!(trusted(&["0.0.0.0/0"]).includes("8.8.8.8".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "proxy.example", "10.0.0.0/x"] {
            assert_eq!(Trusted::parse(&[wrong.to_owned()]), Err(wrong.to_owned()));
        }
    }

    #[test]
    fn strangers_say_nothing() {
        let headers = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-proto", "gopher"), ("x-forwarded-host", "evil")];
        assert_eq!(ask(&["loopback"], "10.0.0.1", &headers), said("10.0.0.1", ""));
        assert_eq!(ask(&[], "127.0.0.1", &headers), said("127.0.0.1", ""));
        assert_eq!(ask(&["loopback"], "127.0.0.1", &[("x-real-ip", "1.1.1.1")]), said("127.0.0.1", ""));
    }

    #[test]
    fn the_nearest_that_is_not_trusted_has_asked() {
        let proxies = ["loopback", "10.0.0.0/8"];
        let older = |sender: &str, proto: &str, host: &str| {
            let headers = [("x-forwarded-for", sender), ("x-forwarded-proto", proto), ("x-forwarded-host", host)];
            ask(&proxies, "127.0.0.1", &headers)
        };
        assert_eq!(older("203.0.113.9", "https", "notes.example"), said("203.0.113.9", "https://notes.example"));
        assert_eq!(older("6.6.6.6, 203.0.113.9, 10.0.0.2", "https", "n:8443"), said("203.0.113.9", "https://n:8443"));
        assert_eq!(
            older("6.6.6.6, 203.0.113.9", "http, https", "a, b"),
            said("203.0.113.9", "https://b"),
            "the same place"
        );
        assert_eq!(older("1.1.1.1, 10.0.0.2", "https, http", "a, b"), said("1.1.1.1", "https://a"));
        assert_eq!(
            older("10.0.0.3, 10.0.0.2", "https, http", "a, b"),
            said("10.0.0.3", "https://a"),
            "all are trusted"
        );
        assert_eq!(older("unknown", "https", "a"), said("127.0.0.1", "https://a"));
        assert_eq!(older("1.1.1.1", "gopher", "a"), Err(Invalid));
        for host in ["a b", "u@a", "a/b", ""] {
            assert_eq!(older("1.1.1.1", "https", host), Err(Invalid), "{host:?}");
        }
        let tunnel = [("x-forwarded-proto", "https")];
        assert_eq!(ask(&proxies, "::1", &tunnel), said("::1", "https://"), "a tunnel tells the scheme alone");
        let port = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-host", "a"), ("x-forwarded-port", "8443")];
        assert_eq!(ask(&proxies, "::1", &port), said("1.1.1.1", "a:8443"));
    }

    #[test]
    fn the_standard_goes_before_older_headers() {
        let headers = [
            ("forwarded", "for=\"[2001:db8::7]:99\";proto=https;host=\"a.example:8443\", for=10.0.0.2;proto=http"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-host", "evil"),
        ];
        let answer = ask(&["loopback", "10.0.0.0/8"], "127.0.0.1", &headers);
        assert_eq!(answer, said("2001:db8::7", "https://a.example:8443"));
    }
}
