//! A session on a runner that calls us (session-mailbox.md 7): what its clients see, whatever the runner does and whenever the object dies.

use std::cell::Cell;
use std::rc::Rc;

use database::Database as _;
use database::sqlite::Sqlite;
use pollster::block_on;
use serde_json::{Value, json};
use sessions::mailbox::{Offline, Presence};
use transcripts::run_token::{Claims, RunTokens};

use crate::git_credentials::{BROKER, KEYS, MAY, OWN, ask};
use crate::world::World;
use crate::{database, settings_with};

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// The key of another runner of the same user.
const OTHER: &str = "fedcba9876543210fedcba9876543210";
const START: i64 = 1_700_000_000_000;

/// A runner's process with one session.
pub(crate) struct Runner<'a> {
    world: &'a World,
    key: &'static str,
    mailbox: String,
    pub(crate) lease: Cell<u64>,
    said: Cell<u64>,
}

/// A session of somebody with two runners, of which the newer one is `r`.
pub(crate) fn world() -> World {
    world_with(&[])
}

/// The same with further settings.
pub(crate) fn world_with(more: &[(&str, &str)]) -> World {
    world_beside(more, database())
}

/// The same beside what that database has.
fn world_beside(more: &[(&str, &str)], db: Rc<Sqlite>) -> World {
    for (id, key, at) in [("other", OTHER, 0), ("r", KEY, START)] {
        let row = format!(
            "INSERT INTO agent_runners (runner_id, user_id, base_url, status, max_sessions, active_sessions, \
             last_heartbeat_at, created_at, updated_at, transport, runner_key, instance_id, runner_epoch) \
             VALUES ('{id}', 'ann', 'mailbox:', 'online', 4, 0, {at}, 1, 1, 'mailbox', '{key}', 'i', 1)"
        );
        block_on(db.execute(&row, &[])).unwrap();
    }
    let own = [("AGENT_RATE_LIMITS", "off"), ("AGENT_RUNNER_OPEN_WAIT_MS", "1000"), KEYS];
    let world = World::beside(Some(db), settings_with(&[more, &own].concat()), "local-runner");
    world.runner.set(Presence { number: 1, offline: None, last_seen_at: START });
    world
}

impl<'a> Runner<'a> {
    /// The runner `r`.
    pub(crate) fn of(world: &'a World) -> Self {
        Self::new(world, KEY, "m1")
    }

    /// The runner `r`, or the other one, with a mailbox of this name.
    pub(crate) fn named(world: &'a World, id: &str, mailbox: &str) -> Self {
        Self::new(world, if id == "r" { KEY } else { OTHER }, mailbox)
    }

    fn new(world: &'a World, key: &'static str, mailbox: &str) -> Self {
        Self { world, key, mailbox: mailbox.to_owned(), lease: Cell::new(0), said: Cell::new(0) }
    }

    /// Asks for a token of a run, under that lease.
    pub(crate) fn token(&self, lease: u64, run: u64) -> Option<String> {
        let (status, body) =
            self.world.of_runner(self.key, "lease", &json!({"lease": lease, "run": run, "attempt": 1}));
        assert_eq!(status, 200, "{body}");
        body["run-token"].as_str().map(str::to_owned)
    }

    fn fetch(&self) -> Vec<Value> {
        let (status, body) = self.world.of_runner(self.key, "fetch", &json!({"max-items": 50, "max-bytes": 1 << 20}));
        assert_eq!(status, 200, "{body}");
        let items = body["items"].as_array().cloned().unwrap_or_default();
        if let Some(item) = items.first() {
            self.lease.set(item["lease"].as_u64().unwrap());
        }
        items
    }

    fn ack(&self, item: &Value) {
        let ack =
            json!({"session-id": "s", "item-id": item["item-id"], "work-seq": item["work-seq"], "result": "stored"});
        assert_eq!(self.world.of_runner(self.key, "acks", &json!({"acks": [ack]})).0, 200);
    }

    /// Takes in all that is there, and acknowledges it.
    pub(crate) fn take(&self) -> Vec<Value> {
        let items = self.fetch();
        for item in &items {
            self.ack(item);
        }
        items
    }

    fn batch(&self, prev: u64, kind: &str, data: &Value) -> Value {
        let seq = prev + if prev == 0 { 1 } else { 2 };
        let id = format!("00000000-0000-0000-0000-{seq:012}");
        json!({"mailbox-id": self.mailbox, "lease": self.lease.get(), "events": [{
            "seq": seq, "prev": prev, "id": id, "ts": 1, "generation": 1, "attempt": 1, "kind": kind, "data": data}]})
    }

