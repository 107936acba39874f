//! More of everything than a user may have.

use attacks::Bystander;
use std::sync::atomic::{AtomicUsize, Ordering};

use attacks::sessions::{self, Stream};
use conformance::{Client, Server, TestGraph};
use serde_json::{Value, json};

super::cases![
    creations_are_limited,
    messages_are_limited_and_their_queue_has_an_end,
    streams_of_a_user_and_of_a_session_are_limited,
    runners_of_a_user_are_limited
];

/// Connections of a flood at the same time: each sends its next request as soon as it is answered.
const CONNECTIONS: usize = 16;

/// How many of so many requests are taken; the others are refused with 429, one of these texts, and when to come again.
fn taken(count: usize, texts: &[&str], ask: impl Fn(usize) -> conformance::Answer + Sync) -> usize {
    let next = AtomicUsize::new(0);
    let number = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < count);
    let flood = || std::iter::from_fn(number).map(&ask).collect::<Vec<_>>();
    let answers: Vec<conformance::Answer> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(flood)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for answer in &answers {
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        let is_refused = answer.status == 429 && texts.contains(&error.as_str());
        assert!(answer.status == 200 || is_refused, "{}: {error}", answer.status);
        assert_eq!(answer.status == 429, !answer.header("retry-after").is_empty());
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

fn creations_are_limited(server: &Server) {
    let bystander = Bystander::of_a_session(server);
    let person = server.person("creator");
    let made = taken(60, &["rate limited"], |_| person.post("/sessions", &sessions::wanted(&sessions::id(), None)));
    // Ten at once, and one more every six seconds.
    assert!((10..=20).contains(&made), "{made} sessions");
    // The same session again and again is one session.
    let again = server.person("creator");
    let id = sessions::id();
    taken(30, &["rate limited"], |_| again.post("/sessions", &sessions::wanted(&id, None)));
    assert_eq!(again.get("/sessions").json()["sessions"].as_array().unwrap().len(), 1);
    let kinds: Vec<Value> = sessions::events(&again, &id).into_iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["session.created", "session.provisioned"]);
    bystander.is_content();
}

fn messages_are_limited_and_their_queue_has_an_end(server: &Server) {
    let bystander = Bystander::of_a_session(server);
    let person = server.person("writer");
    let id = sessions::running(&person, None);
    let path = format!("/sessions/{id}/messages");
    let queued = taken(200, &["rate limited", "order queue is full"], |number| {
        person.post(&path, &json!({ "message": format!("message {number}") }))
    });
    assert!(queued <= 50, "{queued} messages wait");
    let written = sessions::events(&person, &id).iter().filter(|event| event["type"] == "audit.log").count();
    assert_eq!(written, queued + 1, "what is refused is not written down");
    let steered = taken(200, &["rate limited"], |number| {
        person.send("POST", &format!("/sessions/{id}/{}", ["pause", "resume"][number % 2]), &[], Some(b""))
    });
    assert!((60..=90).contains(&steered), "{steered} verbs");
    bystander.is_content();
}

fn many(client: &Client, id: &str, count: usize) -> Vec<Stream> {
    (0..count).map(|_| Stream::open(client, id).expect("accepted")).collect()
}

fn streams_of_a_user_and_of_a_session_are_limited(server: &Server) {
    let bystander = Bystander::of_a_session(server);
    let graph = TestGraph::create(&server.person("owner"));
    let id = sessions::running(&graph.owner, Some(&graph.id));
    let refused =
        |client: &Client| Stream::open(client, &id).expect_err("refused").error(429, "too many streams").status;
    let mut open = many(&graph.owner, &id, 50);
    refused(&graph.owner);
    for _ in 0..3 {
        let guest = server.person("guest");
        graph.invite(&guest, "member");
        open.extend(many(&guest, &id, 50));
        refused(&guest);
    }
    let last = server.person("guest");
    graph.invite(&last, "member");
    refused(&last);
    // An event reaches all of them.
    attacks::sessions::runtime().say(&id, 7_777, 10);
    for stream in open.drain(..) {
        assert!(stream.read_until("7777", std::time::Duration::from_secs(20)).1);
    }
    // Whoever goes makes room.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while let Err(answer) = Stream::open(&last, &id) {
        answer.status(429);
        assert!(std::time::Instant::now() < until, "no room was made");
        attacks::sessions::runtime().say(&id, 1, 10);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    bystander.is_content();
}

fn runners_of_a_user_are_limited(server: &Server) {
    let person = server.person("collector");
    for number in 0..50 {
        let runner = json!({ "runner-id": format!("r{number}"), "base-url": "https://runner.example" });
        person.post("/runners", &runner).status(200);
    }
    let one_more = json!({ "runner-id": "one-more", "base-url": "https://runner.example" });
    person.post("/runners", &one_more).error(429, "too many runners");
    // One that is known may say something new.
    person.post("/runners", &json!({ "runner-id": "r7", "base-url": "https://moved.example" })).status(200);
    assert_eq!(person.get("/runners").json()["runners"].as_array().unwrap().len(), 50);
}
