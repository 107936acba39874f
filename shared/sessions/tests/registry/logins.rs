//! Stored logins.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};

use database::Database;
use database::sqlite::Sqlite;
use http::{HeaderMap, StatusCode};
use pollster::block_on;
use serde_json::{Value, json};
use sessions::error::Error;
use sessions::logins::{self, Injection, LoginState, Renewal};
use sessions::request::{Create, Import};
use sessions::settings::Settings;
use web::{Call, CallError, Event, Failure, Fetch, Host, Incoming, Reply, Trace, Undone};

use crate::support::{db, rows, run, seal};

const NOW: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;

/// A clock, and a service that answers once with what it is told.
#[derive(Default)]
struct World {
    answer: Cell<Option<(u16, String)>>,
    hangs: bool,
    calls: RefCell<Vec<String>>,
}

struct Body(Option<Vec<u8>>);

impl Incoming for Body {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.take())
    }
}

impl Fetch for World {
    type Body = Body;

    async fn fetch(&self, call: Call) -> Result<Reply<Body>, CallError> {
        assert_eq!(call.url, "https://auth.openai.com/oauth/token");
        self.calls.borrow_mut().push(String::from_utf8(call.body).unwrap());
        if self.hangs {
            pending::<()>().await;
        }
        let (status, body) = self.answer.take().ok_or(CallError::TimedOut)?;
        let status = StatusCode::from_u16(status).unwrap();
        Ok(Reply { status, headers: HeaderMap::new(), body: Body(Some(body.into_bytes())) })
    }
}

