//! Git's credentials at the front (agents.md 20.6): who may ask at all, and what goes on to the object.

use serde_json::{Map, Value};
use transcripts::run_token::{Claims, GIT, RunTokens};

use crate::world::{Answer, NOW, World, request, signed};

const BROKER: (&str, &str) = ("AGENT_GIT_CREDENTIALS", "broker");
const PATH: &str = "/sessions/a%2Fb/git-credentials";
const QUESTION: &str = "protocol=https\nhost=github.com\npath=acme/project.git\n";

fn claims() -> Claims {
    Claims {
        sub: "ann/é".into(),
        sid: "a/b".into(),
        run: None,
        att: 1,
        ep: 0,
        scope: vec![GIT.into()],
        iat: NOW / 1_000,
        exp: NOW / 1_000 + 900,
        jti: "j".into(),
        rest: Map::from_iter([("sandbox".to_owned(), Value::from("box"))]),
    }
}

fn ask(world: &World, path: &str, token: &str) -> Answer {
    let mut request = request("POST", path, QUESTION);
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request.headers_mut().insert("x-run-claims", "forged".parse().unwrap());
    world.send(request)
}

fn token(claims: &Claims) -> String {
    RunTokens::development().issue(claims).unwrap()
}

#[test]
fn the_question_goes_on_with_what_the_token_says() {
    let world = World::new(&[BROKER]);
    assert_eq!(ask(&world, PATH, &token(&claims())).status, 200);
    let sent = world.sent.borrow();
    assert_eq!((sent[0].name.as_str(), sent[0].body.as_slice()), ("a/b", QUESTION.as_bytes()));
    assert_eq!(sent[0].line, "POST https://session/__session__/git-credentials");
    let told = web::url::decode(sent[0].header("x-run-claims").unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Claims>(&told).unwrap(), claims());
    assert!(sent[0].header("authorization").is_none());
}

#[test]
fn nobody_else_is_heard() {
    let world = World::new(&[BROKER]);
    let expired = Claims { iat: NOW / 1_000 - 901, exp: NOW / 1_000 - 1, ..claims() };
    let other_key = RunTokens::parse(&format!("development:{}=", "A".repeat(43))).unwrap();
    for (token, status) in [
        (token(&expired), 401),
        (other_key.issue(&claims()).unwrap(), 401),
        (token(&claims()).replace('.', ""), 401),
        ("secret-token".to_owned(), 401),
        (token(&Claims { sid: "other".into(), ..claims() }), 404),
    ] {
        assert_eq!(ask(&world, PATH, &token).status, status, "{token}");
    }
    assert_eq!(world.send(signed("POST", PATH, QUESTION)).refusal(), (401, "unauthorized".to_owned()), "a user");
    assert_eq!(world.send(request("POST", PATH, QUESTION)).status, 401, "a stranger");
    assert_eq!(world.send(request("POST", &format!("{PATH}?token={}", token(&claims())), QUESTION)).status, 401);
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(world.send(signed(method, PATH, "")).status, 404, "{method}");
    }
    assert!(world.sent.borrow().is_empty());
    // The token opens nothing else.
    for path in ["/sessions/a%2Fb", "/sessions/a%2Fb/messages", "/sessions"] {
        assert_eq!(ask(&world, path, &token(&claims())).status, 401, "{path}");
    }
}

#[test]
fn where_nothing_is_brokered_there_is_no_such_thing() {
    for setting in [("AGENT_GIT_CREDENTIALS", "env"), ("AGENT_GIT_CREDENTIALS", "")] {
        let world = World::new(&[setting]);
        assert_eq!(ask(&world, PATH, &token(&claims())).refusal(), (404, "not found".to_owned()));
        assert!(world.sent.borrow().is_empty());
    }
}

#[test]
fn without_keys_it_cannot_be_served() {
    let cognito = [
        BROKER,
        ("DB_SYNC_AUTH_DRIVER", "cognito"),
        ("COGNITO_ISSUER", "https://cognito-idp.eu-west-1.amazonaws.com/pool"),
        ("COGNITO_CLIENT_ID", "client"),
        ("COGNITO_JWKS_URL", "https://keys.test/jwks.json"),
    ];
    let answer = ask(&World::new(&cognito), PATH, &token(&claims()));
    assert_eq!(answer.refusal(), (503, "secrets key not configured".to_owned()));
}

#[test]
fn a_session_asks_thirty_times_a_minute() {
    let world = World::new(&[BROKER]);
    for _ in 0..30 {
        assert_eq!(ask(&world, PATH, &token(&claims())).status, 200);
    }
    let refused = ask(&world, PATH, &token(&claims()));
    assert_eq!(refused.refusal(), (429, "rate limited".to_owned()));
    assert!(refused.headers.contains_key("retry-after"));
    let other = Claims { sid: "other".into(), ..claims() };
    assert_eq!(ask(&world, "/sessions/other/git-credentials", &token(&other)).status, 200, "each for itself");
}
