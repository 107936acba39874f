//! Viewers who do not read what they asked for.

use std::time::Duration;

use attacks::Bystander;
use attacks::sessions::{self, Stream};
use conformance::Server;

super::cases![a_viewer_who_does_not_read_costs_nobody_anything];

const SLOW: usize = 20;
const EVENTS: usize = 400;
const EVENT_BYTES: usize = 100_000;
/// What the worker may need more, in bytes: each of the viewers has a queue of a mebibyte at most.
const MEMORY: usize = 96 << 20;

fn numbers(shown: &[u8]) -> Vec<usize> {
    let text = String::from_utf8_lossy(shown);
    text.split("\"n\":")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect()
}

fn a_viewer_who_does_not_read_costs_nobody_anything(server: &Server) {
    let bystander = Bystander::of_a_session(server);
    let other = Bystander::watch(server);
    let person = server.person("viewer");
    let id = sessions::running(&person, None);
    let memory = || person.get(&format!("/sessions/{id}")).header("x-wasm-memory-bytes").parse::<usize>().unwrap();
    let before = memory();
    let slow: Vec<Stream> = (0..SLOW).map(|_| Stream::open(&person, &id).expect("accepted")).collect();
    let reader = Stream::open(&person, &id).expect("accepted");
    let shown = std::thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read_until(&format!("\"n\":{}", EVENTS - 1), Duration::from_mins(1)));
        for number in 0..EVENTS {
            sessions::runtime().say(&id, number, EVENT_BYTES);
        }
        reading.join().unwrap()
    });
    assert!(shown.1, "who reads gets everything");
    assert_eq!(numbers(&shown.0), (0..EVENTS).collect::<Vec<_>>());
    let grown = memory().saturating_sub(before);
    assert!(grown < MEMORY, "{grown} bytes more for {SLOW} viewers who do not read");
    // Whoever begins to read now gets what happened, in its order, as far as the stream was kept open.
    for stream in slow.into_iter().take(4) {
        let (late, _) = stream.read_until(&format!("\"n\":{}", EVENTS - 1), Duration::from_secs(5));
        let numbers = numbers(&late);
        assert!(numbers.iter().enumerate().all(|(at, number)| at == *number), "{numbers:?}");
    }
    bystander.is_content();
    other.is_content();
}
