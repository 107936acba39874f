//! What comes while the agent starts (docs/spec/session-mailbox.md 4.7).

use mailbox::HostMailbox as _;
use mailbox::message::Phase;
use mailbox::sweep::Change;

use crate::runner::{Runner, gone, signal};

/// A runner whose agent does not answer before there is a file `ready` in its home. Its first process notes its number.
fn slow() -> Runner {
    let mut runner = Runner::new();
    let agent = runner.command.1.first().unwrap().clone();
    let script =
        format!("echo $$ > \"$HOME/pid\"; while [ ! -e \"$HOME/ready\" ]; do sleep 0.05; done; exec node '{agent}'");
    runner.command = ("sh".into(), vec!["-c".into(), script]);
    // Longer than any of these tests.
    runner.limits.start_limit_ms = 600_000;
    runner
}

#[track_caller]
fn until_it_starts(runner: &mut Runner) -> u32 {
    runner.until("it starts", |runner| {
        runner.state().is_some_and(|state| state.phase == Phase::Starting) && runner.home().join("pid").exists()
    });
    runner.until("it has noted its number", |runner| {
        !std::fs::read_to_string(runner.home().join("pid")).unwrap().is_empty()
    });
    std::fs::read_to_string(runner.home().join("pid")).unwrap().trim().parse().unwrap()
}

fn get_ready(runner: &Runner) {
    std::fs::write(runner.home().join("ready"), "").unwrap();
}

#[test]
fn an_interrupt_while_the_agent_starts_ends_the_turn_and_the_prompt_is_not_sent() {
    let mut runner = slow();
    runner.prompt("one", "say never");
    runner.spawn();
    let starting = until_it_starts(&mut runner);
    runner.host.interrupt(runner.work_seq()).unwrap();
    let ended = runner.until_ended("one");
    assert_eq!((&ended["stop-reason"], &ended["stopped"]), (&"cancelled".into(), &"killed".into()));
    gone(starting);
    assert_eq!(runner.state().unwrap().interrupted_through, runner.work_seq());
    get_ready(&runner);
    runner.prompt("two", "say next");
    runner.until_ended("two");
    assert_eq!((runner.said().as_str(), runner.log().len()), ("next", 1));
}

#[test]
fn of_prompts_that_wait_for_the_agent_those_that_were_interrupted_are_not_sent() {
    let mut runner = slow();
    runner.prompt("one", "say never");
    let through = runner.work_seq();
    runner.prompt("two", "say next");
    runner.spawn();
    until_it_starts(&mut runner);
    runner.host.interrupt(through).unwrap();
    get_ready(&runner);
    assert_eq!(runner.until_ended("one")["stop-reason"], "cancelled");
    assert_eq!(runner.until_ended("two")["stop-reason"], "end_turn");
    assert_eq!((runner.said().as_str(), runner.log().len()), ("next", 1));
}

#[test]
fn an_interrupt_does_not_end_the_start_that_was_asked_for_itself() {
    let mut runner = slow();
    runner.insert("open", "session.open", &serde_json::json!({"agent": "claude"}), false);
    runner.spawn();
    until_it_starts(&mut runner);
    runner.host.interrupt(runner.work_seq() + 1).unwrap();
    get_ready(&runner);
    runner.until("it is open", |runner| runner.changes.contains(&("open".into(), Change::Complete)));
    assert_eq!(runner.told("opened").len(), 1);
}

#[test]
fn a_signal_while_the_agent_starts_ends_the_process_and_what_it_has_started() {
    for kind in ["prompt", "session.open"] {
        let mut runner = slow();
        if kind == "prompt" {
            runner.prompt("one", "say never");
        } else {
            runner.insert("one", kind, &serde_json::json!({"agent": "claude"}), false);
        }
        runner.spawn();
        let starting = until_it_starts(&mut runner);
        signal(runner.shim.as_ref().unwrap().id(), "TERM");
        assert_eq!(runner.exit(), Some(0), "{kind}");
        assert_eq!(runner.state().unwrap().phase, Phase::Stopping);
        gone(starting);
        // What it had taken is done by the next one.
        get_ready(&runner);
        runner.until("it is put back", |runner| {
            runner.changes.iter().any(|(_, change)| matches!(change, Change::Retry(_)))
        });
    }
}
