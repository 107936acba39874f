//! Tools of agents at the front (pg-sync.md 4.12): who may ask at all, and what goes on to the object.

use std::rc::Rc;

use http::Request;
use serde_json::{Value, json};
use sessions::front::route::ROUTES;
use transcripts::limits::TOOL_TOKEN_S;
use transcripts::run_token::RunTokens;
use transcripts::tool_token::Claims;

use crate::world::{Answer, Body, NOW, World, request, signed};

const PATH: &str = "/sessions/a%2Fb/mcp";
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

fn claims() -> Claims {
    Claims::new("ann/é", "a/b", 1, NOW / 1_000)
}

fn token(claims: &Claims) -> String {
    claims.token(&RunTokens::development()).unwrap()
}

fn with(mut request: Request<Body>, headers: &[(&'static str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn asked(method: &str, token: &str, more: &[(&'static str, &str)]) -> Request<Body> {
    let bearer = format!("Bearer {token}");
    let own = [("authorization", bearer.as_str()), ("accept", "application/json, text/event-stream")];
    with(request(method, PATH, PING), &[&own[..], more].concat())
}

fn status(answer: &Answer) -> u16 {
    answer.status
}

#[test]
fn a_call_goes_on_with_what_the_token_says() {
    let world = World::new(&[]);
    let forged =
        [("x-tool-claims", "forged"), ("x-caller", "service"), ("x-user-id", "bob"), ("x-session-id", "other")];
    assert_eq!(status(&world.send(asked("POST", &token(&claims()), &forged))), 200);
    let sent = world.sent.borrow();
    assert_eq!((sent[0].name.as_str(), sent[0].body.as_slice()), ("a/b", PING.as_bytes()));
    assert_eq!(sent[0].line, "POST https://session/__session__/mcp");
    let told = web::url::decode(sent[0].header("x-tool-claims").unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Claims>(&told).unwrap(), claims());
    assert_eq!((sent[0].header("x-caller"), sent[0].header("x-session-id")), (Some("tool"), Some("a%2Fb")));
    assert!(sent[0].header("authorization").is_none() && sent[0].header("accept").is_none());
}

#[test]
fn nobody_else_is_heard() {
    let world = World::new(&[]);
    let other_key = RunTokens::parse(&format!("development:{}=", "A".repeat(43))).unwrap();
    let run = json!({"sub": "ann/é", "sid": "a/b", "scope": ["tools:call"], "iat": NOW / 1_000, "exp": NOW / 1_000 + 900, "jti": "j"});
    let run = RunTokens::development().issue(&serde_json::from_value(run).unwrap()).unwrap();
    let old = Claims::new("ann/é", "a/b", 1, NOW / 1_000 - TOOL_TOKEN_S);
    for token in [
        token(&Claims { sid: "other".into(), ..claims() }),
        token(&old),
        claims().token(&other_key).unwrap(),
        token(&claims()).replace('.', ""),
        run,
        "secret-token".to_owned(),
        String::new(),
    ] {
        let request = asked("POST", &token, &[]);
        let read = Rc::clone(&request.body().read);
        let answer = world.send(request);
        assert_eq!((status(&answer), read.get()), (401, 0), "{token}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        assert!(answer.headers.get("set-cookie").is_none());
    }
    let path = format!("{PATH}?token={}", token(&claims()));
    let in_query = with(request("POST", &path, PING), &[("accept", "application/json")]);
    assert_eq!(status(&world.send(in_query)), 401, "a token in a query stands in logs");
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn heads_that_the_protocol_does_not_have() {
    let world = World::new(&[("PUBLIC_BASE_URL", "https://agents.example/below")]);
    let own = token(&claims());
    for method in ["GET", "PUT", "DELETE"] {
        let answer = world.send(asked(method, &own, &[]));
        assert_eq!((status(&answer), answer.headers["allow"].to_str().unwrap()), (405, "POST"), "{method}");
    }
    assert_eq!(status(&world.send(asked("PATCH", &own, &[]))), 401, "no route, and a token that opens no other");
    for (headers, expected) in [
        (("origin", "https://agents.example"), 200),
        (("origin", "https://agents.test"), 403),
        (("origin", "null"), 403),
        (("accept", "text/event-stream"), 406),
        (("accept", "*/*"), 200),
        (("mcp-protocol-version", "2025-06-18"), 200),
        (("mcp-protocol-version", "1999-01-01"), 400),
    ] {
        let answer = world.send(asked("POST", &own, &[headers]));
        assert_eq!(status(&answer), expected, "{headers:?}");
    }
    assert_eq!(world.sent.borrow().len(), 3);
    for method in ["OPTIONS", "HEAD"] {
        assert_eq!(status(&world.send(request(method, PATH, ""))), 204);
    }
}

/// What an agent holds opens the tools of its session and the three routes that do the same, and nothing else there is.
#[test]
fn the_token_opens_nothing_else() {
    let world = World::new(&[("AGENT_RATE_LIMITS", "off")]);
    world.has_runners.set(true);
    let own = token(&claims());
    let opens = |method: &str, pattern: &str| {
        matches!(
            (method, pattern),
            ("POST" | "GET", "/sessions/:id/pg-sync") | ("DELETE", "/sessions/:id/pg-sync/:source-id")
        )
    };
    let mut opened = 0;
    for route in ROUTES.iter().filter(|route| route.pattern != "/sessions/:id/mcp") {
        let is_open = matches!(route.pattern, "/agents/openapi.json");
        let path: Vec<&str> =
            route.pattern.split('/').map(|part| if part.starts_with(':') { "a%2Fb" } else { part }).collect();
        let (method, path) = (route.method.as_str(), path.join("/"));
        let body = r#"{"connection":"main","table":"t"}"#;
        let bearer = format!("Bearer {own}");
        let answer = world.send(with(request(method, &path, body), &[("authorization", &bearer)]));
        if opens(method, route.pattern) {
            assert_eq!(answer.status, 200, "{method} {path}");
            opened += 1;
        } else if !is_open {
            assert!(matches!(answer.status, 401 | 404), "{method} {path}: {}", answer.status);
        }
        let answer = world.send(request(method, &format!("{path}?token={own}"), body));
        assert!(is_open || matches!(answer.status, 401 | 404), "{method} {path} with a query: {}", answer.status);
    }
    assert_eq!(opened, 3);
    let sent = world.sent.borrow();
    let callers: Vec<_> = sent.iter().filter(|sent| sent.name == "a/b").map(|sent| sent.header("x-caller")).collect();
    assert_eq!(callers, [Some("tool"); 3], "no other object hears of it");
    drop(sent);
    // Those of another session it does not open either.
    let bearer = format!("Bearer {own}");
    let answer = world.send(with(request("GET", "/sessions/other/pg-sync", ""), &[("authorization", &bearer)]));
    assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()));
}

