//! Addresses of a runtime (agents.md 4.1, 4.2). Whether the service may call an address is decided elsewhere: this is
//! about its spelling.

use web::url;

/// A base address as people write it, made complete: blanks and slashes at its end go, and where it names no scheme it gets
/// `http` on the own machine and `https` elsewhere. Blank stays empty.
pub fn base_url(text: &str) -> String {
    let text = text.trim().trim_end_matches('/');
    if text.is_empty() || has_scheme(text) {
        return text.to_owned();
    }
    let scheme = if is_own_machine(text) { "http" } else { "https" };
    format!("{scheme}://{text}")
}

fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

fn is_own_machine(text: &str) -> bool {
    let authority = text.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.starts_with('[') {
        return authority.split_inclusive(']').next() == Some("[::1]");
    }
    let host = authority.split(':').next().unwrap_or_default();
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

/// The address of an agent server at a runtime. The first POST to it names the agent.
pub fn server_url(base: &str, server_id: &str, agent: Option<&str>) -> String {
    let mut address = format!("{}/v1/acp/{}", base_url(base), component(server_id));
    if let Some(agent) = agent {
        address.push_str("?agent=");
        address.push_str(&component(agent));
    }
    address
}

/// A text as a component of an address. A path of dots alone would be resolved away, so that its dots are written out.
pub(crate) fn component(text: &str) -> String {
    if matches!(text, "." | "..") {
        return text.replace('.', "%2E");
    }
    url::encode(text)
}
