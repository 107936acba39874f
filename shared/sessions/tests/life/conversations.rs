//! The conversation of a session on runners that call us (session-mailbox.md 7.4, 7.5, transcripts.md 4.6–4.8): who may store it, and that it
//! goes with the session, wherever that goes.

use serde_json::{Value, json};
use transcripts::bundle::Described;
use transcripts::run_token::{Claims, READ, Run, RunTokens, WRITE};
use transcripts::{Bundle, archive};

use crate::mailbox::{Runner, count, kinds_of, world, world_with};
use crate::platform::Body;
use crate::world::World;

const KEYS: &str = "k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const DAY: i64 = 24 * 60 * 60 * 1_000;
const E2B: &str = "e2b";

/// What the agent has written of a conversation.
fn written(text: &str) -> Bundle {
    let described = Described {
        agent: "claude".into(),
        native_session_id: "conversation".into(),
        cwd: "/home/user/workspace/repo".into(),
        ..Described::default()
    };
    let file = (".claude/projects/x/conversation.jsonl".to_owned(), 0o600, text.as_bytes().to_vec());
    Bundle::new(described, vec![file], 1 << 20).unwrap()
}

fn claims(world: &World, token: &str) -> Claims {
    RunTokens::parse(KEYS).unwrap().verify(token, world.clock.now.get()).unwrap()
}

/// A session in a world that keeps conversations, whose runner has begun the turn of its first message; what it was given for it.
fn begun<'a>(world: &'a World, message: &str) -> (Runner<'a>, Value) {
    world.has_objects();
    world.create();
    world.message(message);
    let runner = Runner::of(world);
    let prompt = runner.begins();
    runner.starts(&prompt);
    (runner, prompt)
}

/// What a sandbox is given for a run.
fn of_sandbox(run: u64) -> Claims {
    Claims {
        sub: "ann".into(),
        sid: "s".into(),
        run: Some(Run { run: format!("run-{run}"), seq: run }),
        att: 1,
        ep: 0,
        scope: vec![READ.into(), WRITE.into()],
        iat: 0,
        exp: 1,
        jti: "j".into(),
        rest: serde_json::Map::new(),
    }
}

/// The holder of a token asks, as the service sends it on.
fn ask(world: &World, claims: &Claims, method: &str, path: &str, body: Option<&Bundle>) -> (u16, Vec<u8>) {
    ask_as(world, claims, method, path, body, "completed")
}

