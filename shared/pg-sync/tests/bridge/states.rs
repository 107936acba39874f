//! The states of a bridge, and what leads from one to another (pg-sync.md 4.6–4.8).

use pg_sync::answer::{Answer, Refusal};
use pg_sync::body::BlockedReason;
use pg_sync::bridge::{
    Action, Connection, ConnectionFault, Event, Mode, NotJoined, Outcome, READER_MS, State, next_alarm,
};
use pg_sync::shape::{Ask, LogMode};
use pg_sync::wake::Wake;
use serde_json::json;

use crate::rig::{Rig, START, answer, inserts, options, places};

fn live() -> Rig {
    Rig::live(options(), Mode::Live, Wake::default())
}

fn probing() -> Rig {
    let mut rig = Rig::new(options(), Mode::Live);
    rig.subscribe("a", Wake::default());
    rig.connect();
    rig
}

fn state(rig: &Rig) -> State {
    rig.bridge.stored().state
}

/// What the service refuses does not come into being, and its caller is told why.
#[test]
fn a_source_that_is_refused_is_removed() {
    for (status, refused) in [(400, true), (404, true), (409, true), (429, true), (503, true), (302, true)] {
        let mut rig = probing();
        rig.answer(status, "h1", "0_inf", "no such table");
        let [(id, NotJoined::Refused(refusal))] = &rig.not_joined()[..] else { panic!("{status}") };
        assert_eq!((id.as_str(), refusal.status == status), ("a", refused));
        assert_eq!(rig.actions, [Action::Remove]);
    }
    for (handle, offset, body) in [("", "0_inf", "[]"), ("h1", "", "[]"), ("h1", "now", "[]"), ("h1", "0_inf", "{}")] {
        let mut rig = probing();
        rig.answer(200, handle, offset, body);
        assert!(
            matches!(&rig.not_joined()[..], [(_, NotJoined::Refused(Refusal { status: 0, .. }))]),
            "{handle} {offset} {body}"
        );
    }
    let mut rig = probing();
    rig.answered(Answer::Broken("no connection".into()));
    assert!(matches!(&rig.not_joined()[..], [(_, NotJoined::Refused(_))]));
}

/// A refusal of a secret counts after it was read again.
#[test]
fn a_secret_is_read_again_before_it_is_wrong() {
    let mut rig = probing();
    rig.answer(401, "", "", "no");
    assert!(rig.not_joined().is_empty());
    rig.answer(200, "h1", "0_inf", "[]");
    assert_eq!(rig.joined(), ["a"]);

    let mut rig = probing();
    rig.answer(403, "", "", "no");
    rig.answer(403, "", "", "no");
    assert!(matches!(&rig.not_joined()[..], [(_, NotJoined::Refused(Refusal { status: 403, .. }))]));
}

/// A service that says nothing: the caller is told after ten seconds.
#[test]
fn a_source_without_an_answer_is_removed() {
    let mut rig = probing();
    rig.now += 10_000;
    rig.happens(Event::Due);
    assert_eq!(rig.not_joined(), [("a".to_owned(), NotJoined::NoAnswer)]);
    assert_eq!(rig.actions.back(), Some(&Action::Remove));

    // It dies while its caller waits: the next one asks again within the time that there is.
    let mut rig = probing();
    rig.now += 4_000;
    rig.restart();
    rig.connect();
    let Some(Action::Ask { timeout_ms: 6_000, .. }) = rig.actions.back() else { panic!("{:?}", rig.actions) };
    rig.answer(200, "h1", "0_inf", "[]");
    assert_eq!(rig.joined(), ["a"]);

    // It dies, and nothing happens for a while: there is nobody to tell, and it is removed.
    let mut rig = Rig::new(options(), Mode::Live);
    assert_eq!(next_alarm(&rig.bridge, rig.now), START + 70_000);
    rig.now = START + 70_000;
    rig.happens(Event::Due);
    assert_eq!(rig.actions, [Action::Remove]);
}

