//! Kills at random moments while messages flow (docs/spec/session-mailbox.md 6): each message has one end at the worker or one
//! report of the host's, everything the agents said comes once and in order, and both files are whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mailbox::host::HostMailbox as _;

use crate::runner::{Runner, now, signal};

fn whole(file: &std::path::Path) {
    let connection = rusqlite::Connection::open(file).unwrap();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[test]
fn kills_at_any_moment_lose_no_message_and_double_none() {
    let long = std::env::var_os("LIFE_LONG").is_some();
    let (messages, kills) = if long { (200, 200) } else { (20, 20) };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut runner = Runner::new();
    let ids: Vec<String> = (0..messages).map(|n| format!("m{n}")).collect();
    let (mut given, mut killed) = (0, 0);
    let mut next_kill = Instant::now();
    let deadline = Instant::now() + if long { Duration::from_hours(1) } else { Duration::from_mins(5) };
    loop {
        runner.step();
        // At most one is unfinished, as the worker does it.
        let unfinished = runner.host.unfinished().unwrap();
        if unfinished.is_empty() {
            if given == ids.len() {
                break;
            }
            let text = format!("say {}; stream {}", ids[given], below(30));
            runner.prompt(&ids[given].clone(), &text);
            given += 1;
        }
        // What a dead shim left half written cannot always be read at once: its generation is settled in a later step.
        let settled = runner.host.control().unwrap().spawned_at.is_none();
        if runner.shim.is_none() && settled && mailbox::due::starts_work(&unfinished, now() + 200_000) {
            // The pauses between tries are not what this is about.
            let connection = rusqlite::Connection::open(runner.host.places().inbound()).unwrap();
            connection.busy_timeout(Duration::from_mins(1)).unwrap();
            connection.execute("UPDATE messages_in SET process_after = NULL", []).unwrap();
            runner.spawn();
        }
        if killed < kills && Instant::now() >= next_kill {
            next_kill = Instant::now() + Duration::from_millis(50 + below(700));
            let agent = runner.log().last().and_then(|line| u32::try_from(line["pid"].as_u64()?).ok());
            match (&runner.shim, agent) {
                (Some(_), Some(agent)) if below(3) == 0 && crate::runner::runs(agent) => {
                    // It may end by itself in this moment.
                    let _ = std::process::Command::new("kill").args(["-s", "KILL", &agent.to_string()]).status();
                }
                (Some(shim), _) => signal(shim.id(), "KILL"),
                _ => continue,
            }
            killed += 1;
        }
        assert!(Instant::now() < deadline, "{given} given, {killed} killed, {unfinished:?}\n{}", runner.shim_log());
        std::thread::sleep(Duration::from_millis(10));
    }
    runner.step();
    assert!(killed >= kills / 2, "{killed}");
    let mut ends: BTreeMap<String, usize> = ids.iter().map(|id| (id.clone(), 0)).collect();
    for ended in runner.told("turn.ended") {
        *ends.get_mut(ended["message-id"].as_str().unwrap()).unwrap() += 1;
    }
    assert!(ends.values().all(|count| *count <= 1), "{ends:?}");
    let reported: Vec<String> = runner.host.notes().unwrap().into_iter().map(|notice| notice.id).collect();
    for (id, count) in &ends {
        assert!(*count == 1 || reported.contains(&format!("ended-{id}")), "{id} has no end");
    }
    // No prompt was sent more often than twice.
    for id in &ids {
        let sent = runner
            .log()
            .iter()
            .filter(|line| line["text"].as_str().is_some_and(|text| text.contains(&format!("say {id};"))))
            .count();
        assert!(sent <= 2, "{id} was sent {sent} times");
    }
    assert!(runner.worker.events.iter().all(|event| event.kind != "tombstone"));
    whole(&runner.host.places().inbound());
    drop(runner.shim.take().map(|mut shim| {
        signal(shim.id(), "TERM");
        shim.wait()
    }));
    whole(&runner.host.places().outbound());
}
