//! Who begins to observe, and from when on nothing is missed (pg-sync.md 4.2).

use super::decide::Decide;
use super::{Action, MAX_OBSERVERS, Observer, Reader, State};
use crate::answer::Refusal;
use crate::body::BlockedReason;
use crate::ring::Log;
use crate::wake::Wake;

/// How long a caller waits for the moment from which nothing is missed, in milliseconds.
const JOINING_MS: i64 = super::poll::PROBE_MS;

/// How long a source is followed after its log was read as a stream, in milliseconds: 7 days (pg-sync.md 4.14).
pub const READER_MS: i64 = 7 * 86_400_000;
/// Reading is remembered so often at most, in milliseconds: whoever reads all the time writes nothing.
const READING_MS: i64 = 3_600_000;

/// Why a subscription does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotJoined {
    /// The service refuses the source, or cannot be reached.
    Refused(Refusal),
    /// The service does not answer.
    NoAnswer,
    /// The connection cannot be used.
    Unusable(BlockedReason),
    /// The bridge has no place in the log now.
    Unavailable,
    /// There are too many observers.
    Quota,
}

impl<L: Log> Decide<'_, L> {
    pub(super) fn subscribe(&mut self, id: String, session: String, wake: Wake) {
        let now = self.now;
        let last_seq = self.bridge.stored.ring.last_seq;
        if let Some(observer) = self.bridge.observers.get_mut(&id).filter(|observer| !observer.is_ending) {
            if observer.wake != wake {
                observer.change(wake, now);
                self.commit.observers.insert(id.clone());
            }
            if observer.joining.is_none() {
                self.actions.push(Action::Joined { id });
            }
            return;
        }
        if self.bridge.observers.len() >= MAX_OBSERVERS && !self.bridge.observers.contains_key(&id) {
            return self.actions.push(Action::NotJoined { id, why: super::NotJoined::Quota });
        }
        self.bridge.memory.sending.remove(&id);
        let has_cursor = self.bridge.stored.cursor.is_some() && self.bridge.stored.comparing.is_none();
        let joins_at_once = match self.bridge.stored.state {
            State::Live | State::Backoff { .. } | State::Blocked { .. } => has_cursor,
            // What it reads now happened before anybody asked, for the most part: the caller waits until that is done.
            State::Catching | State::Resync { .. } | State::Idle { .. } | State::Probing { .. } => false,
        };
        let joining = (!joins_at_once).then(|| now.saturating_add(JOINING_MS));
        let notices = self.bridge.observers.get(&id).map_or(0, |ending| ending.notices);
        let mut observer = Observer::new(id.clone(), session, wake, joining, (last_seq, notices), now);
        if joins_at_once {
            observer.join(self.bridge.stored.block.as_ref(), last_seq);
            self.actions.push(Action::Joined { id: id.clone() });
        }
        self.bridge.observers.insert(id.clone(), observer);
        self.commit.gone.remove(&id);
        self.commit.observers.insert(id);
        match &mut self.bridge.stored.state {
            State::Probing { until, remove_at } if *until <= now => {
                *until = now.saturating_add(super::poll::PROBE_MS);
                *remove_at = until.saturating_add(super::poll::PROBE_KEPT_MS);
            }
            State::Idle { .. } => self.resume(),
            _ => {}
        }
    }

    /// The log is read. That keeps a bridge that there is; it does not make one: who wants that subscribes, and reads once it has joined.
    pub(super) fn read(&mut self, source_ref: String) {
        let until = self.now.saturating_add(READER_MS);
        let stored = &mut self.bridge.stored;
        let is_recent = stored
            .reader
            .as_ref()
            .is_some_and(|reader| reader.source_ref == source_ref && reader.until > until.saturating_sub(READING_MS));
        if !is_recent {
            stored.reader = Some(Reader { source_ref, until });
        }
        if matches!(stored.state, State::Idle { .. }) {
            self.resume();
        }
    }

    /// From here on nothing is missed: whoever waited for that is told.
    pub(super) fn join_waiting(&mut self) {
        let last_seq = self.bridge.stored.ring.last_seq;
        for observer in self.bridge.observers.values_mut().filter(|observer| observer.joining.is_some()) {
            observer.join(self.bridge.stored.block.as_ref(), last_seq);
            self.commit.observers.insert(observer.id.clone());
            self.actions.push(Action::Joined { id: observer.id.clone() });
        }
    }
}
