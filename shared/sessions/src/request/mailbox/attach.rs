//! `POST …/attach` and `POST …/detach` (session-mailbox.md 7.2, 7.3).

use super::super::fields::{Fields, required_object};
use super::{MAX_WORD_BYTES, count, id, objects, session, word};
use crate::error::Error;
use crate::mailbox::desk::Claim;
use crate::mailbox::limits::MAX_ATTACH_SESSIONS;
use crate::mailbox::runner::Detach;

/// A process that attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Its machine.
    pub instance_id: String,
    /// The process.
    pub process_id: String,
    /// The version of the protocol that it speaks.
    pub protocol: u64,
    /// How many sessions it takes at once; at least 1.
    pub max_sessions: i64,
    /// What it has of sessions; each session once.
    pub sessions: Vec<ClaimedSession>,
}

/// What a runner has of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSession {
    /// The session.
    pub session_id: String,
    /// What it has of it.
    pub claim: Claim,
    /// The prompt of the turn that runs: message and attempt.
    pub turn: Option<(String, u64)>,
}

impl Attach {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        fields.text_within("version", MAX_WORD_BYTES)?;
        let list = objects(fields, "sessions", MAX_ATTACH_SESSIONS)?;
        let sessions: Vec<ClaimedSession> =
            list.into_iter().map(|entry| claimed(Fields(entry))).collect::<Result<_, _>>()?;
        let mut names: Vec<&str> = sessions.iter().map(|session| session.session_id.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() != sessions.len() {
            return Err(Error::InvalidBody);
        }
        Ok(Self {
            instance_id: id(fields, "instance-id")?,
            process_id: id(fields, "process-id")?,
            protocol: count(fields, "protocol")?,
            max_sessions: fields.int("max-sessions")?.unwrap_or(1).max(1),
            sessions,
        })
    }
}

fn claimed(fields: Fields<'_>) -> Result<ClaimedSession, Error> {
    let turn = match fields.0.get("turn") {
        None | Some(serde_json::Value::Null) => None,
        Some(turn) => {
            let turn = Fields(turn.as_object().ok_or(Error::InvalidBody)?);
            Some((word(turn, "message-id")?, count(turn, "attempt")?))
        }
    };
    Ok(ClaimedSession {
        session_id: session(fields)?,
        claim: Claim {
            mailbox_id: word(fields, "mailbox-id")?,
            lease: count(fields, "lease")?,
            work_seq: count(fields, "work-seq")?,
            out_seq: count(fields, "out-seq")?,
            generation: count(fields, "generation")?,
        },
        turn,
    })
}

impl Detach {
    /// Reads the body of `POST …/detach`.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        match Fields(&members).required("reason")? {
            "stop" => Ok(Self::Stop),
            "upgrade" => Ok(Self::Upgrade),
            _ => Err(Error::InvalidBody),
        }
    }
}
