//! An agent that says more than anybody takes (docs/spec/session-mailbox.md 4.8, back-pressure).

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mailbox::agent::MAX_BACKLOG;

use crate::runner::{Runner, SOON};

/// Lines of the flood, and bytes of a text of each.
const LINES: usize = 1_700;
const BYTES: usize = 60_000;
/// What is read ahead of what is stored, and what stands around it in the file, in bytes.
const SLACK: u64 = 32 << 20;

#[test]
fn an_agent_that_says_more_than_is_taken_is_read_on_when_somebody_takes_it_and_nothing_is_lost() {
    let mut runner = Runner::new();
    let mut flood = String::new();
    for number in 0..LINES {
        let text = format!("{number} {}", "x".repeat(BYTES));
        writeln!(
            flood,
            r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"SESSION","update":{{"sessionUpdate":"agent_message_chunk","content":{{"type":"text","text":"{text} "}}}}}}}}"#
        )
        .unwrap();
    }
    runner.script("flood", &flood);
    runner.prompt("one", "raw flood; say over");
    runner.spawn();
    let outbound = runner.host.places().outbound();
    let size = || std::fs::metadata(&outbound).map_or(0, |file| file.len());
    let begun = Instant::now();
    // Nobody fetches anything.
    while !runner.shim_log().contains("output_backlog") {
        assert!(begun.elapsed() < SOON, "{} bytes", size());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (mut last, mut since) = (size(), Instant::now());
    while since.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(100));
        if size() != last {
            (last, since) = (size(), Instant::now());
        }
        assert!(begun.elapsed() < SOON);
        assert!(last <= MAX_BACKLOG.bytes + SLACK, "{last} bytes");
    }
    assert!(last >= MAX_BACKLOG.bytes, "{last} bytes");
    // Somebody does.
    runner.until_ended("one");
    let said = runner.said();
    assert!(said.ends_with("over"), "the end of it");
    let numbers: Vec<&str> = said.split(' ').step_by(2).take(LINES).collect();
    assert!(numbers.iter().enumerate().all(|(place, number)| **number == place.to_string()), "in order");
    let texts = said.split(' ').skip(1).step_by(2).take(LINES);
    assert!(texts.clone().count() == LINES && texts.into_iter().all(|text| text.len() == BYTES), "whole");
    assert!(runner.told("state").iter().any(|state| state["notice"] == "output_backlog"));
    assert!(size() <= MAX_BACKLOG.bytes + SLACK, "what was taken makes room: {}", size());
}
