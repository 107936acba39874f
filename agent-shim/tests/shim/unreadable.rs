//! The host's file cannot be read, or this side's cannot be written, for a while (docs/spec/session-mailbox.md 4.4, 7.11): a turn goes on.

use std::time::{Duration, Instant};

use mailbox::HostMailbox as _;
use mailbox::host::Reading;

use crate::runner::{Runner, gone, runs};

/// Leaves the host's file as a runner does that is killed when some pages of a transaction are written.
fn kill_the_writer(runner: &Runner) {
    let inside = runner.host.places().inside();
    let names = ["inbound.db", "inbound.db-journal"];
    let mut writer = rusqlite::Connection::open(runner.host.places().inbound()).unwrap();
    writer.busy_timeout(Duration::from_secs(30)).unwrap();
    writer.execute_batch("PRAGMA cache_size = 5").unwrap();
    let transaction = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive).unwrap();
    for number in 0..200 {
        let sql = "INSERT INTO notices(id, code, data, created_at) VALUES (?1, 'x', hex(zeroblob(2000)), 0)";
        transaction.execute(sql, [number.to_string()]).unwrap();
    }
    let left = names.map(|name| std::fs::read(inside.join(name)).unwrap());
    transaction.rollback().unwrap();
    drop(writer);
    // The journal first: without it the pages would be taken for the file.
    for (name, bytes) in names.iter().zip(&left).rev() {
        std::fs::write(inside.join(name), bytes).unwrap();
    }
}

fn is_hot(runner: &Runner) -> bool {
    runner.host.places().inside().join("inbound.db-journal").exists()
}

/// Kinds of what lies in `outbound.db`: nothing is written to find out.
fn laid_out(runner: &Runner) -> Vec<String> {
    let readings = match runner.host.outputs(0, 1_000, 1 << 30) {
        Ok(readings) => readings,
        // Its writer is in the middle of it.
        Err(error) => {
            assert!(error.is_passing(), "{error}");
            return Vec::new();
        }
    };
    let good = |reading| match reading {
        Reading::Good(output) => Some(output.kind),
        Reading::Bad { .. } => None,
    };
    readings.into_iter().filter_map(good).collect()
}

#[track_caller]
fn lives(runner: &mut Runner) {
    let ended = runner.shim.as_mut().unwrap().try_wait().unwrap();
    assert_eq!(ended, None, "{}", runner.shim_log());
}

#[test]
fn a_turn_goes_on_beside_a_runner_that_died_in_its_transaction_and_ends_before_the_next_comes() {
    let mut runner = Runner::new();
    let (say, end) = (runner.home().join("say"), runner.home().join("end"));
    runner.prompt("one", &format!("until {}; stream 30; until {}; say end", say.display(), end.display()));
    runner.spawn();
    runner.until_told("turn.started");
    kill_the_writer(&runner);
    let begun = Instant::now();
    // Longer than the pause after which control is looked at.
    while begun.elapsed() < Duration::from_secs(7) {
        lives(&mut runner);
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::write(say, "").unwrap();
    while begun.elapsed() < Duration::from_secs(20) {
        lives(&mut runner);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(is_hot(&runner) && laid_out(&runner).contains(&"update".to_owned()));
    std::fs::write(end, "").unwrap();
    while !laid_out(&runner).contains(&"turn.ended".to_owned()) {
        assert!(begun.elapsed() < Duration::from_secs(50));
        lives(&mut runner);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(is_hot(&runner), "nobody has rolled it back");
    // The next runner does, and hears everything.
    assert_eq!(runner.until_ended("one")["stop-reason"], "end_turn");
    assert!(!is_hot(&runner) && runner.said().ends_with("29 end"));
    runner.prompt("two", "say next");
    runner.until_ended("two");
}

#[test]
fn a_minute_without_one_good_look_ends_the_process_and_its_agent() {
    let mut runner = Runner::new();
    runner.prompt("one", "say running; wait 600000");
    runner.spawn();
    runner.until("it runs", |runner| runner.said().contains("running"));
    let agent = u32::try_from(runner.log()[0]["pid"].as_u64().unwrap()).unwrap();
    kill_the_writer(&runner);
    let begun = Instant::now();
    assert_eq!(runner.exit(), Some(74));
    assert!(begun.elapsed() >= Duration::from_secs(58), "{:?}", begun.elapsed());
    assert!(runner.shim_log().contains("\"unreadable\""), "{}", runner.shim_log());
    gone(agent);
}

#[test]
fn somebody_who_reads_for_long_keeps_a_turn_back_and_does_not_end_it() {
    let mut runner = Runner::new();
    let say = runner.home().join("say");
    runner.prompt("one", &format!("until {}; say there", say.display()));
    runner.spawn();
    runner.until_told("turn.started");
    // The host's own queries may take 10 s; a writer waits 5 s.
    let reader = rusqlite::Connection::open(runner.host.places().outbound()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages_out;").unwrap();
    let begun = Instant::now();
    std::fs::write(say, "").unwrap();
    while begun.elapsed() < Duration::from_secs(9) {
        lives(&mut runner);
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(reader);
    runner.until_ended("one");
    assert_eq!(runner.said(), "there");
    assert!(runner.shim_log().contains("lock_held") && runs(runner.shim.as_ref().unwrap().id()));
}
