use mailbox::agent::{Asked, NewAck, Step, continuation_key};
use mailbox::host::{HostMailbox as _, Inserted, Outcome, Reading, Settings, Spawn};
use mailbox::message::{AckStatus, Message, NewMessage, NewOutput, Output, Phase, RuntimeState};
use mailbox::sweep::{Change, Process, reasons};
use mailbox::{AgentMailbox as _, Error, FileAgent, FileHost, Places};

use crate::scene::{Scene, output, prompt, says, take};

/// What the host reads of the other side.
fn outputs(scene: &Scene) -> Vec<Output> {
    let readings = scene.host.outputs(0, 100, 1 << 20).unwrap();
    let good = |reading| match reading {
        Reading::Good(output) => *output,
        Reading::Bad { .. } => panic!("no output"),
    };
    readings.into_iter().map(good).collect()
}

#[test]
fn fact_1_a_session_has_its_folders_and_files_with_schema_and_a_rollback_journal() {
    let mut scene = Scene::new();
    let places = scene.host.places().clone();
    for folder in [places.inside(), places.outside(), places.work(), places.home()] {
        assert!(folder.is_dir(), "{}", folder.display());
    }
    // The other side makes its file at its first start (docs/spec/session-mailbox.md 8.6).
    assert!(!places.outbound().exists());
    drop(scene.spawn());
    for connection in [scene.inbound(), scene.outbound()] {
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), version), ("delete", 1));
    }
    // Making it again finds it.
    let again = FileHost::create(scene.folder.path(), "session", Settings::default(), 2_000).unwrap();
    assert_eq!(again.mailbox_id(), scene.host.mailbox_id());
}

#[test]
fn a_state_directory_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let made = FileHost::create(folder.path(), "s", Settings::default(), 0);
    assert!(matches!(made, Err(Error::Unsafe(_))));
}

/// Row of docs/spec/session-mailbox.md 5: "Host seq ignores outbound maximum".
#[test]
fn the_numbers_of_both_sides_are_one_order() {
    let mut scene = Scene::new();
    assert_eq!(scene.host.insert(&prompt("a", 1), 0).unwrap(), Inserted::New(2));
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    let step = Step { outputs: vec![output("{}"), output("{}")], ..Step::default() };
    assert_eq!(agent.commit(&step, 0).unwrap(), [3, 5]);
    assert_eq!(scene.host.insert(&prompt("b", 2), 0).unwrap(), Inserted::New(6));
    agent.look(0).unwrap();
    assert_eq!(agent.commit(&step, 0).unwrap(), [7, 9]);
    let readings = scene.host.outputs(5, 10, 1 << 20).unwrap();
    let Reading::Good(first) = &readings[0] else { panic!() };
    assert_eq!((first.seq, first.prev), (7, Some(5)));
}

#[test]
fn the_same_message_is_stored_once_and_another_content_is_a_conflict() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    assert_eq!(scene.host.insert(&prompt("a", 1), 9).unwrap(), Inserted::Known);
    let other = NewMessage { content: "{}".into(), ..prompt("a", 1) };
    assert!(matches!(scene.host.insert(&other, 9), Err(Error::Conflict)));
    // Also after its end, when its content is gone.
    let mut agent = scene.spawn();
    let message = take(&mut agent, 0);
    agent.commit(&says(&message, AckStatus::Completed), 0).unwrap();
    scene.sweep(Process::MayLive);
    assert_eq!(scene.status("a"), "completed");
    assert_eq!(scene.told::<Option<String>>("SELECT content FROM messages_in"), None);
    assert_eq!(scene.host.insert(&prompt("a", 1), 9).unwrap(), Inserted::Known);
    assert!(agent.look(0).unwrap().fresh.is_empty());
}

