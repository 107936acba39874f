//! What becomes of an answer of the service (pg-sync.md 4.6, 4.7).

use super::compare::Remembering;
use super::decide::Decide;
use super::{NotJoined, State};
use crate::answer::{Answer, Refusal, Success, mark};
use crate::body::{BlockedReason, Counts};
use crate::change::{Change, Operation, Received, kept};
use crate::decode;
use crate::options::{OnGap, Replica};
use crate::ring::{Log, MAX_ROWS};
use crate::shape::{Cursor, LogMode};

impl<L: Log> Decide<'_, L> {
    pub(super) fn answered(&mut self, epoch: u64, answer: Answer) -> Result<(), L::Error> {
        // It was given up, and something else is under way.
        if epoch != self.bridge.memory.epoch || self.bridge.memory.asking.take().is_none() {
            return Ok(());
        }
        if self.bridge.stored.comparing.is_some() {
            return self.rows_answered(answer);
        }
        match answer {
            Answer::Success(success) => return self.succeeded(&success),
            Answer::Rotated => self.rotated(),
            Answer::Refused(refusal) => self.refused(refusal),
            Answer::Busy { status, retry_after_ms, detail } => {
                if matches!(self.bridge.stored.state, State::Probing { .. }) {
                    self.remove(&NotJoined::Refused(Refusal { status, detail }));
                } else {
                    self.failed(format!("{status} {detail}"), retry_after_ms);
                }
            }
            Answer::Broken(text) => self.failed(text, None),
            Answer::TooLarge if matches!(self.bridge.stored.state, State::Probing { .. }) => {
                self.failed("the answer is too large".to_owned(), None);
            }
            Answer::TooLarge => self.block(BlockedReason::BodyTooLarge, None, None),
        }
        Ok(())
    }

    fn succeeded(&mut self, success: &Success) -> Result<(), L::Error> {
        let cursor = self.bridge.stored.cursor.clone();
        let log_mode = cursor.as_ref().map_or(LogMode::ChangesOnly, |cursor| cursor.log_mode);
        let next = success
            .handle
            .as_deref()
            .zip(success.offset.as_deref())
            .and_then(|(handle, offset)| Cursor::new(handle, offset, log_mode));
        let Some(next) = next else {
            self.unreadable(mark(&success.body), "an answer without electric-handle or electric-offset".to_owned());
            return Ok(());
        };
        let messages = match decode::messages(&success.body) {
            Ok(messages) => messages,
            Err(error) => {
                self.unreadable(mark(&success.body), error.to_string());
                return Ok(());
            }
        };
        let is_other_log = cursor.as_ref().is_some_and(|cursor| cursor.handle != next.handle);
        if messages.must_refetch || is_other_log {
            self.rotated();
            return Ok(());
        }
        let is_up_to_date = messages.is_up_to_date || success.is_up_to_date;
        let Some(cursor) = cursor else {
            self.found_end(next, success);
            return Ok(());
        };
        let has_moved = next.offset != cursor.offset;
        if !messages.changes.is_empty() && !has_moved {
            self.unreadable(mark(&success.body), "changes without a new offset".to_owned());
            return Ok(());
        }
        self.recovered(true);
        self.bridge.stored.odd += messages.odd;
        let has_changes = !messages.changes.is_empty();
        self.take_in(messages.changes)?;
        self.bridge.stored.cursor = Some(next);
        self.seen(success);
        self.bridge.stored.state = if is_up_to_date { State::Live } else { State::Catching };
        if is_up_to_date {
            self.bridge.memory.last_ok_at = Some(self.now);
            self.join_waiting();
        }
        self.pace(has_changes || has_moved);
        Ok(())
    }

    /// The end of the log is known: from here on nothing is missed. Rows that were there before are no changes.
    fn found_end(&mut self, cursor: Cursor, success: &Success) {
        self.recovered(false);
        self.bridge.stored.cursor = Some(cursor);
        self.bridge.stored.state = State::Live;
        self.bridge.memory.echo.clear();
        self.bridge.memory.last_ok_at = Some(self.now);
        self.seen(success);
        if self.bridge.stored.source.options.on_gap == OnGap::Diff {
            return self.begin_comparing();
        }
        self.close_gap(None);
        self.join_waiting();
        self.pace(true);
    }

    /// What an answer says besides its messages.
    fn seen(&mut self, success: &Success) {
        const MAX_SCHEMA_BYTES: usize = 64 * 1024;
        const MAX_ECHO_BYTES: usize = 256;
        if let Some(schema) = success.schema.as_ref().filter(|schema| schema.len() <= MAX_SCHEMA_BYTES) {
            self.bridge.stored.schema = Some(schema.clone());
        }
        if let Some(echo) = success.cursor.as_ref().filter(|echo| echo.len() <= MAX_ECHO_BYTES) {
            self.bridge.memory.echo.clone_from(echo);
        }
    }

    /// Numbers changes, matches them, and keeps those that there is room for. The body's length bounds how many there are.
    pub(super) fn take_in(&mut self, received: Vec<Received>) -> Result<(), L::Error> {
        let mut rows = Remembering::begin(&self.bridge.stored, self.log);
        let now = self.now;
        let stored = &mut self.bridge.stored;
        stored.shown.take_if(|shown| shown.until <= now);
        let is_partial = stored.source.options.replica == Replica::Default;
        let mut counts: Vec<Counts> = vec![Counts::default(); self.bridge.observers.len()];
        let mut added = std::collections::VecDeque::new();
        for change in received {
            // The log is ordered. What comes again was taken in before.
            if change.position.zip(stored.position).is_some_and(|(position, last)| position <= last) {
                stored.repeated += 1;
                continue;
            }
            stored.position = change.position.or(stored.position);
            if !change.is_synthetic {
                // The log is behind the rows that were compared until it comes to a transaction that they cannot show.
                if stored.shown.as_ref().is_some_and(|its| its.shown.holds(&change.transactions)) {
                    continue;
                }
                stored.shown.take_if(|its| its.shown.is_passed_by(&change.transactions));
                rows.note(&change)?;
            }
            stored.ring.last_seq += 1;
            for (observer, counts) in self.bridge.observers.values().zip(&mut counts) {
                let is_match = observer.wake.matches(change.operation, &change.value, change.is_synthetic);
                if observer.is_active() && is_match {
                    counts.add(change.operation);
                }
            }
            if added.len() as u64 == MAX_ROWS {
                added.pop_front();
                stored.overrun += 1;
            }
            let (value, is_large) = kept(&change.value, &change.key);
            let old = change.old_value.as_ref().map(|old| kept(old, &change.key));
            added.push_back(Change {
                seq: stored.ring.last_seq,
                gap_seq: stored.gap_seq,
                operation: change.operation,
                value,
                truncated: is_large || old.as_ref().is_some_and(|(_, is_large)| *is_large),
                old_value: old.map(|(old, _)| old),
                position: change.position,
                at: self.now,
                partial: is_partial && change.operation == Operation::Update && !change.is_synthetic,
                synthetic: change.is_synthetic,
                key: change.key,
            });
        }
        rows.end(&mut stored.known, &mut self.commit);
        for (observer, counts) in self.bridge.observers.values_mut().zip(counts) {
            if counts.total() > 0 {
                observer.note(counts, self.now);
                self.commit.observers.insert(observer.id.clone());
            }
        }
        self.added = added.into();
        if !self.added.is_empty() {
            stored.ring.bytes += self.added.iter().map(Change::bytes).sum::<u64>();
            self.commit.delete = stored.ring.trim(self.log, &self.added, self.now)?;
            let first_seq = stored.ring.first_seq;
            self.added.retain(|change| change.seq >= first_seq);
        }
        Ok(())
    }
}
