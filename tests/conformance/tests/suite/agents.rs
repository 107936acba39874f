//! Forwarding to the agents worker (sync.md 2.4).

use conformance::{Answer, Server, tx};
use serde_json::json;

super::cases![
    agent_routes_are_forwarded_untouched,
    a_starting_agents_worker_is_waited_for,
    large_bodies_are_sent_once,
    headers_of_the_local_runtime_are_not_forwarded,
    other_paths_are_not_forwarded
];

/// A server without agents says so. `wrangler dev` binds a stand-in for a worker that does not run, which answers in words of
/// its own; they come through as those of an agents worker would.
fn nobody_answers(answer: &Answer) {
    assert_eq!(answer.status, 503);
}

fn agent_routes_are_forwarded_untouched(server: &Server) {
    let person = server.person("a");
    for path in [
        "/sessions",
        "/sessions/x/events?since=5",
        "/auth/callback?code=1",
        "/runners",
        "/agents/openapi.json",
        "/sessionsx",
    ] {
        let answer = person.send("POST", path, &[("content-type", "text/plain")], Some(b"hello"));
        if server.agents.is_none() {
            nobody_answers(&answer);
            continue;
        }
        assert_eq!((answer.status, answer.header("x-agents")), (201, "yes"), "{path}");
        // Where nobody is asked, nobody shows a token.
        let token = person.token.as_ref().map(|token| format!("Bearer {token}"));
        assert_eq!(answer.json(), json!({ "method": "POST", "path": path, "authorization": token, "body": "hello" }));
    }
    if server.agents.is_some() {
        let preflight = server.anonymous().send("OPTIONS", "/sessions", &[], None);
        assert_eq!(preflight.header("x-agents"), "yes", "preflights are the agents worker's");
    }
}

fn a_starting_agents_worker_is_waited_for(server: &Server) {
    let Some(agents) = &server.agents else {
        nobody_answers(&server.anonymous().get("/sessions"));
        return;
    };
    let path = format!("/sessions/{}?refuse=2", tx::id());
    let answer = server.anonymous().send("POST", &path, &[], Some(b"again"));
    assert_eq!((answer.status, &answer.json()["body"]), (201, &json!("again")));
    assert_eq!(agents.calls(&path), 3, "two refusals, then the answer");
}

fn large_bodies_are_sent_once(server: &Server) {
    let Some(agents) = &server.agents else { return };
    for bytes in [(64 << 10) + 1, 10 << 20] {
        let path = format!("/sessions/{}?refuse=1000", tx::id());
        assert_eq!(server.anonymous().send("POST", &path, &[], Some(&vec![b'x'; bytes])).status, 503);
        assert_eq!(agents.calls(&path), 1, "{bytes} bytes");
    }
}

fn headers_of_the_local_runtime_are_not_forwarded(server: &Server) {
    let Some(agents) = &server.agents else { return };
    let path = format!("/sessions/{}", tx::id());
    let headers = [("mf-custom-fetch-service", "x"), ("MF-Custom-Node-Service", "x"), ("x-mine", "kept")];
    let large = vec![b'x'; 100_000];
    for body in [None, Some(&b"small"[..]), Some(&large)] {
        server.anonymous().send("POST", &path, &headers, body).status(201);
        let received = agents.last_headers(&path);
        assert!(received.iter().all(|name| !name.starts_with("mf-")), "{received:?}");
        assert!(received.iter().any(|name| name == "x-mine"), "{received:?}");
    }
}

fn other_paths_are_not_forwarded(server: &Server) {
    for path in ["/session", "/runner", "/aut"] {
        server.anonymous().get(path).error(404, "not found");
    }
}
