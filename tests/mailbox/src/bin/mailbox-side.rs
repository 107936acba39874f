//! One side of a mailbox as a process of its own, for tests that kill it, stop it, or show it a read-only mount.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program of tests: it stops where something is unexpected, and tells on standard output"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use mailbox::agent::Step;
use mailbox::host::{Inserted, Settings};
use mailbox::message::{NewMessage, NewOutput};
use mailbox::{AgentMailbox as _, Error, FileAgent, FileHost, HostMailbox as _};
use rusqlite::{Connection, OpenFlags};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["host", state, first] => host(state, first.parse().unwrap()),
        ["agent", inside, outside, mailbox, generation] => agent(inside, outside, mailbox, generation.parse().unwrap()),
        ["hold", file] => hold(file),
        ["read", inside, outside, mailbox, generation, count] => {
            read(inside, outside, mailbox, generation.parse().unwrap(), count.parse().unwrap());
        }
        ["write", inside] => write(inside),
        ["wal", inside] => tell(&outcome(&read_only(inside))),
        ["full", state] => full(state),
        ["whole", file] => whole(file),
        ["said", file, after] => said(file, after.parse().unwrap()),
        _ => panic_usage(),
    }
}

#[expect(clippy::panic, reason = "a mistake in a test")]
fn panic_usage() {
    panic!("no such words");
}

/// A line on standard output, at once: what is told has happened.
fn tell(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

fn message(id: String) -> NewMessage {
    NewMessage { content: format!("{{\"id\":\"{id}\"}}"), id, kind: "prompt".into(), ..NewMessage::default() }
}

/// Stores messages without end, and tells each that is stored.
fn host(state: &str, first: u64) {
    let mut host = FileHost::create(Path::new(state), "session", Settings::default(), 0).unwrap();
    for n in first.. {
        host.insert(&message(format!("m{n}")), 0).unwrap();
        tell(&n.to_string());
    }
}

/// Says things without end, and tells each that is stored.
fn agent(inside: &str, outside: &str, mailbox: &str, generation: i64) {
    let _lock = mailbox::agent::Lock::take(mailbox::fsafe::folder(Path::new(outside)).unwrap(), Duration::from_mins(1));
    let mut agent = FileAgent::open(Path::new(inside), Path::new(outside), mailbox, generation).unwrap();
    loop {
        // The host's file may wait for its next writer after a kill.
        if let Err(error) = agent.look(0) {
            assert!(error.is_passing(), "{error}");
        }
        let output = NewOutput { kind: "update".into(), content: "{}".into(), attempt: 1, ..NewOutput::default() };
        match agent.commit(&Step { outputs: vec![output], ..Step::default() }, 0) {
            Ok(seqs) => tell(&seqs[0].to_string()),
            Err(error) => assert!(error.is_passing(), "{error}"),
        }
    }
}

/// Begins to change a whole file, until pages of it are on the disk, and stays there.
fn hold(file: &str) {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    connection.execute_batch("PRAGMA cache_size = 5; PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE;").unwrap();
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('notices', 'session_state')")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let sql = match tables[0].as_str() {
        "notices" => "INSERT INTO notices(id, code, data, created_at) VALUES (?1, 'x', hex(zeroblob(2000)), 0)",
        _ => "INSERT INTO session_state(key, value, updated_at) VALUES (?1, hex(zeroblob(2000)), 0)",
    };
    for n in 0..200 {
        connection.execute(sql, [n.to_string()]).unwrap();
    }
    tell("held");
    loop {
        std::thread::sleep(Duration::from_mins(1));
    }
}

/// Looks until so many messages were seen, and tells each.
fn read(inside: &str, outside: &str, mailbox: &str, generation: i64, count: usize) {
    let mut agent = FileAgent::open(Path::new(inside), Path::new(outside), mailbox, generation).unwrap();
    tell("ready");
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        match agent.look(0) {
            Ok(inbound) => inbound.fresh.into_iter().for_each(|one| {
                if seen.insert(one.id.clone()) {
                    tell(&one.id);
                }
            }),
            Err(error) => assert!(error.is_passing(), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Rolls back what a writer that is gone has left half done, and checks the file: `ok`, or what is wrong with it.
fn whole(file: &str) {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let found: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    tell(&found);
}

/// Tells the outputs beyond a place in the order, a line of JSON each.
fn said(file: &str, after: i64) {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT seq, prev, generation, kind, content FROM messages_out WHERE seq > ?1 ORDER BY seq";
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([after]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (kind, content): (String, String) = (row.get(3).unwrap(), row.get(4).unwrap());
        let content: serde_json::Value = serde_json::from_str(&content).unwrap();
        let [seq, prev, generation] = [0, 1, 2].map(|place| row.get::<_, Option<i64>>(place).unwrap());
        let shown = serde_json::json!({
            "seq": seq, "prev": prev, "generation": generation, "kind": kind, "content": content,
        });
        tell(&shown.to_string());
    }
}

fn read_only(inside: &str) -> Result<i64, rusqlite::Error> {
    let file = Path::new(inside).join("inbound.db");
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.query_row("SELECT count(*) FROM messages_in", [], |row| row.get(0))
}

fn outcome(result: &Result<i64, rusqlite::Error>) -> String {
    match result {
        Ok(count) => format!("read {count}"),
        Err(error) => format!("{:?}", error.sqlite_error_code()),
    }
}

/// Tries everything that only the host may do.
fn write(inside: &str) {
    let folder = Path::new(inside);
    let opened = Connection::open_with_flags(folder.join("inbound.db"), OpenFlags::SQLITE_OPEN_READ_WRITE);
    let sql = |statement: &str| opened.as_ref().is_ok_and(|connection| connection.execute_batch(statement).is_ok());
    let done = [
        sql("DELETE FROM messages_in"),
        sql("INSERT INTO notices VALUES ('n', 'x', 'x', 0, NULL)"),
        sql("UPDATE control SET generation = 99"),
        std::fs::write(folder.join("inbound.db-journal"), "x").is_ok(),
        std::fs::write(folder.join("config.json"), "{}").is_ok(),
        std::fs::remove_file(folder.join("inbound.db")).is_ok(),
    ];
    tell(&serde_json::json!(done).to_string());
    tell(&outcome(&read_only(inside)));
}

/// Fills the disk with messages, and goes on working on a full one.
fn full(state: &str) {
    let mut host = FileHost::create(Path::new(state), "session", Settings::default(), 0).unwrap();
    let big = "x".repeat(20_000);
    let mut stored = 0_i64;
    let refused = loop {
        let message = NewMessage { content: format!("\"{big}{stored}\""), ..message(format!("m{stored}")) };
        match host.insert(&message, 0) {
            Ok(Inserted::New(_)) => stored += 1,
            Ok(other) => break format!("{other:?}"),
            Err(error) => break error.code().to_owned(),
        }
    };
    // Somebody else took the rest: a change of state still finds the room of the reserve.
    let filler = Path::new(state).join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let reserve = host.places().inside().join("reserve");
    let had_reserve = reserve.exists();
    let interrupted = host.interrupt(7).is_ok() && host.control().unwrap().interrupt_seq == 7;
    drop(file);
    std::fs::remove_file(filler).unwrap();
    let again = host.interrupt(8).is_ok();
    let connection = Connection::open(host.places().inbound()).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM messages_in", [], |row| row.get(0)).unwrap();
    let code = Error::Full.code();
    tell(
        &serde_json::json!({
            "refused": refused == code, "reserve-left": had_reserve, "interrupted": interrupted, "again": again,
            "check": check, "whole": count == stored,
        })
        .to_string(),
    );
}
