//! What belongs to others: sessions by their ids, runners by their names, and tokens.

use attacks::{Bystander, raw, sessions};
use conformance::{Client, Server, TestGraph};
use serde_json::{Value, json};

super::cases![
    sessions_of_others_are_closed,
    runners_are_known_to_their_owner_alone,
    an_id_is_no_path,
    a_token_in_an_address_stays_there,
    headers_of_the_front_worker_are_ignored
];

/// Everything that can be asked of a session.
fn asked(id: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let of = |method, verb: &str, body| (method, format!("/sessions/{id}{verb}"), body);
    vec![
        of("GET", "", None),
        of("GET", "/events", None),
        of("GET", "/stream", None),
        of("GET", "/approvals", None),
        of("GET", "/observer-token", None),
        of("GET", "/terminal", None),
        of("POST", "/messages", Some(json!({ "message": "hello" }))),
        of("POST", "/pause", None),
        of("POST", "/resume", None),
        of("POST", "/interrupt", None),
        of("POST", "/cancel", None),
        of("POST", "/pr", Some(json!({}))),
        of("POST", "/snapshot", None),
        of("POST", "/approvals/x", Some(json!({ "decision": "granted" }))),
    ]
}

fn ask(client: &Client, (method, path, body): &(&'static str, String, Option<Value>)) -> conformance::Answer {
    let bytes = body.as_ref().map(|body| body.to_string().into_bytes()).or_else(|| (*method == "POST").then(Vec::new));
    client.send(method, path, &[], bytes.as_deref())
}

fn sessions_of_others_are_closed(server: &Server) {
    let bystander = Bystander::of_a_session(server);
    let graph = TestGraph::create(&server.person("owner"));
    let (owner, stranger) = (&graph.owner, server.person("stranger"));
    let id = sessions::running(owner, Some(&graph.id));
    let before = sessions::events(owner, &id);
    for request in asked(&id) {
        let answer = ask(&stranger, &request);
        assert_eq!((answer.status, &answer.json()["error"]), (403, &json!("forbidden")), "{request:?}");
        assert_eq!(ask(&server.anonymous(), &request).status, 401, "{request:?}");
    }
    // Nor by creating it anew, with or without the graph, nor one of their own in that graph.
    for wanted in [
        sessions::wanted(&id, None),
        sessions::wanted(&id, Some(&graph.id)),
        sessions::wanted(&sessions::id(), Some(&graph.id)),
    ] {
        stranger.post("/sessions", &wanted).error(403, "forbidden");
    }
    assert_eq!(sessions::events(owner, &id), before);
    // A token for one session is none for another, and only for watching.
    let token = owner.get(&format!("/sessions/{id}/observer-token")).json()["token"].as_str().unwrap().to_owned();
    let observer = stranger.with_token(&token);
    observer.get(&format!("/sessions/{id}")).status(200);
    let other = sessions::running(owner, Some(&graph.id));
    observer.get(&format!("/sessions/{other}/events")).error(401, "unauthorized");
    for request in asked(&id).iter().filter(|(method, path, _)| *method == "POST" || path.ends_with("-token")) {
        assert_eq!(ask(&observer, request).status, 401, "{request:?}");
    }
    for cut in 1..token.len() {
        let forged = stranger.with_token(&token[..cut]);
        assert_eq!(forged.get(&format!("/sessions/{id}")).status, 401, "{cut} bytes of the token");
    }
    // Listed are one's own.
    assert_eq!(stranger.get("/sessions").json()["sessions"], json!([]));
    bystander.is_content();
}

fn runners_are_known_to_their_owner_alone(server: &Server) {
    let (owner, stranger) = (server.person("owner"), server.person("stranger"));
    let runner =
        json!({ "runner-id": "laptop", "base-url": "https://runner.example", "agent-token": "token-of-a-runner" });
    let registered = owner.post("/runners", &runner);
    registered.status(200);
    assert!(!String::from_utf8_lossy(&registered.bytes).contains("token-of-a-runner"));
    for name in ["laptop", "LAPTOP", "laptop%20", "%6Captop", "*", "%25", "_aptop", "'%20OR%201=1--", "..%2Flaptop"] {
        for (method, path) in [
            ("GET", format!("/runners/{name}")),
            ("DELETE", format!("/runners/{name}")),
            ("POST", format!("/runners/{name}/heartbeat")),
        ] {
            let body = (method == "POST").then_some(&b"{}"[..]);
            assert_eq!(stranger.send(method, &path, &[], body).status, 404, "{method} {path}");
        }
    }
    assert_eq!(stranger.get("/runners").json()["runners"], json!([]));
    // A session of theirs is not bound to it, whatever they call it.
    let mut body = sessions::wanted(&sessions::id(), None);
    body["runtime-provider"] = json!("local-runner");
    body["runner-id"] = json!("laptop");
    body["user-id"] = json!(owner.user);
    body["audit"] = json!({ "requested-by": owner.user });
    assert_eq!(stranger.post("/sessions", &body).status, 409);
    // A runner of the same name is another one.
    stranger.post("/runners", &json!({ "runner-id": "laptop", "base-url": "https://other.example" })).status(200);
    stranger.delete("/runners/laptop").status(200);
    assert_eq!(owner.get("/runners/laptop").json()["runner"]["base-url"], "https://runner.example");
}

fn an_id_is_no_path(server: &Server) {
    let person = server.person("guesser");
    let own = sessions::running(&person, None);
    for id in [
        "..",
        ".",
        "%2e%2e",
        "..%2F..%2Fhealth",
        "%2Fhealth",
        "a%00b",
        "a%0d%0ab",
        "%F0%9F%98%80",
        "__session__",
        "*",
        "%",
        "a%2Fevents",
        "..;",
        "%5C..%5C",
        "%252e%252e%252f",
        &format!("{own}%2Fevents"),
        &format!("{own}%20"),
        &format!("{own}%2F"),
        &own.to_uppercase(),
        &"x".repeat(513),
        &"%C3%A9".repeat(300),
    ] {
        for verb in ["", "/events", "/stream", "/approvals"] {
            let status = raw::status(&person, "GET", &format!("/sessions/{id}{verb}"), &[]);
            assert!(matches!(status, 400 | 404), "{id}{verb}: {status}");
        }
    }
    let long = "x".repeat(513);
    for id in ["", "a\u{0}b", "a\nb", "\u{7f}", long.as_str()] {
        let answer = person.post("/sessions", &sessions::wanted(id, None));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid session id")), "{id:?}");
    }
    // Names that are allowed are one name, whatever is in them.
    for (id, segment) in
        [("../../health", "..%2F..%2Fhealth"), ("a?b#c%20", "a%3Fb%23c%2520"), ("é 😀", "%C3%A9%20%F0%9F%98%80")]
    {
        person.post("/sessions", &sessions::wanted(id, None)).status(200);
        assert_eq!(person.get(&format!("/sessions/{segment}")).json()["session-id"], id);
    }
}

fn a_token_in_an_address_stays_there(server: &Server) {
    let person = server.person("careless");
    let (id, token) = (sessions::running(&person, None), person.token.clone().unwrap());
    let by_address = person.anonymous();
    for path in ["", "/events", "/approvals", "/branches", "/observer-token", "/unknown"] {
        let answer = by_address.get(&format!("/sessions/{id}{path}?token={token}&since=0"));
        assert!(answer.status != 401, "{path}: {}", answer.status);
        let told = format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.bytes));
        assert!(!told.contains(&token), "{path} tells the token");
    }
    let body = sessions::wanted(&sessions::id(), None).to_string();
    let made = by_address.send("POST", &format!("/sessions?token={token}"), &[], Some(body.as_bytes()));
    made.status(200);
    assert!(!String::from_utf8_lossy(&made.bytes).contains(&token), "the address of the stream tells the token");
    let kept = sessions::events(&person, &id);
    assert!(!json!(kept).to_string().contains(&token), "an event tells the token");
    // One in the header goes before one in the address, and two in the address are none too many.
    assert_eq!(person.with_token("wrong").get(&format!("/sessions/{id}?token={token}")).status, 401);
}

