//! The crash points of docs/spec/session-mailbox.md 7.11 on the machine's side, one after the other. A commit of SQLite is a journal that is synced,
//! a database that is synced, a journal that is removed, and its folder that is synced. A process is killed as it enters the n-th `unlink`
//! (nothing is committed: the next one rolls back) or the n-th `fsync` (before or after the commit), for each n until it lives to the end.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::machine::{Machine, shim};
use super::plane::PATIENCE;

/// The moments of a commit at which is killed.
const MOMENTS: [&str; 2] = ["unlink", "fsync"];
const PROMPT: &str = "say begun; tool; wait 150; say done";

/// What was seen of the one prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// The agent got it once, as it is: before the kill, or only after it.
    Once,
    /// It never got it, and nobody could know: the prompt counted as sent, and its conversation, of which it was the first, does not load.
    Interrupted,
    /// It got it twice, the second time with a word about the first.
    Twice,
}

/// Where a system call that ends in a kill is told, for `strace`.
fn injection(moment: &str, number: u32) -> [String; 4] {
    ["-e".to_owned(), format!("trace={moment}"), "-e".to_owned(), format!("inject={moment}:signal=KILL:when={number}")]
}

/// A shim that is killed at its n-th such moment. Only the first that is started; those that follow live.
fn fragile_shim(machine: &Machine, moment: &str, number: u32) -> String {
    let path = machine.state().with_file_name("fragile/agent-shim");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let words = injection(moment, number).join(" ");
    // Without `-f` the main thread alone is looked at: it makes all of its commits, and the agent is left alone.
    let script = format!(
        "#!/bin/sh\nif mkdir '{path}.used' 2>/dev/null; then exec strace -qq -o /dev/null {words} '{shim}' \"$@\"; fi\n\
         exec '{shim}' \"$@\"\n",
        path = path.display(),
        shim = shim().display(),
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What became of the prompt; whatever that was, it has one end, and everything that was said is there in order.
fn outcome(machine: &Machine, at: &str) -> Outcome {
    let endings = machine.plane.lock().sessions["s1"].endings("one");
    let (all, wrapped) = (machine.noted(PROMPT), machine.noted("interrupted"));
    if endings == ["error: turn_interrupted"] {
        assert_eq!((all, wrapped), (0, 0), "{at}");
        return Outcome::Interrupted;
    }
    assert_eq!(endings, ["end_turn"], "{at}");
    let said = machine.plane.said("s1");
    // What the first attempt has said is kept, as far as it was stored; it did not come to its last word.
    let (begun, done) = (said.matches("begun").count(), said.matches("done").count());
    assert!((1..=2).contains(&begun) && done == 1 && said.ends_with("done"), "{at}: {said}");
    match (all, wrapped) {
        (1, 0) => Outcome::Once,
        (2, 1) => Outcome::Twice,
        other => panic!("{at}: (prompts, wrapped ones) are {other:?}"),
    }
}

/// One prompt with a shim that dies at the n-th commit. None when it lived: the points are all done.
fn with_fragile_shim(moment: &str, number: u32) -> Option<Outcome> {
    let machine = Machine::new("plain");
    let shim = fragile_shim(&machine, moment, number);
    let mut runner = machine.start(&[("RUNNER_SHIM", &shim)]);
    machine.plane.say("s1", "one", PROMPT);
    let at = format!("{moment} {number}");
    machine.plane.ended("s1", "one");
    let generations = runner.log().matches(" started, process").count();
    let outcome = outcome(&machine, &at);
    machine.plane.say("s1", "two", "say more");
    assert_eq!(machine.plane.ended("s1", "two"), "end_turn", "{at}");
    runner.stop();
    (generations > 1).then_some(outcome)
}

/// Every `stride`-th point of both moments, side by side: most of the time is waited.
fn sweep<T: Send>(stride: u32, at: impl Fn(&'static str, u32) -> Option<T> + Sync) -> Vec<T> {
    let at = &at;
    std::thread::scope(|scope| {
        let threads: Vec<_> = MOMENTS
            .into_iter()
            .flat_map(|moment| (1..=stride).map(move |first| (moment, first)))
            .map(|(moment, first)| {
                scope.spawn(move || {
                    // Ends with the point that is never reached.
                    (first..).step_by(stride as usize).map_while(|number| at(moment, number)).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Rows of docs/spec/session-mailbox.md 7.11: "claimed, not sent", "between the `sent` commit and the write", "after `sent`, or result not yet
/// committed", "after `turn.ended` + `completed`".
#[test]
fn a_shim_that_dies_at_any_of_its_commits_ends_the_message_once() {
    let seen = sweep(8, with_fragile_shim);
    let kinds: BTreeSet<Outcome> = seen.iter().copied().collect();
    assert_eq!(kinds, [Outcome::Once, Outcome::Interrupted, Outcome::Twice].into(), "{seen:?}");
    assert!(seen.len() >= 12, "{seen:?}");
}

/// Kills a process that runs at a moment of its n-th commit to a file from now on, and leaves alone what it has started.
fn strike(pid: u32, file: &Path, moment: &str, number: u32) -> Child {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(file).args(injection(moment, number));
    let tracer = command.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Bounded by the deadline.
    while !std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap()
        .contains(&format!("TracerPid:\t{}\n", tracer.id()))
    {
        assert!(Instant::now() < deadline, "the process is not traced");
        std::thread::sleep(Duration::from_millis(5));
    }
    tracer
}

/// One prompt with a runner that dies at the n-th commit to the mailbox: whether a shim ran in that moment. None when it lived.
fn with_fragile_runner(moment: &str, number: u32) -> Option<bool> {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    // The mailbox is there: what is struck is a message's way, not the mailbox's making.
    plane.say("s1", "zero", "say before;");
    assert_eq!(plane.ended("s1", "zero"), "end_turn");
    let journal = machine.session("s1").inside().join("inbound.db-journal");
    let mut tracer = strike(runner.pid(), &journal, moment, number);
    plane.say("s1", "one", PROMPT);
    let at = format!("runner, {moment} {number}");
    // Either it dies, or the message ends, and with it all that is to be stored.
    let deadline = Instant::now() + PATIENCE;
    while !runner.is_dead() {
        assert!(Instant::now() < deadline, "{at}");
        if !plane.lock().sessions["s1"].endings("one").is_empty() {
            std::thread::sleep(Duration::from_millis(1_500));
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let is_struck = runner.is_dead();
    // It lets go of what it has hold of.
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    if !is_struck {
        runner.stop();
        return None;
    }
    let before = machine.processes();
    let mut next = machine.start(&[]);
    assert_eq!(plane.ended("s1", "one"), "end_turn", "{at}\n{}", next.log());
    let after = machine.processes();
    // One that has to be started anew may not run yet.
    assert!(
        before.iter().all(|pid| after.contains(pid)),
        "{at}: shim and agent go on: {before:?}, {after:?}\n{}",
        next.log()
    );
    let said = plane.said("s1");
    assert_eq!(said, "beforebegundone", "{at}");
    assert_eq!(plane.lock().sessions["s1"].endings("one").len(), 1, "{at}");
    let seen = (machine.noted(PROMPT), machine.noted("interrupted"));
    assert_eq!(seen, (1, 0), "{at}");
    next.stop();
    Some(!before.is_empty())
}

/// Rows of docs/spec/session-mailbox.md 7.11: "item given out, before the commit in inbound", "after that commit, ack not sent or lost", "during a
/// turn", "events stored, answer or `delivered` lost".
#[test]
fn a_runner_that_dies_at_any_of_its_commits_loses_and_repeats_nothing() {
    let seen = sweep(2, with_fragile_runner);
    assert!(seen.len() >= 6 && seen.iter().filter(|has_shim| **has_shim).count() >= 4, "{seen:?}");
}