#[test]
fn a_connection_that_cannot_be_used_is_told() {
    for reason in [BlockedReason::ConnectionMissing, BlockedReason::SecretUnreadable, BlockedReason::UrlNotAllowed] {
        let mut rig = Rig::new(options(), Mode::Live);
        rig.subscribe("a", Wake::default());
        let Some(Action::ReadConnection { epoch }) = rig.actions.pop_front() else { panic!() };
        rig.happens(Event::Connection { epoch, seen: Err(ConnectionFault::Unusable(reason)) });
        assert_eq!(rig.not_joined(), [("a".to_owned(), NotJoined::Unusable(reason))]);

        let mut rig = live();
        rig.actions.clear();
        rig.happens(Event::ConnectionTouched);
        let Some(Action::ReadConnection { epoch }) = rig.actions.pop_back() else { panic!() };
        rig.happens(Event::Connection { epoch, seen: Err(ConnectionFault::Unusable(reason)) });
        assert_eq!(state(&rig), State::Blocked { retry_at: rig.now + 3_600_000 });
        assert_eq!(rig.told()[0]["reason"], reason.as_str());
        // Somebody repairs it.
        rig.happens(Event::ConnectionTouched);
        rig.connect();
        assert!(matches!(rig.ask(), Ask::CatchUp(_)));
        rig.answer(200, "h1", "0_inf", "[]");
        assert_eq!(rig.told_types(), ["pg_sync.recovered"]);
    }
}

/// The pause doubles, is at least what the service asks for, and has an end.
#[test]
fn pauses_grow() {
    let mut rig = live();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        rig.answer(503, "", "", "busy");
        let State::Backoff { until } = state(&rig) else { panic!() };
        pauses.push(until - rig.now);
        rig.pass(until - rig.now);
        rig.happens(Event::Due);
        rig.connect();
    }
    assert_eq!(pauses[..10], [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000]);
    assert_eq!(pauses[11], 300_000);
    for (dice, least, most) in [(0, 800, 800), (1_000, 1_200, 1_200), (u32::MAX, 800, 1_200)] {
        let mut rig = live();
        rig.dice = dice;
        rig.answer(500, "", "", "");
        let State::Backoff { until } = state(&rig) else { panic!() };
        assert!((least..=most).contains(&(until - rig.now)), "{dice}: {}", until - rig.now);
    }
    let mut rig = live();
    let busy = Answer::Busy { status: 429, retry_after_ms: Some(10_000), detail: String::new() };
    rig.answered(busy);
    assert_eq!(state(&rig), State::Backoff { until: rig.now + 10_000 });
    // Somebody wants it to go on.
    rig.happens(Event::Retry);
    assert_eq!(state(&rig), State::Catching);
}

/// Three refusals in a row block; it tries once an hour, and says so once.
#[test]
fn refusals_block() {
    for status in [400, 401, 403, 404] {
        let mut rig = live();
        let per_refusal = if matches!(status, 401 | 403) { 2 } else { 1 };
        for _ in 0..3 * per_refusal {
            assert!(rig.is_asking(), "{status}: {:?}", state(&rig));
            rig.answer(status, "", "", "no");
            if let State::Backoff { until } = state(&rig) {
                rig.pass(until - rig.now);
                rig.happens(Event::Due);
                rig.connect();
            }
        }
        assert!(matches!(state(&rig), State::Blocked { .. }), "{status}");
        let told = rig.told();
        assert_eq!((told.len(), &told[0]["type"], &told[0]["status"]), (1, &json!("pg_sync.blocked"), &json!(status)));
        assert!(!rig.is_asking());
        rig.pass(3_600_000);
        rig.happens(Event::Due);
        rig.connect();
        for _ in 0..per_refusal {
            rig.answer(status, "", "", "no");
        }
        assert!(matches!(state(&rig), State::Blocked { .. }), "one more is enough");
        assert_eq!(rig.told(), Vec::<serde_json::Value>::new(), "once");
        rig.happens(Event::Retry);
        rig.connect();
        rig.answer(200, "h1", "7_0", &inserts(&[(7, 0)]));
        assert_eq!(rig.told_types(), ["pg_sync.recovered", "pg_sync.change"]);
    }
}

