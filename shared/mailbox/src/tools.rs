//! Where the tools are that the worker offers to a session's agent, and what opens them (docs/spec/pg-sync.md 4.12). The host lays that out in `in/`, in a
//! file of its own: no message, no configuration and no command line holds the token.

use std::fmt;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use crate::{Error, fsafe};

/// The file, in `in/`.
pub const NAME: &str = "tools.json";
/// The longest address, and the longest token, in bytes.
const MAX_TEXT: usize = 4_096;
/// The longest file, in bytes.
const MAX_BYTES: u64 = 16 << 10;

/// Tools behind HTTP.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tools {
    /// Their address.
    pub url: String,
    /// What opens them.
    pub token: String,
}

impl fmt::Debug for Tools {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tools").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Tools {
    /// What an item names: an address of HTTP, and a token that fits into a header. Anything else is none.
    pub fn of(item: &serde_json::Value) -> Option<Self> {
        let named = Self::deserialize(item.get("tools")?).ok()?;
        let is_address = named.url.starts_with("https://") || named.url.starts_with("http://");
        let is_token = !named.token.is_empty() && named.token.bytes().all(|byte| byte.is_ascii_graphic());
        (is_address && is_token && named.url.len() <= MAX_TEXT && named.token.len() <= MAX_TEXT).then_some(named)
    }
}

/// Lays out what is offered now, in place of what was before.
///
/// # Errors
///
/// What the system refuses.
pub fn lay_out(inside: impl AsFd, tools: Option<&Tools>) -> Result<(), Error> {
    match tools {
        Some(tools) => {
            let text = serde_json::to_vec(tools).map_err(|error| Error::Config(error.to_string()))?;
            fsafe::replace(inside, NAME, &text)
        }
        None => fsafe::remove(inside, NAME),
    }
}

/// What is offered. What cannot be read is nothing: the agent works without it.
pub fn read(inside: impl AsFd) -> Option<Tools> {
    let text = fsafe::read(inside, &[NAME], MAX_BYTES).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::json;

    use super::*;

    fn item(url: &str, token: &str) -> serde_json::Value {
        json!({"tools": {"url": url, "token": token}})
    }

    #[test]
    fn what_is_offered_lies_there_for_its_user_alone_until_nothing_is() {
        let place = tempfile::tempdir().unwrap();
        let inside = fsafe::folder(place.path()).unwrap();
        assert_eq!(read(&inside), None);
        lay_out(&inside, None).unwrap();
        for token in ["first", "second"] {
            let tools = Tools::of(&item("https://agents.example/sessions/s/mcp", token)).unwrap();
            lay_out(&inside, Some(&tools)).unwrap();
            assert_eq!(read(&inside), Some(tools));
        }
        let mode = std::fs::metadata(place.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        lay_out(&inside, None).unwrap();
        assert_eq!(read(&inside), None);
        std::fs::write(place.path().join(NAME), "no json").unwrap();
        assert_eq!(read(&inside), None);
    }

    #[test]
    fn only_addresses_of_http_with_a_token_for_a_header_are_tools() {
        let long = "x".repeat(MAX_TEXT + 1);
        for (url, token) in [
            ("file:///bin/sh", "t"),
            ("", "t"),
            ("https://a.example", ""),
            ("https://a.example", "two words"),
            ("https://a.example", "a\r\nb"),
            ("https://a.example", &long),
            (&format!("https://{long}"), "t"),
        ] {
            assert_eq!(Tools::of(&item(url, token)), None, "{url} {token}");
        }
        for odd in [json!({}), json!({"tools": null}), json!({"tools": {"command": "sh", "args": []}}), json!([])] {
            assert_eq!(Tools::of(&odd), None, "{odd}");
        }
        let tools = Tools::of(&item("http://127.0.0.1:8788/sessions/s/mcp", "secret")).unwrap();
        assert!(!format!("{tools:?}").contains("secret"));
    }
}
