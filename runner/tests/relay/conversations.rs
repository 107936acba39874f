//! Conversations of a runner's turns (docs/spec/transcripts.md 4.6, 4.7).

use sessions::mailbox::desk::{self, Told};
use transcripts::bundle::Described;

use super::machine::Machine;
use super::plane::{Fault, Plane, Transcript};

#[track_caller]
fn kept(plane: &Plane, run: u64) -> Transcript {
    plane.until(&format!("run {run} is kept"), |state| {
        state.transcripts.iter().rev().find(|kept| kept.run == run && kept.status == "completed").cloned()
    })
}

#[test]
fn each_turn_is_kept_with_the_token_of_its_run_and_the_end_says_which() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say first");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let first = kept(plane, 1);
    let bundle = first.bundle();
    let Described { agent, cwd, run, native_session_id, attempt, .. } = bundle.manifest().described.clone();
    assert_eq!((agent.as_str(), run.as_str(), attempt, first.token.as_str()), ("claude", "run-1", 1, "run-token"));
    assert_eq!(std::path::Path::new(&cwd), machine.session("s1").work());
    assert!(bundle.manifest().files[0].path.ends_with(&format!("{native_session_id}.jsonl")));
    plane.say("s1", "two", "say second");
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    let second = kept(plane, 2);
    assert!(second.bundle().extends(&bundle.manifest().files) && second.bytes != first.bytes);
    // One that is stopped is nobody's to go on from.
    plane.say("s1", "three", "say begun; wait 600000");
    plane.until("it runs", |state| {
        let is_it = |told: &Told| matches!(told, Told::TurnStarted { message_id } if message_id == "three");
        state.sessions["s1"].told.iter().any(is_it).then_some(())
    });
    plane.change("s1", |desk, decide| desk::interrupt(desk, decide, "stop")).unwrap();
    assert_eq!(plane.ended("s1", "three"), "cancelled");
    plane.change("s1", |desk, decide| desk::cancel(desk, decide, "cancel", 1_000)).unwrap();
    let told = plane.told("s1", "it is closed", |told| match told {
        Told::Closed { transcript } => Some(transcript.clone()),
        _ => None,
    });
    let told = told.unwrap();
    assert_eq!(told, (2, second.bundle().sha256()));
    assert!(plane.lock().transcripts.iter().all(|kept| kept.run < 3));
    assert_eq!(plane.count("s1", |told| matches!(told, Told::Notice { .. })), 0);
    // No token lies in the session's folder.
    let session = std::fs::read_to_string(machine.session("s1").folder().join("session.json")).unwrap();
    assert!(!session.contains("run-token"), "{session}");
    runner.stop();
}

#[test]
fn a_conversation_waits_for_the_line_and_for_the_next_runner() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.fails("/transcript", Fault::Error, 2);
    plane.say("s1", "one", "say first");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let spool = machine.session("s1").folder().join("spool");
    plane.until("it lies there", |_| spool.join("1.completed").exists().then_some(()));
    plane.until("it was tried", |state| (state.faults.len() < 2).then_some(()));
    runner.kill();
    let _next = machine.start(&[]);
    let first = kept(plane, 1);
    assert_eq!(first.token, "late-token", "tokens are not written down: the next one asks for another");
    plane.until("nothing waits", |_| (!spool.join("1.completed").exists()).then_some(()));
}

#[test]
fn a_runner_without_the_conversation_gets_it_before_the_agent_is_opened() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[("IDLE_EXIT", "1s")]);
    plane.say("s1", "one", "say first");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    kept(plane, 1);
    runner.stop();
    let deadline = std::time::Instant::now() + super::plane::PATIENCE;
    while !machine.processes().is_empty() {
        assert!(std::time::Instant::now() < deadline, "an idle process ends");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // As if it were another machine: nothing of the session is here.
    machine.lose();
    // The worker fails twice before it gives it.
    plane.fails("/sessions/s1/transcript", Fault::Error, 2);
    plane.say("s1", "two", "recall");
    let _other = machine.start(&[("RUNNER_REPLACE", "1")]);
    assert_eq!(plane.ended("s1", "two"), "end_turn");
    assert_eq!(plane.said("s1"), "firstsay first | recall");
    let loaded = plane.count("s1", |told| matches!(told, Told::Opened { loaded: true, .. }));
    assert_eq!(loaded, 1);
    assert!(kept(plane, 2).bundle().extends(&kept(plane, 1).bundle().manifest().files));
}

#[test]
fn a_session_whose_conversation_cannot_be_had_is_not_opened_unless_that_is_set() {
    for (set, ends) in [("fail", "hydrate_failed"), ("continue", "end_turn")] {
        let machine = Machine::new("plain");
        let plane = &machine.plane;
        let mut runner = machine.start(&[]);
        plane.say("s1", "one", "say first");
        assert_eq!(plane.ended("s1", "one"), "end_turn");
        kept(plane, 1);
        runner.stop();
        for pid in machine.processes() {
            assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        }
        machine.lose();
        plane.fails("/sessions/s1/transcript", Fault::Error, 4);
        plane.say("s1", "two", "say second");
        let _other = machine.start(&[("RUNNER_REPLACE", "1"), ("TRANSCRIPT_ON_FAIL", set)]);
        if set == "fail" {
            plane.told("s1", "it is not opened", |told| match told {
                Told::OpenFailed { reason, .. } if reason == ends => Some(()),
                _ => None,
            });
        } else {
            assert_eq!(plane.ended("s1", "two"), ends);
        }
        assert!(plane.lock().faults.is_empty());
    }
}
