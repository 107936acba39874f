//! Events arrive in batches, each of them exactly once (session-mailbox.md 7.6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::said::Said;
use super::take::take;
use super::{Decide, Desk, Effect};
use crate::mailbox::limits;

/// What an event said, as far as a repetition is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its id.
    pub id: String,
    /// Digest of kind and data, in hex.
    pub hash: String,
}

/// An event as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming {
    /// Its number.
    pub seq: u64,
    /// The number of the one before it.
    pub prev: u64,
    /// Which process of the agent said it.
    pub generation: u64,
    /// What it said.
    pub fingerprint: Fingerprint,
    /// Its kind.
    pub kind: String,
    /// Its data.
    pub data: Value,
    /// Of the data, in bytes.
    pub bytes: usize,
    /// For a file: whether it was stored before. True for anything else.
    pub has_file: bool,
}

impl Incoming {
    /// An event of which nothing is known but what it says.
    pub fn new(seq: u64, prev: u64, id: &str, generation: u64, kind: &str, data: Value) -> Self {
        let text = data.to_string();
        let digest = Sha256::new().chain_update(kind).chain_update([0]).chain_update(&text).finalize();
        let fingerprint = Fingerprint { id: id.to_owned(), hash: base16ct::lower::encode_string(&digest) };
        Self { seq, prev, generation, fingerprint, kind: kind.to_owned(), data, bytes: text.len(), has_file: true }
    }
}

/// Events of one mailbox, in the order in which they were sent: at most [`limits::MAX_EVENTS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The mailbox.
    pub mailbox_id: String,
    /// Under which lease.
    pub lease: u64,
    /// The events.
    pub events: Vec<Incoming>,
}

/// Why no event of a batch is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The session is not the runner's. 404.
    #[error("not found")]
    NotHeld,
    /// Another lease counts. 409.
    #[error("lease lost")]
    LeaseLost(u64),
    /// Another mailbox counts. 409.
    #[error("mailbox unknown")]
    MailboxUnknown,
}

/// Why the rest of a batch was not taken in. What stood before it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// 409: another event had this number.
    Conflict(u64),
    /// 409: an event is missing before this one.
    Gap,
    /// 200: this event is refused for good; the runner sends a tombstone in its place.
    Rejected(u64, &'static str),
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchAnswer {
    /// The last event that was taken in.
    pub accepted_seq: u64,
    /// Events that are new.
    pub stored: u64,
    /// Events that were known.
    pub duplicates: u64,
    /// Why the rest was not looked at.
    pub stop: Option<Stop>,
}

/// A batch arrived. `known` is what is stored of the events whose numbers are not above the last that was taken in.
///
/// # Errors
/// [`Refused`]; then nothing was changed.
pub fn on_batch(
    desk: &mut Desk,
    decide: &mut Decide<'_>,
    runner_key: &str,
    batch: Batch,
    known: &BTreeMap<u64, Fingerprint>,
) -> Result<BatchAnswer, Refused> {
    let lease = desk.lease;
    let holder = desk.holder.as_mut().filter(|holder| holder.runner_key == runner_key).ok_or(Refused::NotHeld)?;
    if batch.lease != lease {
        return Err(Refused::LeaseLost(lease));
    }
    match &holder.mailbox {
        Some(mailbox) if *mailbox != batch.mailbox_id => return Err(Refused::MailboxUnknown),
        Some(_) => {}
        None if batch.events.first().is_some_and(|event| event.prev == 0) => {
            holder.mailbox = Some(batch.mailbox_id);
        }
        None => return Err(Refused::MailboxUnknown),
    }
    let mut answer = BatchAnswer { accepted_seq: holder.accepted, stored: 0, duplicates: 0, stop: None };
    // Bounded by MAX_EVENTS and MAX_BATCH_BYTES, which whoever reads the request checks.
    for event in batch.events {
        // What an event says may end the lease. The rest is refused when it is sent again.
        if desk.lease != lease {
            break;
        }
        if event.seq <= answer.accepted_seq {
            // What is too old to be known is taken for what it says it is.
            if known.get(&event.seq).is_some_and(|known| *known != event.fingerprint) {
                answer.stop = Some(Stop::Conflict(event.seq));
                break;
            }
            answer.duplicates = answer.duplicates.saturating_add(1);
            continue;
        }
        if event.prev != answer.accepted_seq {
            answer.stop = Some(Stop::Gap);
            break;
        }
        let said = match read(&event) {
            Ok(said) => said,
            Err(why) => {
                answer.stop = Some(Stop::Rejected(event.seq, why));
                break;
            }
        };
        accept(desk, decide, &event);
        answer.accepted_seq = event.seq;
        answer.stored = answer.stored.saturating_add(1);
        take(desk, decide, said);
    }
    Ok(answer)
}

fn read(event: &Incoming) -> Result<Said, &'static str> {
    if event.bytes > limits::MAX_EVENT_BYTES {
        return Err("too large");
    }
    if !event.has_file {
        return Err("file missing");
    }
    Said::read(&event.kind, event.data.clone()).map_err(|_| "invalid event")
}

fn accept(desk: &mut Desk, decide: &mut Decide<'_>, event: &Incoming) {
    let Some(holder) = &mut desk.holder else { return };
    holder.accepted = event.seq;
    holder.generation = holder.generation.max(event.generation);
    decide.push(Effect::PutFingerprint { seq: event.seq, fingerprint: event.fingerprint.clone() });
}
