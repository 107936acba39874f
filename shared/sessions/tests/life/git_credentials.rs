//! Tokens with which git in a sandbox asks for its credentials (agents.md 20.6): when they are made, and which of them count.

use serde_json::{Value, json};
use transcripts::run_token::{Claims, RunTokens};

use crate::platform::Body;
use crate::settings_with;
use crate::world::World;

pub(crate) const KEYS: (&str, &str) = ("RUN_TOKEN_KEYS", "k:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
pub(crate) const BROKER: (&str, &str) = ("AGENT_GIT_CREDENTIALS", "broker");
pub(crate) const OWN: &str = "protocol=https\nhost=github.com\npath=acme/project.git\n";
/// Without an App there is no token to give: whoever may have one is told so much.
pub(crate) const MAY: u16 = 500;

fn world(settings: &[(&str, &str)]) -> World {
    let world = World::new(settings_with(settings), "e2b");
    let (status, body) =
        world.create_with(|body| body["project"]["repo-url"] = json!("https://github.com/acme/project"));
    assert_eq!(status, 200, "{body}");
    world
}

/// What the last token says.
fn claims(world: &World) -> Claims {
    let (at, file) = world.agent.borrow().brokered.last().cloned().unwrap();
    let token = file.split("Bearer ").nth(1).unwrap().split('"').next().unwrap();
    RunTokens::parse(KEYS.1).unwrap().verify(token, at).unwrap()
}

pub(crate) fn ask(world: &World, claims: &Claims, question: &str) -> u16 {
    let mut request = http::Request::new(Body(Some(question.as_bytes().to_vec())));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = "https://session/__session__/git-credentials".parse().unwrap();
    let told = web::url::encode(&serde_json::to_string(claims).unwrap());
    for (name, value) in [("x-session-id", "s"), ("x-user-id", "ann"), ("x-caller", "run"), ("x-run-claims", &told)] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    world.answer(request).unwrap().0
}

#[test]
fn each_turn_has_a_token_of_its_own_and_earlier_ones_are_worth_nothing() {
    let world = world(&[KEYS, BROKER]);
    let before = claims(&world);
    assert_eq!((before.run.is_none(), before.scope.as_slice()), (true, &["git:token".to_owned()][..]));
    assert_eq!(ask(&world, &before, OWN), MAY, "a clone needs it before any turn");
    world.message("first");
    world.pass(1_000);
    let first = claims(&world);
    assert_eq!(first.run.as_ref().map(|run| run.seq), Some(1));
    assert_eq!((ask(&world, &before, OWN), ask(&world, &first, OWN)), (404, MAY));
    world.agent.borrow_mut().finish("first");
    world.pass(1_000);
    assert_eq!(ask(&world, &first, OWN), MAY, "whoever works in a terminal has it until it expires");
    world.message("second");
    world.pass(1_000);
    let second = claims(&world);
    assert_eq!((ask(&world, &first, OWN), ask(&world, &second, OWN)), (404, MAY));
}

#[test]
fn only_this_user_s_token_for_this_sandbox_and_this_repository_counts() {
    let world = world(&[KEYS, BROKER]);
    world.message("first");
    world.pass(1_000);
    let own = claims(&world);
    let bound =
        |sandbox: Value| Claims { rest: serde_json::Map::from_iter([("sandbox".to_owned(), sandbox)]), ..own.clone() };
    let mut ahead = own.clone();
    ahead.run.as_mut().unwrap().seq = 2;
    for (what, claims) in [
        ("another session", Claims { sid: "t".into(), ..own.clone() }),
        ("another user", Claims { sub: "bob".into(), ..own.clone() }),
        ("another scope", Claims { scope: vec!["transcript:read".into(), "transcript:write".into()], ..own.clone() }),
        ("no scope", Claims { scope: Vec::new(), ..own.clone() }),
        ("no run", Claims { run: None, ..own.clone() }),
        ("a run to come", ahead),
        ("another sandbox", bound("other".into())),
        ("no sandbox", Claims { rest: serde_json::Map::new(), ..own.clone() }),
        ("odd", bound(json!({"box": true}))),
    ] {
        assert_eq!(ask(&world, &claims, OWN), 404, "{what}");
    }
    for question in [OWN.replace("project", "other"), OWN.replace("github.com", "evil.example"), String::new()] {
        assert_eq!(ask(&world, &own, &question), 404, "{question}");
    }
    assert_eq!(ask(&world, &own, &"x".repeat(20 << 10)), 413);
    assert_eq!(ask(&world, &own, OWN), MAY);
}

#[test]
fn a_session_that_ended_or_was_put_away_gives_nothing() {
    for verb in ["cancel", "archive"] {
        let world = world(&[KEYS, BROKER]);
        let own = claims(&world);
        assert_eq!(ask(&world, &own, OWN), MAY);
        assert_eq!(world.ask("POST", verb, None).0, 200, "{verb}");
        world.pass(5_000);
        assert_eq!(ask(&world, &own, OWN), 404, "{verb}");
    }
    let world = world(&[KEYS, BROKER]);
    let own = claims(&world);
    world.delete();
    assert_eq!(ask(&world, &own, OWN), 404);
}

#[test]
fn a_long_turn_gets_a_new_token_every_ten_minutes() {
    let world = world(&[KEYS, BROKER]);
    world.message("long");
    world.pass(1_000);
    let began = world.agent.borrow().brokered.len();
    for _ in 0..25 {
        world.pass(60_000);
    }
    let times: Vec<i64> = world.agent.borrow().brokered.iter().map(|(at, _)| *at).collect();
    let renewed = &times[began - 1..];
    assert_eq!(renewed.len(), 3, "{renewed:?}");
    // One lives for fifteen minutes: none expires before the next is there.
    assert!(renewed.windows(2).all(|pair| (600_000..=720_000).contains(&(pair[1] - pair[0]))), "{renewed:?}");
    assert_eq!(ask(&world, &claims(&world), OWN), MAY);
    world.agent.borrow_mut().finish("long");
    world.pass(16 * 60_000);
    assert_eq!(world.agent.borrow().brokered.len(), times.len(), "a session that rests asks for nothing");
}

#[test]
fn by_itself_nothing_is_brokered_and_without_keys_no_session_begins() {
    let plain = world(&[KEYS]);
    assert!(plain.agent.borrow().brokered.is_empty());
    let unkeyed = World::new(settings_with(&[BROKER]), "e2b");
    let (status, body) =
        unkeyed.create_with(|body| body["project"]["repo-url"] = json!("https://github.com/acme/project"));
    assert_eq!((status, &body["error"]), (503, &json!("secrets key not configured")));
    // Elsewhere than at GitHub there is nothing to be brokered.
    let other = World::new(settings_with(&[BROKER]), "e2b");
    assert_eq!(other.create_with(|body| body["project"]["repo-url"] = json!("https://example.test/a")).0, 200);
    assert!(other.agent.borrow().brokered.is_empty());
}