impl Host for World {
    fn now_ms(&self) -> i64 {
        NOW
    }
    fn sleep_ms(&self, _: u32) -> impl Future<Output = ()> + 'static {
        ready(())
    }
    fn wait_until(&self, _: impl Future<Output = Result<(), Undone>> + 'static) {}
    fn random_uuid(&self) -> uuid::Uuid {
        uuid::Uuid::nil()
    }
    fn report(&self, _: &Event<'_>) {}
    fn trace(&self, _: &Trace<'_>) {}
}

fn answering(status: u16, body: &str) -> World {
    World { answer: Cell::new(Some((status, body.to_owned()))), ..World::default() }
}

fn import(db: &impl Database, user: &str, auth_id: &str, body: &Value, now: i64) -> Value {
    let body = Import::read(body.to_string().as_bytes()).unwrap();
    block_on(logins::import(db, &seal(), user, &body, auth_id, now)).unwrap().imported()
}

fn state(db: &impl Database, user: &str, now: i64) -> Option<LoginState> {
    block_on(logins::read(db, user)).unwrap().map(|login| login.state(now))
}

#[test]
fn an_import_takes_the_place_of_the_one_before() {
    let db = db();
    assert!(block_on(logins::read(&db, "u")).unwrap().is_none());
    let shown = import(&db, "u", "a1", &json!({"access_token": "at-1"}), 1_000);
    let expected = json!({"auth-id": "a1", "user-id": "u", "provider": "openai", "auth-method": "chatgpt",
        "auth-state": "valid", "issued-at": 1_000, "expires-at": 0});
    assert_eq!(shown, expected);
    let status = block_on(logins::read(&db, "u")).unwrap().unwrap().shown(2_000);
    assert!(status.get("expires-at").is_none() && status.get("revoked-at").is_none(), "{status}");
    let shown = import(&db, "u", "a2", &json!({"access_token": "at-2", "expires_in": 3_600}), 2_000);
    assert_eq!((&shown["auth-id"], &shown["expires-at"]), (&"a2".into(), &3_602_000.into()));
    let shown = import(&db, "u", "a3", &json!({"access_token": "at-3", "expires_at": 1_000}), 3_000);
    assert_eq!((&shown["auth-state"], &shown["expires-at"]), (&"valid".into(), &1_000.into()));
    assert_eq!(block_on(logins::read(&db, "u")).unwrap().unwrap().shown(3_000)["auth-state"], "expired");
    let stored = rows(&db, "SELECT created_at, access_token, refresh_token FROM managed_auth_sessions");
    assert_eq!((stored.len(), stored[0].int(0), stored[0].text(2)), (1, Some(1_000), None));
    assert!(stored[0].text(1).unwrap().starts_with("v1:"));
}

#[test]
fn states_follow_the_clock_and_the_user() {
    let db = db();
    import(&db, "u", "a", &json!({"access_token": "at", "expires_at": 5_000}), 1_000);
    assert_eq!((state(&db, "u", 4_999), state(&db, "u", 5_000)), (Some(LoginState::Valid), Some(LoginState::Expired)));
    block_on(logins::revoke(&db, "v", 2_000)).unwrap();
    assert_eq!(state(&db, "u", 2_000), Some(LoginState::Valid), "another user's");
    for now in [2_000, 3_000] {
        block_on(logins::revoke(&db, "u", now)).unwrap();
    }
    let revoked = block_on(logins::open(&db, &seal(), "u")).unwrap().unwrap();
    assert_eq!((revoked.state(9_000), revoked.revoked_at), (LoginState::Revoked, 2_000));
    assert_eq!(revoked.tokens, logins::Tokens::default(), "nothing is kept");
    import(&db, "u", "b", &json!({"access_token": "at"}), 4_000);
    assert_eq!(state(&db, "u", 9_000), Some(LoginState::Valid));
}

#[test]
fn tokens_open_for_their_user_only() {
    let db = db();
    import(&db, "u", "a", &json!({"access_token": "at", "refresh_token": "rt", "id_token": "id", "scope": "s"}), 1);
    let tokens = block_on(logins::open(&db, &seal(), "u")).unwrap().unwrap().tokens;
    let texts = [&tokens.access_token, &tokens.refresh_token, &tokens.id_token, &tokens.scope].map(Option::as_deref);
    assert_eq!(texts, [Some("at"), Some("rt"), Some("id"), Some("s")]);
    run(&db, "UPDATE managed_auth_sessions SET user_id = 'v'");
    assert!(matches!(block_on(logins::open(&db, &seal(), "v")), Err(Error::Internal(_))));
    run(&db, "UPDATE managed_auth_sessions SET access_token = 'plain', refresh_token = '', id_token = NULL");
    let tokens = block_on(logins::open(&db, &seal(), "v")).unwrap().unwrap().tokens;
    assert_eq!((tokens.access_token.as_deref(), tokens.refresh_token), (Some("plain"), None), "of the reference");
}

#[test]
fn a_database_that_fails_imports_nothing() {
    let db = db();
    run(&db, "DROP TABLE managed_auth_sessions");
    let body = Import::read(br#"{"access_token":"x"}"#).unwrap();
    assert_eq!(block_on(logins::import(&db, &seal(), "u", &body, "a", 1)), Err(Error::ImportFailed));
}

fn renewed(db: &Sqlite, world: &World, client_id: Option<&str>) -> Option<String> {
    let with = Renewal { db, fetch: world, host: world, seal: &seal(), client_id };
    block_on(logins::renewed(&with, "u")).unwrap().unwrap().tokens.access_token
}

fn ending(db: &Sqlite, expires_at: i64) {
    import(db, "u", "a", &json!({"access_token": "old", "refresh_token": "r t&1", "expires_at": expires_at}), NOW - 1);
}

#[test]
fn a_login_is_renewed_within_its_last_five_minutes() {
    for (left, renews) in [(5 * MINUTE, true), (5 * MINUTE + 1, false), (-MINUTE, true)] {
        let db = db();
        ending(&db, NOW + left);
        let world = answering(200, r#"{"access_token":"new","refresh_token":"r2","expires_in":3600}"#);
        let expected = if renews { "new" } else { "old" };
        assert_eq!(renewed(&db, &world, Some("client")).as_deref(), Some(expected), "{left}");
        let calls = world.calls.take();
        if renews {
            assert_eq!(calls, ["grant_type=refresh_token&refresh_token=r%20t%261&client_id=client"]);
            let login = block_on(logins::open(&db, &seal(), "u")).unwrap().unwrap();
            assert_eq!((&*login.auth_id, login.issued_at, login.expires_at), ("a", NOW, NOW + 3_600_000));
            assert_eq!(login.tokens.refresh_token.as_deref(), Some("r2"));
            assert_eq!(renewed(&db, &world, Some("client")).as_deref(), Some("new"));
            assert!(world.calls.take().is_empty(), "once is enough");
        } else {
            assert!(calls.is_empty());
        }
    }
}

#[test]
fn what_cannot_be_renewed_stays() {
    for (status, body) in
        [(400, r#"{"error":"invalid_grant"}"#), (500, "x"), (200, "x"), (200, r#"{"access_token":" "}"#)]
    {
        let db = db();
        ending(&db, NOW + 1);
        assert_eq!(renewed(&db, &answering(status, body), Some("client")).as_deref(), Some("old"), "{status} {body}");
    }
    let db = db();
    ending(&db, NOW + 1);
    let hanging = World { hangs: true, ..World::default() };
    assert_eq!(renewed(&db, &hanging, Some("client")).as_deref(), Some("old"), "no answer");
    let large = format!(r#"{{"access_token":"new","x":"{}"}}"#, "x".repeat(256 << 10));
    run(&db, "UPDATE managed_auth_sessions SET updated_at = 0");
    assert_eq!(renewed(&db, &answering(200, &large), Some("client")).as_deref(), Some("old"), "too large");
    let unasked = World::default();
    assert_eq!(renewed(&db, &unasked, None).as_deref(), Some("old"));
    import(&db, "u", "a", &json!({"access_token": "no refresh token", "expires_at": NOW + 1}), NOW - 1);
    assert!(renewed(&db, &unasked, Some("client")).is_some());
    ending(&db, NOW + 1);
    block_on(logins::revoke(&db, "u", NOW)).unwrap();
    assert_eq!(renewed(&db, &unasked, Some("client")), None);
    assert!(unasked.calls.take().is_empty());
}

#[test]
fn two_never_spend_the_same_refresh_token() {
    let db = db();
    ending(&db, NOW + 1);
    let failing = answering(500, "");
    renewed(&db, &failing, Some("client"));
    let second = answering(200, r#"{"access_token":"new"}"#);
    assert_eq!(renewed(&db, &second, Some("client")).as_deref(), Some("old"), "the first may still be at it");
    assert!(second.calls.take().is_empty());
    run(&db, &format!("UPDATE managed_auth_sessions SET updated_at = {}", NOW - 30_000));
    assert_eq!(renewed(&db, &second, Some("client")).as_deref(), Some("new"), "it has had time enough");
}

fn settings(values: &[(&str, &str)]) -> Settings {
    let key = format!("{}=", "A".repeat(43));
    Settings::from_lookup(|name| match values.iter().find(|(wanted, _)| *wanted == name) {
        Some((_, value)) => Some((*value).to_owned()),
        None => (name == "MANAGED_AUTH_KEY").then(|| key.clone()),
    })
    .unwrap()
}

fn create(agent: &Value, provider: &str) -> Create {
    let body = json!({"session-id": "s", "node-id": "n", "node-title": "t", "content": "c", "attachments": [],
        "project": {"id": "p", "title": "t", "repo-url": "r"}, "agent": agent, "runtime-provider": provider});
    Create::read(body.to_string().as_bytes()).unwrap()
}

fn inject(db: Option<&Sqlite>, settings: &Settings, create: &mut Create) -> Result<(), Error> {
    let world = World::default();
    block_on(logins::inject(&Injection { db, fetch: &world, host: &world, settings }, "u", create))
}

fn imported(settings: &Settings, body: &Value) -> Sqlite {
    let db = db();
    let body = Import::read(body.to_string().as_bytes()).unwrap();
    block_on(logins::import(&db, &settings.seal(), "u", &body, "a", NOW)).unwrap();
    db
}

#[test]
fn codex_gets_the_stored_login() {
    let settings = settings(&[]);
    let db = imported(&settings, &json!({"access_token": "at", "refresh_token": "rt"}));
    for (agent, expected) in [
        (json!("codex"), json!({"provider": "codex"})),
        (json!("CODEX"), json!({"provider": "codex"})),
        (json!({"provider": "Codex", "mode": "plan"}), json!({"provider": "Codex", "mode": "plan"})),
    ] {
        let mut create = create(&agent, "e2b");
        assert_eq!(inject(Some(&db), &settings, &mut create), Ok(()));
        assert_eq!(create.task.agent(), &expected);
        let file: Value = serde_json::from_str(create.secrets.auth_json().unwrap()).unwrap();
        assert_eq!((&file["tokens"]["access_token"], &file["tokens"]["refresh_token"]), (&"at".into(), &"rt".into()));
        assert!(!create.task.0.to_string().contains("at\""), "no credentials in the task");
        let managed = create.secrets.managed_auth.unwrap();
        assert_eq!((&managed["auth-id"], &managed["auth-state"]), (&"a".into(), &"valid".into()));
    }
}

#[test]
fn the_refresh_token_stays_here_where_it_is_not_shared() {
    let settings = settings(&[("MANAGED_AUTH_SHARE_REFRESH", "0")]);
    let db = imported(&settings, &json!({"access_token": "at", "refresh_token": "rt"}));
    let mut create = create(&json!("codex"), "e2b");
    inject(Some(&db), &settings, &mut create).unwrap();
    let file: Value = serde_json::from_str(create.secrets.auth_json().unwrap()).unwrap();
    assert!(file["tokens"].get("refresh_token").is_none());
}

#[test]
fn others_and_those_with_credentials_get_none() {
    let settings = settings(&[]);
    let db = imported(&settings, &json!({"access_token": "at"}));
    for agent in [
        json!("claude"),
        json!("chatgpt"),
        json!({}),
        json!({"provider": "codex", "api-token": "own"}),
        json!({"provider": "codex", "auth-json": "{}"}),
        json!({"provider": "codex", "managed-auth": {}}),
    ] {
        let mut create = create(&agent, "e2b");
        let before = create.clone();
        assert_eq!(inject(Some(&db), &settings, &mut create), Ok(()));
        assert_eq!(create, before, "{agent}");
    }
}

#[test]
fn a_login_is_asked_for_where_codex_needs_one() {
    let plain = settings(&[]);
    let with_key = settings(&[("OPENAI_API_KEY", "k")]);
    let runners = settings(&[("AGENT_RUNTIME_PROVIDER", "local-runner")]);
    let none = db();
    let expired = imported(&plain, &json!({"access_token": "at", "expires_at": NOW - 1}));
    let revoked = imported(&plain, &json!({"access_token": "at"}));
    block_on(logins::revoke(&revoked, "u", NOW)).unwrap();
    for (db, refusal) in [
        (None, Error::LoginRequired),
        (Some(&none), Error::LoginRequired),
        (Some(&revoked), Error::LoginRequired),
        (Some(&expired), Error::LoginExpired),
    ] {
        for (settings, provider, expected) in [
            (&plain, "e2b", Err(refusal.clone())),
            (&plain, "", Err(refusal.clone())),
            (&plain, "odd", Err(refusal.clone())),
            (&runners, "e2b", Err(refusal)),
            (&plain, "Local-Runner", Ok(())),
            (&runners, "", Ok(())),
            (&with_key, "e2b", Ok(())),
        ] {
            let mut create = create(&json!("codex"), provider);
            assert_eq!(inject(db, settings, &mut create), expected, "{provider}");
            assert!(create.secrets.is_empty());
        }
    }
}
