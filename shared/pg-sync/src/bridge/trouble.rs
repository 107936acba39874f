//! What goes wrong, and how it goes on (pg-sync.md 4.6, 4.8).

use super::decide::Decide;
use super::state::Block;
use super::{Gap, NotJoined, OpenGap, State};
use crate::answer::Refusal;
use crate::body::{BlockedReason, GapReason, Notice};
use crate::ring::Log;
use crate::rows::Incomparable;

/// The first pause after a failure, in milliseconds; it doubles with each.
const FIRST_PAUSE_MS: i64 = 1_000;
/// The longest pause after a failure, in milliseconds.
const MAX_PAUSE_MS: i64 = 300_000;
/// The pause before the end of a log is asked for again, in milliseconds.
const ROTATED_PAUSE_MS: i64 = 1_000;
/// How long a blocked bridge waits before it tries by itself, in milliseconds.
const BLOCKED_MS: i64 = 3_600_000;
/// So many refusals in a row block.
const MAX_REFUSALS: u32 = 3;
/// So many replaced logs in a row block, and so many unreadable answers that are the same.
const MAX_ROTATIONS: u32 = 5;

/// The pause after so many failures, at least what the service asks for; a fifth shorter or longer by chance.
pub(super) fn pause(attempt: u32, at_least: Option<i64>, dice: u32) -> i64 {
    let doubled = FIRST_PAUSE_MS.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(MAX_PAUSE_MS);
    let fifth = doubled / 5;
    let by_chance = i64::from(dice % 1_001) * 2 * fifth / 1_000 - fifth;
    doubled.saturating_add(by_chance).max(at_least.unwrap_or(0))
}

