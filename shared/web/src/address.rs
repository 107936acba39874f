//! Addresses that users name and this service calls: none of them may lead into a private network (agents.md 7.4).
//!
//! The text is read as clients of HTTP read it, so `https://0x7f.1/` is known for what it is. A name is judged by its letters
//! alone: what it resolves to is not known here, and on Workers a private network cannot be reached by name anyway. Names are
//! ASCII; those of other letters are taken in their Punycode form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The longest address that is looked at, in bytes.
pub const MAX_ADDRESS_BYTES: usize = 2_048;

/// Why an address is refused. No text shows it: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It cannot be read, or is too long.
    #[error("the address is none")]
    Unreadable,
    /// Neither `https` nor, where that is allowed, `http`.
    #[error("the address does not begin with https://")]
    Scheme,
    /// It names a user or a password.
    #[error("the address holds credentials")]
    Credentials,
    /// It has a fragment, which is never sent.
    #[error("the address has a fragment")]
    Fragment,
    /// It leads into a private network, to this machine or to nobody in particular.
    #[error("the address is private")]
    Private,
}

/// Which addresses are let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Whether `http` and private addresses are as good as others.
    pub allow_private: bool,
    /// Private networks that are let through all the same. They do not allow `http`.
    pub allowed: Vec<Network>,
}

/// A range of addresses, such as `10.1.0.0/16` or `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The first address; both families as 128 bits, each among its own.
    first: u128,
    /// Bits that all of them share, counted within the family.
    prefix: u8,
    is_v4: bool,
}

impl Network {
    const fn v4(first: Ipv4Addr, prefix: u8) -> Self {
        Self { first: first.to_bits() as u128, prefix, is_v4: true }
    }

    const fn v6(first: Ipv6Addr, prefix: u8) -> Self {
        Self { first: first.to_bits(), prefix, is_v4: false }
    }

    /// Reads a range; an address without a length is a range of one.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, prefix) = match text.trim().split_once('/') {
            Some((first, prefix)) => (first, Some(prefix)),
            None => (text.trim(), None),
        };
        let network = match first.parse().ok()? {
            IpAddr::V4(first) => Self::v4(first, 32),
            IpAddr::V6(first) => Self::v6(first, 128),
        };
        let Some(prefix) = prefix else { return Some(network) };
        let is_digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|prefix| is_digits && *prefix <= network.prefix)?;
        Some(Self { prefix, ..network })
    }

    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, width, is_v4) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32_u32, true),
            IpAddr::V6(address) => (address.to_bits(), 128, false),
        };
        // A shift by the whole width leaves nothing that could differ.
        let rest = width.saturating_sub(u32::from(self.prefix));
        let head = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
        is_v4 == self.is_v4 && head(bits) == head(self.first)
    }
}

