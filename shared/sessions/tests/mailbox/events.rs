//! Batches of events (session-mailbox.md 7.6): each check, in its order.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sessions::mailbox::desk::{self, Batch, BatchAnswer, Claim, Incoming, Notice, Refused, Said, Stop, Told, Verdict};
use sessions::mailbox::limits;
use sessions::mailbox::store::MailboxRows;

use crate::world::{Dies, World, key};

fn world() -> World {
    let mut world = World::new();
    world.message(Dies::No, "m");
    world.poll(0, Dies::No).unwrap();
    world
}

fn update(seq: u64, prev: u64, word: &str) -> Incoming {
    Incoming::new(seq, prev, &format!("id-{seq}"), 1, "usage", json!({"word": word}))
}

fn send(world: &mut World, mailbox: &str, lease: u64, events: Vec<Incoming>) -> Result<BatchAnswer, Refused> {
    send_as(world, 0, mailbox, lease, events)
}

fn send_as(
    world: &mut World,
    machine: usize,
    mailbox: &str,
    lease: u64,
    events: Vec<Incoming>,
) -> Result<BatchAnswer, Refused> {
    let known = MailboxRows(&world.sql).fingerprints(0, u64::MAX).unwrap();
    let batch = Batch { mailbox_id: mailbox.into(), lease, events };
    world.change(Dies::No, |desk, decide| desk::on_batch(desk, decide, &key(machine), batch, &known)).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "what a batch gives is compared with it")]
fn answered(accepted_seq: u64, stored: u64, duplicates: u64, stop: Option<Stop>) -> Result<BatchAnswer, Refused> {
    Ok(BatchAnswer { accepted_seq, stored, duplicates, stop })
}

#[test]
fn whose_session_which_lease_which_mailbox() {
    let mut world = world();
    let first = || vec![update(1, 0, "a")];
    assert_eq!(send_as(&mut world, 1, "x", 1, first()), Err(Refused::NotHeld));
    assert_eq!(send(&mut world, "x", 0, first()), Err(Refused::LeaseLost(1)));
    assert_eq!(send(&mut world, "x", 1, vec![update(3, 1, "a")]), Err(Refused::MailboxUnknown));
    assert_eq!(send(&mut world, "x", 1, Vec::new()), Err(Refused::MailboxUnknown));
    assert_eq!(send(&mut world, "x", 1, first()), answered(1, 1, 0, None));
    assert_eq!(send(&mut world, "y", 1, first()), Err(Refused::MailboxUnknown));
    assert_eq!(send(&mut world, "x", 1, Vec::new()), answered(1, 0, 0, None));
}

#[test]
fn repetitions_conflicts_and_gaps_keep_what_stood_before_them() {
    let mut world = world();
    let (one, two, three) = (update(1, 0, "a"), update(3, 1, "b"), update(5, 3, "c"));
    assert_eq!(send(&mut world, "x", 1, vec![one.clone(), two.clone()]), answered(3, 2, 0, None));
    assert_eq!(send(&mut world, "x", 1, vec![one.clone(), two.clone(), three]), answered(5, 1, 2, None));
    let other = update(3, 1, "other");
    assert_eq!(send(&mut world, "x", 1, vec![one.clone(), other]), answered(5, 0, 1, Some(Stop::Conflict(3))));
    let mut renamed = two;
    renamed.fingerprint.id = "another".into();
    assert_eq!(send(&mut world, "x", 1, vec![renamed]), answered(5, 0, 0, Some(Stop::Conflict(3))));
    assert_eq!(
        send(&mut world, "x", 1, vec![update(7, 5, "d"), update(11, 9, "f")]),
        answered(7, 1, 0, Some(Stop::Gap))
    );
    assert_eq!(world.count(|told| matches!(told, Told::Usage(_))), 4);
}

#[test]
fn what_is_too_old_to_be_known_is_a_repetition() {
    let mut world = world();
    let mut prev = 0;
    for seq in (1..=limits::KNOWN_EVENTS + 101).step_by(1_000) {
        send(&mut world, "x", 1, vec![update(seq, prev, "a")]).unwrap();
        prev = seq;
    }
    let known = MailboxRows(&world.sql).fingerprints(0, u64::MAX).unwrap();
    assert_eq!(known.keys().min(), Some(&1));
    let last = prev;
    send(&mut world, "x", 1, vec![update(last + 2_000, last, "a")]).unwrap();
    let known = MailboxRows(&world.sql).fingerprints(0, u64::MAX).unwrap();
    assert_eq!(known.keys().min(), Some(&2_001));
    let old = update(1, 0, "another");
    assert_eq!(send(&mut world, "x", 1, vec![old]), answered(last + 2_000, 0, 1, None));
}

