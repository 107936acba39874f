//! Each route of the table, asked by nobody, by strangers and in every wrong way (agents.md 2.1, 2.2, 2.4, 2.8, 14). A route without a case
//! fails.

use std::collections::VecDeque;
use std::rc::Rc;

use http::Request;
use pollster::block_on;
use sessions::front::Service;
use sessions::front::route::{ROUTES, Route};

use crate::objects::Objects;
use crate::world::{Answer, Body, NoKeys, World, request, settings, signed};

const RUNNER: &str = r#"{"runner-id":"r","base-url":"https://ann.example"}"#;
const WEBHOOK: &str = r#"{"url":"https://receiver.example/x"}"#;
/// Secrets of webhooks are sealed with it.
const SEAL: (&str, &str) = ("MANAGED_AUTH_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
/// A webhook of ann's with a delivery, both called `w`.
const OF_ANN: [&str; 3] = [
    "INSERT INTO graphs (graph_id, graph_name, user_id, created_at, updated_at) VALUES ('g', 'g', 'ann/é', 1, 1)",
    "INSERT INTO agent_webhooks (webhook_id, user_id, url, events, secret, created_at) \
     VALUES ('w', 'ann/é', 'https://ann.example/w', '[\"turn.finished\"]', 'sealed', 1)",
    "INSERT INTO webhook_deliveries (delivery_id, webhook_id, session_id, type, attempts, state, created_at) \
     VALUES ('w', 'w', 's', 'turn.finished', 1, 'done', 1)",
];
const LOGIN: &str = r#"{"access_token":"token-of-ann"}"#;
/// A session that belongs to a graph: without one everybody who is known may use it (agents.md 14.3).
const SESSION: &str = r#"{"session-id":"s","node-id":"n","node-title":"Of ann","content":"Do it.","attachments":[],
    "project":{"id":"p","title":"P","repo-url":"https://example.test/ann/p","graph-id":"g"},"agent":{"provider":"claude"},
    "runtime-provider":"local-dev"}"#;

/// What becomes of somebody who asks for what is another user's.
#[derive(Clone, Copy)]
enum Stranger {
    /// The session says that it is not theirs, or with strict access that there is none.
    OfSession,
    /// There is no such thing: it is looked for among their own.
    NotFound,
    /// There is nothing of others that could be named: they are answered 200 about themselves.
    OwnThings,
    /// Any repository may be asked for, but with strict access only that of a session of theirs.
    Branches,
}

/// How a route is asked.
struct Case {
    route: &'static Route,
    /// A body that it takes; none where no body is looked at.
    body: Option<&'static str>,
    /// Bodies that are not what it takes.
    wrong: &'static [&'static str],
    stranger: Stranger,
    /// The answer to an id that nothing has; none where the path holds none, or a new one makes a thing.
    unknown: Option<(u16, &'static str)>,
}