/// Refusals that are not in a row do not block.
#[test]
fn an_answer_ends_a_row_of_refusals() {
    let mut rig = live();
    for round in 1..=5_u64 {
        for _ in 0..2 {
            rig.answer(400, "", "", "no");
            rig.happens(Event::Retry);
            rig.connect();
        }
        rig.answer(200, "h1", &format!("{round}_0"), &inserts(&[(round, 0)]));
    }
    assert_eq!(state(&rig), State::Live);
}

/// The log is replaced again and again: with the handle that was just given, or when its end is asked for.
#[test]
fn a_log_that_is_replaced_again_and_again_blocks() {
    let mut rig = live();
    for round in 1..=4 {
        rig.answer(409, "", "", "");
        assert!(matches!(state(&rig), State::Resync { .. }), "{round}");
        rig.pass(1_000);
        rig.happens(Event::Due);
        rig.connect();
        assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly));
        if round % 2 == 0 {
            rig.answer(200, &format!("h{round}"), "5_0", "[]");
        }
    }
    rig.answer(409, "", "", "");
    assert!(matches!(state(&rig), State::Blocked { .. }));
    assert_eq!(rig.told_types(), ["pg_sync.gap", "pg_sync.blocked"]);
    rig.happens(Event::Retry);
    rig.connect();
    rig.answer(200, "h9", "9_0", "[]");
    assert_eq!(state(&rig), State::Live);
    assert_eq!(
        rig.told_types(),
        Vec::<String>::new(),
        "it has not recovered before the log has answered with its handle"
    );
    rig.answer(200, "h9", "10_0", &inserts(&[(10, 0)]));
    assert_eq!(rig.told_types(), ["pg_sync.recovered", "pg_sync.change"]);
    // Those of the next ten minutes are told together.
    rig.pass(600_000);
    rig.happens(Event::Due);
    let told = rig.told();
    assert_eq!((&told[0]["type"], &told[0]["count"]), (&json!("pg_sync.gap"), &json!(2)));
}

/// Bodies that nobody can read: the same five times, or one that is too long.
#[test]
fn unreadable_bodies_block() {
    let mut rig = live();
    let garbage = |rig: &mut Rig, body: &str| {
        rig.answered(answer(200, "h1", "5_0", body, true));
        if let State::Backoff { .. } = state(rig) {
            rig.happens(Event::Retry);
            rig.connect();
        }
    };
    for body in ["<html>", "[{", "<html>", "[{", "<html>", "[{", "<html>", "<html>", "<html>", "<html>"] {
        garbage(&mut rig, body);
        assert!(!matches!(state(&rig), State::Blocked { .. }), "{body}");
    }
    garbage(&mut rig, "<html>");
    assert_eq!(rig.told()[0]["reason"], "unreadable");

    let mut rig = live();
    for _ in 0..5 {
        // Changes without a new offset are not believed.
        garbage(&mut rig, "[{");
        assert_eq!(rig.bridge.stored().cursor.as_ref().unwrap().offset, "0_inf");
    }
    assert!(matches!(state(&rig), State::Blocked { .. }));

    let mut rig = live();
    rig.answered(Answer::TooLarge);
    assert_eq!(rig.told()[0]["reason"], "body_too_large");
}

#[test]
fn changes_need_a_new_offset() {
    let mut rig = live();
    rig.answer(200, "h1", "0_inf", &inserts(&[(5, 0)]));
    assert!(matches!(state(&rig), State::Backoff { .. }));
    assert_eq!(rig.bridge.stored().ring.last_seq, 0);
}