#[test]
fn bad_events_are_refused_one_by_one_and_a_tombstone_takes_their_place() {
    let bad = [
        ("nonsense", json!({})),
        ("update", json!({"envelope": "text"})),
        ("update", json!([])),
        ("turn.started", json!({"message-id": "m", "run": "1", "attempt": 1})),
        ("turn.ended", json!({"message-id": "", "run": 1, "attempt": 1, "stop-reason": "x"})),
        ("opened", json!({"runtime-session-id": "r", "cwd": "relative"})),
        ("file", json!({"name": "a", "sha256": "zz", "size": 1})),
        ("message.failed", json!({"message-id": "m", "reason": "x".repeat(257)})),
        ("permission.void", json!({"request-ids": vec!["1"; 101], "reason": "r"})),
        ("usage", Value::Null),
        ("closed", json!({"transcript": {"run": -1, "sha256": "a".repeat(64)}})),
    ];
    for (kind, data) in bad {
        let mut world = world();
        let event = Incoming::new(3, 1, "id-3", 1, kind, data);
        let answer = send(&mut world, "x", 1, vec![update(1, 0, "a"), event]);
        assert_eq!(answer, answered(1, 1, 0, Some(Stop::Rejected(3, "invalid event"))), "{kind}");
        let tombstone = Incoming::new(3, 1, "id-t", 1, "tombstone", json!({"reason": "invalid_output"}));
        assert_eq!(send(&mut world, "x", 1, vec![tombstone]), answered(3, 1, 0, None));
        assert_eq!(world.count(|told| matches!(told, Told::OutputRefused { .. })), 1);
    }
    let mut world = world();
    let large = Incoming::new(1, 0, "i", 1, "usage", json!({"a": "x".repeat(limits::MAX_EVENT_BYTES)}));
    assert_eq!(send(&mut world, "x", 1, vec![large]), answered(0, 0, 0, Some(Stop::Rejected(1, "too large"))));
    let data = json!({"name": "a", "sha256": "a".repeat(64), "size": 1});
    let file = Incoming { has_file: false, ..Incoming::new(1, 0, "i", 1, "file", data) };
    assert_eq!(
        send(&mut world, "x", 1, vec![file.clone()]),
        answered(0, 0, 0, Some(Stop::Rejected(1, "file missing")))
    );
    let file = Incoming { has_file: true, ..file };
    assert_eq!(send(&mut world, "x", 1, vec![file]), answered(1, 1, 0, None));
}

#[test]
fn a_batch_that_ends_the_lease_ends_with_it() {
    let mut world = world();
    world.change(Dies::No, |desk, decide| desk::cancel(desk, decide, "c", 0)).unwrap().unwrap();
    let closed = Incoming::new(1, 0, "i", 1, "closed", json!({"transcript": null}));
    assert_eq!(send(&mut world, "x", 1, vec![closed, update(3, 1, "late")]), answered(1, 1, 0, None));
    assert_eq!(send(&mut world, "x", 1, vec![update(3, 1, "late")]), Err(Refused::NotHeld));
}

#[test]
fn every_kind_is_read() {
    let digest = "a".repeat(64);
    let kinds = [
        ("opened", json!({"runtime-session-id": "r", "loaded": true, "cwd": "/w"})),
        ("open.failed", json!({"reason": "r", "message": "m"})),
        ("turn.started", json!({"message-id": "m", "run": 1, "attempt": 1})),
        ("update", json!({"envelope": {}})),
        ("permission", json!({"request-id": "1.1", "params": {}})),
        ("permission.void", json!({"request-ids": ["1.1"], "reason": "turn-ended"})),
        (
            "turn.ended",
            json!({"message-id": "m", "run": 1, "attempt": 1, "stop-reason": "end_turn", "stopped": "agent"}),
        ),
        ("message.failed", json!({"message-id": "m", "reason": "agent_died"})),
        ("usage", json!({})),
        ("state", json!({"phase": "running", "tool": {"name": "bash"}, "until": 5})),
        ("push.done", json!({"push-id": "p", "ok": true})),
        ("file", json!({"name": "a", "sha256": digest, "size": 5})),
        ("tombstone", json!({"reason": "fenced"})),
        ("closed", json!({"transcript": {"run": 1, "sha256": digest}})),
    ];
    let mut runners = Vec::new();
    for (kind, mut data) in kinds {
        let said = Said::read(kind, data.clone()).unwrap_or_else(|_| panic!("{kind}"));
        runners.extend(said.is_runners().then_some(kind));
        data["something-new"] = json!(1);
        assert!(Said::read(kind, data).is_ok(), "{kind}: members that are not known are passed over");
    }
    assert_eq!(runners, ["open.failed", "permission.void", "message.failed", "closed"]);
}

