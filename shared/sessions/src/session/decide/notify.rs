//! Events that people want to hear of elsewhere (agents.md 20.3).

use super::Decide;
use crate::event::Draft;
use crate::session::{Effect, Job, State};
use crate::webhook::Topic;

/// Notifications of one session in an hour. An agent may say over and over that its task is done.
const MOST_AN_HOUR: u32 = 600;
const HOUR_MS: i64 = 60 * 60_000;

/// How an event is appended: with its notification, if it has one.
pub(super) fn appended(state: &mut State, decide: &mut Decide<'_>, draft: Draft) -> Effect {
    let is_told = Topic::of(&draft.kind).is_some() && state.removal.is_none() && state.notices.takes(decide.now);
    if !is_told {
        return Effect::Append(draft);
    }
    start(state, decide);
    Effect::Announce(draft)
}

/// Something is to be sent now.
pub fn start(state: &mut State, decide: &mut Decide<'_>) {
    // The work begins at once; should it be lost, the alarm begins it again.
    let again = decide.after(decide.times.notifying());
    state.notify_at = Some(state.notify_at.map_or(again, |at| at.min(again)));
    let begins = Effect::Start(Job::Notify);
    if !decide.effects.contains(&begins) {
        decide.push(begins);
    }
}

/// Everything that was due has been sent; what comes next is due then.
pub fn on_notified(state: &mut State, next: Option<i64>) {
    state.notify_at = next;
}

pub(super) fn on_alarm(state: &mut State, decide: &mut Decide<'_>) {
    if state.notify_at.is_some_and(|at| at <= decide.now) {
        state.notify_at = None;
        start(state, decide);
    }
}

impl crate::session::Notices {
    /// Whether one more may be sent in this hour; then it is counted.
    fn takes(&mut self, now: i64) -> bool {
        let hour = now.div_euclid(HOUR_MS);
        if self.hour != hour {
            *self = Self { hour, count: 0 };
        }
        let takes = self.count < MOST_AN_HOUR;
        self.count = self.count.saturating_add(u32::from(takes));
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::session::Times;
    use crate::session::decide::{next_alarm, on_alarm as alarm};
    use crate::settings::Settings;

    fn times() -> Times {
        Times::of(&Settings::from_lookup(|_| None).unwrap().session)
    }

    fn completed() -> Draft {
        Draft::new(Kind::SessionCompleted, serde_json::Value::Null)
    }

    #[test]
    fn a_notification_has_a_deadline_from_its_beginning() {
        let (times, mut state) = (times(), State::new("s", "ann", 0));
        let mut decide = Decide::new(0, &times);
        decide.append(&mut state, completed());
        decide.append(&mut state, completed());
        decide.append(&mut state, Draft::new(Kind::SessionRunning, serde_json::Value::Null));
        let announced = decide.effects.iter().filter(|effect| matches!(effect, Effect::Announce(_))).count();
        let begun = decide.effects.iter().filter(|effect| **effect == Effect::Start(Job::Notify)).count();
        assert_eq!((announced, begun), (2, 1));
        let lost = next_alarm(&state, &decide).unwrap();
        assert_eq!(Some(lost), state.notify_at);
        // Whoever was sending is gone: the alarm begins anew, and so on until somebody says that it is done.
        let mut decide = Decide::new(lost, &times);
        alarm(&mut state, &mut decide);
        assert_eq!(decide.effects, [Effect::Start(Job::Notify)]);
        assert!(next_alarm(&state, &decide).unwrap() > lost);
        on_notified(&mut state, None);
        assert_eq!(next_alarm(&state, &decide), None);
    }

    #[test]
    fn an_agent_cannot_make_notifications_without_end() {
        let (times, mut state) = (times(), State::new("s", "ann", 0));
        let announced = |state: &mut State, now: i64| {
            let mut decide = Decide::new(now, &times);
            (0..1_000).for_each(|_| decide.append(state, completed()));
            decide.effects.iter().filter(|effect| matches!(effect, Effect::Announce(_))).count()
        };
        assert_eq!(announced(&mut state, 5), 600);
        assert_eq!(announced(&mut state, HOUR_MS - 1), 0);
        assert_eq!(announced(&mut state, HOUR_MS), 600);
    }

    #[test]
    fn a_session_that_is_removed_tells_nobody() {
        let (times, mut state) = (times(), State::new("s", "ann", 0));
        let mut decide = Decide::new(0, &times);
        crate::session::decide::remove(&mut state, &mut decide);
        decide.append(&mut state, completed());
        assert!(!decide.effects.contains(&Effect::Start(Job::Notify)));
        assert_eq!(state.notify_at, None);
    }
}