/// Rows of docs/spec/session-mailbox.md 5: "Follow-ups acked at push", "`failed` ack stored as completed; errors acked
/// completed".
#[test]
fn a_message_is_completed_when_its_turn_ends_and_failed_when_it_fails() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    scene.prompt("b", 2);
    let mut agent = scene.spawn();
    let fresh = agent.look(0).unwrap().fresh;
    assert_eq!(fresh.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(fresh[0].content.as_deref(), Some("{\"text\":\"a\"}"));
    for status in [AckStatus::Processing, AckStatus::Sent] {
        let acks = fresh.iter().map(|one| NewAck::of(one, status)).collect();
        agent.commit(&Step { acks, ..Step::default() }, 0).unwrap();
        assert!(scene.sweep(Process::MayLive).is_empty(), "pushed is not done");
    }
    assert!(agent.look(0).unwrap().fresh.is_empty());
    let done = NewAck { told: true, ..NewAck::of(&fresh[0], AckStatus::Completed) };
    let failed = NewAck::of(&fresh[1], AckStatus::Failed).because("no credit");
    let step = Step { outputs: vec![output("{}")], acks: vec![done, failed], ..Step::default() };
    agent.commit(&step, 0).unwrap();
    let changes: Vec<_> = scene.sweep(Process::MayLive).into_iter().map(|(_, change)| change).collect();
    assert_eq!(changes, [Change::Complete, Change::Fail("no credit".into())]);
    assert_eq!((scene.status("a"), scene.status("b")), ("completed".into(), "failed".into()));
    let notes = scene.host.notes().unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!(
        (notes[0].code.as_str(), notes[0].data.as_str()),
        ("message.failed", r#"{"message-id":"b","reason":"no credit"}"#)
    );
    scene.host.noted(&notes[0].id, 5).unwrap();
    assert!(scene.host.notes().unwrap().is_empty());
}

/// Rows of docs/spec/session-mailbox.md 5: "Rows deleted in outbound while the process may still live", "Orphan ack → kill
/// loop; stale heartbeat → kill at start".
#[test]
fn a_process_that_is_gone_is_settled_once_and_only_then_another_one_begins() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    let mut agent = scene.spawn();
    take(&mut agent, 0);
    agent.beat();
    assert!(scene.host.heartbeat().is_some());
    assert!(matches!(scene.host.begin(&Spawn::default(), 0), Err(Error::Unsettled)));
    assert!(scene.sweep(Process::MayLive).is_empty(), "nothing is done again while it may live");
    drop(agent);
    let changes = scene.sweep(Process::Gone);
    assert_eq!(changes[0].1, Change::Retry(6_000));
    assert!(scene.sweep(Process::Gone).is_empty());
    assert_eq!(scene.told::<i64>("SELECT tries FROM messages_in"), 1);
    let mut next = scene.spawn();
    assert_eq!(scene.host.heartbeat(), None, "an old sign of life says nothing about a new process");
    assert!(next.look(5_999).unwrap().fresh.is_empty());
    assert_eq!(take(&mut next, 6_000).tries, 1);
}

#[test]
fn fact_11_claims_of_processes_before_are_forgotten_and_nothing_else() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    scene.prompt("b", 2);
    let mut agent = scene.spawn();
    let fresh = agent.look(0).unwrap().fresh;
    let acks = vec![NewAck::of(&fresh[0], AckStatus::Processing), NewAck::of(&fresh[1], AckStatus::Completed)];
    agent.commit(&Step { acks, ..Step::default() }, 0).unwrap();
    assert_eq!(agent.forget_claims().unwrap(), 0, "its own stay");
    drop(agent);
    scene.sweep(Process::Gone);
    let mut next = scene.spawn();
    assert_eq!((next.forget_claims().unwrap(), next.forget_claims().unwrap()), (1, 0));
    assert!(next.ack("a").is_none() && next.ack("b").is_some());
}

#[test]
fn an_older_generation_is_fenced_and_what_it_said_before_is_still_delivered() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    let mut old = scene.spawn();
    let message = take(&mut old, 0);
    old.commit(&Step { outputs: vec![output("{\"n\":1}")], ..Step::default() }, 0).unwrap();
    scene.sweep(Process::Gone);
    let mut new = scene.spawn();
    // Before it has looked, too, once the new one has said anything.
    new.look(0).unwrap();
    new.commit(&Step { state: Some(RuntimeState::starting(2)), ..Step::default() }, 0).unwrap();
    assert!(matches!(old.commit(&Step::default(), 0), Err(Error::Fenced(2))));
    assert!(matches!(old.look(0), Err(Error::Fenced(_))));
    drop(new);
    // What it says about messages does not count, whatever it writes.
    scene.outbound().execute("UPDATE processing_ack SET status = 'completed'", []).unwrap();
    assert!(scene.sweep(Process::MayLive).is_empty());
    assert_eq!(scene.status(&message.id), "pending");
    assert_eq!(scene.host.outputs(0, 10, 1 << 20).unwrap().len(), 1);
}