impl<L: Log> Decide<'_, L> {
    /// A failure that time may mend.
    pub(super) fn failed(&mut self, text: String, at_least: Option<i64>) {
        if matches!(self.bridge.stored.state, State::Probing { .. }) {
            return self.remove(&NotJoined::Refused(Refusal { status: 0, detail: text }));
        }
        if matches!(self.bridge.stored.state, State::Idle { .. }) {
            return;
        }
        let failures = &mut self.bridge.stored.failures;
        failures.attempt = failures.attempt.saturating_add(1);
        failures.last = Some(text);
        let until = self.now.saturating_add(pause(failures.attempt, at_least, self.dice));
        self.bridge.stored.state = State::Backoff { until };
    }

    /// The service refuses.
    pub(super) fn refused(&mut self, refusal: Refusal) {
        if matches!(refusal.status, 401 | 403) && !self.bridge.memory.has_read_again {
            // The secret may be another one by now: it is read again, and only the next refusal counts.
            self.bridge.memory.has_read_again = true;
            self.bridge.memory.connection = None;
            self.bridge.memory.next_poll_at = self.now;
            return;
        }
        self.bridge.memory.has_read_again = false;
        if matches!(self.bridge.stored.state, State::Probing { .. }) {
            return self.remove(&NotJoined::Refused(refusal));
        }
        let failures = &mut self.bridge.stored.failures;
        failures.refused = failures.refused.saturating_add(1);
        failures.last = Some(format!("{} {}", refusal.status, refusal.detail));
        if failures.refused >= MAX_REFUSALS {
            return self.block(BlockedReason::Refused, Some(refusal.status), Some(refusal.detail));
        }
        self.failed(format!("{} {}", refusal.status, refusal.detail), None);
    }

    /// An answer that nobody can read.
    pub(super) fn unreadable(&mut self, mark: String, text: String) {
        let failures = &mut self.bridge.stored.failures;
        let is_same = failures.mark.as_ref() == Some(&mark);
        failures.same = if is_same { failures.same.saturating_add(1) } else { 1 };
        failures.mark = Some(mark);
        if failures.same >= MAX_ROTATIONS && !matches!(self.bridge.stored.state, State::Probing { .. }) {
            return self.block(BlockedReason::Unreadable, None, Some(text));
        }
        self.failed(text, None);
    }

    /// The log was replaced: what happened between the cursor and now cannot be known from it.
    pub(super) fn rotated(&mut self) {
        if matches!(self.bridge.stored.state, State::Probing { .. }) {
            let detail = "the service replaces its log".to_owned();
            return self.remove(&NotJoined::Refused(Refusal { status: 409, detail }));
        }
        self.open_gap(GapReason::MustRefetch);
        let failures = &mut self.bridge.stored.failures;
        failures.rotated = failures.rotated.saturating_add(1);
        failures.last = Some("409 the log was replaced".to_owned());
        if failures.rotated >= MAX_ROTATIONS {
            return self.block(BlockedReason::Rotates, Some(409), None);
        }
        let pause = if failures.rotated > 1 { ROTATED_PAUSE_MS } else { 0 };
        self.bridge.stored.state = State::Resync { next_at: self.now.saturating_add(pause) };
    }

    /// Drops the cursor. One gap is open at a time: it lasts until there is a cursor again.
    pub(super) fn open_gap(&mut self, reason: GapReason) {
        let (now, stored) = (self.now, &mut self.bridge.stored);
        stored.cursor = None;
        stored.position = None;
        // Rows that were being asked for are asked for again, on another log; those that were told stay told.
        stored.comparing = None;
        stored.shown = None;
        if stored.gap.is_some() {
            return;
        }
        let seq = stored.ring.last_seq;
        stored.gap_seq += 1;
        stored.gap = Some(OpenGap { reason, seq, at: now });
        self.commit.gap = Some(Gap { gap_seq: stored.gap_seq, seq, reason, at: now });
    }

    /// There is a cursor again, and observers are told what they may have missed. Not before: whoever reads the table when it
    /// hears of a gap hears of everything that comes after its reading. `diff`: why that could not be found out.
    pub(super) fn close_gap(&mut self, diff: Option<Incomparable>) {
        let Some(OpenGap { reason, seq, at }) = self.bridge.stored.gap.take() else { return };
        let last_seq = self.bridge.stored.ring.last_seq;
        for observer in self.bridge.observers.values_mut().filter(|observer| observer.is_active()) {
            observer.tell_gap(Notice::Gap { from_seq: seq, reason, at, count: 1, diff }, last_seq, self.now);
            self.commit.observers.insert(observer.id.clone());
        }
    }

    /// The bridge waits for somebody. Observers are told once, until it has recovered.
    pub(super) fn block(&mut self, reason: BlockedReason, status: Option<u16>, detail: Option<String>) {
        let now = self.now;
        self.bridge.memory.has_read_again = false;
        self.bridge.stored.state = State::Blocked { retry_at: now.saturating_add(BLOCKED_MS) };
        let since = self.bridge.stored.block.as_ref().map(|block| block.since);
        let block = Block { reason, status, detail: detail.clone(), since: since.unwrap_or(now) };
        self.bridge.stored.block = Some(block);
        if since.is_none() {
            self.tell_all(&Notice::Blocked { reason, status, detail, since: now });
        }
    }

    /// Something went right. How often logs were replaced is forgotten when one has answered a request with its handle.
    pub(super) fn recovered(&mut self, had_handle: bool) {
        let failures = &mut self.bridge.stored.failures;
        let rotated = if had_handle { 0 } else { failures.rotated };
        *failures = super::state::Failures { rotated, ..super::state::Failures::default() };
        self.bridge.memory.has_read_again = false;
        if rotated > 0 {
            return;
        }
        if let Some(block) = self.bridge.stored.block.take() {
            self.tell_all(&Notice::Recovered { reason: block.reason, since: block.since });
        }
    }

    /// It goes on from where it is.
    pub(super) fn resume(&mut self) {
        let now = self.now;
        self.bridge.memory.next_poll_at = now;
        let stored = &mut self.bridge.stored;
        stored.state = if stored.cursor.is_some() { State::Catching } else { State::Resync { next_at: now } };
    }

    /// Somebody wants it to go on.
    pub(super) fn retry(&mut self) {
        if matches!(self.bridge.stored.state, State::Backoff { .. } | State::Blocked { .. }) {
            self.bridge.memory.connection = None;
            self.resume();
        }
    }
}