/// Silence: a request is given up after 45 seconds, and what comes later does not count.
#[test]
fn a_request_is_given_up() {
    let mut rig = live();
    let Some(Action::Ask { epoch, timeout_ms, .. }) = rig.actions.pop_back() else { panic!() };
    assert_eq!(timeout_ms, 45_000);
    rig.now += 45_000;
    rig.happens(Event::Due);
    assert!(rig.actions.contains(&Action::Abort));
    assert!(matches!(state(&rig), State::Backoff { .. }));
    rig.happens(Event::Answered { epoch, answer: answer(200, "h1", "5_0", &inserts(&[(5, 0)]), true) });
    assert_eq!(rig.bridge.stored().ring.last_seq, 0);
}

/// Another address: no request is made with the old cursor, and the gap is told.
#[test]
fn another_connection_is_a_gap() {
    let mut rig = live();
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    rig.told();
    rig.connection = Connection { revision: 2, mode: Mode::Live };
    rig.happens(Event::ConnectionTouched);
    assert!(rig.actions.contains(&Action::Abort));
    rig.connect();
    assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly));
    rig.answer(200, "other", "3_0", "[]");
    assert_eq!(rig.told()[0]["reason"], "connection_changed");
    rig.answer(200, "other", "3_2", &inserts(&[(3, 2)]));
    assert_eq!(places(&rig.told()[0]), [(3, 2)], "places of another database are not compared with those before");
    // Without a word it is noticed within a minute.
    rig.connection = Connection { revision: 3, mode: Mode::Live };
    rig.pass(20_000);
    rig.answer(200, "other", "3_2", "[]");
    assert!(matches!(rig.ask(), Ask::Live(..)));
    rig.pass(44_000);
    rig.answer(200, "other", "3_2", "[]");
    assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly));
}

/// A connection that is read while it is changed: the older reading does not count.
#[test]
fn a_reading_that_was_overtaken_does_not_count() {
    let mut rig = live();
    rig.happens(Event::ConnectionTouched);
    let epochs: Vec<_> = rig
        .actions
        .iter()
        .filter_map(|a| if let Action::ReadConnection { epoch } = a { Some(*epoch) } else { None })
        .collect();
    rig.happens(Event::ConnectionTouched);
    rig.happens(Event::Connection { epoch: epochs[0], seen: Ok(Connection { revision: 1, mode: Mode::Live }) });
    rig.actions.retain(|action| *action != Action::ReadConnection { epoch: epochs[0] });
    rig.connection.revision = 2;
    rig.connect();
    assert_eq!(rig.ask(), Ask::Now(LogMode::ChangesOnly));
}

/// The pause between two requests grows when it is quiet, and is short again after a change.
#[test]
fn intervals_grow_when_it_is_quiet() {
    let mut rig = Rig::live(options(), Mode::Interval(5_000), Wake::default());
    let pause = |rig: &mut Rig| {
        let pause = next_alarm(&rig.bridge, rig.now) - rig.now;
        rig.pass(pause);
        rig.happens(Event::Due);
        rig.connect();
        assert!(matches!(rig.ask(), Ask::CatchUp(_)), "never live");
        pause
    };
    let start = rig.now;
    let mut pauses = Vec::new();
    while rig.now < START + 1_200_000 {
        pauses.push(pause(&mut rig));
        rig.answer(200, "h1", "0_inf", "[]");
    }
    let quiet = pauses.iter().position(|pause| *pause > 5_000).unwrap();
    assert_eq!(start + 5_000 * i64::try_from(quiet).unwrap(), START + 600_000);
    assert_eq!(pauses[quiet..quiet + 8], [7_500, 11_250, 16_875, 25_312, 37_968, 56_952, 60_000, 60_000]);
    pause(&mut rig);
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    rig.told();
    assert_eq!(pause(&mut rig), 5_000);
}

