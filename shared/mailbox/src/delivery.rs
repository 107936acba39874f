//! From outputs to events of the worker (docs/spec/session-mailbox.md 4.8, 7.6): in one order, none twice, none dropped in
//! silence. What is sent is decided by [`plan`], a pure function; [`deliver`] sends it over a [`Relay`].

use crate::Error;
use crate::host::{HostMailbox, Notice, Outcome, Reading};
use crate::message::{Millis, NewMessage, Output};

/// How much one batch holds: events, and bytes of their data.
pub const MAX_EVENTS: usize = 500;
/// See [`MAX_EVENTS`].
pub const MAX_BYTES: usize = 1 << 20;
/// So many rows of one generation that are no outputs, and the agent's side is hostile.
pub const MAX_POISON: usize = 100;
/// The first pause after a failure, and the longest, in milliseconds.
const FIRST_PAUSE_MS: i64 = 1_000;
const LONGEST_PAUSE_MS: i64 = 60_000;

/// The kind of an event that stands in the place of one that is not sent.
pub const TOMBSTONE: &str = "tombstone";
/// Why a row goes as one that is no output, and the code of the notice that says so.
const INVALID: &str = "invalid_output";

/// An event for the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the order.
    pub seq: i64,
    /// The place of the one before it.
    pub prev: i64,
    /// Its id.
    pub id: String,
    /// When it was said.
    pub at: Millis,
    /// By which process.
    pub generation: i64,
    /// In which attempt of a message.
    pub attempt: i64,
    /// About which message.
    pub in_reply_to: Option<String>,
    /// What it is.
    pub kind: String,
    /// What it says, as JSON.
    pub data: String,
}

impl Event {
    fn of(output: &Output, prev: i64) -> Self {
        Self {
            seq: output.seq,
            prev,
            id: output.id.clone(),
            at: output.created_at,
            generation: output.generation,
            attempt: output.attempt,
            in_reply_to: output.in_reply_to.clone(),
            kind: output.kind.clone(),
            data: output.content.clone(),
        }
    }

    /// The same place in the order, without what was said there.
    #[must_use]
    pub fn tombstone(mut self, reason: &str) -> Self {
        self.kind = TOMBSTONE.into();
        self.data = serde_json::json!({ "reason": reason }).to_string();
        self
    }
}

/// How far the worker has the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The place of the last event that it has.
    pub accepted: i64,
    /// The greatest generation of events before that place.
    pub generation: i64,
    /// Rows that were no outputs, of this generation.
    pub poison: usize,
    /// Places whose content the worker refuses for good.
    pub refused: Vec<(i64, String)>,
}

/// What is to be done with some outputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What is sent, in this order.
    pub events: Vec<Event>,
    /// What the runner itself is asked.
    pub for_runner: Vec<Output>,
    /// Ids of outputs that are sent as tombstones, with the reason.
    pub buried: Vec<(String, String)>,
    /// Rows that are no outputs.
    pub poison: usize,
}

/// Decides what is sent, of outputs beyond `chain.accepted` in their order.
pub fn plan(readings: &[Reading], chain: &Chain, destinations: &[String], now: Millis) -> Plan {
    let mut plan = Plan::default();
    let (mut prev, mut generation) = (chain.accepted, chain.generation);
    // Bounded by MAX_EVENTS, and so is what was read.
    for reading in readings.iter().take(MAX_EVENTS) {
        let output = match reading {
            Reading::Bad { seq, id } => {
                plan.poison += 1;
                let Some(seq) = seq.filter(|seq| *seq > prev) else { continue };
                let id = id.clone().unwrap_or_else(|| format!("unreadable-{seq}"));
                let event = Event {
                    seq,
                    prev,
                    id: id.clone(),
                    at: now,
                    generation,
                    attempt: 0,
                    in_reply_to: None,
                    kind: String::new(),
                    data: String::new(),
                };
                plan.events.push(event.tombstone(INVALID));
                plan.buried.push((id, INVALID.into()));
                prev = seq;
                continue;
            }
            Reading::Good(output) => output,
        };
        if output.prev.is_none() {
            plan.for_runner.push((**output).clone());
            continue;
        }
        if output.deliver_after.is_some_and(|at| at > now) {
            break;
        }
        let event = Event::of(output, prev);
        let reason = why_not(output, prev, generation, chain, destinations);
        if let Some(reason) = reason {
            plan.buried.push((output.id.clone(), reason.clone()));
            plan.events.push(event.tombstone(&reason));
        } else {
            plan.events.push(event);
        }
        plan.poison += usize::from(output.prev != Some(prev));
        generation = generation.max(output.generation);
        prev = output.seq;
    }
    plan
}

fn why_not(output: &Output, prev: i64, generation: i64, chain: &Chain, destinations: &[String]) -> Option<String> {
    if let Some((_, reason)) = chain.refused.iter().find(|(seq, _)| *seq == output.seq) {
        return Some(reason.clone());
    }
    // What a process says after its successor began to speak.
    if output.generation < generation {
        return Some("fenced".into());
    }
    if output.prev != Some(prev) {
        return Some(INVALID.into());
    }
    let elsewhere = output.target.as_ref().is_some_and(|target| !destinations.contains(target));
    elsewhere.then(|| "unknown_destination".into())
}

