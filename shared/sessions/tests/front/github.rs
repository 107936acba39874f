//! The route of GitHub's webhook (agents.md 20.4): what is not signed is not looked at, and each delivery reaches its session once.

use std::rc::Rc;

use database::{Database, ReadFrom};
use http::Request;
use pollster::block_on;
use serde_json::{Value, json};
use sessions::front;

use crate::world::{Answer, Body, World, request, signed};

const PATH: &str = "/agents/github/webhook";
const SECRET: &str = "a secret of some length";
const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

fn world() -> World {
    let world = World::new(&[("GITHUB_WEBHOOK_SECRET", SECRET)]);
    for (number, session, pushed) in [(5, "s/1", SHA), (6, "s2", SHA), (7, "s3", "f")] {
        let sql = format!(
            "INSERT INTO session_pulls (repo_key, number, session_id, head, pushed, updated_at) \
             VALUES ('github/acme/app', {number}, '{session}', 'h', '{pushed}', 1)"
        );
        run(&world, &sql);
    }
    world
}

fn run(world: &World, sql: &str) {
    block_on(world.database().execute(sql, &[])).unwrap();
}

fn comment(number: u64) -> Value {
    json!({"action": "created", "repository": {"full_name": "Acme/App"}, "sender": {"login": "rev", "type": "User"},
        "issue": {"number": number, "pull_request": {"url": "x"}},
        "comment": {"body": "Why?\n/pr", "author_association": "MEMBER", "user": {"login": "rev", "type": "User"}}})
}

fn failed_check() -> Value {
    json!({"action": "completed", "repository": {"full_name": "Acme/App"}, "sender": {"login": "ci[bot]", "type": "Bot"},
        "check_run": {"name": "test", "conclusion": "failure", "head_sha": SHA}})
}

/// As GitHub signs it, with an implementation of its own.
fn signature(secret: &str, body: &str) -> String {
    format!("sha256={}", base16ct::lower::encode_string(&hmac_sha256::HMAC::mac(body.as_bytes(), secret.as_bytes())))
}

