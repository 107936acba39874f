//! When a session that crashes again and again is left alone for a while (docs/spec/session-mailbox.md 4.7). Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// So many kills without a finished turn between them are a loop.
const LOOP: usize = 3;
/// Within this time; and for so long nothing is started.
const WINDOW: Duration = Duration::from_mins(10);

/// The kills of a session since its last finished turn. Times are those of the monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Crashes {
    kills: VecDeque<Duration>,
    until: Option<Duration>,
}

impl Crashes {
    /// The process was killed, or died by itself. True when that begins a loop, which the session is told once.
    pub fn killed(&mut self, now: Duration) -> bool {
        self.kills.push_back(now);
        if self.kills.len() > LOOP {
            self.kills.pop_front();
        }
        let loops =
            self.kills.len() == LOOP && self.kills.front().is_some_and(|first| now.saturating_sub(*first) <= WINDOW);
        let begins = loops && self.until.is_none_or(|until| until <= now);
        if loops {
            self.until = Some(now + WINDOW);
        }
        begins
    }

    /// A turn was finished.
    pub fn finished(&mut self) {
        *self = Self::default();
    }

    /// A new message came: it is tried at once.
    pub fn new_message(&mut self) {
        self.finished();
    }

    /// Whether a process may be started.
    pub fn may_start(&self, now: Duration) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Duration {
        Duration::from_mins(minutes)
    }

    /// Row of docs/spec/session-mailbox.md 5: "Orphan ack → kill loop; stale heartbeat → kill at start".
    #[test]
    fn three_kills_in_ten_minutes_are_a_loop_that_ends_after_ten_minutes() {
        let mut crashes = Crashes::default();
        assert_eq!([at(0), at(5), at(10)].map(|now| crashes.killed(now)), [false, false, true]);
        assert!(!crashes.may_start(at(19)) && crashes.may_start(at(20)));
    }

    #[test]
    fn kills_further_apart_or_with_a_finished_turn_between_them_are_none() {
        let mut slow = Crashes::default();
        assert_eq!([at(0), at(6), at(12), at(18)].map(|now| slow.killed(now)), [false; 4]);
        let mut working = Crashes::default();
        working.killed(at(0));
        working.killed(at(1));
        working.finished();
        assert!(!working.killed(at(2)) && working.may_start(at(2)));
    }

    #[test]
    fn a_new_message_is_tried_at_once() {
        let mut crashes = Crashes::default();
        assert_eq!([at(0), at(1), at(2)].map(|now| crashes.killed(now)), [false, false, true]);
        assert!(!crashes.may_start(at(3)));
        crashes.new_message();
        assert!(crashes.may_start(at(3)));
    }
}