#[test]
fn verdicts() {
    let claim = |mailbox: &str, lease, work_seq, out_seq, generation| {
        Some(Claim { mailbox_id: mailbox.into(), lease, work_seq, out_seq, generation })
    };
    let cases = [
        ("all as it is", claim("x", 1, 2, 3, 4), Verdict::Keep),
        ("further", claim("x", 1, 9, 9, 9), Verdict::Keep),
        ("another mailbox", claim("y", 1, 2, 3, 4), Verdict::Stale),
        ("an old lease", claim("x", 0, 2, 3, 4), Verdict::Stale),
        ("an item is missing", claim("x", 1, 1, 3, 4), Verdict::Stale),
        ("an event is missing", claim("x", 1, 2, 1, 4), Verdict::Stale),
        ("a process is missing", claim("x", 1, 2, 3, 3), Verdict::Stale),
        ("not in the list", None, Verdict::Gone),
    ];
    for (name, claim, verdict) in cases {
        let mut world = world();
        let given = world.desk().items;
        let (open, prompt) = (given[0].clone(), given[1].clone());
        for item in [open, prompt] {
            let ack = desk::Ack { item_id: item.id, work_seq: item.work_seq, result: desk::AckResult::Stored };
            world.change(Dies::No, |desk, decide| desk::on_ack(desk, decide, &key(0), &ack));
        }
        let mut second = update(3, 1, "b");
        second.generation = 4;
        send(&mut world, "x", 1, vec![update(1, 0, "a"), second]).unwrap();
        let stored = world.desk().holder.unwrap().stored;
        let shift = |mut claim: Claim| {
            claim.work_seq = claim.work_seq + stored - 2;
            claim
        };
        let claim = claim.map(shift);
        let other = world.change(Dies::No, |desk, decide| desk::on_attach(desk, decide, &key(1), claim.as_ref()));
        assert_eq!(other.unwrap().verdict, Verdict::Gone, "{name}: not the holder");
        assert_eq!(world.desk().lease, 1, "{name}");
        let answer =
            world.change(Dies::No, |desk, decide| desk::on_attach(desk, decide, &key(0), claim.as_ref())).unwrap();
        assert_eq!(answer.verdict, verdict, "{name}");
        let kept = verdict == Verdict::Keep;
        assert_eq!(answer.lease, if kept { 1 } else { 2 }, "{name}");
        assert_eq!(answer.accepted_seq, if kept { 3 } else { 0 }, "{name}");
        assert_eq!(MailboxRows(&world.sql).fingerprints(0, 9).unwrap().is_empty(), !kept, "{name}");
        let kinds: Vec<_> = world.desk().items.iter().map(|item| item.kind.as_str()).collect();
        assert_eq!(kinds, if kept { &[][..] } else { &["session.open", "prompt"] }, "{name}: opened before the prompt");
    }
}

#[test]
fn reports_of_the_runner_are_bounded_and_stand_outside_the_order() {
    let mut world = world();
    let notice =
        Notice { code: "output_backlog".into(), message: "x".repeat(9_000), lease: None, data: Some(json!({})) };
    let sent = |world: &mut World, machine, notice: Notice| {
        world.change(Dies::No, |desk, decide| desk::on_notice(desk, decide, &key(machine), notice)).unwrap()
    };
    assert_eq!(sent(&mut world, 1, notice.clone()), Err(Refused::NotHeld));
    assert_eq!(sent(&mut world, 0, notice), Ok(()));
    let Some(Told::Notice { code, message }) = world.told.last() else { panic!("{:?}", world.told) };
    assert_eq!((code.as_str(), message.len()), ("output_backlog", limits::MAX_NOTICE_CHARS));
    // An event's name alone makes no event.
    let started = json!({"message-id": "m", "run": 1, "attempt": 1});
    let notice = Notice { code: "turn.ended".into(), message: String::new(), lease: Some(1), data: Some(started) };
    assert_eq!(sent(&mut world, 0, notice), Ok(()));
    assert_eq!(world.endings("m"), 0);
}

#[test]
fn no_fingerprints_are_asked_for_where_none_can_be() {
    let mut world = world();
    let batch = Batch { mailbox_id: "x".into(), lease: 1, events: vec![update(1, 0, "a")] };
    let none = BTreeMap::new();
    let answer = world.change(Dies::No, |desk, decide| desk::on_batch(desk, decide, &key(0), batch, &none)).unwrap();
    assert_eq!(answer, answered(1, 1, 0, None));
}
