//! What becomes of messages, from what was said about them and from whether the process lives
//! (docs/spec/session-mailbox.md 4.6). Pure.

use crate::message::{Ack, AckStatus, Lane, Message, Millis};

/// How often a message is tried whose process dies before the agent got it.
pub const MAX_TRIES: u32 = 5;
/// The first pause before it is tried again; each further one is twice as long. In milliseconds.
pub const FIRST_DELAY_MS: i64 = 5_000;
/// The longest pause before a retry, in milliseconds: one that stands further ahead was stored by another clock.
pub const LONGEST_DELAY_MS: i64 = 160_000;
/// How far a message may be put off, in milliseconds.
pub const MAX_DEFERRAL_MS: i64 = 6 * 3_600_000;
/// The deferral that is one too many.
pub const MAX_DEFERRALS: u32 = 20;

/// Errors that messages end with.
pub mod reasons {
    /// The agent had the prompt when the process died, and it is not sent again.
    pub const TURN_INTERRUPTED: &str = "turn_interrupted";
    /// The agent died with the prompt, and it is not sent again.
    pub const AGENT_DIED: &str = "agent_died";
    /// The provider took nothing for too long.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// The process died each time the message was tried.
    pub const CRASHED: &str = "runtime_crashed";
    /// Nobody took it in time.
    pub const EXPIRED: &str = "expired";
    /// A person took it back.
    pub const WITHDRAWN: &str = "withdrawn";
    /// The session was cancelled.
    pub const CANCELLED: &str = "cancelled";
}

/// Whether the process of the current generation is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It is, or it may be: nothing is done again.
    MayLive,
    /// It is proven to be gone with all that it started.
    Gone,
}

/// What may be done again.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// `RETRY_SENT`: how often a prompt is sent again that an agent had when it died.
    pub retry_sent: u32,
    /// Whether the agent can load the conversation, so that it can be told what happened.
    pub loadable: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { retry_sent: 1, loadable: true }
    }
}

/// What happens to one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is done.
    Complete,
    /// It ended with an error, which the session is told.
    Fail(String),
    /// It is put off until this time.
    Defer(Millis),
    /// It is tried again at this time; one try more.
    Retry(Millis),
    /// It is sent again, wrapped, as the agent may have begun; one sending more.
    SendAgain,
    /// It is given up, which the session is told.
    Die,
    /// It is taken back, which the session is told.
    Cancel(&'static str),
}

impl Change {
    /// Whether the message ends with it.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Defer(_) | Self::Retry(_) | Self::SendAgain)
    }

    /// What the session is told, where it is not told by an output of the agent's side.
    pub fn told(&self) -> Option<&str> {
        match self {
            Self::Fail(reason) => Some(reason),
            Self::Die => Some(reasons::CRASHED),
            Self::Cancel(reason) => Some(reason),
            Self::Complete | Self::Defer(_) | Self::Retry(_) | Self::SendAgain => None,
        }
    }
}

/// Whether what was said is about the attempt that runs, by the process that may run it.
pub fn counts(ack: &Ack, message: &Message, generation: i64) -> bool {
    ack.generation == generation && ack.attempt == message.attempt()
}

/// Whether the agent's side has a message in its hands.
pub fn is_taken(message: &Message, ack: Option<&Ack>, generation: i64) -> bool {
    ack.is_some_and(|ack| {
        counts(ack, message, generation) && matches!(ack.status, AckStatus::Processing | AckStatus::Sent)
    })
}

