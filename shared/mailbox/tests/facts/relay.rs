use std::collections::BTreeMap;

use mailbox::agent::Step;
use mailbox::delivery::{Chain, Event, Relay, Sent, deliver};
use mailbox::host::HostMailbox as _;
use mailbox::{AgentMailbox as _, Error};

use crate::scene::{Scene, output};

/// What docs/spec/session-mailbox.md 7.6 says of the worker: it keeps one order, and knows what it has.
#[derive(Default)]
struct Worker {
    accepted: i64,
    stored: Vec<(i64, String, String)>,
    ids: BTreeMap<i64, String>,
    duplicates: usize,
    calls: usize,
    /// Answers that get lost after the worker has stored.
    lose: usize,
    /// Requests that fail before it stores.
    fail: usize,
    /// Data that it refuses.
    refuse: Option<&'static str>,
    /// Requests that are broken off before they reach it.
    break_off: usize,
}

impl Relay for Worker {
    fn send(&mut self, events: &[Event]) -> Sent {
        self.calls += 1;
        if self.break_off > 0 {
            self.break_off -= 1;
            return Sent::BrokenOff;
        }
        if self.fail > 0 {
            self.fail -= 1;
            return Sent::Failed("500".into());
        }
        let mut rejected = None;
        for event in events {
            if event.seq <= self.accepted {
                assert_eq!(self.ids[&event.seq], event.id);
                self.duplicates += 1;
                continue;
            }
            if event.prev != self.accepted {
                return Sent::Gap(self.accepted);
            }
            if self.refuse.is_some_and(|data| event.data.contains(data)) {
                rejected = Some((event.seq, "too large".into()));
                break;
            }
            self.stored.push((event.seq, event.kind.clone(), event.data.clone()));
            self.ids.insert(event.seq, event.id.clone());
            self.accepted = event.seq;
        }
        if self.lose > 0 {
            self.lose -= 1;
            return Sent::Failed("connection closed".into());
        }
        Sent::Accepted { seq: self.accepted, rejected }
    }
}

impl Worker {
    fn data(&self) -> Vec<&str> {
        self.stored.iter().map(|(_, _, data)| data.as_str()).collect()
    }
}

fn saying(texts: &[&str]) -> (Scene, mailbox::FileAgent) {
    let mut scene = Scene::new();
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    agent.commit(&Step { outputs: texts.iter().map(|text| output(text)).collect(), ..Step::default() }, 0).unwrap();
    (scene, agent)
}

#[test]
fn fact_17_two_deliveries_at_once_deliver_once_and_a_later_one_delivers_later_outputs() {
    let (mut scene, mut agent) = saying(&["1", "2"]);
    let mut worker = Worker::default();
    // Neither knows of the other: the worker's order is what makes it once.
    let (mut one, mut two) = (Chain::default(), Chain::default());
    deliver(&mut scene.host, &mut worker, &mut one, 0).unwrap();
    deliver(&mut scene.host, &mut worker, &mut two, 0).unwrap();
    assert_eq!((worker.data(), worker.duplicates), (vec!["1", "2"], 2));
    agent.commit(&Step { outputs: vec![output("3")], ..Step::default() }, 0).unwrap();
    deliver(&mut scene.host, &mut worker, &mut one, 0).unwrap();
    assert_eq!(deliver(&mut scene.host, &mut worker, &mut one, 0).unwrap().sent, 0);
    assert_eq!(worker.data(), ["1", "2", "3"]);
}

/// Row of docs/spec/session-mailbox.md 5: "Duplicate after crash between send and mark".
#[test]
fn fact_18_what_fails_after_the_worker_has_it_causes_no_second_effect() {
    let (mut scene, _agent) = saying(&["1", "2"]);
    let mut worker = Worker { lose: 1, ..Worker::default() };
    let mut chain = Chain::default();
    let lost = deliver(&mut scene.host, &mut worker, &mut chain, 0).unwrap();
    assert_eq!((lost.again_at, chain.accepted), (Some(1_000), 0));
    // The runner dies here: another one begins with what the worker told it last.
    let mut chain = Chain::default();
    let waits = deliver(&mut scene.host, &mut worker, &mut chain, 500).unwrap();
    assert_eq!((waits.sent, waits.again_at), (0, Some(1_000)));
    deliver(&mut scene.host, &mut worker, &mut chain, 1_000).unwrap();
    assert_eq!((worker.data(), worker.duplicates, chain.accepted), (vec!["1", "2"], 2, worker.accepted));
}

#[test]
fn fact_19_failures_are_counted_in_the_file_and_a_success_ends_the_count() {
    let (mut scene, mut agent) = saying(&["1"]);
    let mut worker = Worker { fail: 3, ..Worker::default() };
    let mut chain = Chain::default();
    let mut now = 0;
    let mut pauses = Vec::new();
    while worker.stored.is_empty() {
        let done = deliver(&mut scene.host, &mut worker, &mut chain, now).unwrap();
        if let Some(at) = done.again_at {
            pauses.push(at - now);
            now = at;
        }
    }
    assert_eq!((pauses, worker.calls), (vec![1_000, 2_000, 4_000], 4));
    assert_eq!(scene.told::<String>("SELECT status FROM delivered"), "delivered");
    agent.commit(&Step { outputs: vec![output("2")], ..Step::default() }, 0).unwrap();
    assert_eq!(deliver(&mut scene.host, &mut worker, &mut chain, now).unwrap().sent, 1);
}

