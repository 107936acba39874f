//! Which messages are taken, and when (docs/spec/session-mailbox.md 2.5, 4.6, 4.7). Pure.

use crate::message::{Ack, Lane, Message, Millis, PROMPT, Status};
use crate::sweep::{LONGEST_DELAY_MS, MAX_DEFERRAL_MS};

/// How many prompts one turn takes.
pub const MAX_BATCH: usize = 10;

/// Whether a message may be taken now.
pub fn is_due(message: &Message, now: Millis) -> bool {
    message.status == Status::Pending
        && message.expires_at.is_none_or(|at| at > now)
        && message.process_after.is_none_or(|at| at <= now || at > now.saturating_add(furthest(message)))
}

/// How far ahead the time of a message can stand that waits for another attempt. One further ahead was stored before the
/// clock was set back, and is due. A message that was never tried waits for the time that it was given.
fn furthest(message: &Message) -> i64 {
    match (message.attempt(), message.deferrals) {
        (1, _) => i64::MAX,
        (_, 0) => LONGEST_DELAY_MS,
        _ => MAX_DEFERRAL_MS,
    }
}

/// Whether nothing was said about this attempt yet.
pub fn is_fresh(message: &Message, ack: Option<&Ack>) -> bool {
    ack.is_none_or(|ack| ack.attempt < message.attempt())
}

/// What one look takes, of fresh messages in the order of `seq`: a turn of prompts with everything before them that rides along,
/// or one message of another kind. `first` is true for the first look after a start. Nothing when no message starts work.
pub fn batch(messages: &[Message], now: Millis, first: bool) -> Vec<&Message> {
    let due = messages.iter().filter(|one| one.lane == Lane::Prompt && is_due(one, now) && (first || !one.on_wake));
    let (mut taken, mut waiting): (Vec<&Message>, Vec<&Message>) = (Vec::new(), Vec::new());
    let mut prompts = 0;
    // Bounded by the messages of a look.
    for next in due {
        if !next.trigger {
            waiting.push(next);
            continue;
        }
        if next.kind != PROMPT {
            return if taken.is_empty() { vec![next] } else { taken };
        }
        if prompts == MAX_BATCH {
            return taken;
        }
        prompts += 1;
        taken.append(&mut waiting);
        taken.push(next);
    }
    taken
}

/// Whether a process is to be started for these messages.
pub fn starts_work(messages: &[Message], now: Millis) -> bool {
    messages.iter().any(|one| one.lane == Lane::Prompt && one.trigger && is_due(one, now))
}

/// When a process is to be started next, if none is before.
pub fn next_start(messages: &[Message], now: Millis) -> Option<Millis> {
    let waiting =
        messages.iter().filter(|one| one.status == Status::Pending && one.lane == Lane::Prompt && one.trigger);
    waiting.filter_map(|one| if is_due(one, now) { Some(now) } else { one.process_after }).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::AckStatus;

    fn message(seq: i64) -> Message {
        Message::pending(format!("m{seq}"), seq, 0)
    }

    fn seqs(messages: &[Message], first: bool) -> Vec<i64> {
        batch(messages, 0, first).into_iter().map(|one| one.seq).collect()
    }

    #[test]
    fn fact_21_context_alone_starts_nothing_and_rides_along_with_work() {
        let context = Message { trigger: false, ..message(2) };
        assert!(seqs(std::slice::from_ref(&context), false).is_empty());
        assert!(!starts_work(std::slice::from_ref(&context), 0));
        let both = [context, message(4)];
        assert_eq!(seqs(&both, false), [2, 4]);
        assert!(starts_work(&both, 0));
        assert!(crate::message::NewMessage::default().context.eq(&false), "what is stored starts work by default");
    }

    #[test]
    fn fact_22_what_is_for_waking_comes_with_the_first_look_only() {
        let rows = [Message { on_wake: true, ..message(2) }, message(4)];
        assert_eq!((seqs(&rows, true), seqs(&rows, false)), (vec![2, 4], vec![4]));
    }

    #[test]
    fn fact_28_several_prompts_make_one_turn_of_ten_at_most() {
        let rows: Vec<_> = (1..=12).map(|n| message(2 * n)).collect();
        assert_eq!(seqs(&rows, false), (1..=10).map(|n| 2 * n).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_prompt_is_done_alone_and_in_its_place() {
        let mut rows = vec![message(2), message(4), message(6), message(8)];
        rows[1].kind = "session.open".into();
        assert_eq!(seqs(&rows, false), [2]);
        assert_eq!(seqs(&rows[1..], false), [4]);
        assert_eq!(seqs(&rows[2..], false), [6, 8]);
    }

    #[test]
    fn what_rides_along_never_keeps_work_back() {
        let mut rows: Vec<_> =
            (1..=30).map(|n| Message { trigger: false, kind: "system".into(), ..message(2 * n) }).collect();
        rows.push(Message { kind: "session.open".into(), ..message(100) });
        assert_eq!(seqs(&rows, false), [100]);
        rows[30].kind = PROMPT.into();
        assert_eq!(seqs(&rows, false).len(), 31);
    }

    #[test]
    fn times_are_kept_unless_the_clock_was_set_back() {
        let at = |process_after, tries, deferrals| Message {
            process_after: Some(process_after),
            tries,
            deferrals,
            ..message(2)
        };
        assert!(!is_due(&at(1, 0, 0), 0) && is_due(&at(0, 0, 0), 0));
        assert!(!is_due(&at(i64::MAX, 0, 0), 0), "one that was never tried waits for its time");
        assert!(!is_due(&at(LONGEST_DELAY_MS, 1, 0), 0) && is_due(&at(LONGEST_DELAY_MS + 1, 1, 0), 0));
        assert!(!is_due(&at(MAX_DEFERRAL_MS, 0, 1), 0) && is_due(&at(MAX_DEFERRAL_MS + 1, 0, 1), 0));
        assert_eq!(next_start(&[at(70, 0, 0), at(50, 1, 0)], 0), Some(50));
        assert_eq!(next_start(&[at(70, 0, 0), message(4)], 5), Some(5));
        assert_eq!(next_start(&[Message { trigger: false, ..message(4) }], 5), None);
    }

    #[test]
    fn what_expired_or_is_paused_is_not_taken() {
        assert!(!is_due(&Message { expires_at: Some(5), ..message(2) }, 5));
        assert!(!is_due(&Message { status: Status::Paused, ..message(2) }, 5));
    }

    #[test]
    fn an_attempt_is_taken_once() {
        let said = |attempt| Ack {
            message_id: "m2".into(),
            generation: 1,
            attempt,
            status: AckStatus::Completed,
            error: None,
            until: None,
            result_seq: None,
        };
        let retried = Message { tries: 1, ..message(2) };
        assert!(is_fresh(&retried, None) && is_fresh(&retried, Some(&said(1))));
        assert!(!is_fresh(&retried, Some(&said(2))));
    }
}
