//! The object of a runner: registration, tokens, the process that counts, presence (session-mailbox.md 7.2, 7.3, 7.8).

use sessions::mailbox::runner::{
    self, AttachError, Attachment, AuthError, Decide, Detach, Effect, Poll, RegisterError, Registration, Runner, Times,
    Waiting, Woken,
};
use sessions::mailbox::{Offline, Token, limits};

const TIMES: Times = Times { ttl_ms: 60_000 };
const DAY: i64 = 24 * 3_600_000;

fn token(number: u8) -> Token {
    Token::new(&[7; 16], &[number; 32])
}

/// Does one thing, and gives what follows.
fn at<R>(now: i64, happens: impl FnOnce(&mut Decide<'_>) -> R) -> (R, Vec<Effect>) {
    let mut decide = Decide::new(now, &TIMES);
    let result = happens(&mut decide);
    (result, decide.effects)
}

fn registration(instance: &str, replace: bool) -> Registration {
    Registration { user_id: "ann".into(), runner_id: "desk".into(), instance_id: instance.into(), replace }
}

fn register(
    known: &mut Option<Runner>,
    now: i64,
    instance: &str,
    replace: bool,
    number: u8,
) -> Result<u64, RegisterError> {
    let key = token(number).key().to_owned();
    let hash = token(number).hash();
    at(now, |decide| runner::register(known, decide, &key, &registration(instance, replace), hash))
        .0
        .map(|registered| registered.epoch)
}

fn registered() -> Runner {
    let mut known = None;
    assert_eq!(register(&mut known, 0, "one", false, 1), Ok(1));
    known.unwrap()
}

fn shows(runner: &mut Runner, now: i64, number: u8) -> Result<(), AuthError> {
    at(now, |decide| runner::authenticate(runner, decide, &token(number).hash())).0
}

fn attach(runner: &mut Runner, now: i64, process: &str) -> Vec<Effect> {
    let attachment = Attachment { id: format!("attach-{process}"), process_id: process.into() };
    let (attached, effects) = at(now, |decide| runner::attach(runner, decide, "one", 1, attachment));
    attached.unwrap();
    effects
}

#[test]
fn each_registration_voids_the_token_before_and_the_process() {
    let mut known = Some(registered());
    attach(known.as_mut().unwrap(), 1, "p");
    assert_eq!(register(&mut known, 2, "one", false, 2), Ok(2));
    let runner = known.as_mut().unwrap();
    assert_eq!(shows(runner, 3, 1), Err(AuthError::Superseded));
    assert_eq!(shows(runner, 3, 2), Ok(()));
    assert_eq!(runner::check_attach(runner, Some("attach-p")), Err(AttachError::Superseded));
    assert_eq!(shows(runner, 3, 9), Err(AuthError::Unknown));
}

#[test]
fn a_name_in_use_is_taken_only_by_replacing() {
    let mut known = Some(registered());
    shows(known.as_mut().unwrap(), 10_000, 1).unwrap();
    assert_eq!(register(&mut known, 100_000, "two", false, 2), Err(RegisterError::InUse(10_000)));
    assert_eq!(shows(known.as_mut().unwrap(), 10_001, 1), Ok(()), "a refused registration changes nothing");
    assert_eq!(register(&mut known, 100_002, "two", false, 2), Ok(2), "not seen for 90 s");
    assert_eq!(register(&mut known, 100_003, "three", true, 3), Ok(3));
    assert_eq!(known.unwrap().instance_id, "three");
}

#[test]
fn a_replaced_machine_is_offline_until_the_other_one_attaches() {
    let mut known = Some(registered());
    runner::bind(known.as_mut().unwrap(), "s");
    register(&mut known, 1_000, "two", true, 2).unwrap();
    let runner = known.as_mut().unwrap();
    assert_eq!(runner.presence.offline, Some(Offline::Superseded));
    assert_eq!(runner.untold().collect::<Vec<_>>(), ["s"]);
    shows(runner, 2_000, 2).unwrap();
    assert_eq!(runner.presence.offline, None);
}

#[test]
fn tokens_are_rotated_without_a_gap() {
    let mut runner = registered();
    let rotate =
        |runner: &mut Runner, number: u8| at(DAY, |decide| runner::rotate(runner, decide, token(number).hash())).0;
    assert_eq!(rotate(&mut runner, 2), 31 * DAY);
    assert_eq!(shows(&mut runner, DAY, 1), Ok(()), "the answer may have been lost");
    rotate(&mut runner, 3);
    assert_eq!(shows(&mut runner, DAY, 2), Err(AuthError::Superseded), "never used, so void");
    assert_eq!(shows(&mut runner, DAY, 1), Ok(()));
    assert_eq!(shows(&mut runner, DAY, 3), Ok(()));
    assert_eq!(shows(&mut runner, DAY, 1), Err(AuthError::Superseded), "the new one was used");
}

#[test]
fn tokens_expire() {
    let mut runner = registered();
    assert_eq!(shows(&mut runner, limits::TOKEN_LIFE_MS - 1, 1), Ok(()));
    assert_eq!(shows(&mut runner, limits::TOKEN_LIFE_MS, 1), Err(AuthError::Unknown));
}

#[test]
fn only_the_last_process_counts() {
    let mut runner = registered();
    assert_eq!(runner::check_attach(&runner, None), Err(AttachError::Missing));
    assert_eq!(runner::check_attach(&runner, Some("attach-p")), Err(AttachError::Superseded));
    assert_eq!(attach(&mut runner, 1, "p"), []);
    assert_eq!(runner::check_attach(&runner, Some("attach-p")), Ok(()));
    assert_eq!(attach(&mut runner, 2, "q"), [Effect::EndWaiting(Woken::Superseded)]);
    assert_eq!(runner::check_attach(&runner, Some("attach-p")), Err(AttachError::Superseded));
    let other = Attachment { id: "x".into(), process_id: "x".into() };
    let before = runner.clone();
    let refused = at(3, |decide| runner::attach(&mut runner, decide, "copy", 1, other.clone())).0;
    assert_eq!(refused, Err(AttachError::InstanceMismatch));
    let refused = at(3, |decide| runner::attach(&mut runner, decide, "one", 2, other.clone())).0;
    assert_eq!(refused, Err(AttachError::Protocol));
    assert_eq!(runner, before);
}

#[test]
fn a_silent_runner_is_offline_after_its_time_and_a_little() {
    let mut runner = registered();
    runner::bind(&mut runner, "s");
    shows(&mut runner, 10_000, 1).unwrap();
    let (next, _) = at(10_000, |decide| runner::next_alarm(&runner, decide));
    assert_eq!(next, Some(75_000));
    let ((), effects) = at(74_999, |decide| runner::on_alarm(&mut runner, decide));
    assert_eq!((effects.len(), runner.presence.offline), (0, None));
    let ((), effects) = at(75_000, |decide| runner::on_alarm(&mut runner, decide));
    assert_eq!(effects, [Effect::TellSessions]);
    assert_eq!((runner.presence.offline, runner.presence.last_seen_at), (Some(Offline::Timeout), 10_000));
    let ((), effects) = at(80_000, |decide| runner::on_alarm(&mut runner, decide));
    assert_eq!(effects, [Effect::TellSessions], "until the session says that it knows");
    let number = runner.presence.number;
    runner::on_told(&mut runner, "s", number);
    assert_eq!(at(85_000, |decide| runner::on_alarm(&mut runner, decide)).1, []);
    assert_eq!(at(85_000, |decide| runner::next_alarm(&runner, decide)).0, None);
    let ((), effects) = at(90_000, |decide| runner::authenticate(&mut runner, decide, &token(1).hash()).unwrap());
    assert_eq!(effects, [Effect::TellSessions, Effect::WriteSeen]);
}

#[test]
fn stopping_is_told_at_once_and_an_upgrade_has_two_minutes() {
    for (how, word) in [(Detach::Stop, "stop"), (Detach::Upgrade, "upgrade")] {
        let mut runner = registered();
        runner::bind(&mut runner, "s");
        attach(&mut runner, 0, "p");
        let ((), effects) = at(1_000, |decide| runner::detach(&mut runner, decide, how));
        assert_eq!(effects[0], Effect::EndWaiting(Woken::Ended), "{word}");
        assert_eq!(runner.presence.offline.is_some(), how == Detach::Stop, "{word}");
        assert_eq!(runner::check_attach(&runner, Some("attach-p")), Err(AttachError::Superseded));
        // The request itself is answered after that.
        at(1_001, |decide| runner::on_answered(&mut runner, decide));
        at(120_999, |decide| runner::on_alarm(&mut runner, decide));
        assert_eq!(runner.presence.offline.is_some(), how == Detach::Stop, "{word}");
        at(121_000, |decide| runner::on_alarm(&mut runner, decide));
        assert_eq!(runner.presence.offline, Some(Offline::Stopped), "{word}");
        shows(&mut runner, 121_001, 1).unwrap();
        assert_eq!((runner.presence.offline, runner.detached), (None, None), "{word}");
    }
}

#[test]
fn a_deleted_runner_is_known_for_thirty_days() {
    let mut known = Some(registered());
    let runner = known.as_mut().unwrap();
    runner::bind(runner, "s");
    let ((), effects) = at(1_000, |decide| runner::revoke(runner, decide));
    assert_eq!(effects, [Effect::EndWaiting(Woken::Revoked), Effect::TellSessions]);
    assert_eq!(shows(runner, 2_000, 1), Err(AuthError::Revoked));
    let number = runner.presence.number;
    runner::on_told(runner, "s", number);
    assert!(runner.sessions.is_empty());
    let (next, _) = at(2_000, |decide| runner::next_alarm(runner, decide));
    assert_eq!(next, Some(1_000 + limits::REVOKED_KNOWN_MS));
    let ((), effects) = at(1_000 + limits::REVOKED_KNOWN_MS, |decide| runner::on_alarm(runner, decide));
    assert_eq!(effects, [Effect::Forget]);
    assert_eq!(register(&mut known, 3_000, "one", true, 4), Err(RegisterError::Revoked));
}

#[test]
fn seen_is_written_at_most_every_twenty_seconds() {
    let mut runner = registered();
    let mut written = Vec::new();
    for now in (1_000..=60_000).step_by(1_000) {
        let (_, effects) = at(now, |decide| runner::authenticate(&mut runner, decide, &token(1).hash()));
        written.extend(effects.contains(&Effect::WriteSeen).then_some(now));
    }
    assert_eq!(written, [20_000, 40_000, 60_000]);
}

#[test]
fn one_request_waits_and_less_long_than_a_runner_may_be_silent() {
    let mut runner = registered();
    let mut waiting = Waiting::default();
    let first = waiting.begin();
    let asks =
        |waiting: &Waiting, runner: &Runner, number, now| waiting.next(runner, &TIMES, number, 1_000, 45_000, now);
    assert_eq!(asks(&waiting, &runner, first, 1_000), Poll::Wait(46_000));
    let short = Times { ttl_ms: 20_000 };
    assert_eq!(waiting.next(&runner, &short, first, 1_000, 45_000, 1_000), Poll::Wait(16_000));
    let second = waiting.begin();
    assert_eq!(asks(&waiting, &runner, first, 2_000), Poll::Answer(Woken::Ended));
    at(2_000, |decide| runner::ring(&mut runner, decide, "s"));
    assert_eq!(asks(&waiting, &runner, second, 2_000), Poll::Fetch);
    let rings = runner.sessions["s"].rings;
    at(2_000, |decide| runner::ring(&mut runner, decide, "s"));
    runner::on_fetched(&mut runner, "s", rings);
    assert_eq!(asks(&waiting, &runner, second, 2_000), Poll::Fetch, "a ring meanwhile is not lost");
    runner::on_fetched(&mut runner, "s", rings + 1);
    assert_eq!(asks(&waiting, &runner, second, 46_000), Poll::Answer(Woken::Ended));
    waiting.end(Woken::Revoked);
    assert_eq!(asks(&waiting, &runner, second, 2_000), Poll::Answer(Woken::Revoked));
    let third = waiting.begin();
    assert!(matches!(asks(&waiting, &runner, third, 2_000), Poll::Wait(_)));
    assert_eq!(waiting.next(&runner, &TIMES, third, 1_000, 0, 1_000), Poll::Answer(Woken::Ended), "wait-ms 0");
    assert_eq!(waiting.next(&runner, &TIMES, third, 1_000, -5, 1_000), Poll::Answer(Woken::Ended));
}

#[test]
fn a_new_process_gets_everything_again() {
    let mut runner = registered();
    at(1, |decide| runner::ring(&mut runner, decide, "s"));
    runner::on_fetched(&mut runner, "s", 1);
    assert_eq!(runner.with_work().count(), 0);
    attach(&mut runner, 2, "p");
    assert_eq!(runner.with_work().count(), 1);
    runner::unbind(&mut runner, "s");
    assert_eq!(runner.with_work().count(), 0);
}
