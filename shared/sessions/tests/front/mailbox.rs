//! Runners that call us, at the front (session-mailbox.md 7.2–7.6, 7.9): only their own tokens are let through, to their own objects.

use database::Database;
use pollster::block_on;
use serde_json::json;
use sessions::front::route::ROUTES;

use crate::world::{Answer, World, request, signed};

const DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn token() -> String {
    format!("lrt_{}_{}", "a".repeat(32), "b".repeat(64))
}

fn routes() -> Vec<(&'static str, String)> {
    let is_runners = |pattern: &str| {
        let rest = pattern.strip_prefix("/runners/:id/").unwrap_or("heartbeat");
        rest != "heartbeat"
    };
    let path = |pattern: &str| pattern.replace(":id", "r%2F1").replace(":session-id", "s").replace(":sha256", DIGEST);
    let found = ROUTES.iter().filter(|route| is_runners(route.pattern));
    found.map(|route| (route.method.as_str(), path(route.pattern))).collect()
}

fn shown(world: &World, method: &str, path: &str, token: &str) -> Answer {
    let mut request = request(method, path, if method == "GET" { "" } else { "{}" });
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("x-runner-attach", "attach".parse().unwrap());
    request.headers_mut().insert("x-runner-key", "theirs".parse().unwrap());
    request.headers_mut().insert("cookie", "theirs".parse().unwrap());
    world.send(request)
}

#[test]
fn other_tokens_are_refused_unread_and_nobody_hears_of_it() {
    let world = World::new(&[("AGENT_RATE_LIMITS", "off")]);
    world.has_runners.set(true);
    assert_eq!(routes().len(), 11);
    for (method, path) in routes() {
        for wrong in ["secret-token", "lrt_x_y", "", &token().to_uppercase()] {
            let answer = shown(&world, method, &path, wrong);
            assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()), "{method} {path} {wrong}");
        }
        let in_query = request(method, &format!("{path}?token={}", token()), "");
        assert_eq!(world.send(in_query).status, 401, "{method} {path}");
    }
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn a_runner_reaches_its_object_and_its_sessions_and_no_header_of_its_own_does() {
    let world = World::new(&[]);
    world.has_runners.set(true);
    for (method, path) in routes() {
        world.sent.borrow_mut().clear();
        let answer = shown(&world, method, &path, &token());
        assert_eq!(answer.status, 200, "{method} {path}");
        let sent = world.sent.borrow();
        let first = &sent[0];
        assert_eq!(first.name, "a".repeat(32), "{path}");
        assert!(first.line.contains(" https://runner/__runner__/"), "{}", first.line);
        assert_eq!((first.header("x-runner-id"), first.header("x-runner-attach")), (Some("r%2F1"), Some("attach")));
        let hash = first.header("x-runner-secret-hash").unwrap();
        assert!(hash.len() == 64 && !hash.contains("bbbb"), "{hash}");
        let goes_on = path.contains("/events") || path.contains("/files/");
        assert_eq!(sent.len(), if goes_on { 2 } else { 1 }, "{path}");
        for sent in sent.iter() {
            assert!(sent.headers.iter().all(|(name, value)| name != "authorization" && value != "theirs"), "{path}");
        }
        if let Some(second) = sent.get(1) {
            assert_eq!((second.name.as_str(), second.header("x-caller")), ("s", Some("service")));
            assert_eq!(second.header("x-runner-key"), Some("a".repeat(32).as_str()));
        }
    }
}

#[test]
fn what_the_object_refuses_reaches_no_session() {
    let world = World::new(&[]);
    world.has_runners.set(true);
    *world.answers.borrow_mut() = Box::new(|_| Some((409, Vec::new())));
    let answer = shown(&world, "POST", "/runners/r/sessions/s/events", &token());
    assert_eq!((answer.status, world.sent.borrow().len()), (409, 1));
}

#[test]
fn whoever_shows_too_many_wrong_tokens_waits() {
    let world = World::new(&[]);
    world.has_runners.set(true);
    *world.answers.borrow_mut() = Box::new(|_| Some((401, Vec::new())));
    for number in 0..30 {
        assert_eq!(shown(&world, "POST", "/runners/r/poll", &token()).status, 401, "{number}");
    }
    let answer = shown(&world, "POST", "/runners/r/poll", &token());
    assert_eq!(answer.refusal(), (429, "rate limited".to_owned()));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(shown(&world, "POST", "/runners/r/sessions/s/events", "lrt_x").status, 429, "whatever is asked for");
    world.now.set(world.now.get() + 61_000);
    assert_eq!(shown(&world, "POST", "/runners/r/poll", &token()).status, 401);
}

#[test]
fn without_the_binding_or_with_the_setting_nobody_may_call() {
    for (has_runners, extra) in [(false, vec![]), (true, vec![("RUNNER_MAILBOX", "off")])] {
        let world = World::new(&extra);
        world.has_runners.set(has_runners);
        let off = (409, "mailbox transport is off".to_owned());
        assert_eq!(shown(&world, "POST", "/runners/r/poll", &token()).refusal(), off);
        let body = json!({
            "runner-id": "r", "transport": "mailbox", "instance-id": "0b9ad6a5-3a6f-4d3c-9d46-0a1b2c3d4e5f",
        });
        assert_eq!(world.call("POST", "/runners", &body.to_string()).refusal(), off);
        assert!(world.call("GET", "/runners", "").headers.get("x-logseq-mailbox").is_none());
    }
    let world = World::new(&[]);
    world.has_runners.set(true);
    assert_eq!(world.send(signed("GET", "/runners", "")).headers["x-logseq-mailbox"], "1");
}

/// Its sessions and its token would be gone, and its agents ended, for a database that is away for a moment.
#[test]
fn a_runner_whose_row_cannot_be_written_stays_a_runner() {
    let world = World::new(&[("AGENT_RATE_LIMITS", "off")]);
    world.has_runners.set(true);
    *world.answers.borrow_mut() = Box::new(|_| Some((200, Vec::new())));
    let body = json!({
        "runner-id": "r", "transport": "mailbox", "instance-id": "0b9ad6a5-3a6f-4d3c-9d46-0a1b2c3d4e5f",
    });
    let asked = |world: &World| {
        let lines = world.sent.borrow().iter().map(|sent| sent.line.clone()).collect::<Vec<_>>();
        lines.into_iter().filter_map(|line| Some(line.split_once("__runner__/")?.1.to_owned())).collect::<Vec<_>>()
    };
    let fails = |world: &World, event: &str| {
        let trigger =
            format!("CREATE TRIGGER fails BEFORE {event} ON agent_runners BEGIN SELECT RAISE(FAIL, 'away'); END");
        block_on(world.db.as_ref().unwrap().execute(&trigger, &[])).unwrap();
    };
    assert_eq!(world.call("POST", "/runners", &body.to_string()).status, 200);
    fails(&world, "UPDATE");
    assert_eq!(world.call("POST", "/runners", &body.to_string()).status, 500);
    assert_eq!(asked(&world), ["register", "register"]);

    // One that nobody knows yet is nobody's.
    let world = World::new(&[("AGENT_RATE_LIMITS", "off")]);
    world.has_runners.set(true);
    *world.answers.borrow_mut() = Box::new(|_| Some((200, Vec::new())));
    fails(&world, "INSERT");
    assert_eq!(world.call("POST", "/runners", &body.to_string()).status, 500);
    assert_eq!(asked(&world), ["register", "revoke"]);
}
