//! How long a session waits for what (agents.md 3.14). All in milliseconds.

use crate::settings::SessionSettings;

/// Added to the limit of a step: so long its lease outlives it.
const SLACK_MS: i64 = 15_000;

/// The deadlines of one session, as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    divisor: i64,
    /// How long the answer to a prompt is waited for; its lapse means that the agent has the prompt (B59).
    pub prompt_post: i64,
    /// Silence after which a turn is stopped.
    pub silence: i64,
    /// How long an agent has to stop by itself.
    pub stop_grace: i64,
    /// How long an approval is open.
    pub approval: i64,
    /// Quiet time after which a runtime is ended.
    pub idle: i64,
    /// How long things wait at the desk of a runner that calls us.
    pub desk: crate::mailbox::desk::Times,
    /// How long a creation waits for such a runner to open the session.
    pub open_wait: i64,
}

impl Times {
    /// The times of the settings, divided where a build for tests says so.
    pub fn of(settings: &SessionSettings) -> Self {
        let divisor = settings.deadline_divisor.max(1);
        let of = |ms: i64| (ms / divisor).max(1);
        Self {
            divisor,
            prompt_post: of(settings.prompt_post_ms),
            silence: of(settings.turn_silence_ms),
            stop_grace: of(settings.stop_grace_ms),
            approval: of(settings.approval_timeout_ms),
            idle: of(settings.idle_timeout_ms),
            desk: crate::mailbox::desk::Times {
                order_ttl_ms: of(settings.order_ttl_ms),
                offline_turn_ms: of(settings.runner_offline_turn_ms),
            },
            open_wait: of(settings.runner_open_wait_ms),
        }
    }

    fn scaled(&self, ms: i64) -> i64 {
        (ms / self.divisor).max(1)
    }

    /// The lease of a step that takes at most `limit` milliseconds.
    pub fn lease(&self, limit: i64) -> i64 {
        self.scaled(limit.saturating_add(SLACK_MS))
    }

    /// All of provisioning.
    pub fn provisioning(&self) -> i64 {
        self.scaled(15 * 60_000)
    }

    /// The build of a template.
    pub fn building(&self) -> i64 {
        self.scaled(30 * 60_000)
    }

    /// Between two looks at a build.
    pub fn build_poll(&self) -> i64 {
        self.scaled(3_000)
    }

    /// Waking a runtime before a prompt.
    pub fn preparing(&self) -> i64 {
        self.scaled(300_000)
    }

    /// A prompt of which nobody knows whether it was sent.
    pub fn sending(&self) -> i64 {
        self.scaled(60_000).max(self.prompt_post)
    }

    /// How long an agent has to stop by itself when its runtime is ended anyway.
    pub fn cancel_grace(&self) -> i64 {
        self.stop_grace.min(2_000)
    }

    /// Killing an agent, with proof.
    pub fn killing(&self) -> i64 {
        self.scaled(60_000)
    }

    /// One try to end a runtime.
    pub fn ending(&self) -> i64 {
        self.scaled(60_000)
    }

    /// The pause before a further try to end a runtime; none when there were enough.
    pub fn next_end(&self, attempt: u32) -> Option<i64> {
        (attempt < 4).then(|| self.scaled(2_000 << attempt))
    }

    /// Keeping the working tree before a sandbox is left.
    pub fn saving(&self) -> i64 {
        self.scaled(120_000)
    }

    /// Keeping the conversation of a turn that is over.
    pub fn keeping(&self) -> i64 {
        self.scaled(45_000)
    }

    /// How long remarks are gathered before they are acted upon.
    pub fn window(&self, ms: i64) -> i64 {
        self.scaled(ms)
    }

    /// Between two looks at a running turn.
    pub fn tick(&self) -> i64 {
        self.scaled(60_000)
    }

    /// How long what git asks with is left in a sandbox.
    pub fn broker(&self) -> i64 {
        self.scaled(10 * 60_000)
    }

    /// An order that nothing keeps from being sent.
    pub fn order(&self) -> i64 {
        self.scaled(5_000)
    }

    /// How long it is not asked whether notifications are still being sent, and the pause after a database did not answer.
    pub fn notifying(&self) -> i64 {
        self.scaled(60_000)
    }

    /// The pause before a notification is sent again that was sent so many times; none when there were enough.
    pub fn next_delivery(&self, attempts: u32) -> Option<i64> {
        const SECOND: i64 = 1_000;
        const MINUTE: i64 = 60 * SECOND;
        let pause = match attempts {
            0 | 1 => 10 * SECOND,
            2 => MINUTE,
            3 => 10 * MINUTE,
            4 => 60 * MINUTE,
            5 => 6 * 60 * MINUTE,
            _ => return None,
        };
        Some(self.scaled(pause))
    }

    /// How long it is known what became of a notification.
    pub fn kept_delivery(&self) -> i64 {
        self.scaled(7 * 24 * 60 * 60_000)
    }

    /// The pause before the event stream is opened again, after so many failures in a row.
    pub fn reattach(&self, failures: u32) -> i64 {
        self.scaled(1_000 << failures.min(6)).min(self.tick())
    }
}
