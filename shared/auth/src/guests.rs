//! Which web pages may talk to a server that asks nobody for a token.
//!
//! Such a server trusts every caller, and every web page that its user visits can call it: by requests that need no
//! preflight, by WebSockets, which have no preflight, and by host names that an attacker points at the loopback address
//! (DNS rebinding). A browser sends where a page comes from (`Origin`) and which host it calls (`Host`): both must be
//! on a list.

use crate::ConfigError;

/// What Logseq's own clients send as `Origin`, besides loopback origins, which the app on Android and every development
/// build have: the web apps, the desktop app, the app on iOS.
const CLIENTS: [&str; 4] =
    ["https://test.logseq.com", "https://app.logseq.com", "lsp://logseq.com", "capacitor://localhost"];

/// Origins and host names that are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guests {
    origins: Vec<String>,
    hosts: Vec<String>,
}

impl Guests {
    /// The lists of `DB_SYNC_ALLOW_ORIGINS` and `DB_SYNC_ALLOW_HOSTS`, which extend what is always let in. Entries are
    /// separated by commas; blank ones are ignored.
    pub fn parse(origins: &str, hosts: &str) -> Result<Self, ConfigError> {
        let entries = |list: &str| -> Vec<String> {
            list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).collect()
        };
        let guests = Self { origins: entries(origins), hosts: entries(hosts) };
        if let Some(entry) = guests.origins.iter().find(|entry| !is_origin(entry)) {
            return Err(ConfigError::NoOrigin(entry.clone()));
        }
        if let Some(entry) = guests.hosts.iter().find(|entry| !is_host(entry)) {
            return Err(ConfigError::NoHost(entry.clone()));
        }
        Ok(guests)
    }

    /// Whether pages of this origin are let in. `file://` is not, and neither is `null`, because any page can make a
    /// frame with that origin.
    pub fn admits_origin(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let is_local = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|authority| is_loopback(name_of(authority))));
        is_local || CLIENTS.contains(&&*origin) || self.origins.contains(&origin)
    }

    /// Whether the server may be called by this `Host`: a loopback name, or one of the list, which names a port or
    /// leaves it open.
    pub fn admits_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = name_of(&host);
        is_loopback(name) || self.hosts.iter().any(|listed| *listed == host || listed == name)
    }
}

/// The host of an authority, without its port. An authority with user information or a malformed port is returned
/// unchanged; it matches no entry of a list.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => authority,
    }
}

/// `localhost`, `127.0.0.0/8` and `[::1]`.
fn is_loopback(name: &str) -> bool {
    name == "localhost"
        || name == "[::1]"
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// Whether this is `scheme://authority` with nothing after it, as browsers send it. `file://` is allowed as an entry of
/// the setting: desktop apps before August 2026 have this origin, but so has any downloaded page.
fn is_origin(text: &str) -> bool {
    text == "file://"
        || text.split_once("://").is_some_and(|(scheme, authority)| !scheme.is_empty() && is_host(authority))
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "/\\?#@*\"'<>".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_and_logseq_are_let_in() {
        let guests = Guests::default();
        for origin in [
            "http://localhost",
            "https://localhost",
            "http://localhost:3001",
            "http://127.0.0.1:8787",
            "http://127.8.9.10",
            "http://[::1]:3001",
            "HTTP://LOCALHOST:3001",
            "https://test.logseq.com",
            "https://app.logseq.com",
            "lsp://logseq.com",
            "capacitor://localhost",
        ] {
            assert!(guests.admits_origin(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "file://",
            "*",
            "https://evil.example",
            "http://test.logseq.com",
            "https://test.logseq.com:8443",
            "https://test.logseq.com.evil.example",
            "https://eviltest.logseq.com",
            "https://evil.example/https://test.logseq.com",
            "lsp://logseq.io",
            "lsp://logseq.com.evil",
            "ftp://localhost",
            "evil://127.0.0.1",
            "http://localhost.evil.example",
            "http://localhost:80@evil.example",
            "http://localhost:x",
            "http://localhost:80:80",
            "http://127.0.0.1.nip.io",
            "http://127.0.0.1.",
            "http://127.1",
            "http://0.0.0.0:8787",
            "http://2130706433",
            "http://[::ffff:127.0.0.1]",
            "http://evil.example, http://localhost",
            "http:// localhost",
            "localhost",
        ] {
            assert!(!guests.admits_origin(origin), "{origin}");
        }
    }

    #[test]
    fn only_known_names_are_answered() {
        let guests = Guests::parse("", "nas.local, 192.168.1.5:8787 ,[fe80::1]").unwrap();
        for host in [
            "localhost",
            "localhost:8787",
            "LocalHost",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:8787",
            "nas.local",
            "NAS.local:1",
            "192.168.1.5:8787",
            "[fe80::1]:80",
        ] {
            assert!(guests.admits_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.localhost",
            "127.0.0.1.nip.io",
            "192.168.1.5",
            "192.168.1.5:80",
            "nas.local.evil.example",
            "::1",
            "[::1",
            "localhost:8787:",
            "localhost@evil",
        ] {
            assert!(!guests.admits_host(host), "{host}");
        }
    }

    #[test]
    fn lists_extend_and_are_checked() {
        let guests = Guests::parse(" https://notes.example ,, HTTPS://Wiki.example:8443", "").unwrap();
        for origin in ["https://notes.example", "https://wiki.example:8443", "http://localhost:1", "lsp://logseq.com"] {
            assert!(guests.admits_origin(origin), "{origin}");
        }
        for origin in ["http://notes.example", "https://notes.example:1", "https://wiki.example"] {
            assert!(!guests.admits_origin(origin), "{origin}");
        }
        for wrong in ["*", "notes.example", "https://", "https://a/", "https://a b", "https://*.example", "null"] {
            assert_eq!(Guests::parse(wrong, ""), Err(ConfigError::NoOrigin(wrong.to_owned())));
        }
        for wrong in ["*", "http://a", "a/b", "a b", "u@a"] {
            assert_eq!(Guests::parse("", wrong), Err(ConfigError::NoHost(wrong.to_owned())));
        }
    }
}
