//! When the service is asked, and for what (pg-sync.md 4.7).

use super::decide::Decide;
use super::{Action, Mode, State};
use crate::ring::Log;
use crate::shape::{Ask, LogMode};

/// How long a new source waits for the service, in milliseconds.
pub(super) const PROBE_MS: i64 = 10_000;
/// How long a bridge whose service did not answer is kept, in milliseconds: the caller was told already.
pub(super) const PROBE_KEPT_MS: i64 = 60_000;
/// How long a bridge is kept that nobody observes, in milliseconds.
pub(super) const IDLE_MS: i64 = 86_400_000;
/// How long any other request is waited for, in milliseconds. The service ends a long poll after 20 s.
const REQUEST_MS: i64 = 45_000;
/// How long the reading of a connection is waited for, in milliseconds.
const READING_MS: i64 = 10_000;
/// How long a connection is believed to be as it was, in milliseconds.
const CONNECTION_MS: i64 = 60_000;
/// The least pause after an answer that brought nothing and came at once, in milliseconds.
const LEAST_PAUSE_MS: i64 = 1_000;
/// After so long without a change the pause between two requests grows, in milliseconds.
const QUIET_MS: i64 = 600_000;
/// The longest pause between two requests, in milliseconds.
const MAX_INTERVAL_MS: i64 = 60_000;

impl<L: Log> Decide<'_, L> {
    /// Begins the next request, if it is time for one and none is under way.
    pub(super) fn poll(&mut self) {
        let memory = &self.bridge.memory;
        let stored = &self.bridge.stored;
        if self.is_removed || memory.asking.is_some() || memory.reading.is_some() {
            return;
        }
        let is_due = match stored.state {
            State::Probing { until, .. } => self.now < until,
            State::Catching | State::Live => memory.next_poll_at <= self.now,
            State::Resync { next_at } => next_at <= self.now,
            State::Backoff { .. } | State::Blocked { .. } | State::Idle { .. } => false,
        };
        if !is_due {
            return;
        }
        let epoch = memory.epoch;
        let fresh = memory.connection.filter(|(_, read_at)| self.now < read_at.saturating_add(CONNECTION_MS));
        let Some((connection, _)) = fresh else {
            self.bridge.memory.reading = Some(self.now.saturating_add(READING_MS));
            return self.actions.push(Action::ReadConnection { epoch });
        };
        let ask = match (&stored.cursor, stored.state) {
            (None, _) => Ask::Now(LogMode::ChangesOnly),
            (Some(cursor), _) if stored.comparing.is_some() => Ask::Rows(cursor.clone()),
            (Some(cursor), State::Live) if connection.mode == Mode::Live => {
                Ask::Live(cursor.clone(), memory.echo.clone())
            }
            (Some(cursor), _) => Ask::CatchUp(cursor.clone()),
        };
        let timeout_ms = match stored.state {
            State::Probing { until, .. } => until.saturating_sub(self.now).min(PROBE_MS),
            _ => REQUEST_MS,
        };
        self.bridge.memory.asking = Some(self.now.saturating_add(timeout_ms));
        self.bridge.memory.asked_at = self.now;
        self.actions.push(Action::Ask { epoch, ask, timeout_ms });
    }

    /// Sets the time of the next request after an answer. `has_news`: it brought changes, or moved the cursor.
    pub(super) fn pace(&mut self, has_news: bool) {
        let now = self.now;
        let memory = &mut self.bridge.memory;
        let mode = memory.connection.map(|(connection, _)| connection.mode);
        if has_news {
            memory.changed_at = now;
        }
        let pause = match (self.bridge.stored.state, mode) {
            (State::Live, Some(Mode::Interval(base))) => {
                let is_quiet = now >= memory.changed_at.saturating_add(QUIET_MS);
                let longer = memory.interval_ms.saturating_add(memory.interval_ms / 2);
                memory.interval_ms = if is_quiet { longer.clamp(base, MAX_INTERVAL_MS.max(base)) } else { base };
                memory.interval_ms
            }
            // More may be there: it is asked for at once.
            _ if has_news => 0,
            _ => LEAST_PAUSE_MS,
        };
        // Counted from the request: an alarm that was set for then stays where it is.
        memory.next_poll_at = if pause == 0 { now } else { memory.asked_at.saturating_add(pause).max(now) };
    }
}