fn headers_of_the_front_worker_are_ignored(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let (owner, stranger) = (&graph.owner, server.person("stranger"));
    let id = sessions::running(owner, Some(&graph.id));
    for caller in ["service", "observer", "user"] {
        for (name, value) in
            [("x-user-id", owner.user.as_str()), ("X-USER-ID", owner.user.as_str()), ("x-session-id", id.as_str())]
        {
            let headers =
                [(name, value), ("x-caller", caller), ("x-stream-base", "https://evil.example"), (name, value)];
            assert_eq!(raw::status(&stranger, "GET", &format!("/sessions/{id}"), &headers), 403, "{headers:?}");
            assert_eq!(
                raw::status(&stranger.anonymous(), "GET", &format!("/sessions/{id}"), &headers),
                401,
                "{headers:?}"
            );
        }
        let body = sessions::wanted(&sessions::id(), None).to_string();
        let headers = [("x-stream-base", "https://evil.example"), ("x-caller", caller)];
        let made = stranger.send("POST", "/sessions", &headers, Some(body.as_bytes()));
        assert!(!String::from_utf8_lossy(&made.bytes).contains("evil.example"));
    }
    for path in ["disown/x", "expire/x", "access", "init", "status"] {
        assert_eq!(
            raw::status(owner, "POST", &format!("/sessions/{id}/{path}"), &[("x-caller", "service")]),
            404,
            "{path}"
        );
    }
}
