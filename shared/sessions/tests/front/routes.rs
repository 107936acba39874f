//! Order of checks, forwarding, hostile requests and limits (agents.md 2.1, 2.5, 2.8, 18.1).

use std::rc::Rc;

use crate::world::{NOW, World, request, signed};

const KEY: (&str, &str) = ("MANAGED_AUTH_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");

fn refused(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[test]
fn checks_have_an_order() {
    let world = World::new(&[]);
    for (method, path, status) in [
        ("PUT", "/health", 200),
        ("OPTIONS", "/sessions/x", 204),
        ("HEAD", "/sessionsx/y", 204),
        ("OPTIONS", "/elsewhere", 204),
        ("HEAD", "/elsewhere", 404),
        ("GET", "/elsewhere", 404),
        ("GET", "/sessions/s", 401),
        ("GET", "/sessions/%zz", 401),
        ("GET", "/authorize", 401),
    ] {
        let answer = world.send(request(method, path, ""));
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.headers["access-control-allow-origin"], "*", "{method} {path}");
        assert_eq!(answer.body.is_empty(), status == 204, "{method} {path}");
    }
    for path in ["/sessions/%zz", "/sessions/s/", "/authorize", "/sessions/s/status"] {
        assert_eq!(world.call("GET", path, "").refusal(), refused(404, "not found"), "{path}");
    }
    assert!(world.sent.borrow().is_empty());
}

#[test]
fn clients_cannot_write_our_headers() {
    let world = World::new(&[]);
    let mut request = signed("GET", "/sessions/a%2Fb%20%C3%A9/events?since=1&token=t", "");
    for name in ["x-user-id", "x-session-id", "x-caller", "x-stream-base", "cookie"] {
        request.headers_mut().append(name, "theirs".parse().unwrap());
        request.headers_mut().append(name, "service".parse().unwrap());
    }
    assert_eq!(world.send(request).status, 200);
    let sent = world.sent.borrow();
    assert_eq!(
        (sent[0].name.as_str(), sent[0].line.as_str()),
        ("a/b é", "GET https://session/__session__/events?since=1")
    );
    assert_eq!(sent[0].header("x-user-id"), Some("ann%2F%C3%A9"));
    assert_eq!(sent[0].header("x-session-id"), Some("a%2Fb%20%C3%A9"));
    assert_eq!(sent[0].header("x-caller"), Some("user"));
    for name in ["authorization", "cookie", "x-stream-base"] {
        assert_eq!(sent[0].header(name), None, "{name}");
    }
    assert!(sent[0].headers.iter().all(|(_, value)| value != "theirs"));
}

#[test]
fn bodies_are_bounded() {
    let world = World::new(&[]);
    let body = |bytes: usize| format!("{{\"message\":\"a\"}}{}", " ".repeat(bytes - 15));
    assert_eq!(world.call("POST", "/sessions/s/messages", &body(1 << 20)).status, 200);
    assert_eq!(world.sent.borrow()[0].json()["message"], "a");
    let beyond = world.call("POST", "/sessions/s/messages", &body((1 << 20) + 1));
    assert_eq!(beyond.refusal(), refused(413, "request too large"));
    // What declares to be longer is not read, nor is what nobody is known to send.
    let mut declared = signed("POST", "/sessions/s/messages", "x");
    declared.headers_mut().insert("content-length", "1048577".parse().unwrap());
    let read = Rc::clone(&declared.body().read);
    assert_eq!((world.send(declared).status, read.get()), (413, 0));
    let stranger = request("POST", "/sessions/s/messages", "x");
    let read = Rc::clone(&stranger.body().read);
    assert_eq!((world.send(stranger).status, read.get()), (401, 0));
    for (text, error) in [("", "missing body"), ("null", "missing body"), ("{", "invalid body"), ("[]", "invalid body")]
    {
        assert_eq!(world.call("POST", "/sessions/s/messages", text).refusal(), refused(400, error), "{text}");
    }
    assert_eq!(world.sent.borrow().len(), 1);
}