/// What follows for one message. `jitter` is a random number below 1, in thousandths of a tenth of the pause.
pub fn decide(
    message: &Message,
    ack: Option<&Ack>,
    generation: i64,
    process: Process,
    rules: Rules,
    now: Millis,
    jitter: u16,
) -> Option<Change> {
    if message.status.is_final() {
        return None;
    }
    let Some(ack) = ack.filter(|ack| counts(ack, message, generation)) else {
        // An answer is for the process that asked. With that one gone nobody waits for it.
        if message.lane == Lane::Control && process == Process::Gone {
            return Some(Change::Complete);
        }
        let expired = message.expires_at.is_some_and(|at| at <= now);
        return expired.then_some(Change::Cancel(reasons::EXPIRED));
    };
    match (ack.status, process) {
        (AckStatus::Completed, _) => Some(Change::Complete),
        (AckStatus::Skipped, _) => Some(match ack.error.as_deref() {
            // It was cancelled while it was being taken: each side saw the other in time.
            Some(reasons::CANCELLED) => Change::Cancel(reasons::CANCELLED),
            Some(reasons::EXPIRED) => Change::Cancel(reasons::EXPIRED),
            _ => Change::Complete,
        }),
        (AckStatus::Failed, _) => Some(Change::Fail(ack.error.clone().unwrap_or_else(|| "failed".into()))),
        (AckStatus::Deferred, _) => Some(defer(message, ack, rules, now)),
        (AckStatus::Processing | AckStatus::Sent, Process::MayLive) => None,
        (AckStatus::Processing, Process::Gone) => Some(if message.tries < MAX_TRIES {
            Change::Retry(now.saturating_add(delay(message.tries, jitter)))
        } else {
            Change::Die
        }),
        (AckStatus::Sent, Process::Gone) => Some(again(message, rules, reasons::TURN_INTERRUPTED)),
    }
}

fn defer(message: &Message, ack: &Ack, rules: Rules, now: Millis) -> Change {
    if ack.error.as_deref() == Some(reasons::AGENT_DIED) {
        return again(message, rules, reasons::AGENT_DIED);
    }
    if message.deferrals.saturating_add(1) >= MAX_DEFERRALS {
        return Change::Fail(reasons::RATE_LIMITED.into());
    }
    Change::Defer(ack.until.unwrap_or(now).clamp(now, now.saturating_add(MAX_DEFERRAL_MS)))
}

fn again(message: &Message, rules: Rules, reason: &str) -> Change {
    if message.sent_tries < rules.retry_sent && rules.loadable {
        Change::SendAgain
    } else {
        Change::Fail(reason.into())
    }
}

