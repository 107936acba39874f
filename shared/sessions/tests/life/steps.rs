//! What happens in a session, step by step.

use serde_json::{Value, json};

use crate::agent::Fate;
use crate::world::World;
use crate::{settings, world};

fn kinds(world: &World) -> Vec<String> {
    world.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

fn status(world: &World) -> String {
    world.ask("GET", "status", None).1["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_is_created_once() {
    let world = world();
    let (status, body) = world.create();
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["stream-url"], "https://base.test/sessions/s/stream");
    assert_eq!(world.create(), (200, body));
    assert_eq!(kinds(&world), ["session.created", "session.provisioned"]);
}

#[test]
fn nothing_is_left_behind_by_a_guess() {
    let world = world();
    for path in ["status", "events", "stream", "approvals"] {
        assert_eq!(world.ask("GET", path, None).0, 404, "{path}");
    }
    for path in ["pause", "resume", "cancel", "interrupt", "snapshot"] {
        assert_eq!(world.ask("POST", path, None).0, 404, "{path}");
    }
    assert_eq!(world.message("hello").0, 404);
}

#[test]
fn a_message_becomes_a_turn() {
    let world = world();
    world.create();
    assert_eq!(world.message("hello"), (200, json!({"ok": true})));
    world.pass(100);
    world.agent.borrow_mut().speak("Hi ");
    world.agent.borrow_mut().speak("there.");
    world.pass(100);
    let live: Vec<Value> = world.events().into_iter().filter(|event| event.get("cursor").is_none()).collect();
    assert_eq!(live[0]["event-id"], "live-r1-turn-1");
    world.agent.borrow_mut().finish("end_turn");
    world.pass(100);
    let expected =
        ["session.created", "session.provisioned", "audit.log", "session.running", "item.completed", "turn.completed"];
    assert_eq!(kinds(&world), expected);
    let item = &world.events()[4]["data"]["item"]["content"][0];
    assert_eq!(*item, json!({"type": "text", "text": "Hi there."}));
}

#[test]
fn messages_go_one_after_the_other() {
    let world = world();
    world.create();
    for text in ["one", "two", "three"] {
        world.message(text);
    }
    for text in ["one", "two", "three"] {
        world.pass(100);
        assert_eq!(world.agent.borrow().working.len(), 1);
        assert_eq!(world.agent.borrow().working[0].1, text);
        world.agent.borrow_mut().finish("end_turn");
    }
    world.pass(100);
    assert!(world.agent.borrow().prompts.values().all(|times| *times == 1));
}

#[test]
fn a_paused_session_keeps_its_messages() {
    let world = world();
    world.create();
    world.ask("POST", "pause", None);
    world.message("one");
    world.message("two");
    world.pass(1_000);
    assert!(world.agent.borrow().prompts.is_empty());
    assert_eq!(world.ask("POST", "resume", None), (200, json!({"ok": true, "flushed": 2})));
    world.pass(100);
    assert_eq!(world.agent.borrow().prompts.len(), 1);
}

#[test]
fn an_agent_that_heeds_an_interrupt_is_not_killed() {
    let world = world();
    world.create();
    world.agent.borrow_mut().heeds_cancel = true;
    world.message("hello");
    world.pass(100);
    world.ask("POST", "interrupt", None);
    world.pass(100);
    let events = world.events();
    let last = events.last().unwrap();
    assert_eq!(last["type"], "turn.completed");
    assert_eq!((&last["data"]["stop-reason"], &last["data"]["stopped"]), (&json!("cancelled"), &json!("agent")));
}

#[test]
fn an_agent_that_does_not_heed_it_is_killed() {
    let world = world();
    world.create();
    world.message("hello");
    world.pass(100);
    world.ask("POST", "interrupt", None);
    world.pass(29_000);
    assert_eq!(kinds(&world).last().unwrap(), "session.paused");
    world.pass(5_000);
    let events = world.events();
    assert_eq!(events.last().unwrap()["data"]["stopped"], "killed");
    // The next message opens a new session of the agent.
    world.message("again");
    world.ask("POST", "resume", None);
    world.pass(100);
    assert_eq!(world.agent.borrow().prompts["again"], 1);
}

#[test]
fn what_breaks_when_an_agent_is_killed_does_not_end_its_turn() {
    let world = world();
    world.create();
    world.agent.borrow_mut().next_prompt = Fate::Held;
    world.message("hello");
    world.pass(100);
    world.ask("POST", "interrupt", None);
    world.pass(40_000);
    let events = world.events();
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["data"]["stopped"]), (&json!("turn.completed"), &json!("killed")));
    assert!(!kinds(&world).iter().any(|kind| kind == "agent.runtime.error"), "{:?}", kinds(&world));
    world.message("again");
    world.ask("POST", "resume", None);
    world.pass(100);
    assert_eq!(world.agent.borrow().prompts["again"], 1);
}