#[test]
fn rates_are_counted_and_can_be_lifted() {
    for (setting, status) in [("on", 429), ("off", 200)] {
        let world = World::new(&[("AGENT_RATE_LIMITS", setting)]);
        for _ in 0..60 {
            assert_eq!(world.call("POST", "/sessions/s/pause", "").status, 200);
        }
        let answer = world.call("POST", "/sessions/s/cancel", "");
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers.contains_key("retry-after"), status == 429);
        world.now.set(NOW + 1_001);
        assert_eq!(world.call("POST", "/sessions/s/cancel", "").status, 200);
    }
}

/// `request_test` of the reference refused it; its code did not (agents.md 17).
#[test]
fn a_snapshot_takes_any_body() {
    let world = World::new(&[]);
    for body in ["", "{}", r#"{"force":true}"#, "none of JSON"] {
        assert_eq!(world.call("POST", "/sessions/s/snapshot", body).status, 200, "{body}");
    }
    assert!(world.sent.borrow().iter().all(|sent| sent.body.is_empty()), "and none of it goes on");
}

#[test]
fn observers_watch_one_session() {
    let world = World::new(&[KEY]);
    let token = world.call("GET", "/sessions/s/observer-token", "").json()["token"].as_str().unwrap().to_owned();
    for (method, path, status) in [
        ("GET", "/sessions/s", 200),
        ("GET", "/sessions/s/events", 200),
        ("GET", "/sessions/s/stream", 200),
        ("GET", "/sessions/s/approvals", 200),
        ("GET", "/sessions/t/events", 401),
        ("GET", "/sessions/s/terminal", 401),
        ("GET", "/sessions/s/branches", 401),
        ("GET", "/sessions/s/observer-token", 401),
        ("GET", "/sessions", 401),
        ("POST", "/sessions/s/pause", 401),
        ("POST", "/sessions/s/messages", 401),
    ] {
        assert_eq!(world.send(request(method, &format!("{path}?token={token}"), "")).status, status, "{path}");
        let mut bearer = request(method, path, "");
        bearer.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        assert_eq!(world.send(bearer).status, status, "{path}");
    }
    assert!(world.sent.borrow().iter().skip(1).all(|sent| sent.header("x-caller") == Some("observer")));
}

#[test]
fn runners_have_public_addresses() {
    for (address, private, status) in [
        ("https://runner.example/", "0", 200),
        ("https://0x7f.1/", "0", 400),
        ("http://runner.example/", "0", 400),
        ("http://127.0.0.1:2468", "1", 200),
    ] {
        let world = World::new(&[KEY, ("LOCAL_RUNNER_ALLOW_PRIVATE", private)]);
        let body = format!("{{\"runner-id\":\"r\",\"base-url\":\"{address}\"}}");
        assert_eq!(world.call("POST", "/runners", &body).status, status, "{address}");
        assert_eq!(world.call("GET", "/runners/r", "").status, if status == 200 { 200 } else { 404 });
    }
}

#[test]
fn runners_that_call_us_need_an_object() {
    let world = World::new(&[KEY]);
    let with = |runner_id: &str| {
        let instance = "0b9ad6a5-3a6f-4d3c-9d46-0a1b2c3d4e5f";
        format!("{{\"runner-id\":\"{runner_id}\",\"transport\":\"mailbox\",\"instance-id\":\"{instance}\"}}")
    };
    for (runner_id, status, text) in [("a b", 400, "invalid runner id"), ("r", 409, "mailbox transport is off")] {
        let answer = world.call("POST", "/runners", &with(runner_id));
        assert_eq!(answer.refusal(), (status, text.to_owned()));
    }
    assert_eq!(world.call("GET", "/runners/r", "").status, 404, "nothing was registered");
    let tunnel = r#"{"runner-id":"r","base-url":"https://runner.example","transport":"tunnel"}"#;
    assert_eq!(world.call("POST", "/runners", tunnel).status, 200);
    let own = format!("lrt_{}_{}", "a".repeat(32), "b".repeat(64));
    for path in ["/runners", "/sessions"] {
        let request = request("GET", &format!("{path}?token={own}"), "");
        assert_eq!(world.send(request).status, 401, "{path}: a runner's token opens nothing here");
    }
}
