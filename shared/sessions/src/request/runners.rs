//! Bodies about runners (agents.md 2.6.13, 7).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::fields::{Fields, object, required_object};
use super::limits::{MAX_ADDRESS_BYTES, MAX_ID_BYTES, MAX_TOKEN_BYTES};
use crate::error::Error;

/// A runner that is registered. Whether its address may be called is decided elsewhere (agents.md 7.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Register {
    /// Its name, without blanks around it.
    pub runner_id: String,
    /// Its address, without slashes at its end.
    pub base_url: String,
    /// How many sessions it takes at once; at least 1.
    pub max_sessions: i64,
    /// Bearer token of the agent server.
    pub agent_token: Option<String>,
    /// Cloudflare Access service token: its id.
    pub access_client_id: Option<String>,
    /// Cloudflare Access service token: its secret.
    pub access_client_secret: Option<String>,
    /// Key of signed requests, base64 of 32 bytes (agents.md 7.5).
    pub signing_key: Option<String>,
    /// The directory under which sessions work; an absolute path without a slash at its end (B33).
    pub workspace_dir: Option<String>,
}

impl std::fmt::Debug for Register {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Register").field("runner_id", &self.runner_id).finish_non_exhaustive()
    }
}

impl Register {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let runner_id = fields.required("runner-id")?.trim();
        let base_url = fields.required("base-url")?.trim().trim_end_matches('/');
        let is_name = !runner_id.is_empty() && runner_id.len() <= MAX_ID_BYTES && !runner_id.contains(char::is_control);
        let is_address =
            !base_url.is_empty() && base_url.len() <= MAX_ADDRESS_BYTES && !base_url.contains(char::is_control);
        if !is_name || !is_address {
            return Err(Error::InvalidBody);
        }
        Ok(Self {
            runner_id: runner_id.to_owned(),
            base_url: base_url.to_owned(),
            max_sessions: fields.int("max-sessions")?.unwrap_or(1).max(1),
            agent_token: token(fields, "agent-token")?,
            access_client_id: token(fields, "access-client-id")?,
            access_client_secret: token(fields, "access-client-secret")?,
            signing_key: signing_key(fields)?,
            workspace_dir: workspace_dir(fields)?,
        })
    }

    /// Whether it brings secrets.
    pub fn has_secrets(&self) -> bool {
        let secrets = [&self.agent_token, &self.access_client_id, &self.access_client_secret, &self.signing_key];
        secrets.into_iter().any(Option::is_some)
    }
}

/// What goes into a header of each request to the runner.
fn token(fields: Fields<'_>, name: &str) -> Result<Option<String>, Error> {
    let token = fields.filled(name)?;
    let is_plain = |token: &str| token.len() <= MAX_TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_none_or(is_plain) { Ok(token.map(str::to_owned)) } else { Err(Error::InvalidBody) }
}

fn signing_key(fields: Fields<'_>) -> Result<Option<String>, Error> {
    let Some(text) = fields.filled("signing-key")? else { return Ok(None) };
    let is_key = STANDARD.decode(text).is_ok_and(|key| key.len() == 32);
    if is_key { Ok(Some(text.to_owned())) } else { Err(Error::InvalidBody) }
}

fn workspace_dir(fields: Fields<'_>) -> Result<Option<String>, Error> {
    let Some(path) = fields.filled("workspace-dir")? else { return Ok(None) };
    let is_plain = path.starts_with('/') && path.len() <= MAX_ADDRESS_BYTES && !path.contains(char::is_control);
    if !is_plain || path.split('/').any(|part| part == "..") {
        return Err(Error::InvalidBody);
    }
    let path = path.trim_end_matches('/');
    Ok(Some(if path.is_empty() { "/" } else { path }.to_owned()))
}

/// What a runner says when it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// How many sessions it has, if it says so; at least 0.
    pub active_sessions: Option<i64>,
}

impl Heartbeat {
    /// Reads a body. A missing one is an empty object.
    ///
    /// # Errors
    /// [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = object(body)?.unwrap_or_default();
        let active = Fields(&members).int("active-sessions")?;
        Ok(Self { active_sessions: active.map(|active| active.max(0)) })
    }
}