#[test]
fn a_prompt_that_did_not_reach_the_agent_is_not_sent_again_once_it_is_unwanted() {
    let world = world();
    world.create();
    world.agent.borrow_mut().next_prompt = Fate::RefusedLate;
    world.message("hello");
    world.pass(100);
    world.ask("POST", "interrupt", None);
    world.pass(60_000);
    assert!(!world.agent.borrow().prompts.contains_key("hello"));
    let events = world.events();
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["data"]["stop-reason"]), (&json!("turn.completed"), &json!("cancelled")));
    world.ask("POST", "resume", None);
    world.message("again");
    world.pass(100);
    assert_eq!(world.agent.borrow().prompts["again"], 1);
}

#[test]
fn a_prompt_that_did_not_reach_the_agent_is_sent_once_more() {
    let world = world();
    world.create();
    world.agent.borrow_mut().next_prompt = Fate::NotReached;
    world.message("hello");
    world.pass(2_000);
    assert_eq!(world.agent.borrow().prompts["hello"], 1);
}

#[test]
fn a_prompt_that_may_have_reached_the_agent_is_not_sent_again() {
    let world = world();
    world.create();
    world.agent.borrow_mut().next_prompt = Fate::Broken;
    world.message("hello");
    world.pass(60_000);
    assert_eq!(world.agent.borrow().prompts["hello"], 1);
    assert!(kinds(&world).contains(&"agent.runtime.error".to_owned()));
}

#[test]
fn a_lost_sandbox_cancels_the_session_and_the_next_message_makes_another() {
    let world = World::new(settings(), "e2b");
    world.create();
    world.agent.borrow_mut().next_prompt = Fate::Missing;
    world.message("hello");
    world.pass(1_000);
    assert_eq!(status(&world), "canceled");
    assert_eq!(world.ask("GET", "status", None).1["runtime-provider"], Value::Null);
    world.message("again");
    world.pass(1_000);
    assert_eq!(status(&world), "running");
    assert_eq!(world.agent.borrow().prompts.get("again"), Some(&1));
}

#[test]
fn an_approval_is_asked_for_and_answered() {
    let world = world();
    world.create();
    world.message("hello");
    world.pass(100);
    world.agent.borrow_mut().ask();
    world.pass(100);
    let (_, body) = world.ask("GET", "approvals", None);
    let request = body["approvals"][0]["request-id"].as_str().unwrap().to_owned();
    let path = format!("approvals/{request}");
    let wrong = json!({"decision": "granted", "option-id": "n"});
    assert_eq!(world.ask("POST", &path, Some(&wrong)).0, 400);
    assert_eq!(world.ask("POST", &path, Some(&json!({"decision": "granted"}))).0, 200);
    assert_eq!(world.ask("POST", &path, Some(&json!({"decision": "denied"}))).0, 409);
    assert_eq!(world.ask("POST", "approvals/unknown", Some(&json!({"decision": "denied"}))).0, 404);
    world.pass(100);
    let answers = world.agent.borrow().permission_answers.clone();
    assert_eq!(answers[0]["result"]["outcome"], json!({"outcome": "selected", "optionId": "y"}));
}

#[test]
fn an_approval_that_nobody_answers_is_denied() {
    let world = world();
    world.create();
    world.message("hello");
    world.pass(100);
    world.agent.borrow_mut().ask();
    world.pass(31 * 60_000);
    assert!(kinds(&world).contains(&"agent.approval_denied".to_owned()));
    let answers = world.agent.borrow().permission_answers.clone();
    assert_eq!(answers[0]["result"]["outcome"]["optionId"], "n");
}

#[test]
fn a_silent_turn_is_stopped() {
    let world = world();
    world.create();
    world.message("hello");
    world.pass(29 * 60_000);
    assert!(!kinds(&world).contains(&"turn.completed".to_owned()));
    world.pass(3 * 60_000);
    assert_eq!(kinds(&world).last().unwrap(), "turn.completed");
}

#[test]
fn an_object_that_dies_within_a_turn_hears_its_end() {
    let mut world = world();
    world.create();
    world.message("hello");
    world.pass(100);
    world.agent.borrow_mut().speak("one ");
    world.pass(1_000);
    world.crash();
    world.agent.borrow_mut().speak("two");
    world.agent.borrow_mut().finish("end_turn");
    world.pass(61_000);
    assert_eq!(world.agent.borrow().prompts["hello"], 1);
    let events = world.events();
    let item = events.iter().find(|event| event["type"] == "item.completed").unwrap();
    assert_eq!(item["data"]["item"]["content"][0]["text"], "one two");
}