    /// Sends one event, which must be taken in.
    pub(crate) fn say(&self, kind: &str, data: &Value) {
        let prev = self.said.get();
        let (status, body) = self.world.of_runner(self.key, "events", &self.batch(prev, kind, data));
        assert_eq!((status, &body["stored"], &body["rejected"]), (200, &json!(1), &Value::Null), "{kind}: {body}");
        self.said.set(body["accepted-seq"].as_u64().unwrap());
    }

    fn opens(&self) {
        self.opens_as("agent-1", false);
    }

    /// The same, and the runner says whether the agent has the tools that it was offered.
    fn opens_with(&self, tools: bool) {
        let data = json!({"runtime-session-id": "agent-1", "loaded": false, "cwd": "/home/user/workspace/repo", "tools": tools});
        self.say("opened", &data);
    }

    /// The agent's session is open, under this name; whether it has loaded a conversation.
    pub(crate) fn opens_as(&self, name: &str, loaded: bool) {
        self.say("opened", &json!({"runtime-session-id": name, "loaded": loaded, "cwd": "/home/user/workspace/repo"}));
    }

    pub(crate) fn starts(&self, item: &Value) {
        let data =
            json!({"message-id": item["item-id"], "run": item["body"]["run"], "attempt": item["body"]["attempt"]});
        self.say("turn.started", &data);
    }

    pub(crate) fn speaks(&self, text: &str) {
        let update = json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}});
        let envelope =
            json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": "agent-1", "update": update}});
        self.say("update", &json!({"envelope": envelope}));
    }

    pub(crate) fn ends(&self, item: &Value, stop_reason: &str) {
        let data = json!({"message-id": item["item-id"], "run": item["body"]["run"], "attempt": item["body"]["attempt"],
            "stop-reason": stop_reason});
        self.say("turn.ended", &data);
    }

    /// Opens the session, and takes the first prompt.
    pub(crate) fn begins(&self) -> Value {
        let items = self.take();
        assert_eq!(kinds_of(&items), ["session.open", "prompt"]);
        self.opens();
        items[1].clone()
    }
}

pub(crate) fn kinds_of(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["kind"].as_str().unwrap()).collect()
}

fn kinds(world: &World) -> Vec<String> {
    world.events().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn count(world: &World, kind: &str) -> usize {
    kinds(world).iter().filter(|found| *found == kind).count()
}

fn away(world: &World, reason: Option<Offline>) {
    let (number, last_seen_at) = (world.runner.get().number, world.clock.now.get());
    world.runner.set(Presence { number: number + 1, offline: reason, last_seen_at });
    assert_eq!(world.of_runner(KEY, "presence", &json!({})).0, 200);
}

#[test]
fn a_session_is_opened_and_carries_a_message_out() {
    let world = world();
    let (status, body) = world.create();
    assert_eq!((status, &body["runtime-provider"], &body["status"]), (200, &json!("local-runner"), &json!("created")));
    world.message("hello");
    let runner = Runner::of(&world);
    let items = runner.take();
    assert_eq!(kinds_of(&items), ["session.open", "prompt"]);
    let (open, prompt) = (&items[0]["body"], &items[1]["body"]);
    assert_eq!(
        (&open["agent"], &open["cwd"], &open["resume"]),
        (&json!("claude"), &json!("/home/user/workspace/repo"), &Value::Null)
    );
    assert_eq!(
        (&prompt["by"], &prompt["role"], &prompt["run"], &prompt["attempt"]),
        (&json!("ann"), &json!("owner"), &json!(1), &json!(1))
    );
    assert_eq!(prompt["content"], json!([{"type": "text", "text": "hello"}]));
    assert!(prompt["run-token"].as_str().is_some_and(|token| token.split('.').count() == 3), "{prompt}");
    runner.opens();
    runner.starts(&items[1]);
    runner.speaks("Hi ");
    runner.speaks("there.");
    runner.ends(&items[1], "end_turn");
    let expected =
        ["session.created", "audit.log", "session.running", "session.provisioned", "item.completed", "turn.completed"];
    assert_eq!(kinds(&world), expected);
    assert_eq!(world.events()[4]["data"]["item"]["content"], json!([{"type": "text", "text": "Hi there."}]));
    assert_eq!(world.waiting_orders(), Vec::<String>::new());
    // The next one goes to the agent that is there.
    world.message("again");
    let items = runner.take();
    assert_eq!((kinds_of(&items), &items[0]["body"]["run"]), (vec!["prompt"], &json!(2)));
}

#[test]
fn an_answer_to_the_prompt_ends_nothing_before_the_turn_is_said_to_be_over() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    let answer = json!({"jsonrpc": "2.0", "id": 5, "result": {"stopReason": "end_turn", "usage": {"totalTokens": 7}}});
    runner.say("update", &json!({"envelope": answer}));
    assert_eq!(count(&world, "turn.completed"), 0);
    // Its last words were held back, to be sent as one.
    runner.speaks("Hi.");
    runner.ends(&prompt, "end_turn");
    assert_eq!(kinds(&world).split_off(4), ["item.completed", "turn.completed"]);
    assert_eq!(world.ask("GET", "budget", None).1["used"]["tokens"], 7);
}