/// Networks whose addresses are not everybody's.
const PRIVATE: [Network; 22] = [
    Network::v4(Ipv4Addr::UNSPECIFIED, 8),
    Network::v4(Ipv4Addr::new(10, 0, 0, 0), 8),
    Network::v4(Ipv4Addr::new(100, 64, 0, 0), 10),
    Network::v4(Ipv4Addr::new(127, 0, 0, 0), 8),
    // Of the link; clouds keep their metadata here.
    Network::v4(Ipv4Addr::new(169, 254, 0, 0), 16),
    Network::v4(Ipv4Addr::new(172, 16, 0, 0), 12),
    Network::v4(Ipv4Addr::new(192, 0, 0, 0), 24),
    Network::v4(Ipv4Addr::new(192, 168, 0, 0), 16),
    Network::v4(Ipv4Addr::new(198, 18, 0, 0), 15),
    // Multicast, reserved, broadcast.
    Network::v4(Ipv4Addr::new(224, 0, 0, 0), 3),
    // Unspecified, loopback, and a form of IPv4 addresses that is out of use.
    Network::v6(Ipv6Addr::UNSPECIFIED, 96),
    // Mapped and translated addresses: those that can be unwrapped never get here.
    Network::v6(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    Network::v6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    // Thrown away.
    Network::v6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    // Tunnels with an IPv4 address inside (Teredo).
    Network::v6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
    // Names of hosts, no places (ORCHID).
    Network::v6(Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28),
    Network::v6(Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
    // For documents.
    Network::v6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    Network::v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    // Of the link, and of the site in its old form.
    Network::v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Network::v6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    // Multicast.
    Network::v6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Names that mean this machine or its neighbours, with all that lies below them.
const PRIVATE_NAMES: [&str; 6] = ["localhost", "local", "internal", "home.arpa", "localdomain", "intranet"];

/// The address, if it may be called under these rules.
pub fn checked(text: &str, rules: &AddressRules) -> Result<Url, AddressError> {
    if text.len() > MAX_ADDRESS_BYTES {
        return Err(AddressError::Unreadable);
    }
    let url = Url::parse(text).map_err(|_| AddressError::Unreadable)?;
    match url.scheme() {
        "https" => {}
        "http" if rules.allow_private => {}
        _ => return Err(AddressError::Scheme),
    }
    // A text with an empty name is written as if it had none.
    let has_name = text.split(['/', '\\', '?', '#']).nth(2).is_some_and(|authority| authority.contains('@'));
    if has_name || !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::Credentials);
    }
    if url.fragment().is_some() {
        return Err(AddressError::Fragment);
    }
    if rules.allow_private {
        return url.has_host().then_some(url).ok_or(AddressError::Unreadable);
    }
    let is_private = match url.host() {
        None => return Err(AddressError::Unreadable),
        Some(Host::Domain(name)) => is_private_name(name),
        Some(Host::Ipv4(address)) => is_private_address(IpAddr::V4(address), &rules.allowed),
        Some(Host::Ipv6(address)) => is_private_address(unwrapped(address), &rules.allowed),
    };
    match (is_private, text.contains('\\')) {
        (true, _) => Err(AddressError::Private),
        // Other readers than this one take what stands before it for a name: `https://a.example\@b.example`.
        (false, true) => Err(AddressError::Unreadable),
        (false, false) => Ok(url),
    }
}

/// Whether an address is private and not in a network that is let through.
fn is_private_address(address: IpAddr, allowed: &[Network]) -> bool {
    let is_in = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
    is_in(&PRIVATE) && !is_in(allowed)
}

/// The IPv4 address that an IPv6 address carries: mapped, translated (NAT64) or tunnelled (6to4).
fn unwrapped(address: Ipv6Addr) -> IpAddr {
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            v4(high, low)
        }
        _ => IpAddr::V6(address),
    }
}