fn ask_as(
    world: &World,
    claims: &Claims,
    method: &str,
    path: &str,
    body: Option<&Bundle>,
    status: &str,
) -> (u16, Vec<u8>) {
    let mut request = http::Request::new(Body(body.map(|bundle| archive::write(bundle).unwrap())));
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = format!("https://session/__session__/{path}").parse().unwrap();
    let told = web::url::encode(&serde_json::to_string(claims).unwrap());
    let headers = [("x-session-id", "s"), ("x-user-id", "ann"), ("x-caller", "run"), ("x-run-claims", &told)];
    let more = [("accept", "application/x-tar"), ("content-type", "application/x-tar")];
    for (name, value) in headers.into_iter().chain(more).chain([("x-terminal-status", status)]) {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    world.answer(request).unwrap()
}

/// Stores what the agent has written by the end of a run.
fn keep(world: &World, claims: &Claims, run: u64, bundle: &Bundle) -> u16 {
    ask(world, claims, "PUT", &format!("transcript/run-{run}"), Some(bundle)).0
}

fn told_of(world: &World) -> Vec<String> {
    let told = world.events().into_iter().filter(|event| event["type"].as_str().unwrap().starts_with("transcript."));
    told.map(|event| format!("{} {}", event["type"].as_str().unwrap(), event["data"]["run"].as_str().unwrap()))
        .collect()
}

/// A turn on a runner that has opened the session, kept with its token.
fn turn(world: &World, runner: &Runner<'_>, prompt: &Value, text: &str) {
    runner.starts(prompt);
    let run = prompt["body"]["run"].as_u64().unwrap();
    let token = claims(world, prompt["body"]["run-token"].as_str().unwrap());
    runner.ends(prompt, "end_turn");
    assert_eq!(keep(world, &token, run, &written(text)), 200, "run {run}");
}

/// The session goes elsewhere; its runner, if it has one, lets it go.
fn goes(world: &World, from: Option<&Runner<'_>>, to: &Value) {
    let (status, body) = world.ask("POST", "move", Some(to));
    if let Some(runner) = from {
        assert_eq!(status, 0, "it waits for its runner: {body}");
        assert_eq!(kinds_of(&runner.take()), ["session.close"]);
        runner.say("closed", &json!({"transcript": null}));
        world.pass(1_000);
    } else {
        assert_eq!((status, body), (200, json!({"ok": true})));
    }
}

fn to_runner(id: &str) -> Value {
    json!({"runtime-provider": "local-runner", "runner-id": id, "force": false})
}

/// transcripts.md 4.7: whoever runs the agent stores it as `failed`, and the session tells its people.
#[test]
fn a_conversation_that_a_runner_could_not_keep_whole_is_told_once() {
    let world = world_with(&[]);
    world.has_objects();
    world.create();
    world.message("one");
    let runner = Runner::of(&world);
    let items = runner.take();
    runner.opens_as("conversation", false);
    runner.starts(&items[1]);
    let token = claims(&world, items[1]["body"]["run-token"].as_str().unwrap());
    runner.ends(&items[1], "end_turn");
    let half = written("{\"content\":[{\"type\":\"tool_use\",\"id\":\"t\"}]}\n");
    for _ in 0..2 {
        assert_eq!(ask_as(&world, &token, "PUT", "transcript/run-1", Some(&half), "failed").0, 200);
        assert_eq!(told_of(&world), ["transcript.incomplete run-1"]);
    }
}

#[test]
fn a_conversation_goes_from_a_runner_to_a_sandbox_and_back_and_to_another_runner() {
    let world = world_with(&[("E2B_API_KEY", "e2b-key")]);
    world.has_objects();
    world.agent.borrow_mut().loads = true;
    world.create();
    world.message("one");
    let runner = Runner::of(&world);
    let items = runner.take();
    assert_eq!(kinds_of(&items), ["session.open", "prompt"]);
    let open = &items[0]["body"];
    assert_eq!((&open["resume"], &open["run-token"]), (&Value::Null, &Value::Null), "there is none yet");
    assert_eq!((&open["conversation"], &items[1]["body"]["recovery"]), (&Value::Null, &Value::Null));
    runner.opens_as("conversation", false);
    turn(&world, &runner, &items[1], "1\n");

    goes(&world, Some(&runner), &json!({"runtime-provider": E2B, "force": false}));
    assert_eq!(world.ask("GET", "status", None).1["runtime-provider"], E2B);
    {
        let agent = world.agent.borrow();
        let [(run, bundle)] = agent.loaded.as_slice() else { panic!("{} were loaded", agent.loaded.len()) };
        assert_eq!((*run, bundle.sha256()), (1, written("1\n").sha256()));
    }
    world.message("two");
    world.pass(1_000);
    assert_eq!(world.agent.borrow().prompts["two"], 1, "it needs nothing told again");
    assert_eq!(keep(&world, &of_sandbox(2), 2, &written("1\n2\n")), 200);
    world.agent.borrow_mut().finish("end_turn");
    world.pass(1_000);

    goes(&world, None, &to_runner("r"));
    world.message("three");
    let runner = Runner::named(&world, "r", "m2");
    let items = runner.take();
    assert_eq!(kinds_of(&items), ["session.open", "prompt"]);
    let open = &items[0]["body"];
    let second = written("1\n2\n");
    assert_eq!(open["resume"], json!({"run": 2, "epoch": 0, "sha256": second.sha256()}));
    assert_eq!(open["cwd"], "/home/user/workspace/repo");
    // It fetches what it is to go on with, and may do nothing else.
    let token = claims(&world, open["run-token"].as_str().unwrap());
    assert_eq!((token.run.as_ref(), token.scope.as_slice()), (None, &[READ.to_owned()][..]));
    let (status, bytes) = ask(&world, &token, "GET", "transcript", None);
    assert_eq!((status, archive::read(&bytes, 1 << 20).unwrap().sha256()), (200, second.sha256()));
    assert_eq!(keep(&world, &token, 2, &second), 403);
    assert_eq!(ask(&world, &token, "DELETE", "transcript", None).0, 403);
    runner.opens_as("conversation", true);
    turn(&world, &runner, &items[1], "1\n2\n3\n");

    goes(&world, Some(&runner), &to_runner("other"));
    world.message("four");
    let other = Runner::named(&world, "other", "m3");
    let items = other.take();
    assert_eq!(items[0]["body"]["resume"]["run"], 3);
    other.opens_as("conversation", true);
    turn(&world, &other, &items[1], "1\n2\n3\n4\n");
    assert_eq!(told_of(&world), ["transcript.loaded run-1", "transcript.loaded run-2", "transcript.loaded run-3"]);
    assert_eq!((count(&world, "session.runner.moved"), count(&world, "agent.runtime.error")), (3, 0));
    assert_eq!(world.ask("GET", "status", None).1["runner"]["runner-id"], "other");
}

/// transcripts.md 4.8: whoever had no line to us when its turn ended stores its conversation later.
#[test]
fn a_run_that_has_ended_may_be_stored_for_a_day_by_the_runner_that_had_it() {
    let world = world();
    let (runner, prompt) = begun(&world, "hello");
    let lease = runner.lease.get();
    assert_eq!(claims(&world, &runner.token(lease, 1).unwrap()).scope.len(), 3, "everything, while it runs");
    runner.ends(&prompt, "end_turn");
    world.pass(DAY - 1_000);
    let token = claims(&world, &runner.token(lease, 1).unwrap());
    assert_eq!(token.scope, [WRITE]);
    assert_eq!((runner.token(lease, 2), runner.token(lease + 1, 1)), (None, None), "no run of its own, and no lease");
    assert_eq!(keep(&world, &token, 1, &written("1\n")), 200);
    world.pass(2_000);
    assert_eq!(runner.token(lease, 1), None);
    assert_eq!(keep(&world, &token, 1, &written("1\n2\n")), 401, "nor is it taken any more");
}

#[test]
fn a_conversation_that_was_begun_anew_is_not_brought_back_by_a_runner_that_was_away() {
    let world = world();
    let (runner, prompt) = begun(&world, "hello");
    let early = claims(&world, prompt["body"]["run-token"].as_str().unwrap());
    runner.ends(&prompt, "end_turn");
    assert_eq!(world.ask("DELETE", "transcript", None).0, 200);
    assert_eq!(runner.token(runner.lease.get(), 1), None);
    assert_eq!(keep(&world, &early, 1, &written("1\n")), 410, "it is of an epoch that is over");
    assert_eq!(count(&world, "transcript.reset"), 1);
}

/// transcripts.md 4.6: an agent that does not load the conversation is told the end of it, which its shim has when it finds that out.
#[test]
fn whoever_does_not_load_the_conversation_has_its_end_as_text() {
    let world = world();
    let (runner, prompt) = begun(&world, "what is seven");
    runner.speaks("A number.");
    let token = claims(&world, prompt["body"]["run-token"].as_str().unwrap());
    runner.ends(&prompt, "end_turn");
    assert_eq!(keep(&world, &token, 1, &written("1\n")), 200);
    goes(&world, Some(&runner), &to_runner("other"));
    world.message("and eight");
    let other = Runner::named(&world, "other", "m2");
    let items = other.take();
    assert_eq!(kinds_of(&items), ["session.open", "prompt"], "it has the prompt before it knows");
    let body = &items[1]["body"];
    assert_eq!(body["content"], json!([{"type": "text", "text": "and eight"}]));
    let before = body["recovery"].as_str().unwrap();
    assert!(before.contains("User: what is seven\n\nYou: A number.") && !before.contains("and eight"), "{before}");
    other.opens_as("another", false);
    assert_eq!(told_of(&world), ["transcript.load_failed run-1"]);
    other.starts(&items[1]);
    other.ends(&items[1], "end_turn");
    assert_eq!(count(&world, "turn.completed"), 2);
}

/// transcripts.md 4.5: an agent that is at it goes on with what it has; any other one forgets.
#[test]
fn a_conversation_that_is_begun_anew_is_forgotten_by_the_agent_that_gets_the_next_prompt() {
    let world = world();
    world.has_objects();
    world.create();
    world.message("one");
    let runner = Runner::of(&world);
    let prompt = runner.begins();
    let reset = || assert_eq!(world.ask("DELETE", "transcript", None).0, 200);
    // Somebody has the prompt, who may have begun.
    reset();
    runner.starts(&prompt);
    runner.ends(&prompt, "end_turn");
    world.message("two");
    let prompt = runner.take().remove(0);
    assert_eq!(prompt["body"]["conversation"], Value::Null);
    runner.starts(&prompt);
    runner.ends(&prompt, "end_turn");
    // Nobody is at it; or nobody has the prompt yet.
    reset();
    world.message("three");
    reset();
    let prompt = runner.take().remove(0);
    assert_eq!(prompt["body"]["conversation"], 2);
    runner.starts(&prompt);
    runner.ends(&prompt, "end_turn");
    goes(&world, Some(&runner), &to_runner("other"));
    let items = Runner::named(&world, "other", "m2").take();
    assert_eq!((kinds_of(&items), &items[0]["body"]["conversation"]), (vec!["session.open"], &json!(2)));
}
