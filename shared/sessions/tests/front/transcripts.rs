//! Transcripts at the front (transcripts.md 4.4, 4.8): who may come in, and what goes on to the object.

use serde_json::{Map, Value};
use transcripts::run_token::{Claims, READ, Run, RunTokens, WRITE};

use crate::world::{NOW, World, request, signed};

fn claims() -> Claims {
    Claims {
        sub: "ann/é".into(),
        sid: "a/b".into(),
        run: Some(Run { run: "run-1".into(), seq: 1 }),
        att: 1,
        ep: 0,
        scope: vec![READ.into(), WRITE.into()],
        iat: NOW / 1_000,
        exp: NOW / 1_000 + 900,
        jti: "j".into(),
        rest: Map::new(),
    }
}

fn token() -> String {
    RunTokens::development().issue(&claims()).unwrap()
}

const ROUTES: [(&str, &str, &str); 7] = [
    ("GET", "/sessions/a%2Fb/transcript?run=run-1&token=t", "GET https://session/__session__/transcript?run=run-1"),
    ("DELETE", "/sessions/a%2Fb/transcript", "DELETE https://session/__session__/transcript"),
    ("PUT", "/sessions/a%2Fb/runs/r%2F1/transcript", "PUT https://session/__session__/transcript/r%2F1"),
    ("POST", "/sessions/a%2Fb/runs/run-1/token", "POST https://session/__session__/transcript-token/run-1"),
    ("GET", "/worker/transcript/snapshot", "GET https://session/__session__/transcript-alias"),
    ("POST", "/worker/transcript/snapshot", "POST https://session/__session__/transcript-alias"),
    ("DELETE", "/worker/transcript/snapshot", "DELETE https://session/__session__/transcript-alias"),
];

/// A route without a case here fails.
#[test]
fn every_route_has_a_case() {
    let of_transcripts = |pattern: &str| pattern.contains("/transcript") || pattern.contains("/runs/");
    assert_eq!(routes().filter(|pattern| of_transcripts(pattern)).count(), ROUTES.len());
}

fn routes() -> impl Iterator<Item = &'static str> {
    sessions::front::route::ROUTES.iter().map(|route| route.pattern)
}

#[test]
fn run_tokens_go_on_as_what_they_say() {
    for (method, path, line) in ROUTES {
        let world = World::new(&[]);
        let mut request = request(method, path, "body");
        request.headers_mut().insert("authorization", format!("Bearer {}", token()).parse().unwrap());
        for name in ["x-terminal-status", "x-attempt", "digest", "range", "content-type", "accept"] {
            request.headers_mut().insert(name, "mine".parse().unwrap());
        }
        for name in ["x-run-claims", "x-user-id", "x-session-id", "x-caller", "cookie"] {
            request.headers_mut().append(name, "forged".parse().unwrap());
        }
        assert_eq!(world.send(request).status, 200, "{method} {path}");
        let sent = world.sent.borrow();
        assert_eq!(
            (sent[0].name.as_str(), sent[0].line.as_str(), sent[0].body.as_slice()),
            ("a/b", line, &b"body"[..])
        );
        let told = web::url::decode(sent[0].header("x-run-claims").unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<Claims>(&told).unwrap(), claims());
        assert_eq!((sent[0].header("x-caller"), sent[0].header("x-user-id")), (Some("run"), Some("ann%2F%C3%A9")));
        assert_eq!((sent[0].header("x-terminal-status"), sent[0].header("digest")), (Some("mine"), Some("mine")));
        assert!(
            sent[0].header("authorization").is_none() && sent[0].headers.iter().all(|(_, value)| value != "forged")
        );
    }
}

#[test]
fn users_read_and_reset_and_nothing_else() {
    let world = World::new(&[]);
    for (at, (method, path, _)) in ROUTES.iter().enumerate() {
        let status = if at < 2 { 200 } else { 401 };
        let answer = world.send(signed(method, path, ""));
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(world.send(request(method, path, "")).status, 401, "{method} {path} of a stranger");
        // The alias says no more than 7.2 does.
        let is_alias = path.starts_with("/worker/");
        assert_eq!(status == 401 && answer.json().get("code").is_none(), is_alias, "{method} {path}");
    }
    assert!(
        world
            .sent
            .borrow()
            .iter()
            .all(|sent| sent.header("x-run-claims").is_none() && sent.header("x-caller") == Some("user"))
    );
}

#[test]
fn tokens_open_their_own_session_only() {
    let world = World::new(&[]);
    for path in ["/sessions/other/transcript", "/sessions/a/transcript", "/sessions/a%2Fb/"] {
        let mut request = request("GET", path, "");
        request.headers_mut().insert("authorization", format!("Bearer {}", token()).parse().unwrap());
        let answer = world.send(request);
        assert!(answer.status == 403 || answer.status == 401, "{path}: {}", answer.status);
    }
    // Elsewhere a run token is none.
    for path in ["/sessions/a%2Fb", "/sessions/a%2Fb/events", "/sessions", "/runners"] {
        let mut request = request("GET", path, "");
        request.headers_mut().insert("authorization", format!("Bearer {}", token()).parse().unwrap());
        assert_eq!(world.send(request).status, 401, "{path}");
    }
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn without_keys_there_are_no_tokens() {
    let cognito = [
        ("DB_SYNC_AUTH_DRIVER", "cognito"),
        ("COGNITO_ISSUER", "https://cognito-idp.eu-west-1.amazonaws.com/pool"),
        ("COGNITO_CLIENT_ID", "client"),
        ("COGNITO_JWKS_URL", "https://keys.test/jwks.json"),
    ];
    let world = World::new(&cognito);
    let mut request = request("GET", "/worker/transcript/snapshot", "");
    request.headers_mut().insert("authorization", format!("Bearer {}", token()).parse().unwrap());
    let answer = world.send(request);
    assert_eq!((answer.status, answer.json()["error"].clone()), (503, Value::from("secrets key not configured")));
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn other_paths_are_no_routes() {
    let world = World::new(&[]);
    for (method, path) in [
        ("PUT", "/worker/transcript/snapshot"),
        ("GET", "/worker/transcript"),
        ("GET", "/worker/transcript/snapshot/x"),
        ("POST", "/sessions/s/transcript"),
        ("GET", "/sessions/s/runs/run-1/transcript"),
        ("PUT", "/sessions/s/runs//transcript"),
        ("GET", "/sessions/s/runs/run-1/token"),
        ("PUT", "/sessions/s/runs/run-1/transcript/x"),
    ] {
        assert_eq!(world.send(signed(method, path, "")).status, 404, "{method} {path}");
    }
    assert_eq!(world.send(signed("GET", "/worker", "")).status, 404);
    assert!(world.sent.borrow().is_empty());
}