#[test]
fn whatever_is_said_twice_counts_once_and_gaps_are_told() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    let batch = runner.batch(
        0,
        "opened",
        &json!({"runtime-session-id": "agent-1", "loaded": false, "cwd": "/home/user/workspace/repo"}),
    );
    let (status, body) = world.of_runner(KEY, "events", &batch);
    assert_eq!((status, &body["duplicates"], &body["stored"]), (200, &json!(1), &json!(0)));
    let (status, body) = world.of_runner(KEY, "events", &runner.batch(0, "usage", &json!({})));
    assert_eq!((status, &body["error"]), (409, &json!("event conflict")));
    let (status, body) = world.of_runner(KEY, "events", &runner.batch(9, "usage", &json!({})));
    assert_eq!(
        (status, &body["error"], &body["accepted-seq"]),
        (409, &json!("sequence gap"), &json!(runner.said.get()))
    );
    let (status, body) = world.of_runner("another", "events", &runner.batch(9, "usage", &json!({})));
    assert_eq!((status, &body["error"]), (404, &json!("not found")));
    let (status, body) = world.of_runner(KEY, "events", &runner.batch(runner.said.get(), "invented", &json!({})));
    assert_eq!((status, &body["rejected"]["error"]), (200, &json!("invalid event")));
    runner.say("tombstone", &json!({"reason": "invalid_output"}));
    assert_eq!(world.events().last().unwrap()["data"]["reason"], "output-refused");
    let file = json!({"name": "a.txt", "sha256": "0".repeat(64), "size": 1});
    let (_, body) = world.of_runner(KEY, "events", &runner.batch(runner.said.get(), "file", &file));
    assert_eq!(body["rejected"]["error"], "file missing");
}

#[test]
fn a_runner_that_is_away_gets_its_work_when_it_comes() {
    let world = world();
    let there = world.runner.get();
    world.runner.set(Presence { offline: Some(Offline::Timeout), ..there });
    let (status, body) = world.create();
    assert_eq!((status, &body["status"]), (200, &json!("created")), "nobody waits for who is not there");
    for text in ["one", "two"] {
        assert_eq!(world.message(text), (200, json!({"ok": true})));
    }
    let shown = world.ask("GET", "status", None).1;
    assert_eq!((&shown["runner"]["online"], &shown["runner"]["queued"]), (&json!(false), &json!(2)));
    assert_eq!(count(&world, "session.runner.offline"), 1);
    world.pass(3_600_000);
    assert_eq!(count(&world, "agent.runtime.error"), 0, "{:?}", world.events());
    away(&world, None);
    let online = kinds(&world).iter().position(|kind| kind == "session.runner.online").unwrap();
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    runner.ends(&prompt, "end_turn");
    assert!(kinds(&world).iter().skip(online).any(|kind| kind == "turn.completed"));
    assert_eq!(runner.take()[0]["body"]["content"][0]["text"], "two");
    // A prompt that waits too long is not given out at all.
    let shown = world.ask("GET", "status", None).1;
    assert_eq!((&shown["runner"]["online"], &shown["runner"]["queued"]), (&json!(true), &json!(1)));
}

#[test]
fn a_prompt_that_nobody_fetches_for_a_week_is_over() {
    let world = world();
    let there = world.runner.get();
    world.runner.set(Presence { offline: Some(Offline::Stopped), ..there });
    world.create();
    world.message("hello");
    world.pass(7 * 24 * 3_600_000 + 60_000);
    let last = world.events().into_iter().rfind(|event| event["type"] == "agent.runtime.error").unwrap();
    assert_eq!(last["data"]["reason"], "order-expired");
    assert_eq!(world.waiting_orders(), Vec::<String>::new());
}

#[test]
fn silence_is_borne_while_the_runner_is_away_and_a_day_is_the_end() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    away(&world, Some(Offline::Timeout));
    world.pass(10 * 3_600_000);
    assert_eq!(count(&world, "agent.runtime.error"), 0);
    away(&world, None);
    world.pass(29 * 60_000);
    assert_eq!(count(&world, "agent.runtime.error"), 0, "the silence begins anew");
    away(&world, Some(Offline::Timeout));
    world.pass(25 * 3_600_000);
    let error = world.events().into_iter().rfind(|event| event["type"] == "agent.runtime.error").unwrap();
    assert_eq!(error["data"]["reason"], "runner-offline");
    // What it says of it later is stored, and ends nothing a second time.
    away(&world, None);
    runner.speaks("late");
    runner.ends(&prompt, "end_turn");
    assert_eq!(count(&world, "turn.completed"), 0);
}