fn delivery(id: &str, event: &str, body: &str) -> Request<Body> {
    let mut request = request("POST", PATH, body);
    let signature = signature(SECRET, body);
    for (name, value) in [("x-github-delivery", id), ("x-github-event", event), ("x-hub-signature-256", &signature)] {
        request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    request
}

fn deliver(world: &World, id: &str, event: &str, body: &Value) -> u16 {
    world.send(delivery(id, event, &body.to_string())).status
}

fn refusal(answer: &Answer) -> (u16, String) {
    answer.refusal()
}

fn refused(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

/// Deliveries that are remembered.
fn remembered(world: &World) -> Vec<String> {
    let sql = "SELECT delivery_id FROM github_deliveries ORDER BY delivery_id";
    let rows = block_on(world.database().query(ReadFrom::Primary, sql, &[])).unwrap();
    rows.iter().map(|row| row.string(0).unwrap()).collect()
}

#[test]
fn a_remark_reaches_its_session_once() {
    let world = world();
    let answer = world.send(delivery("d1", "issue_comment", &comment(5).to_string()));
    assert_eq!((answer.status, answer.json()), (202, json!({"ok": true})));
    {
        let sent = world.sent.borrow();
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (sent[0].name.as_str(), sent[0].line.as_str()),
            ("s/1", "POST https://session/__session__/follow-up")
        );
        assert_eq!((sent[0].header("x-session-id"), sent[0].header("x-caller")), (Some("s%2F1"), Some("service")));
        assert_eq!(sent[0].header("x-user-id"), None);
        let expected = json!({"delivery": "d1", "repository": "github/acme/app", "number": 5, "about": {"pull": 5},
            "news": {"said": {"by": "github:rev", "text": "@rev comments:\n> Why?\n> /pr\n"}}});
        assert_eq!(sent[0].json(), expected);
    }
    assert_eq!(deliver(&world, "d1", "issue_comment", &comment(5)), 202);
    assert_eq!(world.sent.borrow().len(), 1, "GitHub has sent it again");
    assert_eq!(remembered(&world), ["d1"]);
    // The clock forgets it after a week.
    world.now.set(world.now.get() + 7 * 86_400_000 + 1);
    block_on(front::scheduled(&world, &world.service));
    assert_eq!(remembered(&world), Vec::<String>::new());
}

#[test]
fn a_check_reaches_all_sessions_that_pushed_its_commit() {
    let world = world();
    assert_eq!(deliver(&world, "d1", "check_run", &failed_check()), 202);
    let sent = world.sent.borrow();
    let reached: Vec<(&str, Value)> =
        sent.iter().map(|sent| (sent.name.as_str(), sent.json()["number"].clone())).collect();
    assert_eq!(reached, [("s/1", json!(5)), ("s2", json!(6))]);
}

#[test]
fn what_nobody_is_to_hear_is_answered_and_ignored() {
    let world = world();
    let mut by_a_bot = comment(5);
    by_a_bot["sender"]["type"] = json!("Bot");
    let mut by_a_stranger = comment(5);
    by_a_stranger["comment"]["author_association"] = json!("NONE");
    for (event, body) in [
        ("ping", json!({"zen": "Keep it logically awesome."})),
        ("push", json!({})),
        ("issue_comment", comment(99)),
        ("issue_comment", by_a_bot),
        ("issue_comment", by_a_stranger),
        ("unheard-of", json!([1, 2])),
    ] {
        assert_eq!(deliver(&world, "d", event, &body), 202, "{event}");
    }
    assert!(world.sent.borrow().is_empty());
    assert_eq!(remembered(&world), Vec::<String>::new(), "only what was taken is remembered");
}

#[test]
fn what_github_did_not_sign_is_refused() {
    let world = world();
    let body = comment(5).to_string();
    // What cannot be a signature is refused unread, a bearer token or not.
    for header in
        [None, Some(""), Some("sha256="), Some("sha1=0123456789012345678901234567890123456789"), Some("sha256=zz")]
    {
        let mut request = signed("POST", PATH, &body);
        if let Some(header) = header {
            request.headers_mut().insert("x-hub-signature-256", header.parse().unwrap());
        }
        let read = Rc::clone(&request.body().read);
        assert_eq!(refusal(&world.send(request)), refused(401, "unauthorized"), "{header:?}");
        assert_eq!(read.get(), 0, "{header:?}");
    }
    for (secret, signed_body) in [("another secret", body.as_str()), ("", body.as_str()), (SECRET, "{}"), (SECRET, "")]
    {
        let mut request = delivery("d", "issue_comment", &body);
        request.headers_mut().insert("x-hub-signature-256", signature(secret, signed_body).parse().unwrap());
        assert_eq!(refusal(&world.send(request)), refused(401, "unauthorized"), "{secret} {signed_body}");
    }
    assert!(world.sent.borrow().is_empty());
    let closed = World::new(&[]);
    assert_eq!(refusal(&closed.send(delivery("d", "ping", "{}"))), refused(404, "not found"), "without a secret");
}

#[test]
fn what_is_signed_and_wrong_is_told() {
    let world = world();
    for wrong in ["{", "payload=%7B%7D", "\u{feff}{}"] {
        assert_eq!(refusal(&world.send(delivery("d", "ping", wrong))), refused(400, "invalid body"), "{wrong}");
    }
    assert_eq!(refusal(&world.send(delivery("d", "ping", ""))), refused(400, "invalid body"), "no body");
    for (name, value) in
        [("x-github-delivery", None), ("x-github-event", None), ("x-github-delivery", Some("d".repeat(101)))]
    {
        let mut request = delivery("d", "ping", "{}");
        request.headers_mut().remove(name);
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(refusal(&world.send(request)), refused(400, "invalid body"), "{name}");
    }
    let mut declared = delivery("d", "ping", "{}");
    declared.headers_mut().insert("content-length", "1048577".parse().unwrap());
    let mut endless = delivery("d", "ping", "");
    endless.body_mut().chunks = vec![vec![b' '; 256 << 10]; 64].into();
    for (request, most) in [(declared, 0), (endless, 5)] {
        let read = Rc::clone(&request.body().read);
        assert_eq!(refusal(&world.send(request)), refused(413, "request too large"));
        assert_eq!(read.get(), most);
    }
    for method in ["GET", "PUT", "DELETE"] {
        let answer = world.send(signed(method, PATH, "{}"));
        assert_eq!(refusal(&answer), refused(404, "not found"), "{method}");
    }
}

#[test]
fn what_was_lost_on_the_way_is_taken_when_it_is_sent_again() {
    let world = world();
    *world.answers.borrow_mut() = Box::new(|sent| (sent.name != "s2").then(|| (200, Vec::new())));
    assert_eq!(deliver(&world, "d1", "check_run", &failed_check()), 500);
    assert_eq!(remembered(&world), Vec::<String>::new());
    *world.answers.borrow_mut() = Box::new(|_| Some((503, Vec::new())));
    assert_eq!(deliver(&world, "d1", "check_run", &failed_check()), 500);
    // One that is gone has nothing to hear.
    *world.answers.borrow_mut() = Box::new(|sent| Some((if sent.name == "s2" { 404 } else { 200 }, Vec::new())));
    assert_eq!(deliver(&world, "d1", "check_run", &failed_check()), 202);
    assert_eq!(remembered(&world), ["d1"]);
}
