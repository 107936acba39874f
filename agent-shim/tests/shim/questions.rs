use mailbox::FileHost;
use mailbox::HostMailbox as _;
use mailbox::host::Settings;
use mailbox::message::Phase;

use crate::runner::{Runner, now};

#[test]
fn permission_is_waited_for_across_runners_and_an_answer_is_given_once() {
    let mut runner = Runner::new();
    runner.prompt("one", "ask; ask");
    runner.spawn();
    let asked = runner.until_told("permission");
    let id = asked["request-id"].as_str().unwrap().to_owned();
    assert_eq!(asked["params"]["options"].as_array().unwrap().len(), 2);
    runner.until("it waits", |runner| runner.state().is_some_and(|state| state.phase == Phase::WaitingUser));
    // The runner ends, and another one begins: shim and agent just wait.
    let places = runner.host.places().clone();
    runner.host = FileHost::open(places, Settings::default(), now()).unwrap();
    runner.answer("a1", &id, "allow");
    runner.until("the second question", |runner| runner.told("permission").len() == 2);
    // An answer that comes again, or to nothing that was asked, is for nobody.
    runner.answer("a2", &id, "reject");
    runner.answer("a3", "9.9", "allow");
    runner.until("both are skipped", |runner| {
        ["a2", "a3"].iter().all(|id| runner.changes.iter().any(|(one, _)| one == id))
    });
    let second = runner.told("permission")[1]["request-id"].as_str().unwrap().to_owned();
    assert_ne!(second, id);
    runner.answer("a4", &second, "reject");
    runner.until_ended("one");
    assert_eq!(runner.said(), "allowedrejected");
}

#[test]
fn an_interrupt_closes_what_was_asked() {
    let mut runner = Runner::new();
    runner.prompt("one", "ask");
    runner.spawn();
    let asked = runner.until_told("permission");
    runner.host.interrupt(runner.work_seq()).unwrap();
    let ended = runner.until_ended("one");
    assert_eq!((&ended["stop-reason"], &ended["stopped"]), (&"cancelled".into(), &"agent".into()));
    let void = runner.told("permission.void").remove(0);
    assert_eq!((&void["request-ids"][0], &void["reason"]), (&asked["request-id"], &"cancelled".into()));
}

#[test]
fn what_a_dead_process_has_asked_is_taken_back_by_the_next() {
    let mut runner = Runner::new();
    runner.prompt("one", "ask");
    runner.spawn();
    let asked = runner.until_told("permission");
    runner.shim.as_mut().unwrap().kill().unwrap();
    runner.until("it is settled", |runner| runner.shim.is_none() && !runner.changes.is_empty());
    runner.spawn();
    let void = runner.until_told("permission.void");
    assert_eq!((&void["request-ids"][0], &void["reason"]), (&asked["request-id"], &"agent-gone".into()));
    // The prompt is sent again, wrapped: the stand-in says it back instead of asking.
    runner.until_ended("one");
    assert!(runner.said().contains("interrupted"), "{}", runner.said());
}