/// The same with a process that dies after each answer: what it stores says how long it was quiet. A turn that a poke begins early is one turn more.
#[test]
fn intervals_grow_although_the_process_dies_between() {
    let mut rig = Rig::live(options(), Mode::Interval(5_000), Wake::default());
    let turn = |rig: &mut Rig, after_ms: i64| {
        rig.now += after_ms;
        rig.restart();
        rig.connect();
        // One alarm is enough: it is set when the connection is to be read, and the answer leaves it where it is.
        let alarm = next_alarm(&rig.bridge, rig.now);
        rig.answer(200, "h1", "0_inf", "[]");
        assert_eq!(next_alarm(&rig.bridge, rig.now), alarm);
        alarm - rig.now
    };
    let mut pauses = vec![turn(&mut rig, 0)];
    while rig.now < START + 1_200_000 {
        let pause = *pauses.last().unwrap();
        pauses.push(turn(&mut rig, pause));
    }
    let quiet = pauses.iter().position(|pause| *pause > 5_000).unwrap();
    assert_eq!(pauses[quiet..quiet + 8], [7_500, 11_250, 16_875, 25_312, 37_968, 56_952, 60_000, 60_000]);
    assert_eq!(turn(&mut rig, 17_000), 60_000);
    // A pause of more than a minute stays as it is.
    let mut rig = Rig::live(options(), Mode::Interval(600_000), Wake::default());
    assert_eq!((turn(&mut rig, 600_000), turn(&mut rig, 600_000)), (600_000, 600_000));
}

/// An answer that does not come in the mode `interval` is noticed with the next turn, or after its time if that is later.
#[test]
fn a_lost_request_is_noticed_by_the_next_turn() {
    for (pause, noticed) in [(5_000, 45_000), (60_000, 60_000)] {
        let mut rig = Rig::live(options(), Mode::Interval(pause), Wake::default());
        rig.pass(pause);
        assert!(matches!(rig.ask(), Ask::CatchUp(_)));
        assert_eq!(next_alarm(&rig.bridge, rig.now), rig.now + pause);
        rig.pass(noticed - 1);
        assert_eq!(state(&rig).as_str(), "live", "{pause}");
        rig.pass(1);
        rig.happens(Event::Due);
        assert_eq!(state(&rig).as_str(), "backoff", "{pause}");
    }
}

/// A quiet poll writes nothing; that all is well is written every ten minutes.
#[test]
fn quiet_requests_write_nothing() {
    let mut rig = Rig::live(options(), Mode::Interval(5_000), Wake::default());
    let before = rig.storage.writes;
    let end = rig.now + 1_800_000;
    while rig.now < end {
        let next = next_alarm(&rig.bridge, rig.now);
        rig.now = next;
        rig.happens(Event::Due);
        rig.connect();
        if rig.is_asking() {
            rig.answer(200, "h1", "0_inf", "[]");
        }
    }
    assert!((2..=3).contains(&(rig.storage.writes - before)), "{}", rig.storage.writes - before);
}

/// A service that answers at once with nothing is not asked without a pause.
#[test]
fn empty_answers_are_paced() {
    let mut rig = live();
    for _ in 0..10 {
        let asked = rig.now;
        rig.answer(200, "h1", "0_inf", "[]");
        rig.actions.clear();
        rig.pass(999);
        assert!(!rig.is_asking());
        rig.pass(1);
        rig.happens(Event::Due);
        rig.connect();
        assert!(rig.is_asking() && rig.now == asked + 1_000);
    }
    // More that is there is asked for at once.
    rig.answered(answer(200, "h1", "5_0", &inserts(&[(5, 0)]), false));
    assert!(matches!(rig.ask(), Ask::CatchUp(_)));
}

/// A bridge that nobody observed goes on from where it was, and who comes then hears only of what comes then.
#[test]
fn who_comes_to_an_idle_bridge_hears_of_what_comes_later() {
    let mut rig = live();
    rig.happens(Event::Unsubscribe { id: "a".into() });
    assert!(rig.actions.contains(&Action::Abort));
    rig.actions.clear();
    rig.now += 3_600_000;
    rig.subscribe("b", Wake::default());
    rig.connect();
    assert!(rig.joined().is_empty());
    rig.answered(answer(200, "h1", "5_0", &inserts(&[(5, 0)]), false));
    assert!(rig.joined().is_empty());
    rig.answer(200, "h1", "6_0", &inserts(&[(6, 0)]));
    assert_eq!(rig.joined(), ["b"]);
    assert_eq!(rig.told(), Vec::<serde_json::Value>::new());
    rig.answer(200, "h1", "7_0", &inserts(&[(7, 0)]));
    assert_eq!(places(&rig.told()[0]), [(7, 0)]);
    assert_eq!(rig.bridge.stored().ring.last_seq, 3, "the log of the source has them all");
}

