//! The routes of webhooks (agents.md 20.3).

use std::rc::Rc;

use database::Database;
use pollster::block_on;
use serde_json::{Value, json};
use sessions::front::Service;
use sessions::registry::webhooks;
use sessions::session::store::{Delivery, DeliveryState};
use sessions::settings::Settings;

use crate::world::{Answer, NOW, NoKeys, World, request, signed};

const KEY: (&str, &str) = ("MANAGED_AUTH_KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
const BODY: &str = r#"{"url":"https://receiver.example/x"}"#;

fn refused(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

fn keyed(world: &World, key: &str, body: &str) -> Answer {
    let mut request = signed("POST", "/agents/webhooks", body);
    request.headers_mut().insert("idempotency-key", key.parse().unwrap());
    world.send(request)
}

fn add(world: &World, key: &str) -> String {
    let answer = keyed(world, key, BODY);
    assert_eq!(answer.status, 200);
    answer.json()["webhook"]["webhook-id"].as_str().unwrap().to_owned()
}

fn tell(world: &World, webhook: &str, number: i64, state: DeliveryState) -> String {
    let id = format!("msg_{number}");
    let delivery = Delivery {
        id: id.clone(),
        webhook_id: webhook.to_owned(),
        topic: "turn.finished".to_owned(),
        body: String::new(),
        state,
        attempts: 1,
        last_status: Some(500),
        at: NOW + 5,
        created_at: NOW + number / 2,
    };
    block_on(webhooks::tell(world.db.as_ref().unwrap(), "s/1", &delivery, NOW)).unwrap();
    id
}

fn run(world: &World, sql: &str) {
    block_on(world.db.as_ref().unwrap().execute(sql, &[])).unwrap();
}

/// A service whose user is somebody else, over the same database.
fn bob() -> Service<NoKeys> {
    let settings = Settings::from_lookup(|name| match name {
        "DB_SYNC_AUTH_DRIVER" => Some("static".to_owned()),
        "DB_SYNC_AUTH_TOKEN" => Some("secret-token".to_owned()),
        "DB_SYNC_STATIC_USER_ID" => Some("bob".to_owned()),
        "MANAGED_AUTH_KEY" => Some(KEY.1.to_owned()),
        _ => None,
    });
    Service::new(Rc::new(settings.unwrap()), NoKeys)
}

#[test]
fn a_webhook_is_made_shown_and_removed() {
    let world = World::new(&[KEY]);
    let body = r#"{"url":"https://receiver.example/x?y=1","events":["pr.opened","turn.finished"]}"#;
    let made = world.call("POST", "/agents/webhooks", body);
    assert_eq!(made.status, 200);
    let made = made.json();
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let webhook = made["webhook"].clone();
    let id = webhook["webhook-id"].as_str().unwrap();
    let expected = json!({"webhook-id": id, "url": "https://receiver.example/x?y=1", "events": ["turn.finished", "pr.opened"],
        "created-at": NOW});
    assert_eq!(webhook, expected);
    let listed = world.call("GET", "/agents/webhooks", "");
    assert_eq!(listed.json(), json!({"webhooks": [webhook]}), "without its secret");
    assert_eq!(world.call("GET", &format!("/agents/webhooks/{id}/deliveries"), "").json(), json!({"deliveries": []}));
    // Sealed: neither the secret nor its key lies in the database.
    let rows = block_on(world.db.as_ref().unwrap().query(
        database::ReadFrom::Primary,
        "SELECT secret FROM agent_webhooks",
        &[],
    ));
    let rows = rows.unwrap();
    let stored = rows[0].text(0).unwrap();
    assert!(stored.starts_with("v1:") && !stored.contains(&secret[6..]));
    assert_eq!(world.call("DELETE", &format!("/agents/webhooks/{id}"), "").json(), json!({"ok": true}));
    assert_eq!(world.call("DELETE", &format!("/agents/webhooks/{id}"), "").refusal(), refused(404, "not found"));
    assert_eq!(world.call("GET", "/agents/webhooks", "").json(), json!({"webhooks": []}));
}

#[test]
fn wrong_webhooks_are_refused() {
    let world = World::new(&[KEY]);
    for (body, status, error) in [
        ("", 400, "missing body"),
        ("{}", 400, "invalid body"),
        ("[]", 400, "invalid body"),
        (r#"{"url":5}"#, 400, "invalid body"),
        (r#"{"url":"https://a.example","events":["turn.begun"]}"#, 400, "invalid body"),
        (r#"{"url":"https://a.example","events":[]}"#, 400, "invalid body"),
        (r#"{"url":""}"#, 400, "invalid url"),
        (r#"{"url":"a.example"}"#, 400, "invalid url"),
        (r#"{"url":"http://a.example/"}"#, 400, "invalid url"),
        (r#"{"url":"https://127.0.0.1/"}"#, 400, "invalid url"),
        (r#"{"url":"https://0x7f.1/"}"#, 400, "invalid url"),
        (r#"{"url":"https://[::ffff:169.254.169.254]/"}"#, 400, "invalid url"),
        (r#"{"url":"https://metadata.google.internal/"}"#, 400, "invalid url"),
        (r#"{"url":"https://u:p@a.example/"}"#, 400, "invalid url"),
        (r#"{"url":"https://a.example/#x"}"#, 400, "invalid url"),
        (r#"{"url":"https://a.example/","graph-id":"g"}"#, 403, "forbidden"),
    ] {
        assert_eq!(world.call("POST", "/agents/webhooks", body).refusal(), refused(status, error), "{body}");
    }
    let long = format!(r#"{{"url":"https://a.example/{}"}}"#, "a".repeat(2_048));
    assert_eq!(world.call("POST", "/agents/webhooks", &long).refusal(), refused(400, "invalid url"));
    assert_eq!(world.call("GET", "/agents/webhooks", "").json(), json!({"webhooks": []}));
    // Without a key nothing can be sealed; where that may be, private addresses are for development.
    let cognito = [("DB_SYNC_AUTH_DRIVER", "none"), ("LOCAL_RUNNER_ALLOW_PRIVATE", "1")];
    let open = World::new(&cognito);
    assert_eq!(open.call("POST", "/agents/webhooks", r#"{"url":"http://127.0.0.1:9/"}"#).status, 200);
}

#[test]
fn only_those_of_the_graph_name_it() {
    let world = World::new(&[KEY]);
    let body = r#"{"url":"https://a.example/","graph-id":"g"}"#;
    run(
        &world,
        "INSERT INTO graphs (graph_id, graph_name, user_id, created_at, updated_at) VALUES ('g', 'g', 'eve', 1, 1)",
    );
    assert_eq!(world.call("POST", "/agents/webhooks", body).status, 403);
    run(&world, "INSERT INTO graph_members (user_id, graph_id, role) VALUES ('ann/é', 'g', 'member')");
    assert_eq!(world.call("POST", "/agents/webhooks", body).json()["webhook"]["graph-id"], "g");
}

#[test]
fn a_user_has_ten() {
    let world = World::new(&[KEY]);
    for number in 0..10 {
        add(&world, &number.to_string());
    }
    let beyond = world.call("POST", "/agents/webhooks", BODY);
    assert_eq!(beyond.refusal(), refused(429, "too many webhooks"));
    assert!(beyond.headers.contains_key("retry-after"));
    assert_eq!(world.send_to(&bob(), signed("POST", "/agents/webhooks", BODY)).status, 200, "others have theirs");
    // A repeat adds none, and says what the first said.
    let (first, again) = (keyed(&world, "3", BODY).json(), keyed(&world, "3", BODY).json());
    assert_eq!(first, again);
    let other = keyed(&world, "3", r#"{"url":"https://other.example/"}"#);
    assert_eq!(other.refusal(), refused(422, "idempotency key was used for another request"));
    assert_eq!(world.call("GET", "/agents/webhooks", "").json()["webhooks"].as_array().unwrap().len(), 10);
}

#[test]
fn deliveries_come_in_pages() {
    let world = World::new(&[KEY]);
    let (id, other) = (add(&world, "a"), add(&world, "b"));
    let mut made: Vec<String> = (0..120).map(|number| tell(&world, &id, number, DeliveryState::Pending)).collect();
    tell(&world, &other, 1_000, DeliveryState::Done);
    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = world.call("GET", &format!("/agents/webhooks/{id}/deliveries?cursor={cursor}"), "").json();
        let shown = page["deliveries"].as_array().unwrap();
        assert!(shown.len() <= 50);
        assert_eq!(shown[0]["next-at"], NOW + 5);
        found.extend(shown.iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        pages += 1;
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    assert_eq!((pages, found.len()), (3, 120));
    found.sort();
    made.sort();
    assert_eq!(found, made);
    let wrong = world.call("GET", &format!("/agents/webhooks/{id}/deliveries?cursor=!"), "");
    assert_eq!(wrong.refusal(), refused(400, "invalid body"));
}

#[test]
fn the_session_is_asked_to_replay() {
    let world = World::new(&[KEY]);
    let id = add(&world, "a");
    let delivery = tell(&world, &id, 1, DeliveryState::Dead);
    let path = format!("/agents/webhooks/{id}/deliveries/{delivery}/replay");
    let mut keyed = signed("POST", &path, "");
    keyed.headers_mut().insert("idempotency-key", "again".parse().unwrap());
    assert_eq!(world.send(keyed).status, 200);
    {
        let sent = world.sent.borrow();
        assert_eq!(
            (sent[0].name.as_str(), sent[0].line.as_str()),
            ("s/1", "POST https://session/__session__/replay/msg_1")
        );
        assert_eq!((sent[0].header("x-caller"), sent[0].header("x-session-id")), (Some("service"), Some("s%2F1")));
        assert_eq!((sent[0].header("authorization"), sent[0].header("idempotency-key")), (None, Some("again")));
    }
    for path in [
        format!("/agents/webhooks/{id}/deliveries/unknown/replay"),
        format!("/agents/webhooks/unknown/deliveries/{delivery}/replay"),
        format!("/agents/webhooks/{}/deliveries/{delivery}/replay", add(&world, "b")),
    ] {
        assert_eq!(world.call("POST", &path, "").refusal(), refused(404, "not found"), "{path}");
    }
    run(&world, "UPDATE agent_webhooks SET disabled_at = 7");
    assert_eq!(world.call("POST", &path, "").refusal(), refused(409, "webhook is disabled"));
    assert_eq!(world.call("GET", "/agents/webhooks", "").json()["webhooks"][0]["disabled-at"], 7);
    assert_eq!(world.sent.borrow().len(), 1);
}

#[test]
fn strangers_and_nobody_reach_nothing_of_others() {
    let world = World::new(&[KEY]);
    let id = add(&world, "a");
    let delivery = tell(&world, &id, 1, DeliveryState::Done);
    let all = [
        ("GET", "/agents/webhooks".to_owned()),
        ("POST", "/agents/webhooks".to_owned()),
        ("DELETE", format!("/agents/webhooks/{id}")),
        ("GET", format!("/agents/webhooks/{id}/deliveries")),
        ("POST", format!("/agents/webhooks/{id}/deliveries/{delivery}/replay")),
    ];
    for (method, path) in &all {
        let nobody = request(method, path, BODY);
        let read = Rc::clone(&nobody.body().read);
        assert_eq!(world.send(nobody).refusal(), refused(401, "unauthorized"), "{method} {path}");
        assert_eq!(read.get(), 0);
        if path.contains(&id) {
            let stranger = world.send_to(&bob(), signed(method, path, ""));
            assert_eq!(stranger.refusal(), refused(404, "not found"), "{method} {path}");
        }
    }
    assert_eq!(world.send_to(&bob(), signed("GET", "/agents/webhooks", "")).json(), json!({"webhooks": []}));
    // The same key of another user means another webhook.
    let mut theirs = signed("POST", "/agents/webhooks", BODY);
    theirs.headers_mut().insert("idempotency-key", "a".parse().unwrap());
    let theirs = world.send_to(&bob(), theirs).json();
    assert_ne!(theirs["webhook"]["webhook-id"], Value::from(id));
    assert!(world.sent.borrow().is_empty());
    for path in ["/agents", "/agents/webhooks/", "/agentsx"] {
        assert_eq!(world.call("GET", path, "").status, 404, "{path}");
    }
}

#[test]
fn steering_webhooks_is_counted() {
    let world = World::new(&[KEY]);
    for _ in 0..60 {
        assert_eq!(world.call("DELETE", "/agents/webhooks/unknown", "").status, 404);
    }
    assert_eq!(world.call("POST", "/agents/webhooks", BODY).status, 429);
    assert_eq!(world.call("POST", "/agents/webhooks/a/deliveries/b/replay", "").status, 429);
    assert_eq!(world.call("GET", "/agents/webhooks", "").status, 200);
}