/// A secret may be in it, and only the whole message is redacted.
#[test]
fn what_an_agent_says_in_a_running_turn_does_not_lie_in_clear() {
    let mut world = world();
    world.create();
    world.message("hello");
    world.pass(100);
    // The second one looks as if it were sealed.
    for piece in ["sk-in-pieces ", "v1:AAAA:BBBB"] {
        world.agent.borrow_mut().speak(piece);
        world.pass(1_000);
    }
    assert_eq!(world.rows_with("hello"), 1, "what the user wrote");
    assert_eq!((world.rows_with("sk-in-pieces"), world.rows_with("v1:AAAA")), (0, 0));
    world.crash();
    world.agent.borrow_mut().finish("end_turn");
    world.pass(61_000);
    let events = world.events();
    let item = events.iter().find(|event| event["type"] == "item.completed").unwrap();
    assert_eq!(item["data"]["item"]["content"][0]["text"], "sk-in-pieces v1:AAAA:BBBB");
}

/// Wherever an object dies on a message's way to the agent: a message of which the agent has got nothing goes to it at once when the
/// object is back, and one that may be with it is never sent again, which is told within a minute.
#[test]
fn a_message_whose_object_dies_on_its_way_keeps_nobody_waiting() {
    let (mut sent_later, mut given_up) = (0, 0);
    for steps in 0.. {
        let mut world = world();
        world.create();
        world.message("first");
        world.pass(100);
        world.agent.borrow_mut().finish("end_turn");
        world.pass(1_000);
        world.clock.fuse.set(Some(steps));
        let (status, _) = world.message("second");
        world.pass(100);
        if !world.is_dead() {
            assert_eq!(world.agent.borrow().prompts["second"], 1, "{steps}");
            break;
        }
        let was_sent = world.agent.borrow().prompts.contains_key("second");
        world.crash();
        if status != 200 {
            continue;
        }
        world.ask("GET", "status", None);
        world.pass(6_000);
        let prompts = world.agent.borrow().prompts.get("second").copied().unwrap_or_default();
        assert!(prompts <= 1, "{steps}: sent twice");
        if prompts == 1 {
            sent_later += u32::from(!was_sent);
            continue;
        }
        world.pass(60_000);
        given_up += 1;
        let error = world.events().into_iter().rfind(|event| event["type"] == "agent.runtime.error").unwrap();
        assert_eq!(error["data"]["reason"], "prompt-unconfirmed", "{steps}");
        assert!(!world.agent.borrow().prompts.contains_key("second"), "{steps}: told as lost, and sent");
    }
    assert!(sent_later > 0, "no step was one before the message went out");
    println!("{sent_later} sent later, {given_up} given up");
}

#[test]
fn a_runtime_that_never_comes_is_given_up() {
    let mut world = World::new(settings(), "e2b");
    world.agent.borrow_mut().next_provision = Fate::Never;
    let (status, _) = world.create();
    assert_eq!(status, 0, "nobody answers yet");
    world.crash();
    world.pass(20 * 60_000);
    assert!(kinds(&world).contains(&"agent.runtime.error".to_owned()));
    assert_eq!(world.create().0, 200);
}

#[test]
fn the_same_key_gives_the_same_answer() {
    let world = world();
    world.create();
    let ask = |text: &str| world.keyed("POST", "messages", &json!({"message": text}), "key-1");
    assert_eq!(ask("hello").0, 200);
    assert_eq!(ask("hello").0, 200);
    assert_eq!(ask("other").0, 422);
    world.pass(1_000);
    assert_eq!(world.agent.borrow().prompts["hello"], 1);
    assert_eq!(kinds(&world).iter().filter(|kind| *kind == "audit.log").count(), 1);
}

#[test]
fn a_quiet_runtime_is_ended() {
    let world = world();
    world.create();
    world.pass(16 * 60_000);
    assert!(kinds(&world).contains(&"sandbox.checkpoint.started".to_owned()));
    // The alarm that would have settled the end comes once more.
    world.pass(4 * 60_000);
    assert_eq!(world.alarm(), None);
}

#[test]
fn the_queue_has_an_end() {
    let world = world();
    world.create();
    world.ask("POST", "pause", None);
    for number in 0..50 {
        assert_eq!(world.message(&format!("message {number}")).0, 200);
    }
    assert_eq!(world.message("one too many").0, 429);
    assert_eq!(kinds(&world).iter().filter(|kind| *kind == "audit.log").count(), 50);
}

/// Sessions share a thread: what a runtime says is taken in a piece at a time, and others are answered in between.
#[test]
fn a_runtime_that_talks_without_end_leaves_others_their_turn() {
    let world = world();
    world.create();
    world.message("hello");
    world.pass(100);
    for number in 0..200 {
        let said = json!({"type": "note", "n": number, "text": "x".repeat(10_000)});
        world.agent.borrow_mut().say(&said);
    }
    let notes = |world: &World| kinds(world).iter().filter(|kind| *kind == "note").count();
    let meanwhile = notes(&world);
    assert!(meanwhile < 100, "{meanwhile} were taken in before anybody else was answered");
    world.pass(100);
    assert_eq!(notes(&world), 200);
}