#[test]
fn a_silent_agent_is_stopped_and_nothing_counts_that_it_says_then() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    world.pass(31 * 60_000);
    assert_eq!(kinds_of(&runner.take()), ["interrupt"]);
    world.pass(3 * 60_000);
    let (status, body) = world.of_runner(KEY, "events", &runner.batch(runner.said.get(), "usage", &json!({})));
    assert_eq!((status, &body["error"]), (409, &json!("lease lost")));
    let over = world.events().into_iter().rfind(|event| event["type"] == "turn.completed").unwrap();
    assert_eq!(over["data"]["stopped"], "unproven");
}

#[test]
fn an_interrupt_takes_back_what_nobody_has_and_stops_what_somebody_has() {
    let world = world();
    world.create();
    world.message("one");
    world.ask("POST", "interrupt", None);
    assert_eq!(world.waiting_orders(), ["one"], "it keeps its place");
    assert_eq!(world.ask("POST", "resume", None).1["flushed"], 1);
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    assert_eq!(prompt["body"]["content"][0]["text"], "one");
    runner.starts(&prompt);
    world.ask("POST", "interrupt", None);
    let items = runner.take();
    assert_eq!((kinds_of(&items), &items[0]["body"]["through-work-seq"]), (vec!["interrupt"], &prompt["work-seq"]));
    runner.ends(&prompt, "cancelled");
    let over = world.events().into_iter().rfind(|event| event["type"] == "turn.completed").unwrap();
    assert_eq!((&over["data"]["stop-reason"], &over["data"]["stopped"]), (&json!("cancelled"), &json!("agent")));
}

#[test]
fn the_agent_asks_and_a_person_answers() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    let options = json!([{"optionId": "yes", "name": "Yes", "kind": "allow_once"}, {"optionId": "no", "name": "No", "kind": "reject_once"}]);
    let params = json!({"sessionId": "agent-1", "toolCall": {"toolCallId": "c", "title": "Run"}, "options": options});
    runner.say("permission", &json!({"request-id": "1.1", "params": params}));
    let asked = world.events().into_iter().rfind(|event| event["type"] == "agent.approval_requested").unwrap();
    let path = format!("approvals/{}", asked["data"]["request-id"].as_str().unwrap());
    assert_eq!(world.ask("POST", &path, Some(&json!({"decision": "granted"}))).0, 200);
    let items = runner.take();
    assert_eq!(kinds_of(&items), ["permission.answer"]);
    assert_eq!(items[0]["body"], json!({"request-id": "1.1", "outcome": {"outcome": "selected", "optionId": "yes"}}));
    runner.say("permission", &json!({"request-id": "1.2", "params": params}));
    runner.say("permission.void", &json!({"request-ids": ["1.2"], "reason": "agent-gone"}));
    let denied = world.events().into_iter().rfind(|event| event["type"] == "agent.approval_denied").unwrap();
    assert_eq!(denied["data"]["reason"], "agent-gone");
    assert_eq!(runner.take(), Vec::<Value>::new(), "nobody is answered who does not wait");
}

#[test]
fn a_canceled_session_ends_its_agent_and_leaves_its_runner() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    world.ask("POST", "cancel", None);
    assert_eq!(kinds_of(&runner.take()), ["interrupt"]);
    runner.ends(&prompt, "cancelled");
    let items = runner.take();
    assert_eq!(kinds_of(&items), ["session.cancel"]);
    runner.say("closed", &json!({"transcript": null}));
    let shown = world.ask("GET", "status", None).1;
    assert_eq!(
        (&shown["status"], &shown["runtime-provider"], &shown["runner"]),
        (&json!("canceled"), &Value::Null, &Value::Null)
    );
    let (_, body) = world.of_runner(KEY, "fetch", &json!({"max-items": 1, "max-bytes": 1000}));
    assert_eq!(body["held"], false);
}

#[test]
fn a_runner_that_is_deleted_gives_its_sessions_back() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let items = runner.take();
    assert_eq!(kinds_of(&items), ["session.open", "prompt"]);
    away(&world, Some(Offline::Revoked));
    assert_eq!(count(&world, "session.runner.offline"), 1);
    assert_eq!(world.waiting_orders(), ["hello"], "no agent had it");
    assert_eq!(world.of_runner(KEY, "lease", &json!({"lease": runner.lease.get()})).1["state"], "lost");
}

