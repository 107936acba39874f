//! Settings of the pull-request loop (agents.md 20.4).

use serde_json::Value;

use super::lookup::{Lookup, SettingsError};

/// Authors that may be named.
const MAX_AUTHORS: usize = 100;
/// The most rounds that may be set.
const MOST_ROUNDS: i64 = 100;
/// The shortest secret that is taken, in bytes: GitHub sends its hash with each body, where it can be tried at leisure.
const LEAST_SECRET_BYTES: usize = 16;

/// How what is said about pull requests comes back to sessions.
#[derive(Clone)]
pub struct FollowUpSettings {
    /// `GITHUB_WEBHOOK_SECRET`; without it the route is not there.
    pub secret: Option<String>,
    /// `AGENT_PR_MAX_ROUNDS`: orders from a pull request without a message of a person in between.
    pub max_rounds: u32,
    /// `AGENT_PR_AUTHORS`: further people who are listened to, in small letters.
    authors: Vec<String>,
    /// `GITHUB_APP_ID`: what our own App says is not told to it.
    app_id: Option<String>,
}

impl FollowUpSettings {
    /// Whether somebody is listened to whatever they are to the project.
    pub fn listens_to(&self, login: &str) -> bool {
        // At most MAX_AUTHORS.
        self.authors.iter().any(|author| author.eq_ignore_ascii_case(login))
    }

    /// Whether an App with this id is our own.
    pub fn is_own_app(&self, id: &Value) -> bool {
        let id = id.as_u64().map(|id| id.to_string()).or_else(|| id.as_str().map(str::to_owned));
        id.is_some() && id == self.app_id
    }
}

pub(super) fn read<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<FollowUpSettings, SettingsError> {
    let told = |name: &'static str, why: String| SettingsError::Form { name, why };
    let secret = get.text("GITHUB_WEBHOOK_SECRET");
    if secret.as_ref().is_some_and(|secret| secret.len() < LEAST_SECRET_BYTES) {
        return Err(told("GITHUB_WEBHOOK_SECRET", format!("must have at least {LEAST_SECRET_BYTES} characters")));
    }
    let authors = get.text("AGENT_PR_AUTHORS").unwrap_or_default();
    let authors = authors.split(',').map(str::trim).filter(|author| !author.is_empty());
    let authors: Vec<String> = authors.map(|author| author.trim_start_matches('@').to_owned()).collect();
    let is_login =
        |author: &String| author.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if authors.len() > MAX_AUTHORS || !authors.iter().all(is_login) {
        return Err(told(
            "AGENT_PR_AUTHORS",
            format!("must be at most {MAX_AUTHORS} names of users of GitHub, with commas between"),
        ));
    }
    Ok(FollowUpSettings {
        secret,
        max_rounds: get.sized("AGENT_PR_MAX_ROUNDS", 3, MOST_ROUNDS)?,
        authors,
        app_id: get.text("GITHUB_APP_ID"),
    })
}