#[test]
fn a_generation_is_above_all_that_was_ever_said() {
    let mut scene = Scene::new();
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    agent.commit(&Step { outputs: vec![output("{}")], ..Step::default() }, 0).unwrap();
    scene.outbound().execute("UPDATE messages_out SET generation = 40", []).unwrap();
    scene.sweep(Process::Gone);
    assert_eq!(scene.host.begin(&Spawn::default(), 0).unwrap(), 41);
    scene.sweep(Process::Gone);
    assert_eq!(scene.host.begin(&Spawn { above: 99, ..Spawn::default() }, 0).unwrap(), 100);
}

#[test]
fn fact_23_conversations_are_kept_for_each_provider() {
    let mut scene = Scene::new();
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    let keep = |provider: &str, value: Option<&str>| Step {
        values: vec![(continuation_key(provider), value.map(str::to_owned))],
        ..Step::default()
    };
    agent.commit(&keep("Claude", Some("one")), 0).unwrap();
    agent.commit(&keep("codex", Some("two")), 0).unwrap();
    assert_eq!(agent.value(&continuation_key("cLAUDE")).unwrap().as_deref(), Some("one"));
    agent.commit(&keep("claude", None), 0).unwrap();
    assert_eq!(agent.value(&continuation_key("claude")).unwrap(), None);
    assert_eq!(agent.value(&continuation_key("codex")).unwrap().as_deref(), Some("two"));
}

#[test]
fn fact_29_a_message_for_waking_is_done_by_the_next_process_only() {
    let mut scene = Scene::new();
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    let wake = NewMessage { on_wake: true, ..prompt("wake", 1) };
    scene.host.insert(&wake, 0).unwrap();
    scene.host.ask_to_stop(7).unwrap();
    let inbound = agent.look(0).unwrap();
    assert_eq!(inbound.control.stop_requested_at, Some(7));
    assert!(mailbox::due::batch(&inbound.fresh, 0, false).is_empty());
    // Only once the process is proven gone another one begins.
    assert!(matches!(scene.host.begin(&Spawn::default(), 0), Err(Error::Unsettled)));
    drop(agent);
    scene.sweep(Process::Gone);
    let inbound = scene.spawn().look(0).unwrap();
    assert_eq!(inbound.control.stop_requested_at, None);
    assert_eq!(mailbox::due::batch(&inbound.fresh, 0, true)[0].id, "wake");
}

#[test]
fn fact_31_an_output_carries_the_target_of_its_own_message() {
    let mut scene = Scene::new();
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    let to = |target: &str| NewOutput { target: Some(target.into()), in_reply_to: Some(target.into()), ..output("{}") };
    agent.commit(&Step { outputs: vec![to("one"), to("two")], ..Step::default() }, 0).unwrap();
    let targets: Vec<_> = scene
        .host
        .outputs(0, 10, 1 << 20)
        .unwrap()
        .into_iter()
        .map(|reading| match reading {
            Reading::Good(output) => (output.in_reply_to, output.target),
            Reading::Bad { .. } => panic!(),
        })
        .collect();
    let both = |text: &str| (Some(text.to_owned()), Some(text.to_owned()));
    assert_eq!(targets, [both("one"), both("two")]);
}

#[test]
fn answers_go_before_work_and_a_question_is_answered_once() {
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    let answer = NewMessage { id: "answer".into(), kind: "permission.answer".into(), control: true, ..prompt("x", 2) };
    scene.host.insert(&answer, 0).unwrap();
    let mut agent = scene.spawn();
    let ids: Vec<_> = agent.look(0).unwrap().fresh.into_iter().map(|one| one.id).collect();
    assert_eq!(ids, ["answer", "a"]);
    let ask = Step { asked: vec![("1.1".into(), "\"rpc\"".into())], ..Step::default() };
    agent.commit(&ask, 0).unwrap();
    let open = agent.open_requests().unwrap();
    assert_eq!((open[0].id.as_str(), open[0].rpc_id.as_str()), ("1.1", "\"rpc\""));
    agent.commit(&Step { closed: vec![("1.1".into(), Asked::Answered)], ..Step::default() }, 0).unwrap();
    agent.commit(&Step { closed: vec![("1.1".into(), Asked::Void)], ..Step::default() }, 0).unwrap();
    assert!(agent.open_requests().unwrap().is_empty());
    let state: String = scene.outbound().query_row("SELECT state FROM requests", [], |row| row.get(0)).unwrap();
    assert_eq!(state, "answered");
    // With nobody there who asked, an answer is for nobody.
    drop(agent);
    scene.sweep(Process::Gone);
    assert_eq!((scene.status("answer"), scene.status("a")), ("completed".into(), "pending".into()));
    assert!(scene.host.notes().unwrap().is_empty());
}

