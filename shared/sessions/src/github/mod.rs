//! What is asked of GitHub, as its App (agents.md 9).

mod calls;
mod error;
mod pkcs8;
mod pull_requests;
mod tokens;

#[cfg(test)]
mod tests;

pub use error::{Answered, GitHubError};
pub use pull_requests::{NewPullRequest, PullRequest};
pub use tokens::{Token, TokenCache};

use std::rc::Rc;

use web::{Failure, Fetch, Host};

use crate::settings::GitHubSettings;

/// Whoever signs with the App's key.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Sign {
    /// The RS256 signature of a text, with a key in PKCS#8.
    async fn rs256(&self, pkcs8_der: &[u8], input: &[u8]) -> Result<Vec<u8>, Failure>;
}

/// Whether the App is installed for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Installation {
    /// It is, under this number.
    Installed(i64),
    /// It is not; where a person installs it.
    Missing {
        /// The page; none without a slug.
        install_url: Option<String>,
    },
}

/// GitHub, as the App sees it.
pub struct GitHub<'a, F, S, H> {
    fetch: Rc<F>,
    sign: Rc<S>,
    host: &'a H,
    settings: &'a GitHubSettings,
    tokens: Rc<TokenCache>,
}

impl<'a, F: Fetch, S: Sign, H: Host> GitHub<'a, F, S, H> {
    /// GitHub under these settings. The cache may be shared by everything that has the same settings.
    pub fn new(fetch: Rc<F>, sign: Rc<S>, host: &'a H, settings: &'a GitHubSettings, tokens: Rc<TokenCache>) -> Self {
        Self { fetch, sign, host, settings, tokens }
    }
}