#[test]
fn another_copy_does_not_go_on() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    let claim = |out: u64, work: u64| json!({"claim": {"mailbox-id": "m1", "lease": runner.lease.get(), "work-seq": work, "out-seq": out, "generation": 1}});
    let (_, kept) = world.of_runner(KEY, "attach", &claim(runner.said.get(), prompt["work-seq"].as_u64().unwrap()));
    assert_eq!(
        (&kept["session"]["verdict"], &kept["session"]["accepted-seq"]),
        (&json!("keep"), &json!(runner.said.get()))
    );
    let (_, old) = world.of_runner(KEY, "attach", &claim(1, 1));
    assert_eq!(old["session"]["verdict"], "stale");
    let error = world.events().into_iter().rfind(|event| event["type"] == "agent.runtime.error").unwrap();
    assert_eq!(error["data"]["reason"], "turn-interrupted");
    let (_, gone) = world.of_runner("another", "attach", &claim(1, 1));
    assert_eq!((&gone["session"]["verdict"], &gone["held"]), (&json!("gone"), &json!(false)));
}

/// The crash points of session-mailbox.md 7.11 at which the object of the session dies: before a transaction nothing has happened, after
/// it everything has.
#[test]
fn an_object_that_dies_goes_on_where_it_was() {
    for dies_after in 0..6 {
        let mut world = world();
        world.create();
        if dies_after == 0 {
            world.crash();
        }
        world.message("hello");
        if dies_after == 1 {
            world.crash();
        }
        {
            let runner = Runner::of(&world);
            let items = runner.fetch();
            assert_eq!(kinds_of(&items), ["session.open", "prompt"], "{dies_after}");
        }
        if dies_after == 2 {
            // The answer was lost: the same again after half a minute, under the same ids.
            world.crash();
            let runner = Runner::of(&world);
            assert_eq!(runner.fetch(), Vec::<Value>::new());
            world.pass(31_000);
            assert_eq!(kinds_of(&runner.fetch()), ["session.open", "prompt"]);
        }
        world.pass(31_000);
        let (mut said, lease, prompt) = {
            let runner = Runner::of(&world);
            let prompt = runner.begins();
            (runner.said.get(), runner.lease.get(), prompt)
        };
        for (step, end) in [(3, false), (4, false), (5, true)] {
            if dies_after == step {
                world.crash();
            }
            let runner = Runner::of(&world);
            runner.said.set(said);
            runner.lease.set(lease);
            match step {
                3 => runner.starts(&prompt),
                4 => runner.speaks("Hi"),
                _ => {}
            }
            if end {
                runner.ends(&prompt, "end_turn");
            }
            said = runner.said.get();
        }
        assert_eq!(count(&world, "turn.completed"), 1, "{dies_after}");
        assert_eq!(count(&world, "item.completed"), 1, "{dies_after}");
        assert_eq!(count(&world, "agent.runtime.error"), 0, "{dies_after}: {:?}", world.events());
        assert_eq!(world.waiting_orders(), Vec::<String>::new());
    }
}

#[test]
fn a_session_does_not_move_to_where_there_are_no_sandboxes() {
    let world = world();
    world.create();
    let to = json!({"runtime-provider": "e2b", "force": true});
    assert_eq!(world.ask("POST", "move", Some(&to)), (409, json!({"error": "session runtime unavailable"})));
    assert_eq!(world.create().0, 200, "it is where it was");
    assert_eq!(world.ask("GET", "status", None).1["runtime-provider"], "local-runner");
}

#[test]
fn a_session_moves_when_its_runner_has_kept_what_it_knows() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    let to = json!({"runtime-provider": "local-dev", "force": false});
    assert_eq!(world.ask("POST", "move", Some(&to)), (409, json!({"error": "turn is running"})));
    runner.ends(&prompt, "end_turn");
    // Nobody answers: it stays.
    assert_eq!(world.ask("POST", "move", Some(&to)).0, 0, "the answer takes its time");
    let items = runner.take();
    assert_eq!(
        (kinds_of(&items), &items[0]["body"]),
        (vec!["session.close"], &json!({"reason": "moved", "capture": true}))
    );
    world.pass(60_000);
    assert_eq!(count(&world, "session.runner.moved"), 0);
    let told = world.events().into_iter().find(|event| event["type"] == "runner.notice").unwrap();
    assert_eq!(told["data"]["code"], "not-moved");
    assert_eq!(world.ask("GET", "status", None).1["runner"]["runner-id"], "r");
    // It answers.
    assert_eq!(world.ask("POST", "move", Some(&to)).0, 0);
    runner.take();
    runner.say("closed", &json!({"transcript": null}));
    world.pass(1_000);
    let moved = world.events().into_iter().rfind(|event| event["type"] == "session.runner.moved").unwrap();
    assert_eq!(
        moved["data"],
        json!({"from": {"runtime-provider": "local-runner", "runner-id": "r"}, "to": {"runtime-provider": "local-dev"}})
    );
    assert_eq!(kinds(&world).last().unwrap(), "session.provisioned");
    assert_eq!(world.ask("GET", "status", None).1["runtime-provider"], "local-dev");
    // And back: its runner gets it under a new lease.
    let back = json!({"runtime-provider": "local-runner", "runner-id": "r", "force": false});
    assert_eq!(world.ask("POST", "move", Some(&back)), (200, json!({"ok": true})));
    world.message("again");
    let lease = runner.lease.get();
    assert_eq!(kinds_of(&runner.take()), ["session.open", "prompt"]);
    assert!(runner.lease.get() > lease);
}