#[test]
fn what_a_process_says_of_itself_is_read_back() {
    let mut scene = Scene::new();
    assert_eq!(scene.host.seen(&[]).unwrap(), None);
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    let state =
        RuntimeState { phase: Phase::RateLimited, until: Some(9), interrupted_through: 4, ..RuntimeState::starting(1) };
    let state = state.with_tool("shell", Some(90_000), 3);
    agent.commit(&Step { state: Some(state.clone()), ..Step::default() }, 0).unwrap();
    assert_eq!(scene.host.seen(&[]).unwrap().unwrap().state, Some(state));
}

/// Row of docs/spec/session-mailbox.md 5: "LIMIT before the ack filter, newest first: older rows hidden until the host syncs;
/// later version: system rows starve the queue".
#[test]
fn no_number_of_other_messages_hides_the_oldest_one() {
    let mut scene = Scene::new();
    scene.prompt("first", 1);
    let mut agent = scene.spawn();
    for n in 0..60 {
        let answer =
            NewMessage { id: format!("c{n}"), kind: "permission.answer".into(), control: true, ..prompt("x", 2) };
        scene.host.insert(&answer, 0).unwrap();
        scene.prompt(&format!("p{n}"), 10 + n);
    }
    let look = |agent: &mut FileAgent| -> Vec<String> {
        agent.look(0).unwrap().fresh.into_iter().filter(|one| !one.id.starts_with('c')).map(|one| one.id).collect()
    };
    assert_eq!(look(&mut agent)[..2], ["first", "p0"]);
    for message in agent.look(0).unwrap().fresh {
        agent.commit(&says(&message, AckStatus::Completed), 0).unwrap();
    }
    // The host has not looked yet.
    assert_eq!(look(&mut agent)[0], "p49");
}

/// Row of docs/spec/session-mailbox.md 5: "Sort by timestamp of 1 s resolution". The clock goes back here, and stands still.
#[test]
fn what_was_stored_first_comes_first_whatever_the_clock_said() {
    let mut scene = Scene::new();
    let ids = ["d", "b", "c", "a"];
    for (id, now) in ids.into_iter().zip([9_000, 4_000, 4_000, 7_000]) {
        scene.host.insert(&prompt(id, 1), now).unwrap();
    }
    let mut agent = scene.spawn();
    let names = |messages: Vec<Message>| messages.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(names(agent.look(10_000).unwrap().fresh), ids);
    assert_eq!(names(scene.host.unfinished().unwrap()), ids);
    let said = ["4", "2", "3", "1"];
    for (content, now) in said.into_iter().zip([9_000, 4_000, 4_000, 7_000]) {
        agent.commit(&Step { outputs: vec![output(content)], ..Step::default() }, now).unwrap();
    }
    assert_eq!(outputs(&scene).into_iter().map(|output| output.content).collect::<Vec<_>>(), said);
}

/// What is cut off of an output lies in a file until the host has taken the output that names it.
#[test]
fn a_file_beside_an_output_goes_when_no_output_that_waits_names_it() {
    let mut scene = Scene::new();
    let mut agent = scene.spawn();
    agent.look(0).unwrap();
    let name = "ab".repeat(32);
    let folder = scene.outside().join("files").join(&name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("output.txt"), "long").unwrap();
    let content = serde_json::json!({"name": "output.txt", "sha256": name, "size": 4}).to_string();
    let file = NewOutput { kind: "file".into(), ..output(&content) };
    agent.commit(&Step { outputs: vec![file.clone(), file, output("{}")], ..Step::default() }, 0).unwrap();
    let ids: Vec<String> = outputs(&scene).into_iter().map(|output| output.id).collect();
    let whole = agent.backlog();
    assert_eq!((whole.rows, whole.bytes), (3, 2 * content.len() as u64 + 2));
    // Whether it was taken or refused, nobody asks for it again.
    for (outcome, stays) in [(Outcome::Delivered, true), (Outcome::Refused("507: quota".into()), false)] {
        let id = if stays { &ids[0] } else { &ids[1] };
        scene.host.record(&[(id.clone(), outcome)], 0).unwrap();
        agent.prune(0).unwrap();
        assert_eq!(folder.exists(), stays);
    }
    assert_eq!((agent.backlog().rows, agent.backlog().bytes), (1, 2));
    assert_eq!(scene.agent(1).backlog(), agent.backlog(), "as the next process counts it");
}