/// A name without a dot is looked up among the neighbours first.
fn is_private_name(name: &str) -> bool {
    // The name is in small letters already. Dots at its end only say that it is complete.
    let name = name.trim_end_matches('.');
    let is_below = |of: &&str| name.strip_suffix(*of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || PRIVATE_NAMES.iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str, rules: &AddressRules) -> Result<String, AddressError> {
        checked(text, rules).map(String::from)
    }

    /// Forms in which an address of a private network is hidden, or an address is more than it seems.
    #[test]
    fn hostile_addresses() {
        use AddressError::{Credentials, Fragment, Private, Scheme, Unreadable};
        let cases = [
            // This machine and the network around it, as they are.
            ("https://127.0.0.1/", Private),
            ("https://127.255.255.254:8443/x", Private),
            ("https://0.0.0.0/", Private),
            ("https://0.1.2.3/", Private),
            ("https://10.0.0.1/", Private),
            ("https://10.255.255.255/", Private),
            ("https://100.64.0.1/", Private),
            ("https://100.127.255.255/", Private),
            ("https://169.254.169.254/latest/meta-data/", Private),
            ("https://172.16.0.1/", Private),
            ("https://172.31.255.255/", Private),
            ("https://192.0.0.192/", Private),
            ("https://192.168.1.1/", Private),
            ("https://198.18.0.1/", Private),
            ("https://198.19.255.255/", Private),
            ("https://224.0.0.1/", Private),
            ("https://240.0.0.1/", Private),
            ("https://255.255.255.255/", Private),
            // Other ways to write the same.
            ("https://2130706433/", Private),
            ("https://0x7f000001/", Private),
            ("https://0x7f.1/", Private),
            ("https://0x7f.0.0.0x1/", Private),
            ("https://017700000001/", Private),
            ("https://0177.0.0.1/", Private),
            ("https://0000177.00.0.01/", Private),
            ("https://127.1/", Private),
            ("https://127.0.1/", Private),
            ("https://127.0.0.1./", Private),
            ("https://0/", Private),
            ("https://0x0/", Private),
            ("https://0x/", Private),
            ("https://2852039166/", Private),
            ("https://0xA9FEA9FE/", Private),
            ("https://0251.0376.0251.0376/", Private),
            ("https://169.0xfea9fe/", Private),
            ("https://%31%32%37.0.0.1/", Private),
            ("https://127.0.0.1\t/", Private),
            ("https://127.\n0.0.1/", Private),
            ("\u{1} https://127.0.0.1/ ", Private),
            ("https:127.0.0.1/", Private),
            ("https:///127.0.0.1/", Private),
            ("https:\\\\127.0.0.1\\", Private),
            ("HTTPS://127.0.0.1", Private),
            // Another host for those who take a backslash for a letter.
            ("https://public.example\\@127.0.0.1/", Unreadable),
            ("https://public.example/a\\b", Unreadable),
            // Not an IPv4 address, and no name.
            ("https://256.0.0.1/", Unreadable),
            ("https://127.0.0.0x100000000/", Unreadable),
            ("https://1.2.3.4.5/", Unreadable),
            ("https://4294967296/", Unreadable),
            ("https://127.0.0.09/", Unreadable),
            // IPv6.
            ("https://[::]/", Private),
            ("https://[::1]/", Private),
            ("https://[0:0:0:0:0:0:0:1]/", Private),
            ("https://[::127.0.0.1]/", Private),
            ("https://[::7f00:1]/", Private),
            ("https://[::8.8.8.8]/", Private),
            ("https://[::ffff:127.0.0.1]/", Private),
            ("https://[::ffff:7f00:1]/", Private),
            ("https://[::ffff:a9fe:a9fe]/", Private),
            ("https://[::ffff:0:127.0.0.1]/", Private),
            ("https://[64:ff9b::127.0.0.1]/", Private),
            ("https://[64:ff9b::a00:1]/", Private),
            ("https://[64:ff9b:1::a00:1]/", Private),
            ("https://[2002:7f00:1::]/", Private),
            ("https://[2002:c0a8:101::1]/", Private),
            ("https://[2001:0:53aa:64c::1]/", Private),
            ("https://[2001:10::1]/", Private),
            ("https://[2001:20::1]/", Private),
            ("https://[2001:db8::1]/", Private),
            ("https://[100::1]/", Private),
            ("https://[fc00::1]/", Private),
            ("https://[fdff:ffff::1]/", Private),
            ("https://[fe80::1]/", Private),
            ("https://[febf::1]/", Private),
            ("https://[fec0::1]/", Private),
            ("https://[ff02::1]/", Private),
            ("https://[fe80::1%25eth0]/", Unreadable),
            ("https://[::1/", Unreadable),
            // Names.
            ("https://localhost/", Private),
            ("https://LOCALHOST:8443/", Private),
            ("https://localhost./", Private),
            ("https://localhost../", Private),
            ("https://a.localhost/", Private),
            ("https://loc%61lhost/", Private),
            ("https://printer.local/", Private),
            ("https://printer.LOCAL./", Private),
            ("https://metadata.google.internal/", Private),
            ("https://metadata/", Private),
            ("https://internal/", Private),
            ("https://nas.home.arpa/", Private),
            ("https://localhost.localdomain/", Private),
            // Other letters than ASCII, some of which mean the same to those who read them with Unicode's tables.
            ("https://１２７.０.０.１/", Unreadable),
            ("https://①②⑦.⓪.⓪.①/", Unreadable),
            ("https://127。0。0。1/", Unreadable),
            ("https://ｌｏｃａｌｈｏｓｔ/", Unreadable),
            ("https://local\u{ad}host/", Unreadable),
            ("https://bücher.example/", Unreadable),
            // What an address has besides.
            ("http://runner.example/", Scheme),
            ("ws://runner.example/", Scheme),
            ("wss://runner.example/", Scheme),
            ("ftp://runner.example/", Scheme),
            ("file:///etc/passwd", Scheme),
            ("data:text/plain,x", Scheme),
            ("javascript:alert(1)", Scheme),
            ("blob:https://runner.example/x", Scheme),
            ("https://user@runner.example/", Credentials),
            ("https://user:pass@runner.example/", Credentials),
            ("https://:pass@runner.example/", Credentials),
            ("https://@runner.example/", Credentials),
            ("https://runner.example@127.0.0.1/", Credentials),
            ("https://runner.example%00@127.0.0.1/", Credentials),
            ("https://runner.example/#x", Fragment),
            ("https://runner.example#@127.0.0.1/", Fragment),
            ("https://", Unreadable),
            ("https:///", Unreadable),
            ("https://?x", Unreadable),
            ("https://:443/", Unreadable),
            ("https://runner.example:99999/", Unreadable),
            ("https://runner.example:x/", Unreadable),
            ("https://run ner.example/", Unreadable),
            ("https://runner<.example/", Unreadable),
            ("https://run%00ner.example/", Unreadable),
            ("//runner.example/", Unreadable),
            ("/path", Unreadable),
            ("runner.example", Unreadable),
            ("", Unreadable),
        ];
        assert!(cases.len() >= 60);
        for (text, expected) in cases {
            assert_eq!(judged(text, &AddressRules::default()), Err(expected), "{text}");
        }
    }

    #[test]
    fn addresses_of_everybody() {
        for (text, expected) in [
            ("https://runner.example", "https://runner.example/"),
            ("https://Runner.Example:8443/base", "https://runner.example:8443/base"),
            ("https://runner.example:443/?x=a@b", "https://runner.example/?x=a@b"),
            ("https://runner.example/a@b", "https://runner.example/a@b"),
            ("https://internal.example/", "https://internal.example/"),
            ("https://localhost.example/", "https://localhost.example/"),
            ("https://xlocalhost.example/", "https://xlocalhost.example/"),
            ("https://notlocal.test/", "https://notlocal.test/"),
            ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
            ("https://8.8.8.8/", "https://8.8.8.8/"),
            ("https://134744072/", "https://8.8.8.8/"),
            ("https://9.255.255.255/", "https://9.255.255.255/"),
            ("https://11.0.0.0/", "https://11.0.0.0/"),
            ("https://100.63.255.255/", "https://100.63.255.255/"),
            ("https://100.128.0.0/", "https://100.128.0.0/"),
            ("https://172.15.255.255/", "https://172.15.255.255/"),
            ("https://172.32.0.0/", "https://172.32.0.0/"),
            ("https://192.0.1.0/", "https://192.0.1.0/"),
            ("https://198.17.255.255/", "https://198.17.255.255/"),
            ("https://198.20.0.0/", "https://198.20.0.0/"),
            ("https://223.255.255.255/", "https://223.255.255.255/"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
            ("https://[::ffff:8.8.8.8]/", "https://[::ffff:808:808]/"),
            ("https://[2002:808:808::]/", "https://[2002:808:808::]/"),
            ("https://[64:ff9b::808:808]/", "https://[64:ff9b::808:808]/"),
        ] {
            assert_eq!(judged(text, &AddressRules::default()).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn private_addresses_can_be_allowed() {
        let rules = AddressRules { allow_private: true, ..AddressRules::default() };
        for text in ["http://127.0.0.1:2468/", "https://[::1]/", "http://localhost/", "http://runner/"] {
            assert_eq!(judged(text, &rules).as_deref(), Ok(text));
        }
        for (text, expected) in [
            ("ftp://localhost/", AddressError::Scheme),
            ("http://a@localhost/", AddressError::Credentials),
            ("http://localhost/#a", AddressError::Fragment),
            ("http://", AddressError::Unreadable),
        ] {
            assert_eq!(judged(text, &rules), Err(expected), "{text}");
        }
    }

    #[test]
    fn networks_can_be_allowed() {
        let allowed = ["10.1.0.0/16", "192.168.1.7", "fd00::/8"].map(|text| Network::parse(text).unwrap()).to_vec();
        let rules = AddressRules { allow_private: false, allowed };
        for text in ["https://10.1.2.3/", "https://[::ffff:10.1.2.3]/", "https://192.168.1.7/", "https://[fd12::1]/"] {
            assert!(judged(text, &rules).is_ok(), "{text}");
        }
        for text in ["https://10.2.0.1/", "https://192.168.1.8/", "https://[fc12::1]/", "https://localhost/"] {
            assert_eq!(judged(text, &rules), Err(AddressError::Private), "{text}");
        }
        assert_eq!(judged("http://10.1.2.3/", &rules), Err(AddressError::Scheme));
    }

    #[test]
    fn networks_are_read_strictly() {
        for (network, inside, outside) in [
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "2606:4700::1", "1.1.1.1"),
            ("1.1.1.1/32", "1.1.1.1", "1.1.1.2"),
            ("fe80::/10", "febf::1", "fec0::1"),
            (" 10.0.0.0/8 ", "10.9.9.9", "11.0.0.0"),
        ] {
            let network = Network::parse(network).unwrap();
            assert!(network.contains(inside.parse().unwrap()) && !network.contains(outside.parse().unwrap()));
        }
        for text in ["", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/+8", "10.0.0/8", "x/8", "10.0.0.0/8/8"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_has_a_greatest_length() {
        let beginning = "https://runner.example/";
        let longest = format!("{beginning}{}", "a".repeat(MAX_ADDRESS_BYTES - beginning.len()));
        assert!(judged(&longest, &AddressRules::default()).is_ok());
        assert_eq!(judged(&format!("{longest}a"), &AddressRules::default()), Err(AddressError::Unreadable));
    }
}
