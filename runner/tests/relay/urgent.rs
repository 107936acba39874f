//! What does not wait until the network has answered (docs/spec/session-mailbox.md 4.7), and what the worker refuses for good (4.8).

use std::time::{Duration, Instant};

use sessions::mailbox::desk::{self, Told};

use super::machine::Machine;
use super::plane::Fault;

/// Longer than the runner waits for an answer, and much longer than anything here may take.
const LONG: Duration = Duration::from_secs(40);
/// Sooner than any answer that hangs.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn an_interrupt_does_not_wait_for_a_request_that_hangs() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let _runner = machine.start(&[]);
    let go = machine.session("s1").work().join("go");
    plane.say("s1", "one", &format!("say begun; until {}; say next; wait 600000", go.display()));
    plane.told("s1", "it runs", |told| matches!(told, Told::Update(_)).then_some(()));
    plane.fails("/sessions/s1/events", Fault::Hangs(LONG), 1);
    std::fs::write(&go, "").unwrap();
    plane.until("a request hangs", |state| state.faults.is_empty().then_some(()));
    let began = Instant::now();
    plane.change("s1", |desk, decide| desk::interrupt(desk, decide, "stop")).unwrap();
    assert_eq!(plane.ended("s1", "one"), "cancelled");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(plane.said("s1"), "begunnext", "what was broken off is sent again, and once");
}

#[test]
fn a_session_is_canceled_while_a_request_hangs() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let _runner = machine.start(&[]);
    let go = machine.session("s1").work().join("go");
    plane.say("s1", "one", &format!("say begun; until {}; say next; wait 600000", go.display()));
    plane.told("s1", "it runs", |told| matches!(told, Told::Update(_)).then_some(()));
    plane.fails("/sessions/s1/events", Fault::Hangs(LONG), 1);
    std::fs::write(&go, "").unwrap();
    plane.until("a request hangs", |state| state.faults.is_empty().then_some(()));
    let began = Instant::now();
    plane.change("s1", |desk, decide| desk::cancel(desk, decide, "cancel", 1_000)).unwrap();
    plane.told("s1", "it is closed", |told| matches!(told, Told::Closed { .. }).then_some(()));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// Another attach opens each mailbox again: the thread that had it has ended by then, whatever it was waiting for.
#[test]
fn no_two_threads_work_with_one_mailbox() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    let work = machine.session("s1").work();
    let (go, end) = (work.join("go"), work.join("end"));
    let orders = format!("say begun; until {}; say next; until {}; say done", go.display(), end.display());
    plane.say("s1", "one", &orders);
    plane.say("s2", "other", "say begun; wait 600000");
    for session in ["s1", "s2"] {
        plane.told(session, "it runs", |told| matches!(told, Told::Update(_)).then_some(()));
    }
    let attaches = plane.lock().attaches;
    plane.fails("/sessions/s1/events", Fault::Hangs(LONG), 1);
    std::fs::write(&go, "").unwrap();
    plane.until("a request hangs", |state| state.faults.is_empty().then_some(()));
    // What ends the other one's thread makes the runner attach anew.
    let began = Instant::now();
    std::fs::remove_file(machine.session("s2").outbound()).unwrap();
    plane.until("it attaches anew", |state| (state.attaches > attaches).then_some(()));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    std::fs::write(&end, "").unwrap();
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert_eq!((plane.said("s1").as_str(), machine.noted("say begun; until")), ("begunnextdone", 1));
    runner.stop();
}

/// Row "to the session DO" of docs/spec/session-mailbox.md 4.8: a permanent refusal, and what the agent is told of it.
#[test]
fn an_event_that_is_refused_with_its_batch_blocks_nothing_and_the_agent_is_told() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    plane.lock().refuses = Some("unspeakable");
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say before; wait 300; say unspeakable; wait 300; say after");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert_eq!(plane.said("s1"), "beforeafter");
    let refused = plane.count("s1", |told| matches!(told, Told::OutputRefused { .. }));
    assert_eq!(refused, 1, "{:?}", plane.lock().sessions["s1"].told);
    plane.say("s1", "two", "say fine");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    let inbound = rusqlite::Connection::open(machine.session("s1").inbound()).unwrap();
    let told: i64 = inbound
        .query_row("SELECT count(*) FROM messages_in WHERE id LIKE 'delivery-failed-%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(told, 1);
    runner.stop();
}