/// When the service is away, whoever comes to a bridge with a cursor observes at once: nothing will be missed.
#[test]
fn who_comes_during_an_outage_misses_nothing() {
    let mut rig = live();
    rig.answered(Answer::Broken("no connection".into()));
    rig.subscribe("b", Wake::default());
    assert_eq!(rig.joined(), ["b"]);
    // Without a cursor nobody knows: told after ten seconds.
    let mut rig = live();
    rig.answer(409, "", "", "");
    rig.answered(Answer::Broken("no connection".into()));
    rig.subscribe("b", Wake::default());
    rig.pass(10_000);
    rig.happens(Event::Due);
    assert_eq!(rig.not_joined(), [("b".to_owned(), NotJoined::Unavailable)]);
}

#[test]
fn there_is_an_end_to_observers() {
    let mut rig = live();
    for number in 1..pg_sync::bridge::MAX_OBSERVERS {
        rig.decide(Event::Subscribe { id: number.to_string(), session: "s".into(), wake: Wake::default() });
    }
    let decision = rig.decide(Event::Subscribe { id: "more".into(), session: "s".into(), wake: Wake::default() });
    assert!(decision.actions.contains(&Action::NotJoined { id: "more".into(), why: NotJoined::Quota }));
}

/// What an observer has not heard of and is over by now is not told.
#[test]
fn a_short_block_is_not_told() {
    let mut rig = live();
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    let first = rig.sends();
    rig.answered(Answer::TooLarge);
    rig.happens(Event::Retry);
    rig.connect();
    rig.answer(200, "h1", "6_0", &inserts(&[(6, 0)]));
    let (id, key, _) = first[0].clone();
    rig.happens(Event::Sent { id, key, outcome: Outcome::Taken });
    assert_eq!(rig.told_types(), ["pg_sync.change"]);
}

/// Whoever reads the log keeps the bridge awake, and is woken by nothing; a week after the last reading it rests.
#[test]
fn a_bridge_that_is_read_goes_on() {
    let mut rig = live();
    let read = || Event::Read { source_ref: "0f".into() };
    rig.happens(read());
    rig.happens(Event::Unsubscribe { id: "a".into() });
    assert_eq!(state(&rig).as_str(), "live");
    rig.answer(200, "h1", "5_0", &inserts(&[(5, 0)]));
    assert_eq!(rig.told(), Vec::<serde_json::Value>::new());
    assert_eq!(rig.bridge.stored().ring.last_seq, 1);
    // Whoever reads all the time writes nothing.
    let until = rig.now + READER_MS;
    rig.now += 3_599_000;
    rig.happens(read());
    assert_eq!(rig.bridge.stored().reader.as_ref().unwrap().until, until);
    rig.now += 2_000;
    rig.happens(read());
    assert_eq!(rig.bridge.stored().reader.as_ref().unwrap().until, rig.now + READER_MS);
    rig.restart();
    assert_eq!(rig.bridge.stored().reader.as_ref().unwrap().source_ref, "0f");
    assert!(next_alarm(&rig.bridge, rig.now) <= rig.now + READER_MS);
    rig.now += READER_MS;
    rig.happens(Event::Due);
    assert_eq!((state(&rig).as_str(), rig.bridge.stored().reader.is_some()), ("idle", false));
    // Whoever comes back before it is removed finds it as it was.
    rig.now += 1_000;
    rig.happens(read());
    assert_eq!(state(&rig).as_str(), "catching");
}