/// Row of docs/spec/session-mailbox.md 5: "Acks never pruned; reused id swallowed".
#[test]
fn what_is_over_is_forgotten_on_both_sides_and_numbers_go_on() {
    let day = 86_400_000;
    let mut scene = Scene::new();
    scene.prompt("a", 1);
    let mut agent = scene.spawn();
    let message = take(&mut agent, 0);
    let done = NewAck { told: true, ..NewAck::of(&message, AckStatus::Completed) };
    let step = Step { outputs: vec![output("{}"), output("{}")], acks: vec![done], ..Step::default() };
    let seqs = agent.commit(&step, 0).unwrap();
    scene.sweep(Process::MayLive);
    let ids: Vec<String> = outputs(&scene).into_iter().map(|output| output.id).collect();
    let delivered: Vec<_> = ids.iter().map(|id| (id.clone(), Outcome::Delivered)).collect();
    scene.host.record(&delivered, 0).unwrap();
    agent.prune(0).unwrap();
    assert!(agent.ack("a").is_some(), "for a day");
    assert_eq!(agent.backlog().rows, 1, "the newest stays");
    agent.prune(day).unwrap();
    assert!(agent.ack("a").is_none());
    scene.host.prune(day).unwrap();
    assert_eq!(scene.told::<i64>("SELECT count(*) FROM delivered"), 1, "one of them is still there");
    assert_eq!(agent.commit(&Step { outputs: vec![output("{}")], ..Step::default() }, day).unwrap(), [seqs[1] + 2]);
    // Final messages are remembered for thirty days, and the newest for ever: numbers are made of it.
    scene.host.prune(31 * day).unwrap();
    assert_eq!(scene.status("a"), "completed");
    scene.prompt("b", 2);
    scene.host.prune(31 * day).unwrap();
    assert_eq!(scene.told::<i64>("SELECT count(*) FROM messages_in"), 1);
}

#[test]
fn files_of_different_mailboxes_are_never_used_together() {
    let mut scene = Scene::new();
    drop(scene.spawn());
    let places = scene.host.places().clone();
    assert!(matches!(FileAgent::open(&places.inside(), &places.outside(), "other", 1), Err(Error::Mixed)));
    scene.outbound().execute("UPDATE meta SET mailbox_id = 'other'", []).unwrap();
    assert!(matches!(scene.host.seen(&[]), Err(Error::Mixed)));
    scene.inbound().execute("UPDATE meta SET mailbox_id = 'other'", []).unwrap();
    assert!(matches!(FileHost::open(places.clone(), Settings::default(), 0), Err(Error::Mixed)));
    FileHost::set_aside(&places, 77).unwrap();
    assert!(!places.folder().exists());
    let name = format!("{}.77", places.folder().file_name().unwrap().to_str().unwrap());
    assert!(scene.folder.path().canonicalize().unwrap().join("stale").join(name).join("in/inbound.db").exists());
}

#[test]
fn a_later_version_is_refused_by_both_sides() {
    let mut scene = Scene::new();
    drop(scene.spawn());
    let places = scene.host.places().clone();
    scene.outbound().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(scene.host.seen(&[]), Err(Error::Newer(2))));
    let opened = FileAgent::open(&places.inside(), &places.outside(), scene.host.mailbox_id(), 1);
    assert!(matches!(opened, Err(Error::Newer(2))));
    scene.inbound().pragma_update(None, "user_version", 2).unwrap();
    assert!(matches!(FileHost::open(places, Settings::default(), 0), Err(Error::Newer(2))));
}

#[test]
fn a_mailbox_whose_making_was_cut_off_is_made_again() {
    let scene = Scene::new();
    let places: Places = scene.host.places().clone();
    std::fs::remove_file(places.inside().join("mailbox.json")).unwrap();
    let again = FileHost::create(scene.folder.path(), "session", Settings::default(), 5).unwrap();
    assert_ne!(again.mailbox_id(), scene.host.mailbox_id());
}

#[test]
fn a_message_that_the_clock_put_off_expires_and_the_session_is_told() {
    let mut scene = Scene::new();
    let old = NewMessage { expires_at: Some(2_000), ..prompt("a", 1) };
    scene.host.insert(&old, 0).unwrap();
    assert!(scene.sweep(Process::Gone).is_empty());
    scene.now = 2_000;
    assert_eq!(scene.sweep(Process::Gone)[0].1, Change::Cancel(reasons::EXPIRED));
    assert_eq!(scene.host.notes().unwrap()[0].data, r#"{"message-id":"a","reason":"expired"}"#);
}
