//! `POST …/poll`, `…/acks` and `…/leases` (session-mailbox.md 7.4, 7.5).

use super::super::fields::{Fields, object, required_object};
use super::{MAX_WORD_BYTES, count, counted, objects, session, word};
use crate::error::Error;
use crate::mailbox::desk::{Ack, AckResult};
use crate::mailbox::limits::{DEFAULT_ITEMS, MAX_ATTACH_SESSIONS, MAX_ITEMS, MAX_WAIT_MS};

/// Acknowledgements of one request: more than all items that can wait at a runner that has as many sessions as it may attach with
/// are not sent at once.
const MAX_ACKS: usize = 1_000;

/// An acknowledgement of an item of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionAck {
    /// The session.
    pub session_id: String,
    /// What its desk is told.
    pub ack: Ack,
}

/// A request for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// What was stored since the last one. It counts before anything is waited for.
    pub acks: Vec<SessionAck>,
    /// How long it waits, in milliseconds.
    pub wait_ms: i64,
    /// How many items it takes.
    pub max_items: usize,
    /// How many sessions the runner has, if it says so; at least 0.
    pub active_sessions: Option<i64>,
}

impl Poll {
    /// Reads a body. A missing one is an empty object.
    ///
    /// # Errors
    /// [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = object(body)?.unwrap_or_default();
        let fields = Fields(&members);
        let wait_ms = fields.int("wait-ms")?.unwrap_or(MAX_WAIT_MS);
        let max_items =
            counted(fields, "max-items")?.map_or(DEFAULT_ITEMS, |most| usize::try_from(most).unwrap_or(usize::MAX));
        if !(0..=MAX_WAIT_MS).contains(&wait_ms) || !(1..=MAX_ITEMS).contains(&max_items) {
            return Err(Error::InvalidBody);
        }
        let active_sessions = fields.int("active-sessions")?.map(|active| active.max(0));
        Ok(Self { acks: read_acks(fields)?, wait_ms, max_items, active_sessions })
    }
}

/// Reads the body of `POST …/acks`.
///
/// # Errors
/// [`Error::MissingBody`], [`Error::InvalidBody`].
pub fn acks(body: &[u8]) -> Result<Vec<SessionAck>, Error> {
    read_acks(Fields(&required_object(body)?))
}

/// The acknowledgements of one session, as the object of its runner passes them on.
///
/// # Errors
/// [`Error::InvalidBody`].
pub fn acks_of(said: &serde_json::Value) -> Result<Vec<SessionAck>, Error> {
    read_acks(Fields(said.as_object().ok_or(Error::InvalidBody)?))
}

fn read_acks(fields: Fields<'_>) -> Result<Vec<SessionAck>, Error> {
    objects(fields, "acks", MAX_ACKS)?.into_iter().map(|ack| read_ack(Fields(ack))).collect()
}

fn read_ack(fields: Fields<'_>) -> Result<SessionAck, Error> {
    let error = fields.text_within("error", MAX_WORD_BYTES)?.filter(|error| !error.is_empty());
    let result = match fields.required("result")? {
        "stored" => AckResult::Stored,
        "refused" => AckResult::Refused(error.unwrap_or("refused").to_owned()),
        _ => return Err(Error::InvalidBody),
    };
    let ack = Ack { item_id: word(fields, "item-id")?, work_seq: count(fields, "work-seq")?, result };
    Ok(SessionAck { session_id: session(fields)?, ack })
}

/// Leases that are to be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// Which.
    pub sessions: Vec<LeaseAsked>,
    /// How many sessions the runner has, if it says so; at least 0.
    pub active_sessions: Option<i64>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseAsked {
    /// The session.
    pub session_id: String,
    /// Its lease, as the runner knows it.
    pub lease: u64,
    /// Run and attempt for which a token is wanted.
    pub token_for: Option<(u64, u64)>,
}

impl Leases {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let list = objects(fields, "sessions", MAX_ATTACH_SESSIONS)?;
        let sessions = list.into_iter().map(|entry| asked(Fields(entry))).collect::<Result<_, _>>()?;
        Ok(Self { sessions, active_sessions: fields.int("active-sessions")?.map(|active| active.max(0)) })
    }
}

fn asked(fields: Fields<'_>) -> Result<LeaseAsked, Error> {
    let run = counted(fields, "run")?;
    let attempt = counted(fields, "attempt")?.unwrap_or(1);
    let is_wanted = fields.flag("want-run-token")?.unwrap_or_default();
    let token_for = run.filter(|_| is_wanted).map(|run| (run, attempt));
    Ok(LeaseAsked { session_id: session(fields)?, lease: count(fields, "lease")?, token_for })
}