#[test]
fn without_keys_no_token_counts() {
    let cognito = [
        ("DB_SYNC_AUTH_DRIVER", "cognito"),
        ("COGNITO_ISSUER", "https://cognito-idp.eu-west-1.amazonaws.com/pool"),
        ("COGNITO_CLIENT_ID", "client"),
        ("COGNITO_JWKS_URL", "https://keys.test/jwks.json"),
    ];
    assert_eq!(status(&World::new(&cognito).send(asked("POST", &token(&claims()), &[]))), 401);
}

#[test]
fn an_agent_asks_so_often_and_takes_nothing_from_people() {
    let world = World::new(&[]);
    for _ in 0..120 {
        assert_eq!(status(&world.send(asked("POST", &token(&claims()), &[]))), 200);
    }
    let refused = world.send(asked("POST", &token(&claims()), &[]));
    assert_eq!(refused.refusal(), (429, "rate limited".to_owned()));
    assert!(refused.headers.contains_key("retry-after"));
    let bearer = format!("Bearer {}", token(&claims()));
    let by_route = with(request("DELETE", "/sessions/a%2Fb/pg-sync/o", ""), &[("authorization", &bearer)]);
    assert_eq!(status(&world.send(by_route)), 429, "one rate for both ways");
    assert_eq!(status(&world.send(signed("DELETE", "/sessions/a%2Fb/pg-sync/o", ""))), 200);
}

/// The whole way: a session that was created, its object, and the answers of the protocol.
#[test]
fn the_object_answers() {
    let mut world = World::new(&[("AGENT_RATE_LIMITS", "off")]);
    world.objects = Some(crate::objects::Objects::new(world.db.clone().unwrap(), || crate::world::settings(&[])));
    let body = r#"{"session-id":"a/b","node-id":"n","node-title":"T","content":"Do it.","attachments":[],
        "project":{"id":"p","title":"P","repo-url":"https://example.test/p"},"agent":{"provider":"claude"},"runtime-provider":"local-dev"}"#;
    assert_eq!(world.call("POST", "/sessions", body).status, 200);
    let own = Claims::new("ann/é", "a/b", 1, NOW / 1_000);
    let call = |body: &str| {
        let mut request = asked("POST", &token(&own), &[]);
        request.body_mut().chunks = [body.as_bytes().to_vec()].into();
        let answer = world.send(request);
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        (answer.status, json)
    };
    assert_eq!(call(PING), (200, json!({"jsonrpc": "2.0", "id": 1, "result": {}})));
    assert_eq!(call(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), (202, Value::Null));
    assert_eq!(call("{").0, 400);
    assert_eq!(call(&format!("[{PING}]")).0, 400);
    assert_eq!(call(&" ".repeat(65 << 10)).0, 413);
    let (_, told) = call(r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#);
    assert_eq!(told["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(told["result"]["serverInfo"]["name"], "logseq");
    // Another runtime than the present one has no say.
    let later = Claims { generation: 2, ..own.clone() };
    assert_eq!(status(&world.send(asked("POST", &token(&later), &[]))), 401);
}
