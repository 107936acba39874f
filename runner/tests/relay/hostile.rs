//! What an agent may do to the files of its session (docs/spec/session-mailbox.md 4.4): the session ends its process, says why and begins anew, and
//! no other one notices.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use sessions::mailbox::desk::{self, Told};

use super::machine::{Machine, Runner};
use super::plane::PATIENCE;

/// A turn that does not end by itself.
const LONG: &str = "say begun; wait 600000";

fn runs(machine: &Machine, session: &str) {
    machine.plane.told(session, "it runs", |told| match told {
        Told::Update(_) => Some(()),
        _ => None,
    });
}

fn notices(machine: &Machine, session: &str, code: &str) -> usize {
    machine.plane.count(session, |told| matches!(told, Told::Notice { code: told, .. } if told == code))
}

fn hears(machine: &Machine, session: &str, code: &str) {
    machine.plane.until(&format!("{session} hears {code}"), |state| {
        let is_it = |told: &Told| matches!(told, Told::Notice { code: told, .. } if told == code);
        state.sessions.get(session)?.told.iter().any(is_it).then_some(())
    });
}

fn works(machine: &Machine, session: &str, id: &str) {
    machine.plane.say(session, id, "say fine");
    assert_eq!(machine.plane.ended(session, id), "end_turn", "{session}");
}

fn outbound(machine: &Machine, session: &str) -> Connection {
    let connection = Connection::open(machine.session(session).outbound()).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection
}

/// What becomes of the file of a session, by the code that is told.
fn spoil(machine: &Machine, session: &str, code: &str) {
    let file = machine.session(session).outbound();
    match code {
        "mailbox_hostile" => std::fs::remove_file(file).unwrap(),
        "mailbox_newer" => outbound(machine, session).pragma_update(None, "user_version", 2).unwrap(),
        "mailbox_mixed" => {
            outbound(machine, session).execute("UPDATE meta SET mailbox_id = 'another'", []).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_session_whose_file_is_spoiled_while_it_works_says_so_and_begins_anew() {
    for code in ["mailbox_hostile", "mailbox_newer", "mailbox_mixed"] {
        let machine = Machine::new("plain");
        let plane = &machine.plane;
        let mut runner = machine.start(&[]);
        plane.say("s1", "one", LONG);
        runs(&machine, "s1");
        works(&machine, "s2", "other");
        // The first word of it gets lost on the way.
        plane.fails("/sessions/s1/notices", super::plane::Fault::Error, 1);
        spoil(&machine, "s1", code);
        hears(&machine, "s1", code);
        plane.ended("s1", "one");
        works(&machine, "s1", "two");
        works(&machine, "s2", "another");
        assert_eq!((notices(&machine, "s1", code), notices(&machine, "s2", code)), (1, 0), "{code}");
        runner.stop();
    }
}

#[test]
fn a_session_whose_file_was_spoiled_while_no_runner_was_there_says_so_and_begins_anew() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", LONG);
    runs(&machine, "s1");
    works(&machine, "s2", "other");
    runner.stop();
    spoil(&machine, "s1", "mailbox_newer");
    let mut runner = machine.start(&[]);
    hears(&machine, "s1", "mailbox_newer");
    plane.ended("s1", "one");
    works(&machine, "s1", "two");
    works(&machine, "s2", "another");
    assert_eq!(std::fs::read_dir(machine.state().join("stale")).unwrap().count(), 1);
    runner.stop();
}

#[test]
fn a_canceled_session_ends_although_its_file_is_gone() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", LONG);
    runs(&machine, "s1");
    std::fs::remove_file(machine.session("s1").outbound()).unwrap();
    plane.change("s1", |desk, decide| desk::cancel(desk, decide, "cancel", 1_000)).unwrap();
    plane.until("its process is gone", |_| machine.processes().is_empty().then_some(()));
    runner.stop();
}

/// Rows of the agent's side that are no outputs: few are reported, and many are hostile.
#[test]
fn odd_rows_are_reported_and_too_many_of_them_end_the_agent() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", LONG);
    runs(&machine, "s1");
    let add = |count: i64| {
        let sql = "INSERT INTO messages_out(id, seq, prev, generation, attempt, created_at, kind, content) \
                   SELECT ?1, max(seq) + 2, max(seq), 1, 1, 0, 'update', 'no JSON' FROM messages_out";
        let mut connection = outbound(&machine, "s1");
        let transaction = connection.transaction().unwrap();
        for number in 0..count {
            transaction.execute(sql, [format!("odd-{count}-{number}")]).unwrap();
        }
        transaction.commit().unwrap();
    };
    add(2);
    hears(&machine, "s1", "invalid_output");
    assert_eq!(machine.processes().len(), 1, "it goes on");
    add(120);
    hears(&machine, "s1", "mailbox_hostile");
    plane.ended("s1", "one");
    works(&machine, "s1", "two");
    runner.stop();
}

