//! `POST /runners` of a runner that calls us (session-mailbox.md 7.2).

use super::super::fields::{Fields, required_object};
use super::{MAX_WORD_BYTES, id, objects};
use crate::error::Error;

/// Bytes of a runner's name.
const MAX_NAME_BYTES: usize = 64;
/// Drivers, agents, capabilities that a runner may name.
const MAX_NAMED: usize = 64;

/// A runner that calls us, as it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterMailbox {
    /// Its name.
    pub runner_id: String,
    /// Its machine.
    pub instance_id: String,
    /// How many sessions it takes at once; at least 1.
    pub max_sessions: i64,
    /// Its version, in its own words.
    pub version: Option<String>,
    /// Whether it takes the name from another machine that is there.
    pub replace: bool,
    /// Whether it can push a working tree itself.
    pub can_push: bool,
}

impl RegisterMailbox {
    /// Whether a body of `POST /runners` is of a runner that calls us.
    ///
    /// # Errors
    /// [`Error::MissingBody`]; [`Error::InvalidBody`], also for a transport that nobody knows.
    pub fn is_meant(body: &[u8]) -> Result<bool, Error> {
        let members = required_object(body)?;
        match Fields(&members).text("transport")? {
            None | Some("tunnel") => Ok(false),
            Some("mailbox") => Ok(true),
            Some(_) => Err(Error::InvalidBody),
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`], [`Error::InvalidRunnerId`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        // Nobody calls such a runner.
        if members.contains_key("base-url") {
            return Err(Error::InvalidBody);
        }
        let runner_id = fields.required("runner-id")?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if runner_id.is_empty() || runner_id.len() > MAX_NAME_BYTES || !runner_id.bytes().all(is_plain) {
            return Err(Error::InvalidRunnerId);
        }
        let version = fields.text_within("version", MAX_WORD_BYTES)?;
        fields.text_within("os", MAX_WORD_BYTES)?;
        fields.texts("drivers", MAX_NAMED, MAX_WORD_BYTES)?;
        for agent in objects(fields, "agents", MAX_NAMED)? {
            let agent = Fields(agent);
            super::word(agent, "id")?;
            agent.text_within("version", MAX_WORD_BYTES)?;
            agent.flag("ready")?;
        }
        let capabilities = fields.texts("capabilities", MAX_NAMED, MAX_WORD_BYTES)?.unwrap_or_default();
        Ok(Self {
            runner_id: runner_id.to_owned(),
            instance_id: id(fields, "instance-id")?,
            max_sessions: fields.int("max-sessions")?.unwrap_or(1).max(1),
            version: version.map(str::to_owned),
            replace: fields.flag("replace")?.unwrap_or_default(),
            can_push: capabilities.contains(&"push"),
        })
    }
}