/// Whether everything of the session is gone.
fn is_gone(world: &World) -> bool {
    world.of_runner(KEY, "fetch", &json!({"max-items": 1, "max-bytes": 1000})).0 == 404
}

#[test]
fn a_session_that_is_deleted_is_closed_at_its_runner() {
    for answers in [true, false] {
        let world = world();
        world.create();
        world.message("hello");
        let runner = Runner::of(&world);
        let prompt = runner.begins();
        runner.starts(&prompt);
        world.delete();
        assert_eq!(world.ask("GET", "status", None).0, 404, "nobody sees it any more");
        let items = runner.take();
        let body = json!({"reason": "deleted", "capture": false});
        assert_eq!((kinds_of(&items), &items[0]["body"]), (vec!["session.close"], &body));
        runner.speaks("too late");
        if answers {
            runner.say("closed", &json!({"transcript": null}));
            world.pass(1_000);
        } else {
            world.pass(20_000);
            assert!(!is_gone(&world), "it has half a minute");
            world.pass(15_000);
        }
        assert!(is_gone(&world), "{answers}");
        world.pass(60_000);
        assert_eq!(world.alarm(), None, "nothing is left to be done");
    }
}

#[test]
fn a_session_that_is_deleted_does_not_wait_for_a_runner_that_is_away() {
    let world = world();
    world.create();
    let runner = Runner::of(&world);
    runner.take();
    runner.opens();
    away(&world, Some(Offline::Timeout));
    world.delete();
    world.pass(1_000);
    assert!(is_gone(&world));
}