/// In a process of its own, as one that an agent has left behind: whoever has the mark belongs to the session, and the lock goes with it.
#[test]
fn holder_of_a_lock() {
    let Some(file) = std::env::var_os("LOCK_FILE") else { return };
    let is_own = std::env::var_os("LOCK_OWN").is_some();
    let flags = if is_own { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let connection = Connection::open_with_flags(file, flags).unwrap();
    connection.busy_timeout(Duration::from_mins(1)).unwrap();
    connection.execute_batch(if is_own { "BEGIN EXCLUSIVE" } else { "BEGIN; SELECT count(*) FROM meta" }).unwrap();
    println!("locked");
    std::thread::sleep(Duration::from_mins(5));
}

fn lock(machine: &Machine, session: &str, file: &Path, is_own: bool) -> Child {
    let mailbox: serde_json::Value =
        serde_json::from_slice(&std::fs::read(machine.session(session).inside().join("mailbox.json")).unwrap())
            .unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "hostile::holder_of_a_lock", "--nocapture"])
        .env("LOCK_FILE", file)
        .env("LOGSEQ_MAILBOX", format!("{}:1", mailbox["mailbox-id"].as_str().unwrap()))
        .stdout(Stdio::piped());
    if is_own {
        command.env("LOCK_OWN", "1");
    }
    let mut child = command.spawn().unwrap();
    let mut told = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("locked") {
        line.clear();
        assert_ne!(std::io::BufRead::read_line(&mut told, &mut line).unwrap(), 0, "it holds no lock");
    }
    child
}

#[track_caller]
fn ends(child: &mut Child, runner: &Runner) {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("whoever holds the lock lives: {}", runner.log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_that_keeps_a_lock_is_ended_and_its_session_can_be_canceled() {
    for is_own in [false, true] {
        let machine = Machine::new("plain");
        let plane = &machine.plane;
        let mut runner = machine.start(&[]);
        plane.say("s1", "one", LONG);
        runs(&machine, "s1");
        works(&machine, "s2", "other");
        let places = machine.session("s1");
        let file = if is_own { places.outbound() } else { places.inbound() };
        let mut holder = lock(&machine, "s1", &file, is_own);
        plane.change("s1", |desk, decide| desk::cancel(desk, decide, "cancel", 1_000)).unwrap();
        ends(&mut holder, &runner);
        plane.told("s1", "it is closed", |told| matches!(told, Told::Closed { .. }).then_some(()));
        if !is_own {
            // Of its own file the shim may notice it first, and end.
            hears(&machine, "s1", "lock_held");
        }
        works(&machine, "s2", "another");
        runner.stop();
    }
}

#[test]
fn a_lock_that_is_found_at_the_start_ends_one_session_and_not_the_runner() {
    for is_own in [false, true] {
        let machine = Machine::new("plain");
        let plane = &machine.plane;
        let mut runner = machine.start(&[]);
        plane.say("s1", "one", LONG);
        runs(&machine, "s1");
        works(&machine, "s2", "other");
        runner.kill();
        let places = machine.session("s1");
        let file = if is_own { places.outbound() } else { places.inbound() };
        let mut holder = lock(&machine, "s1", &file, is_own);
        let mut runner = machine.start(&[]);
        ends(&mut holder, &runner);
        hears(&machine, "s1", "lock_held");
        works(&machine, "s2", "another");
        runner.stop();
    }
}

/// Of a process that was begun and written down nobody may believe that it is gone because the note cannot be read.
#[test]
fn a_process_that_cannot_be_told_of_is_followed_by_no_other() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", LONG);
    runs(&machine, "s1");
    works(&machine, "s2", "other");
    runner.kill();
    let is_of_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(machine.session("s1").folder().to_str().unwrap())
    };
    let before: Vec<u32> = machine.processes().into_iter().filter(is_of_it).collect();
    assert_eq!(before.len(), 1);
    let note = machine.session("s1").folder().join("spawn.json");
    let kept = std::fs::read(&note).unwrap();
    std::fs::write(&note, "{").unwrap();
    let mut runner = machine.start(&[]);
    works(&machine, "s2", "another");
    assert!(before.iter().all(|pid| machine.processes().contains(pid)), "{}", runner.log());
    assert_eq!(machine.noted("begun"), 1, "it runs once");
    runner.stop();
    std::fs::write(&note, kept).unwrap();
    // The worker began the session anew meanwhile: what is left of it is ended by whoever can tell.
    let mut runner = machine.start(&[]);
    let is_gone = || machine.processes().iter().all(|pid| !before.contains(pid));
    plane.until("it is ended", |_| is_gone().then_some(()));
    runner.stop();
}
