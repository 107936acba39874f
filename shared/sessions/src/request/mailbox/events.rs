//! `POST …/sessions/:id/events` and `POST …/notices` (session-mailbox.md 7.6).

use serde_json::Value;

use super::super::fields::{Fields, required_object};
use super::{MAX_WORD_BYTES, count, counted, id, objects, word};
use crate::error::Error;
use crate::mailbox::desk::{Batch, Incoming, Notice};
use crate::mailbox::limits::{MAX_BATCH_BYTES, MAX_EVENTS};

/// Reads a batch of events. What an event says is looked at when its turn comes, so that one that cannot be read does not keep others back.
///
/// # Errors
/// [`Error::MissingBody`], [`Error::InvalidBody`], [`Error::RequestTooLarge`].
pub fn events(body: &[u8]) -> Result<Batch, Error> {
    if body.len() > MAX_BATCH_BYTES {
        return Err(Error::RequestTooLarge);
    }
    let members = required_object(body)?;
    let fields = Fields(&members);
    let list = objects(fields, "events", MAX_EVENTS)?;
    let events = list.into_iter().map(|entry| event(Fields(entry))).collect::<Result<_, _>>()?;
    Ok(Batch { mailbox_id: word(fields, "mailbox-id")?, lease: count(fields, "lease")?, events })
}

fn event(fields: Fields<'_>) -> Result<Incoming, Error> {
    let (seq, prev) = (count(fields, "seq")?, count(fields, "prev")?);
    // Whoever counts backwards would never be done.
    if seq == 0 || prev >= seq {
        return Err(Error::InvalidBody);
    }
    fields.int("ts")?;
    counted(fields, "attempt")?;
    fields.text_within("in-reply-to", MAX_WORD_BYTES)?;
    let (id, generation) = (id(fields, "id")?, count(fields, "generation")?);
    let data = fields.0.get("data").cloned().unwrap_or(Value::Null);
    Ok(Incoming::new(seq, prev, &id, generation, &word(fields, "kind")?, data))
}

/// A report of a runner.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// By which a repetition is known.
    pub id: String,
    /// What it says.
    pub notice: Notice,
}

impl Report {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let most = crate::mailbox::limits::MAX_NOTICE_CHARS;
        let message = fields.text("message")?.unwrap_or_default();
        if message.chars().count() > most {
            return Err(Error::InvalidBody);
        }
        let notice = Notice {
            code: word(fields, "code")?,
            message: message.to_owned(),
            lease: counted(fields, "lease")?,
            data: fields.0.get("data").cloned(),
        };
        Ok(Self { id: word(fields, "id")?, notice })
    }
}