/// agents.md 20.1: what the creator's other sessions have used today is asked before a prompt is laid there.
#[test]
fn a_prompt_waits_for_tomorrow_when_the_creator_has_used_up_today_elsewhere() {
    let set = [("AGENT_BUDGET_USER_DAY", r#"{"turns":1}"#)];
    let db = database();
    let world = world_beside(&set, Rc::clone(&db));
    world.create();
    let runner = Runner::of(&world);
    runner.take();
    runner.opens();
    let elsewhere = World::beside(Some(Rc::clone(&db)), settings_with(&set), "local-dev");
    elsewhere.create();
    elsewhere.message("one");
    elsewhere.pass(1_000);
    elsewhere.agent.borrow_mut().finish("end_turn");
    elsewhere.pass(1_000);
    block_on(db.execute("UPDATE usage_daily SET session_id = 'other'", &[])).unwrap();
    world.message("two");
    world.pass(1_000);
    assert_eq!(runner.take(), Vec::<Value>::new());
    assert_eq!((world.waiting_orders(), count(&world, "session.budget_reached")), (vec!["two".to_owned()], 1));
    assert_eq!(world.ask("GET", "status", None).1["status"], "paused");
    world.pass(24 * 3_600_000);
    assert_eq!(world.ask("POST", "resume", None).0, 200);
    world.pass(1_000);
    let items = runner.take();
    assert_eq!((kinds_of(&items), items[0]["body"]["content"][0]["text"].as_str()), (vec!["prompt"], Some("two")));
}

/// Git's credentials on a runner's machine (agents.md 20.6): they are asked for with the token of the run.
#[test]
fn git_is_answered_while_the_runner_has_the_session_and_for_nothing_else() {
    let world = world_with(&[BROKER]);
    let (status, body) =
        world.create_with(|body| body["project"]["repo-url"] = json!("https://github.com/acme/project"));
    assert_eq!(status, 200, "{body}");
    world.message("hello");
    let runner = Runner::of(&world);
    let items = runner.take();
    assert_eq!(items[0]["body"]["git-credentials"], true, "{}", items[0]);
    let token = items[1]["body"]["run-token"].as_str().unwrap();
    let own = RunTokens::parse(KEYS.1).unwrap().verify(token, START).unwrap();
    assert_eq!(ask(&world, &own, OWN), MAY);
    assert_eq!(ask(&world, &own, &OWN.replace("project", "other")), 404);
    let with = |members: Value| Claims { rest: members.as_object().cloned().unwrap(), ..own.clone() };
    for members in [
        json!({}),
        json!({"lease": runner.lease.get() + 1}),
        json!({"sandbox": "sbx"}),
        json!({"lease": runner.lease.get(), "sandbox": "sbx"}),
    ] {
        assert_eq!(ask(&world, &with(members.clone()), OWN), 404, "{members}");
    }
    let scopes = vec!["transcript:read".to_owned(), "transcript:write".to_owned()];
    assert_eq!(ask(&world, &Claims { scope: scopes, ..own.clone() }, OWN), 404);
    // Nobody has the session any more.
    away(&world, Some(Offline::Revoked));
    assert_eq!(ask(&world, &own, OWN), 404);
}

#[test]
fn git_finds_its_own_credentials_where_the_worker_gives_none() {
    for (more, url) in [(None, "https://github.com/acme/project"), (Some(BROKER), "https://git.example/acme/project")] {
        let world = world_with(more.as_slice());
        assert_eq!(world.create_with(|body| body["project"]["repo-url"] = json!(url)).0, 200);
        let items = Runner::of(&world).take();
        assert_eq!((kinds_of(&items), items[0]["body"].get("git-credentials")), (vec!["session.open"], None), "{url}");
    }
}

/// A session whose first turn has ended, and which may publish.
fn publishable() -> World {
    let world = world_with(&[("GITHUB_APP_ID", "42"), ("GITHUB_APP_PRIVATE_KEY", "MAMCAQA=")]);
    world.net.borrow_mut().has_github = true;
    let made = world.create_with(|body| body["project"]["repo-url"] = json!("https://github.com/acme/app"));
    assert_eq!(made.0, 200, "{}", made.1);
    world.message("hello");
    world
}

fn ended(runner: &Runner<'_>) {
    let prompt = runner.begins();
    runner.starts(&prompt);
    runner.speaks("Done.");
    runner.ends(&prompt, "end_turn");
}

/// A push that the runner was asked for, and waits for its end.
fn pushing(world: &World, runner: &Runner<'_>, body: &Value) -> Value {
    assert_eq!(world.ask("POST", "pr", Some(body)).0, 0, "the answer takes its time");
    let items = runner.take();
    assert_eq!(kinds_of(&items), ["push"]);
    items[0].clone()
}

fn last(world: &World, kind: &str) -> Value {
    world.events().into_iter().rfind(|event| event["type"] == kind).unwrap()["data"].clone()
}

/// Item `push` of session-mailbox.md 7.4.
#[test]
fn what_is_published_is_pushed_by_the_runner() {
    let world = publishable();
    let runner = Runner::of(&world);
    ended(&runner);
    let item = pushing(&world, &runner, &json!({"head-branch": "agent/page", "commit-message": "A page"}));
    let expected = json!({"push-id": item["item-id"], "head-branch": "agent/page", "force": false, "expected": null,
        "commit-message": "A page", "remote": "https://github.com/acme/app.git"});
    assert_eq!(item["body"], expected);
    assert_eq!(count(&world, "git.push.succeeded"), 0);
    let commit = "1".repeat(40);
    let output = format!("agent-commit {commit}\n*\tHEAD:refs/heads/agent/page\t[new branch]\nDone\nagent-pushed\n");
    runner.say("push.done", &json!({"push-id": item["item-id"], "ok": true, "reason": null, "output": output}));
    world.pass(1_000);
    assert_eq!(last(&world, "git.push.succeeded")["head-branch"], "agent/page");
    assert_eq!(count(&world, "git.pr.succeeded"), 1, "{:?}", kinds(&world));
    // It is this session's branch now: it may be overwritten where the push has left it.
    let forced = json!({"head-branch": "agent/page", "force": true, "create-pr": false});
    let item = pushing(&world, &runner, &forced);
    assert_eq!((&item["body"]["force"], &item["body"]["expected"]), (&json!(true), &json!(commit)));
}

#[test]
fn a_push_that_the_runner_does_not_make_is_told_with_its_reason() {
    let world = publishable();
    let runner = Runner::of(&world);
    ended(&runner);
    let wanted = json!({"head-branch": "agent/page", "create-pr": false});
    for (reason, output, told) in [
        (
            "error: failed to push some refs",
            "!\tHEAD:refs/heads/agent/page\t[rejected] (fetch first)\n",
            "remote-rejected",
        ),
        ("fatal: could not read Username for 'https://github.com'", "", "auth"),
        ("fatal: not a git repository", "", "unknown"),
    ] {
        let item = pushing(&world, &runner, &wanted);
        runner.say("push.done", &json!({"push-id": item["item-id"], "ok": false, "reason": reason, "output": output}));
        world.pass(1_000);
        assert_eq!(last(&world, "git.push.failed")["reason"], told, "{reason}");
    }
    // One that is not able to, and one that died again and again.
    assert_eq!(world.ask("POST", "pr", Some(&wanted)).0, 0);
    let item = runner.fetch().remove(0);
    let refusal = json!({"session-id": "s", "item-id": item["item-id"], "work-seq": item["work-seq"],
        "result": "refused", "error": "not supported"});
    assert_eq!(world.of_runner(KEY, "acks", &json!({"acks": [refusal]})).0, 200);
    world.pass(1_000);
    assert_eq!(last(&world, "git.push.failed")["reason"], "unsupported");
    let item = pushing(&world, &runner, &wanted);
    let notice = json!({"id": "n", "code": "message.failed", "message": "m", "lease": runner.lease.get(),
        "data": {"message-id": item["item-id"], "reason": "crashed"}});
    assert_eq!(world.of_runner(KEY, "notice", &notice).0, 200);
    world.pass(1_000);
    assert_eq!(
        (last(&world, "git.push.failed")["reason"].as_str(), count(&world, "git.push.failed")),
        (Some("unknown"), 5)
    );
    // Nobody is there who would push, and nobody comes.
    away(&world, Some(Offline::Timeout));
    let (status, _) = world.ask("POST", "pr", Some(&wanted));
    assert_ne!(status, 0, "nobody waits for who is not there");
    away(&world, None);
    let item = pushing(&world, &runner, &wanted);
    world.pass(200_000);
    assert_eq!(count(&world, "git.push.failed"), 7);
    runner.say("push.done", &json!({"push-id": item["item-id"], "ok": true, "reason": null, "output": ""}));
    assert_eq!(count(&world, "git.push.succeeded"), 0, "nobody waits for it any more");
}

/// Tools of pg-sync.md 4.12: they go out with what opens the agent, and with prompts to an agent that has them. The token stands in what is given out alone.
#[test]
fn tools_go_to_the_agent_of_a_runner_that_calls() {
    let world = world();
    world.create();
    world.message("hello");
    let runner = Runner::of(&world);
    let items = runner.take();
    let tools = items[0]["body"]["tools"].clone();
    assert_eq!(tools["url"], "https://base.test/sessions/s/mcp");
    assert_eq!(items[1]["body"]["tools"], tools, "the same again");
    let token = tools["token"].as_str().unwrap().to_owned();
    let keys = RunTokens::parse(KEYS.1).unwrap();
    let claims = transcripts::tool_token::Claims::verify(&keys, &token, world.clock.now.get()).unwrap();
    let ping = |world: &World| {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": "ping", "params": {}});
        world.of_tool(&claims, "POST", "mcp", Some(&body)).0
    };
    runner.opens_with(true);
    assert_eq!((ping(&world), told_tools(&world)), (200, json!({"offered": true})));
    // An agent may say what it holds.
    runner.starts(&items[1]);
    runner.speaks(&format!("I have {token}."));
    runner.ends(&items[1], "end_turn");
    let signature = token.rsplit('.').next().unwrap();
    let shown = Value::Array(world.events()).to_string();
    assert!(shown.contains("[redacted]") && !shown.contains(signature));
    assert!(!world.stored_text().contains(signature));
    // The next prompt brings it for an agent that was ended meanwhile; half a day later it is another one.
    world.message("two");
    let [prompt] = &runner.take()[..] else { panic!() };
    assert_eq!(prompt["body"]["tools"], tools);
    runner.starts(prompt);
    runner.ends(prompt, "end_turn");
    world.pass(13 * 3_600_000);
    away(&world, None);
    world.message("three");
    let [prompt] = &runner.take()[..] else { panic!() };
    assert_ne!(prompt["body"]["tools"]["token"], tools["token"]);
    assert_eq!(ping(&world), 200, "the one before counts as long as its time lasts");
    assert_eq!(world.ask("POST", "cancel", None).0, 200);
    assert_eq!(ping(&world), 401);
}

/// What the session shows of tools.
fn told_tools(world: &World) -> Value {
    world.ask("GET", "status", None).1["tools"].clone()
}

#[test]
fn what_became_of_the_offer_to_a_runner_that_calls_is_shown() {
    for (said, why) in [(None, "runner"), (Some(false), "no-http")] {
        let world = world();
        world.create();
        world.message("hello");
        let runner = Runner::of(&world);
        let items = runner.take();
        assert!(items[0]["body"]["tools"].is_object());
        match said {
            Some(has_tools) => runner.opens_with(has_tools),
            None => runner.opens(),
        }
        assert_eq!(told_tools(&world), json!({"offered": false, "reason": why}));
        runner.starts(&items[1]);
        runner.ends(&items[1], "end_turn");
        world.message("two");
        let [prompt] = &runner.take()[..] else { panic!() };
        assert_eq!(prompt["body"]["tools"], Value::Null, "an agent without tools needs no token");
    }
    for (more, why) in [(("PG_SYNC_TOOLS", "off"), "off"), (("RUN_TOKEN_KEYS", ""), "no-keys")] {
        let world = world_with(&[more]);
        world.create();
        world.message("hello");
        let items = Runner::of(&world).take();
        assert!(items.iter().all(|item| item["body"].get("tools").is_none()), "{why}");
        assert_eq!(told_tools(&world), json!({"offered": false, "reason": why}));
    }
}