/// The pause before a retry, in milliseconds: 5, 10, 20, 40, 80 seconds, and up to a tenth more.
pub fn delay(tries: u32, jitter: u16) -> i64 {
    let pause = FIRST_DELAY_MS << tries.min(MAX_TRIES - 1);
    pause + pause / 10 * i64::from(jitter.min(1000)) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Status;

    fn message() -> Message {
        Message { work_seq: Some(1), ..Message::pending("m", 2, 0) }
    }

    fn ack(status: AckStatus) -> Ack {
        Ack { message_id: "m".into(), generation: 3, attempt: 1, status, error: None, until: None, result_seq: None }
    }

    fn decided(message: &Message, ack: &Ack, process: Process) -> Option<Change> {
        decide(message, Some(ack), 3, process, Rules::default(), 1_000, 0)
    }

    #[test]
    fn what_is_taken_stays_while_the_process_may_live() {
        for status in [AckStatus::Processing, AckStatus::Sent] {
            assert_eq!(decided(&message(), &ack(status), Process::MayLive), None);
        }
    }

    #[test]
    fn fact_12_a_try_is_counted_once_however_often_is_swept() {
        let (mut message, ack) = (message(), ack(AckStatus::Processing));
        assert_eq!(decided(&message, &ack, Process::Gone), Some(Change::Retry(6_000)));
        message.tries = 1;
        message.process_after = Some(6_000);
        assert_eq!(decided(&message, &ack, Process::Gone), None);
    }

    #[test]
    fn fact_13_what_waits_already_is_not_put_off_again() {
        let later = Message { deferrals: 1, process_after: Some(99_000), ..message() };
        for status in [AckStatus::Processing, AckStatus::Deferred] {
            assert_eq!(decided(&later, &ack(status), Process::Gone), None);
        }
    }

    #[test]
    fn fact_14_five_tries_at_5_10_20_40_and_80_seconds_then_dead() {
        let delays = [0, 1, 2, 3, 4].map(|tries| {
            let message = Message { tries, ..message() };
            let ack = Ack { attempt: message.attempt(), ..ack(AckStatus::Processing) };
            decided(&message, &ack, Process::Gone)
        });
        assert_eq!(delays, [5, 10, 20, 40, 80].map(|seconds| Some(Change::Retry(1_000 + seconds * 1_000))));
        let last = Message { tries: 5, ..message() };
        let ack = Ack { attempt: 6, ..ack(AckStatus::Processing) };
        assert_eq!(decided(&last, &ack, Process::Gone), Some(Change::Die));
    }

    #[test]
    fn a_retry_comes_at_most_a_tenth_later() {
        assert_eq!((delay(0, 0), delay(0, 1000), delay(4, 1000), delay(4, u16::MAX)), (5_000, 5_500, 88_000, 88_000));
        assert!((0..=1000).all(|jitter| delay(9, jitter) <= LONGEST_DELAY_MS));
    }

    #[test]
    fn what_an_older_generation_or_an_earlier_attempt_says_does_not_count() {
        for old in [Ack { generation: 2, ..ack(AckStatus::Completed) }, Ack { attempt: 0, ..ack(AckStatus::Completed) }]
        {
            assert_eq!(decided(&message(), &old, Process::MayLive), None);
        }
    }

    /// Row of docs/spec/session-mailbox.md 5: "`failed` ack stored as completed; errors acked completed".
    #[test]
    fn failed_stays_failed() {
        let failed = Ack { error: Some("no credit".into()), ..ack(AckStatus::Failed) };
        assert_eq!(decided(&message(), &failed, Process::MayLive), Some(Change::Fail("no credit".into())));
    }

    /// Row of docs/spec/session-mailbox.md 5: "Poison prompt runs again and again".
    #[test]
    fn a_poison_prompt_is_sent_again_once_and_never_a_third_time() {
        let sent = ack(AckStatus::Sent);
        assert_eq!(decided(&message(), &sent, Process::Gone), Some(Change::SendAgain));
        let again = Message { sent_tries: 1, ..message() };
        let sent = Ack { attempt: 2, ..sent };
        let interrupted = Some(Change::Fail(reasons::TURN_INTERRUPTED.into()));
        assert_eq!(decided(&again, &sent, Process::Gone), interrupted);
        // Whoever cannot be told what happened is not sent it a second time.
        let rules = Rules { loadable: false, ..Rules::default() };
        let first = decide(&message(), Some(&ack(AckStatus::Sent)), 3, Process::Gone, rules, 0, 0);
        assert_eq!(first, interrupted);
    }

    #[test]
    fn an_agent_that_died_counts_as_a_sending_whoever_tells() {
        let died = Ack { error: Some(reasons::AGENT_DIED.into()), ..ack(AckStatus::Deferred) };
        assert_eq!(decided(&message(), &died, Process::MayLive), Some(Change::SendAgain));
        let again = Message { sent_tries: 1, ..message() };
        let died = Ack { attempt: 2, ..died };
        assert_eq!(decided(&again, &died, Process::MayLive), Some(Change::Fail(reasons::AGENT_DIED.into())));
    }

    #[test]
    fn a_deferral_is_six_hours_at_most_and_the_twentieth_is_an_error() {
        let far = Ack { until: Some(i64::MAX), ..ack(AckStatus::Deferred) };
        assert_eq!(decided(&message(), &far, Process::MayLive), Some(Change::Defer(1_000 + MAX_DEFERRAL_MS)));
        let past = Ack { until: Some(-5), ..ack(AckStatus::Deferred) };
        assert_eq!(decided(&message(), &past, Process::MayLive), Some(Change::Defer(1_000)));
        let tired = Message { deferrals: 19, ..message() };
        let once_more = Ack { attempt: 20, ..far };
        let given_up = Some(Change::Fail(reasons::RATE_LIMITED.into()));
        assert_eq!(decided(&tired, &once_more, Process::MayLive), given_up);
    }

    #[test]
    fn what_nobody_took_expires_and_what_was_taken_does_not() {
        let old = Message { expires_at: Some(1_000), ..message() };
        let none = decide(&old, None, 3, Process::MayLive, Rules::default(), 1_000, 0);
        assert_eq!(none, Some(Change::Cancel(reasons::EXPIRED)));
        let early = decide(&old, None, 3, Process::MayLive, Rules::default(), 999, 0);
        assert_eq!(early, None);
        assert_eq!(decided(&old, &ack(AckStatus::Sent), Process::MayLive), None);
        let paused = Message { status: Status::Paused, ..old };
        let none = decide(&paused, None, 3, Process::MayLive, Rules::default(), 1_000, 0);
        assert_eq!(none, Some(Change::Cancel(reasons::EXPIRED)));
    }

    #[test]
    fn nothing_follows_once_a_message_is_final() {
        for status in Status::ALL.iter().copied().filter(|status| status.is_final()) {
            let over = Message { status, ..message() };
            for word in AckStatus::ALL {
                assert_eq!(decided(&over, &ack(*word), Process::Gone), None, "{status} {word}");
            }
        }
    }
}
