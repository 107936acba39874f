//! What follows from what happens (agents.md 3.5–3.14). Pure: the state, what happened and the time are all there is.
//!
//! Each function is one thing that happens. It changes the state and says what is to be done; whoever calls it stores both in one
//! transaction before anything is sent.

mod alarm;
mod approvals;
mod budget;
mod follow_up;
mod mailbox;
mod notify;
mod orders;
mod removal;
mod runtime;
mod terminals;
mod transcripts;
mod turns;
mod verbs;
mod waits;
mod watches;
mod workspace;

pub use alarm::{next_alarm, on_alarm, on_wake};
pub use approvals::{
    Decision, DecisionError, Policy, on_agent_gone, on_answered, on_decision, on_permission, on_voided, on_withdrawn,
};
pub use budget::{SetBudgetError, count_time, on_usage, on_usage_told, reached_limits, set_budget, settle};
pub use follow_up::{
    Allowed, Waiting, hears, on_closed, on_due, on_pull, on_pulls_told, on_push_over, on_push_postponed, on_pushed,
    on_said,
};
pub use mailbox::{
    TurnOver, arrive, begin_move, leave, may_begin, on_laid, on_message_failed, on_message_returned, on_not_moved,
    on_opened, on_postponed, on_released, on_runner_away, on_runner_back, on_started, on_stored_there, on_turn_over,
};
pub use notify::{on_notified, start as start_notifying};
pub use orders::{on_message, pump};
pub use removal::{Busy, archive, insists_on_ending, on_removal_failed, remove, unarchive};
pub use runtime::{
    Provisioned, begin_provisioning, end_quietly, on_build, on_ended, on_provision_step, on_provisioned,
    on_runtime_lost, on_task_canceled, on_task_completed,
};
pub use terminals::{on_terminal_closed, on_terminal_opened, on_terminal_used};
pub use transcripts::{Keep, on_kept, on_reset, on_stored, on_stored_incomplete};
pub use turns::{
    NotReached, on_heard, on_killed, on_not_reached, on_prepared, on_prompt_failed, on_sent, on_turn_ended,
};
pub use verbs::{cancel, interrupt, pause, resume};
pub use waits::{Wait, first_wait};
pub use watches::{
    Told, add as add_watch, observes, on_arrival, on_lost, on_not_reached as on_bridge_not_reached, on_observed,
    on_unobserved, open_order, receives, unobserve,
};
pub use workspace::{
    begin_saving, on_bundled, on_compared, on_looked, on_restored, on_resumed, on_saving_before_kill, on_unsaved,
    take_seen,
};

use super::budget::Budget;
use super::{Effect, State, Times};

/// A decision in the making: when it is made, with which deadlines, and what came of it so far.
#[derive(Debug)]
pub struct Decide<'a> {
    /// Milliseconds since 1970.
    pub now: i64,
    /// The deadlines.
    pub times: &'a Times,
    /// What the creator of the session may use on a day, if that is limited.
    pub user_day: Option<&'a Budget>,
    /// What is to be done.
    pub effects: Vec<Effect>,
}

impl<'a> Decide<'a> {
    /// A decision of now.
    pub fn new(now: i64, times: &'a Times) -> Self {
        Self { now, times, user_day: None, effects: Vec::new() }
    }

    /// The same, where the use of a day is limited.
    #[must_use]
    pub fn within(self, user_day: Option<&'a Budget>) -> Self {
        Self { user_day, ..self }
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Appends an event; the status follows it, and whoever wants to hear of it is told.
    pub fn append(&mut self, state: &mut State, draft: crate::event::Draft) {
        if let Some(status) = super::Status::after(&draft.kind).filter(|status| *status != state.status) {
            state.status = status;
            state.status_since = Some(self.now);
        }
        state.active_at = self.now;
        let effect = notify::appended(state, self, draft);
        self.push(effect);
    }

    fn after(&self, ms: i64) -> i64 {
        self.now.saturating_add(ms)
    }
}
