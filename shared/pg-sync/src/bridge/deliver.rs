//! What is sent to observers, and what they say to it (pg-sync.md 4.9).

use super::decide::Decide;
use super::observer::{Item, sum};
use super::trouble::pause;
use super::{Action, Inflight, Outcome};
use crate::body::{Counts, MAX_WAKE_CHANGES, Notice, WakeBody, Whose};
use crate::change::Change;
use crate::ring::Log;

/// How long an observer may take to answer, in milliseconds.
const SENDING_MS: i64 = 60_000;
/// So much is sent at most in one go.
const MAX_SENDS: usize = 20;
/// So many rows are looked at in one go.
const PAGE: usize = 200;

impl<L: Log> Decide<'_, L> {
    /// Makes what is due, and sends what is made.
    pub(super) fn deliver(&mut self) -> Result<(), L::Error> {
        let now = self.now;
        let late: Vec<String> =
            self.bridge.memory.sending.iter().filter(|(_, until)| **until <= now).map(|(id, _)| id.clone()).collect();
        for id in late {
            self.not_taken(&id);
        }
        let due = |at: Option<i64>| at.is_some_and(|at| at <= now);
        let due: Vec<String> =
            self.bridge.observers.values().filter(|observer| due(observer.next_at())).map(|o| o.id.clone()).collect();
        for id in due {
            self.prepare(&id)?;
        }
        let mut sends = 0;
        for (id, observer) in &self.bridge.observers {
            let Some(inflight) = observer.inflight.as_ref().filter(|inflight| inflight.next_try_at <= now) else {
                continue;
            };
            if self.bridge.memory.sending.contains_key(id) || sends == MAX_SENDS {
                continue;
            }
            sends += 1;
            self.actions.push(Action::Send {
                id: id.clone(),
                session: observer.session.clone(),
                key: inflight.key.clone(),
                body: inflight.body.clone(),
            });
            self.bridge.memory.sending.insert(id.clone(), now.saturating_add(SENDING_MS));
        }
        Ok(())
    }

    /// Freezes what is to be told next: what comes meanwhile is told later.
    fn prepare(&mut self, id: &str) -> Result<(), L::Error> {
        let (now, last_seq, max_wakes) = (self.now, self.bridge.stored.ring.last_seq, self.max_wakes);
        let Some(observer) = self.bridge.observers.get_mut(id) else { return Ok(()) };
        let before = observer.clone();
        let item = observer.next(last_seq, max_wakes, now);
        if let Some(item) = item {
            self.freeze(id, item)?;
        }
        if self.bridge.observers.get(id) != Some(&before) {
            self.commit.observers.insert(id.to_owned());
        }
        Ok(())
    }

    fn freeze(&mut self, id: &str, item: Item) -> Result<(), L::Error> {
        let Some(observer) = self.bridge.observers.get_mut(id) else { return Ok(()) };
        let stored = &self.bridge.stored;
        let whose = Whose {
            source_id: &stored.source.id,
            subscription_id: id,
            incarnation: stored.incarnation,
            table: &stored.source.options.table,
        };
        let begin = format!("pgsync:{}:{}:{id}", stored.source.id, stored.incarnation);
        let (key, body) = match &item {
            Item::Wake { counts, to_seq, throttled } => {
                let key = format!("{begin}:{to_seq}");
                let after_seq = observer.sent_seq;
                let wake = &observer.wake;
                let log = Rows { log: self.log, added: &self.added, first_seq: stored.ring.first_seq };
                let mut changes = Vec::new();
                log.each(after_seq, *to_seq, |change| {
                    if is_match(wake, &change) {
                        changes.push(change);
                    }
                    changes.len() < MAX_WAKE_CHANGES
                })?;
                let body = whose.wake(&WakeBody {
                    key: &key,
                    after_seq,
                    to_seq: *to_seq,
                    counts: *counts,
                    changes: &changes,
                    available_from: stored.ring.first_seq.max(after_seq + 1),
                    throttled: *throttled,
                });
                (key, body)
            }
            Item::Notice(notice) => {
                observer.notices += 1;
                let key = format!("{begin}:{}:{}:{}", stored.ring.last_seq, notice.kind(), observer.notices);
                let body = whose.notice(&key, notice);
                (key, body)
            }
        };
        observer.inflight = Some(Inflight { key, body, item, attempts: 0, next_try_at: self.now });
        Ok(())
    }

    pub(super) fn sent(&mut self, id: &str, key: &str, outcome: Outcome) -> Result<(), L::Error> {
        let Some(observer) = self.bridge.observers.get_mut(id) else { return Ok(()) };
        let Some(inflight) = observer.inflight.as_ref().filter(|inflight| inflight.key == key) else { return Ok(()) };
        let item = inflight.item.clone();
        match (outcome, item) {
            (Outcome::Taken, Item::Notice(Notice::Ended(_))) | (Outcome::Gone, _) => self.forget(id),
            (Outcome::Taken, item) => {
                if let Item::Wake { to_seq, .. } = item {
                    observer.sent_seq = to_seq;
                }
                observer.inflight = None;
                self.bridge.memory.sending.remove(id);
                self.commit.observers.insert(id.to_owned());
            }
            (Outcome::Behind(has_seq), Item::Wake { counts, to_seq, throttled }) if has_seq < observer.sent_seq => {
                self.rebuild(id, has_seq, &Item::Wake { counts, to_seq, throttled })?;
            }
            (Outcome::Behind(_) | Outcome::Failed, _) => self.not_taken(id),
        }
        Ok(())
    }

    fn not_taken(&mut self, id: &str) {
        self.bridge.memory.sending.remove(id);
        let Some(observer) = self.bridge.observers.get_mut(id) else { return };
        let Some(inflight) = &mut observer.inflight else { return };
        inflight.attempts = inflight.attempts.saturating_add(1);
        inflight.next_try_at = self.now.saturating_add(pause(inflight.attempts, None, self.dice));
        self.commit.observers.insert(id.to_owned());
    }

    /// The observer has less than was thought: the wake begins there. Changes that are kept are counted, others only as far as
    /// they were counted before.
    fn rebuild(&mut self, id: &str, has_seq: u64, item: &Item) -> Result<(), L::Error> {
        let Item::Wake { mut counts, to_seq, throttled } = *item else { return Ok(()) };
        let Some(observer) = self.bridge.observers.get_mut(id) else { return Ok(()) };
        let attempts = observer.inflight.as_ref().map_or(0, |inflight| inflight.attempts);
        let mut more = Counts::default();
        let log = Rows { log: self.log, added: &self.added, first_seq: self.bridge.stored.ring.first_seq };
        let wake = &observer.wake;
        log.each(has_seq, observer.sent_seq, |change| {
            if is_match(wake, &change) {
                more.add(change.operation);
            }
            true
        })?;
        counts = sum(counts, more);
        observer.sent_seq = has_seq;
        self.freeze(id, Item::Wake { counts, to_seq, throttled })?;
        if let Some(inflight) = self.bridge.observers.get_mut(id).and_then(|observer| observer.inflight.as_mut()) {
            inflight.attempts = attempts;
        }
        // Sent after a pause: an observer that says so each time is not asked without end.
        self.not_taken(id);
        Ok(())
    }
}