/// How an attempt to send a batch came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The worker has everything up to this place.
    Accepted {
        /// The place.
        seq: i64,
        /// The event after it that it refuses for good, and why.
        rejected: Option<(i64, String)>,
    },
    /// The worker has less, or more, than was believed: up to this place.
    Gap(i64),
    /// Nothing is known of it: again later.
    Failed(String),
    /// It was broken off here, for something that does not wait: again at once. Counts as no attempt.
    BrokenOff,
}

/// The way to the worker.
pub trait Relay {
    /// Sends events. The worker knows repeats by their places.
    fn send(&mut self, events: &[Event]) -> Sent;
}

/// What a call of [`deliver`] has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// How many events were sent.
    pub sent: usize,
    /// What the runner itself is asked, at least once each.
    pub for_runner: Vec<Output>,
    /// Places that the worker refuses: sent again as tombstones with the next call.
    pub rejected: usize,
    /// When the next attempt is worth it, where this one failed.
    pub again_at: Option<Millis>,
}

/// The pause after so many failures, in milliseconds.
pub fn pause(attempts: u32) -> i64 {
    (FIRST_PAUSE_MS << attempts.saturating_sub(1).min(16)).min(LONGEST_PAUSE_MS)
}

/// Sends one batch of what the worker does not have yet.
///
/// # Errors
///
/// What the mailbox reports; [`Error::Hostile`] when too much of it is no output. A failure after the worker has accepted does
/// no harm: the same is sent again, and known there.
pub fn deliver(
    mailbox: &mut dyn HostMailbox,
    relay: &mut dyn Relay,
    chain: &mut Chain,
    now: Millis,
) -> Result<Delivered, Error> {
    let readings = mailbox.outputs(chain.accepted, MAX_EVENTS, MAX_BYTES)?;
    let plan = plan(&readings, chain, &mailbox.destinations()?, now);
    if chain.poison + plan.poison >= MAX_POISON {
        return Err(Error::Hostile("too many rows are no outputs"));
    }
    let mut done = Delivered { for_runner: plan.for_runner, ..Delivered::default() };
    let Some(first) = plan.events.first() else { return Ok(done) };
    let (attempts, last) = mailbox.attempts(&first.id)?;
    let due = last.saturating_add(pause(attempts));
    // A failure that lies ahead was stored before the clock was set back.
    if attempts > 0 && (last..due).contains(&now) {
        done.again_at = Some(due);
        return Ok(done);
    }
    done.sent = plan.events.len();
    match relay.send(&plan.events) {
        Sent::Failed(why) => {
            mailbox.record(&[(first.id.clone(), Outcome::Later(why))], now)?;
            done.again_at = Some(now.saturating_add(pause(attempts.saturating_add(1))));
        }
        Sent::BrokenOff => done.sent = 0,
        Sent::Gap(accepted) => chain.accepted = accepted,
        Sent::Accepted { seq, rejected } => {
            let accepted: Vec<&Event> = plan.events.iter().filter(|event| event.seq <= seq).collect();
            let outcomes: Vec<_> = accepted
                .iter()
                .map(|event| {
                    let buried = plan.buried.iter().find(|(id, _)| *id == event.id);
                    let outcome = buried.map_or(Outcome::Delivered, |(_, why)| Outcome::Refused(why.clone()));
                    (event.id.clone(), outcome)
                })
                .collect();
            for (id, why) in &plan.buried {
                if accepted.iter().any(|event| event.id == *id) {
                    tell_agent(mailbox, id, why, now)?;
                }
            }
            let is_invalid = |event: &Event| plan.buried.iter().any(|(id, why)| *id == event.id && why == INVALID);
            let invalid: Vec<&Event> = accepted.iter().copied().filter(|event| is_invalid(event)).collect();
            tell_session(mailbox, &invalid, now)?;
            mailbox.record(&outcomes, now)?;
            chain.accepted = chain.accepted.max(seq);
            let newest = accepted.iter().map(|event| event.generation).max().unwrap_or_default();
            if newest > chain.generation {
                (chain.generation, chain.poison) = (newest, 0);
            }
            chain.poison += plan.poison;
            chain.refused.retain(|(place, _)| *place > seq);
            if let Some(rejected) = rejected {
                done.rejected = 1;
                chain.refused.push(rejected);
            }
        }
    }
    Ok(done)
}

/// Reports rows that are no outputs, once a batch: a batch that is sent again has the same first place.
fn tell_session(mailbox: &mut dyn HostMailbox, invalid: &[&Event], now: Millis) -> Result<(), Error> {
    let Some(first) = invalid.first() else { return Ok(()) };
    let message = format!("{} rows of the agent's side are no outputs, from place {} on", invalid.len(), first.seq);
    let notice = Notice {
        id: format!("invalid-output-{}-{}", first.generation, first.seq),
        code: INVALID.into(),
        data: serde_json::json!({ "message": message }).to_string(),
    };
    mailbox.note(&notice, now)
}

/// Lets the agent know that nobody got what it said: it rides along with the next prompt.
fn tell_agent(mailbox: &mut dyn HostMailbox, output: &str, why: &str, now: Millis) -> Result<(), Error> {
    let message = NewMessage {
        id: format!("delivery-failed-{output}"),
        kind: "system".into(),
        content: serde_json::json!({"event": "delivery_failed", "output": output, "reason": why}).to_string(),
        context: true,
        ..NewMessage::default()
    };
    mailbox.insert(&message, now).map(|_| ())
}

#[cfg(test)]
mod tests;