/// Row of docs/spec/session-mailbox.md 5: "Delivery failure invisible to the agent".
#[test]
fn a_refused_output_becomes_a_tombstone_and_the_agent_is_told() {
    let (mut scene, mut agent) = saying(&["\"one\"", "\"bad\"", "\"two\""]);
    let mut worker = Worker { refuse: Some("bad"), ..Worker::default() };
    let mut chain = Chain::default();
    let first = deliver(&mut scene.host, &mut worker, &mut chain, 0).unwrap();
    assert_eq!((first.rejected, worker.data()), (1, vec!["\"one\""]));
    deliver(&mut scene.host, &mut worker, &mut chain, 0).unwrap();
    assert_eq!(worker.data(), ["\"one\"", "{\"reason\":\"too large\"}", "\"two\""]);
    assert_eq!(scene.told::<String>("SELECT error FROM delivered WHERE status = 'failed'"), "too large");
    let told = agent.look(0).unwrap().fresh.remove(0);
    assert!(!told.trigger && told.content.unwrap().contains("delivery_failed"));
}

#[test]
fn what_is_broken_off_is_sent_again_at_once_and_counts_as_no_attempt() {
    let (mut scene, _agent) = saying(&["1"]);
    let mut worker = Worker { break_off: 1, ..Worker::default() };
    let mut chain = Chain::default();
    let broken_off = deliver(&mut scene.host, &mut worker, &mut chain, 0).unwrap();
    assert_eq!((broken_off.sent, broken_off.again_at), (0, None));
    assert_eq!(deliver(&mut scene.host, &mut worker, &mut chain, 0).unwrap().sent, 1);
    assert_eq!(scene.told::<i64>("SELECT attempts FROM delivered"), 1);
}

/// Row "poison" of docs/spec/session-mailbox.md 4.8: tombstone, notice.
#[test]
fn rows_that_are_none_are_reported_once_a_batch() {
    let (mut scene, agent) = saying(&["1", "2", "3"]);
    drop(agent);
    scene.outbound().execute("UPDATE messages_out SET content = 'no JSON' WHERE seq > 1", []).unwrap();
    let mut worker = Worker { lose: 1, ..Worker::default() };
    let mut chain = Chain::default();
    // The first answer is lost: the same batch is sent again.
    for now in [0, 10_000] {
        deliver(&mut scene.host, &mut worker, &mut chain, now).unwrap();
    }
    let kinds: Vec<&str> = worker.stored.iter().map(|(_, kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["update", "tombstone", "tombstone"]);
    let notes = scene.host.notes().unwrap();
    let codes: Vec<&str> = notes.iter().map(|note| note.code.as_str()).collect();
    assert_eq!(codes, ["invalid_output"]);
    assert!(notes[0].data.contains("2 rows"), "{}", notes[0].data);
}

/// Row of docs/spec/session-mailbox.md 5: "Host writes to outbound through a read-only handle".
#[test]
fn nothing_that_the_host_does_changes_a_byte_of_the_other_file() {
    let (mut scene, agent) = saying(&["1", "2"]);
    drop(agent);
    scene.prompt("a", 1);
    let bytes = |scene: &Scene| std::fs::read(scene.host.places().outbound()).unwrap();
    let before = bytes(&scene);
    let names = |scene: &Scene| {
        let mut names: Vec<_> =
            std::fs::read_dir(scene.outside()).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let listed = names(&scene);
    deliver(&mut scene.host, &mut Worker::default(), &mut Chain::default(), 0).unwrap();
    scene.sweep(mailbox::sweep::Process::Gone);
    scene.host.prune(0).unwrap();
    scene.host.begin(&mailbox::host::Spawn::default(), 0).unwrap();
    assert!(bytes(&scene) == before && names(&scene) == listed);
}

#[test]
fn a_worker_that_has_more_or_less_than_believed_is_followed() {
    let (mut scene, _agent) = saying(&["1", "2"]);
    let mut worker = Worker::default();
    let mut chain = Chain { accepted: 1, ..Chain::default() };
    // The first output has place 1: the runner believes that the worker has it, and it has not.
    deliver(&mut scene.host, &mut worker, &mut chain, 0).unwrap();
    assert_eq!((worker.stored.len(), chain.accepted), (0, 0));
    deliver(&mut scene.host, &mut worker, &mut chain, 0).unwrap();
    assert_eq!(worker.data(), ["1", "2"]);
}

#[test]
fn too_many_rows_that_are_none_are_hostile() {
    let (mut scene, mut agent) = saying(&["1"]);
    let many = Step { outputs: vec![output("1"); 100], ..Step::default() };
    agent.commit(&many, 0).unwrap();
    drop(agent);
    scene.outbound().execute("UPDATE messages_out SET content = 'no JSON' WHERE seq > 1", []).unwrap();
    let mut chain = Chain::default();
    let done = deliver(&mut scene.host, &mut Worker::default(), &mut chain, 0);
    assert!(matches!(done, Err(Error::Hostile(_))));
}