/// Whether a kept change is one that wakes. A value that was too large matches no filter any more.
fn is_match(wake: &crate::wake::Wake, change: &Change) -> bool {
    let value = serde_json::from_str(&change.value).unwrap_or(serde_json::Value::Null);
    wake.matches(change.operation, &value, change.synthetic)
}

/// The rows of a source, with those of the decision that is being made.
struct Rows<'a, L> {
    log: &'a L,
    added: &'a [Change],
    first_seq: u64,
}

impl<L: Log> Rows<'_, L> {
    /// Shows rows above `after` and up to `to`, oldest first, until `each` has enough. The ring bounds how many there are.
    fn each(&self, after: u64, to: u64, mut each: impl FnMut(Change) -> bool) -> Result<(), L::Error> {
        let mut after = after.max(self.first_seq.saturating_sub(1));
        let stored_to = self.added.first().map_or(to, |first| to.min(first.seq - 1));
        while after < stored_to {
            let page = self.log.changes(after, stored_to, PAGE)?;
            let Some(last) = page.last().map(|change| change.seq) else { break };
            for change in page {
                if !each(change) {
                    return Ok(());
                }
            }
            after = last;
        }
        for change in self.added.iter().filter(|change| change.seq > after && change.seq <= to) {
            if !each(change.clone()) {
                return Ok(());
            }
        }
        Ok(())
    }
}