fn case_of(route: &'static Route) -> Case {
    let case = |body, wrong, stranger, unknown| Case { route, body, wrong, stranger, unknown };
    let none = Some((404, "not found"));
    let of_session = || case(None, &[], Stranger::OfSession, none);
    match (route.method.as_str(), route.pattern) {
        ("POST", "/auth/chatgpt/import") => case(
            Some(LOGIN),
            &[r#"{"access_token":5}"#, r#"{"access_token":"t","expires_in":"5"}"#, r#"{"refresh_token":"t"}"#],
            Stranger::OwnThings,
            None,
        ),
        ("GET", "/auth/chatgpt/status" | "/runners" | "/sessions" | "/agents/webhooks")
        | ("DELETE", "/auth/chatgpt") => case(None, &[], Stranger::OwnThings, None),
        ("POST", "/runners") => case(
            Some(RUNNER),
            &[
                r#"{"runner-id":"r"}"#,
                r#"{"runner-id":5,"base-url":"https://a.test"}"#,
                r#"{"runner-id":"r","base-url":"https://a.test","max-sessions":"1"}"#,
                r#"{"runner-id":"r","base-url":"https://127.0.0.1"}"#,
                r#"{"runner-id":"r","base-url":"https://a.test","transport":"mailbox"}"#,
                r#"{"runner-id":"r","base-url":"https://a.test","transport":"pigeon"}"#,
            ],
            Stranger::OwnThings,
            None,
        ),
        ("GET" | "DELETE", "/runners/:id")
        | ("DELETE", "/agents/webhooks/:id")
        | ("GET", "/agents/webhooks/:id/deliveries")
        | ("POST", "/agents/webhooks/:id/deliveries/:delivery-id/replay") => case(None, &[], Stranger::NotFound, none),
        ("POST", "/runners/:id/heartbeat") => case(
            Some(r#"{"active-sessions":1}"#),
            &[r#"{"active-sessions":"1"}"#, r#"{"active-sessions":null}"#],
            Stranger::NotFound,
            none,
        ),
        ("POST", "/agents/webhooks") => case(
            Some(WEBHOOK),
            &[
                r#"{"url":5}"#,
                r#"{"url":"https://a.test","events":[]}"#,
                r#"{"url":"https://a.test","events":["turn.begun"]}"#,
                r#"{"url":"https://a.test","graph-id":5}"#,
            ],
            Stranger::OwnThings,
            None,
        ),
        ("POST", "/sessions") => {
            case(Some(SESSION), &[r#"{"session-id":"s"}"#, r#"{"session-id":5}"#], Stranger::OfSession, None)
        }
        ("POST", "/sessions/:id/messages") => case(
            Some(r#"{"message":"hello"}"#),
            &[r#"{"message":5}"#, r#"{"text":"hello"}"#, r#"{"message":"hello","kind":null}"#],
            Stranger::OfSession,
            none,
        ),
        ("POST", "/sessions/:id/pr") => case(
            Some(r#"{"create-pr":false}"#),
            &[r#"{"create-pr":"yes"}"#, r#"{"title":1}"#],
            Stranger::OfSession,
            none,
        ),
        ("POST", "/sessions/:id/budget") => case(
            Some(r#"{"budget":{"turns":5}}"#),
            &["{}", r#"{"budget":5}"#, r#"{"budget":{"turns":0}}"#, r#"{"budget":{"turn":5}}"#],
            Stranger::OfSession,
            none,
        ),
        ("POST", "/sessions/:id/move") => case(
            Some(r#"{"runtime-provider":"local-dev"}"#),
            &["{}", r#"{"runtime-provider":"pigeon"}"#, r#"{"runtime-provider":"e2b","force":1}"#],
            Stranger::OfSession,
            none,
        ),
        ("POST", "/sessions/:id/approvals/:request-id") => case(
            Some(r#"{"decision":"granted"}"#),
            &[r#"{"decision":"Granted"}"#, r#"{"decision":true}"#, "{}"],
            Stranger::OfSession,
            none,
        ),
        (
            "POST",
            "/sessions/:id/pause"
            | "/sessions/:id/resume"
            | "/sessions/:id/interrupt"
            | "/sessions/:id/cancel"
            | "/sessions/:id/archive"
            | "/sessions/:id/unarchive"
            | "/sessions/:id/snapshot"
            | "/sessions/:id/pg-sync/:source-id/retry",
        )
        | ("DELETE", "/sessions/:id" | "/sessions/:id/pg-sync/:source-id")
        | (
            "GET",
            "/sessions/:id"
            | "/sessions/:id/pg-sync"
            | "/sessions/:id/observer-token"
            | "/sessions/:id/events"
            | "/sessions/:id/files"
            | "/sessions/:id/diff"
            | "/sessions/:id/budget"
            | "/sessions/:id/terminal"
            | "/sessions/:id/stream"
            | "/sessions/:id/approvals",
        ) => of_session(),
        // The object reads what is wrong with it, since that depends on the connection (`pg_sync.rs`).
        ("POST", "/sessions/:id/pg-sync") => {
            case(Some(r#"{"connection":"main","table":"t"}"#), &[], Stranger::OfSession, none)
        }
        // Works without a session (agents.md 2.6.10).
        ("GET", "/sessions/:id/branches") => case(None, &[], Stranger::Branches, Some((400, "missing repo url"))),
        (method, pattern) => panic!("{method} {pattern} has no case"),
    }
}

/// Whether other tokens are asked for than those of users, or none: `transcripts.rs`, `git_credentials.rs`, `github.rs`, `mcp.rs`, `operator.rs` and `mailbox.rs` have a case
/// for each.
/// Connections and logs of databases have theirs in `pg_sync.rs`.
fn takes_other_tokens(route: &Route) -> bool {
    if route.pattern.starts_with("/pg-") {
        return true;
    }
    let others = [
        "/transcript",
        "/runs/",
        "/agents/admin/",
        "/agents/openapi.json",
        "/agents/github/webhook",
        "/git-credentials",
        "/sessions/:id/mcp",
        "/runners/:id/token",
        "/runners/:id/detach",
        "/runners/:id/attach",
        "/runners/:id/poll",
        "/runners/:id/acks",
        "/runners/:id/leases",
        "/runners/:id/notices",
        "/runners/:id/sessions/",
    ];
    others.iter().any(|part| route.pattern.contains(part))
}

fn cases() -> impl Iterator<Item = Case> {
    ROUTES.iter().filter(|route| !takes_other_tokens(route)).map(case_of)
}

impl Case {
    /// The path with this in the place of its ids.
    fn path(&self, id: &str) -> String {
        let segments = self.route.pattern.split('/').map(|name| if name.starts_with(':') { id } else { name });
        segments.collect::<Vec<_>>().join("/")
    }

    /// The path of what ann has.
    fn own_path(&self) -> String {
        let id = match self.route.pattern.split('/').nth(1) {
            Some("runners") => "r",
            Some("agents") => "w",
            _ => "s",
        };
        self.path(id)
    }

    fn signed(&self, body: &str) -> Request<Body> {
        signed(self.route.method.as_str(), &self.own_path(), body)
    }

    fn name(&self) -> String {
        format!("{} {}", self.route.method, self.route.pattern)
    }
}

/// A front worker with real objects, where ann has a session, a runner and a login, and graph `g` is hers.
fn world(access: &'static str) -> World {
    let extra = [("AGENT_ACCESS_MODE", access), ("AGENT_RATE_LIMITS", "off"), SEAL];
    let mut world = World::new(&extra);
    let db = world.db.clone().unwrap();
    for row in OF_ANN {
        block_on(database::Database::execute(&*db, row, &[])).unwrap();
    }
    world.objects = Some(Objects::new(db, move || settings(&extra)));
    for (path, body) in [("/sessions", SESSION), ("/runners", RUNNER), ("/auth/chatgpt/import", LOGIN)] {
        let made = world.call("POST", path, body);
        assert_eq!(made.status, 200, "{path}: {}", String::from_utf8_lossy(&made.body));
    }
    world.sent.borrow_mut().clear();
    world
}

/// What a refused request is answered.
fn refusal(answer: &Answer) -> (u16, String) {
    let body = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
    (answer.status, body["error"].as_str().unwrap_or("no error").to_owned())
}

/// Everything that ann sees of her own things.
fn view(world: &World) -> Vec<Vec<u8>> {
    let paths = [
        "/sessions/s",
        "/sessions/s/events",
        "/sessions",
        "/runners",
        "/agents/webhooks",
        "/agents/webhooks/w/deliveries",
        "/auth/chatgpt/status",
    ];
    paths.iter().map(|path| world.call("GET", path, "").body).collect()
}

#[test]
fn nobody_is_refused_unread() {
    let world = world("");
    for case in cases() {
        let (method, path, body) = (case.route.method.as_str(), case.own_path(), case.body.unwrap_or("{}"));
        let bearer = |value: &str| {
            let mut request = request(method, &path, body);
            request.headers_mut().insert("authorization", value.parse().unwrap());
            request
        };
        for request in [
            request(method, &path, body),
            request(method, &format!("{path}?token="), body),
            request(method, &format!("{path}?token=wrong-token"), body),
            bearer("Bearer wrong-token"),
            bearer("Bearer "),
            bearer("Basic secret-token"),
            bearer("bearer secret-token"),
            bearer("Bearer observer.wrong"),
        ] {
            let shown = format!("{} {:?}", request.uri(), request.headers());
            let (read, heard_out) = (Rc::clone(&request.body().read), Rc::clone(&request.body().heard_out));
            assert_eq!(refusal(&world.send(request)), (401, "unauthorized".to_owned()), "{} {shown}", case.name());
            assert_eq!((read.get(), heard_out.get()), (0, false), "{} {shown}", case.name());
        }
    }
    assert!(world.sent.borrow().is_empty(), "no object hears of it");
}

#[test]
fn strangers_reach_nothing_of_others() {
    for (access, of_session) in [("", (403, "forbidden")), ("strict", (404, "not found"))] {
        let world = world(access);
        for (number, case) in cases().enumerate() {
            // Another one each time: what they make of their own is no business of the next.
            let bob = settings(&[
                ("DB_SYNC_STATIC_USER_ID", &format!("bob-{number}")),
                ("AGENT_ACCESS_MODE", access),
                ("AGENT_RATE_LIMITS", "off"),
                SEAL,
            ]);
            let bob = Service::new(Rc::new(bob), NoKeys);
            let before = view(&world);
            let answer = world.send_to(&bob, case.signed(case.body.unwrap_or_default()));
            let name = format!("{} {access}", case.name());
            let expected = match case.stranger {
                Stranger::OfSession => Some(of_session),
                Stranger::NotFound => Some((404, "not found")),
                Stranger::OwnThings => None,
                Stranger::Branches if access == "strict" => Some((403, "forbidden")),
                Stranger::Branches => Some((400, "missing repo url")),
            };
            match expected {
                Some((status, error)) => assert_eq!(refusal(&answer), (status, error.to_owned()), "{name}"),
                None => assert_eq!(answer.status, 200, "{name}"),
            }
            let told = String::from_utf8(answer.body).unwrap();
            assert!(!told.contains("ann/") && !told.contains("Of ann"), "{name}: {told}");
            assert!(before == view(&world), "{name} changed something of ann's");
        }
    }
}

#[test]
fn other_methods_find_nothing() {
    let world = world("");
    for case in cases() {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE", "get", "BREW"] {
            let is_route = ROUTES.iter().any(|route| route.pattern == case.route.pattern && route.method == method);
            if is_route {
                continue;
            }
            let request = signed(method, &case.own_path(), case.body.unwrap_or("{}"));
            let read = Rc::clone(&request.body().read);
            let name = format!("{method} {}", case.route.pattern);
            assert_eq!(refusal(&world.send(request)), (404, "not found".to_owned()), "{name}");
            assert_eq!(read.get(), 0, "{name}");
        }
        for method in ["HEAD", "OPTIONS"] {
            let answer = world.send(request(method, &case.own_path(), ""));
            assert_eq!((answer.status, answer.body.len()), (204, 0), "{method} {}", case.route.pattern);
        }
    }
    assert!(world.sent.borrow().is_empty(), "no object hears of it");
}

#[test]
fn unknown_ids_are_told() {
    let world = world("");
    for case in cases() {
        let has_id = case.route.pattern.contains(':');
        assert_eq!(has_id, case.unknown.is_some(), "{}", case.name());
        let Some((status, error)) = case.unknown else { continue };
        for id in ["unknown", "..%2Fs", "s%00", "%F0%9F%98%80", "s%2Fevents"] {
            let answer = world.send(signed(case.route.method.as_str(), &case.path(id), case.body.unwrap_or_default()));
            // What no session can be called is told before anything is asked of one.
            let expected = if id == "s%00" { (404, "not found") } else { (status, error) };
            assert_eq!(refusal(&answer), (expected.0, expected.1.to_owned()), "{} {id}", case.name());
        }
    }
    let answer = world.call("POST", "/sessions/s/approvals/unknown", r#"{"decision":"granted"}"#);
    assert_eq!(refusal(&answer), (404, "not found".to_owned()), "of a session that there is");
}

#[test]
fn large_bodies_are_refused_and_no_more_of_them_is_read_than_needed() {
    const PIECE: usize = 256 << 10;
    let world = world("");
    for case in cases() {
        let mut declared = case.signed("{}");
        declared.headers_mut().insert("content-length", "1048577".parse().unwrap());
        let mut endless = case.signed("");
        endless.body_mut().chunks = VecDeque::from(vec![vec![b' '; PIECE]; 64]);
        // Where no body is looked at none is read. Elsewhere one that declares its length is refused unread, and of another as much is
        // read as shows that it is too long.
        for (request, most) in [(declared, 0), (endless, (1 << 20) / PIECE + 1)] {
            let (read, heard_out) = (Rc::clone(&request.body().read), Rc::clone(&request.body().heard_out));
            let answer = world.send(request);
            if case.body.is_some() {
                // Whoever is known is answered, although they write still.
                assert!(heard_out.get(), "{}", case.name());
                assert_eq!(refusal(&answer), (413, "request too large".to_owned()), "{}", case.name());
            } else {
                assert_ne!(answer.status, 413, "{}", case.name());
            }
            let most = if case.route.pattern.ends_with("/pg-sync") { most.min(1) } else { most };
            assert_eq!(read.get(), if case.body.is_some() { most } else { 0 }, "{}", case.name());
        }
    }
}

#[test]
fn bodies_of_another_form_reach_no_object() {
    let world = world("");
    for case in cases() {
        let is_read_later = case.route.method == "POST" && case.route.pattern.ends_with("/pg-sync");
        assert_eq!(case.body.is_some(), !case.wrong.is_empty() || is_read_later, "{}", case.name());
        if case.body.is_none() {
            continue;
        }
        for wrong in case.wrong.iter().chain(&["{", "[]", "5", "\"text\"", "{\"a\":1}}", "\u{feff}{}"]) {
            let answer = world.send(case.signed(wrong));
            assert_eq!(refusal(&answer), (400, "invalid body".to_owned()), "{} {wrong}", case.name());
        }
        // None at all is an empty object where nothing is needed.
        let needs_none = ["/sessions/:id/pr", "/runners/:id/heartbeat"].contains(&case.route.pattern);
        if !needs_none {
            for none in ["", "null"] {
                assert_eq!(
                    refusal(&world.send(case.signed(none))),
                    (400, "missing body".to_owned()),
                    "{}",
                    case.name()
                );
            }
        }
    }
    assert!(world.sent.borrow().is_empty(), "no object hears of it");
}
