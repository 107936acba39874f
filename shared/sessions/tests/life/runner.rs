//! The object of a runner that calls us (session-mailbox.md 7.1–7.4), over a real database, with sessions that answer as they are told to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use database::sqlite::Sqlite;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use sessions::mailbox::Token;
use sessions::runner_object::{Platform, RunnerObject, handle};
use web::{Call, Failure, Hosted, Peers};

use crate::clock::Tasks;
use crate::host::TestHost;
use crate::platform::{Answer, Body};
use crate::{database, settings_with};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const START: i64 = 1_700_000_000_000;

/// The sessions of the runner: what they were asked, and what they answer to each verb.
#[derive(Default)]
struct Sessions {
    asked: RefCell<Vec<(String, String, Value)>>,
    items: RefCell<Vec<Value>>,
    is_gone: Cell<bool>,
}

fn body_of(call: &Call) -> Value {
    serde_json::from_slice(&call.body).unwrap_or(Value::Null)
}

impl Peers for Sessions {
    async fn ask(&self, name: &str, call: Call, _: usize) -> Result<(StatusCode, Vec<u8>), Failure> {
        let verb = call.url.rsplit('/').next().unwrap().to_owned();
        let body = body_of(&call);
        assert_eq!(
            (call.headers["x-caller"].as_bytes(), call.headers["x-runner-key"].as_bytes()),
            (&b"service"[..], KEY.as_bytes())
        );
        self.asked.borrow_mut().push((name.to_owned(), verb.clone(), body));
        if self.is_gone.get() {
            return Ok((StatusCode::NOT_FOUND, b"{}".to_vec()));
        }
        let said = match verb.as_str() {
            "fetch" => json!({"held": true, "more": false, "items": std::mem::take(&mut *self.items.borrow_mut())}),
            "attach" => json!({"held": true, "session": {"session-id": name, "verdict": "keep"}}),
            // What it is passed on must be what it takes.
            "acks" => json!({"ok": sessions::request::mailbox::acks_of(&body_of(&call)).is_ok()}),
            "lease" => json!({"session-id": name, "state": "held"}),
            _ => json!({"held": true, "ok": true}),
        };
        let status = if said["ok"] == false { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        Ok((status, said.to_string().into_bytes()))
    }
}

#[derive(Clone)]
struct Ports {
    host: TestHost,
    tasks: Rc<Tasks>,
    sql: Rc<Rusqlite>,
    db: Rc<Sqlite>,
    alarm: Rc<Cell<Option<i64>>>,
    sessions: Rc<Sessions>,
}

impl Hosted for Ports {
    type Host = TestHost;

    fn host(&self) -> &TestHost {
        &self.host
    }
}

impl Platform for Ports {
    type Request = Body;
    type Response = Answer;
    type Sql = Rusqlite;
    type Db = Sqlite;
    type Sessions = Sessions;

    fn sql(&self) -> &Rusqlite {
        &self.sql
    }

    fn db(&self) -> Option<Rc<Sqlite>> {
        Some(Rc::clone(&self.db))
    }

    fn sessions(&self) -> Rc<Sessions> {
        Rc::clone(&self.sessions)
    }

    fn set_alarm(&self, at: i64) {
        self.alarm.set(Some(at));
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(work);
    }
}

type Slot = Rc<RefCell<Option<(u16, Value)>>>;

struct World {
    ports: Ports,
    object: Rc<RunnerObject<Ports>>,
    token: Option<Token>,
    attach: Option<String>,
}

impl World {
    fn new(extra: &[(&str, &str)]) -> Self {
        let host = TestHost::default();
        host.clock.now.set(START);
        let ports = Ports {
            host,
            tasks: Rc::default(),
            sql: Rc::new(Rusqlite::in_memory().unwrap()),
            db: database(),
            alarm: Rc::default(),
            sessions: Rc::default(),
        };
        let object = RunnerObject::new(ports.clone(), Rc::new(settings_with(extra)));
        Self { ports, object, token: None, attach: None }
    }

    /// The object dies, with whatever waited for it.
    fn crash(&mut self) {
        self.ports.tasks = Rc::default();
        self.object = RunnerObject::new(self.ports.clone(), Rc::new(settings_with(&[])));
    }

    fn begin(&self, verb: &str, body: &Value) -> Slot {
        let mut request = Request::new(Body(Some(body.to_string().into_bytes())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("https://runner/__runner__/{verb}").parse().unwrap();
        let hash = self.token.as_ref().map(|token| token.hash().text().to_owned());
        let headers = [
            ("x-runner-id", Some("r")),
            ("x-runner-secret-hash", hash.as_deref()),
            ("x-runner-attach", self.attach.as_deref()),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        let (object, slot) = (Rc::clone(&self.object), Slot::default());
        let answered = Rc::clone(&slot);
        self.ports.tasks.spawn(async move {
            let response = handle(&object, request).await;
            let status = response.status().as_u16();
            if let Answer::Bytes(bytes) = response.into_body() {
                *answered.borrow_mut() = Some((status, serde_json::from_slice(&bytes).unwrap()));
            }
        });
        self.ports.tasks.run();
        slot
    }

    fn pass(&self, ms: i64) {
        let end = self.ports.host.clock.now.get() + ms;
        loop {
            self.ports.tasks.run();
            let wake = self.ports.host.clock.next_wake().filter(|at| *at <= end);
            let alarm = self.ports.alarm.get().filter(|at| *at <= end);
            let Some(next) = [wake, alarm].into_iter().flatten().min() else { break };
            self.ports.host.clock.advance(next);
            if self.ports.alarm.get().is_some_and(|at| at <= next) {
                self.ports.alarm.set(None);
                self.object.alarm().unwrap();
            }
        }
        self.ports.host.clock.advance(end);
        self.ports.tasks.run();
    }

    fn ask(&self, verb: &str, body: &Value) -> (u16, Value) {
        let slot = self.begin(verb, body);
        self.pass(10);
        slot.take().unwrap()
    }

    fn register(&mut self, instance: &str) {
        let asked = json!({"key": KEY, "user-id": "ann", "runner-id": "r", "instance-id": instance, "replace": false});
        let (status, body) = self.ask("register", &asked);
        assert_eq!(status, 200, "{body}");
        self.token = Token::parse(body["runner-token"].as_str().unwrap());
        assert_eq!(self.token.as_ref().unwrap().key(), KEY);
    }

    fn attach(&mut self, sessions: &Value) -> Value {
        let process = "0b9ad6a5-3a6f-4d3c-9d46-0a1b2c3d4e5f";
        let asked = json!({"instance-id": process, "process-id": process, "protocol": 1, "sessions": sessions});
        let (status, body) = self.ask("attach", &asked);
        assert_eq!(status, 200, "{body}");
        self.attach = Some(body["attach-id"].as_str().unwrap().to_owned());
        body
    }

    fn there() -> Self {
        let mut world = Self::new(&[]);
        world.register("0b9ad6a5-3a6f-4d3c-9d46-0a1b2c3d4e5f");
        world.attach(&json!([]));
        world
    }

    fn asked(&self, verb: &str) -> usize {
        self.ports.sessions.asked.borrow().iter().filter(|(_, asked, _)| asked == verb).count()
    }
}

#[test]
fn whoever_guesses_a_key_leaves_nothing_behind() {
    let mut world = World::new(&[]);
    world.token = Token::parse(&format!("lrt_{KEY}_{}", "0".repeat(64)));
    for verb in ["token", "attach", "poll", "delete", "admit/events"] {
        assert_eq!(world.ask(verb, &json!({})), (401, json!({"error": "unauthorized"})), "{verb}");
    }
    for verb in ["bind", "ring", "unbind"] {
        assert_eq!(world.ask(verb, &json!({"session-id": "s"})).0, 404, "{verb}");
    }
    let tables =
        world.ports.sql.connection().query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0));
    assert_eq!(tables.unwrap(), 0);
}

#[test]
fn a_request_waits_until_a_session_has_work() {
    let world = World::there();
    let waiting = world.begin("poll", &json!({"wait-ms": 40_000}));
    world.pass(20_000);
    assert!(waiting.borrow().is_none());
    world.ports.sessions.items.borrow_mut().push(json!({"item-id": "i"}));
    assert_eq!(world.ask("ring", &json!({"session-id": "s"})).1["presence"]["offline"], Value::Null);
    let (status, body) = waiting.take().unwrap();
    assert_eq!((status, &body["items"]), (200, &json!([{"item-id": "i"}])));
    // Nothing is left: the next one waits its time.
    let waiting = world.begin("poll", &json!({"wait-ms": 40_000}));
    world.pass(39_000);
    assert!(waiting.borrow().is_none());
    world.pass(1_100);
    assert_eq!(waiting.take().unwrap().1["items"], json!([]));
    assert_eq!(world.asked("fetch"), 1);
}

#[test]
fn a_second_request_ends_the_first_and_a_second_process_all_of_the_first() {
    let mut world = World::there();
    let first = world.begin("poll", &json!({"wait-ms": 40_000}));
    let second = world.begin("poll", &json!({"wait-ms": 40_000}));
    world.pass(10);
    assert_eq!(first.take().unwrap(), (200, json!({"items": [], "poll-after-ms": 0, "server-time": START + 20})));
    let old = world.attach.clone();
    world.attach(&json!([]));
    assert_eq!(second.take().unwrap(), (409, json!({"error": "runner superseded"})));
    world.attach = old;
    assert_eq!(world.ask("poll", &json!({"wait-ms": 0})).0, 409);
    world.attach = None;
    assert_eq!(world.ask("poll", &json!({})), (400, json!({"error": "missing attach id"})));
}

#[test]
fn sessions_say_what_counts_of_a_copy_and_those_that_are_not_listed_are_asked_too() {
    let mut world = World::there();
    world.ask("bind", &json!({"session-id": "bound"}));
    let claim =
        json!([{"session-id": "listed", "mailbox-id": "m", "lease": 1, "work-seq": 0, "out-seq": 0, "generation": 1}]);
    let body = world.attach(&claim);
    assert_eq!(body["sessions"], json!([{"session-id": "listed", "verdict": "keep"}]));
    let asked: Vec<(String, bool)> = world
        .ports
        .sessions
        .asked
        .borrow()
        .iter()
        .filter(|(_, verb, _)| verb == "attach")
        .map(|(name, _, body)| (name.clone(), body["claim"].is_object()))
        .collect();
    assert_eq!(asked, [("bound".to_owned(), false), ("listed".to_owned(), true)]);
    // One that has gone is held no more.
    world.ports.sessions.is_gone.set(true);
    assert_eq!(world.attach(&claim)["sessions"][0]["verdict"], "gone");
    world.ask("poll", &json!({"wait-ms": 0}));
    assert_eq!(world.asked("fetch"), 0);
}

#[test]
fn silence_is_told_once_and_a_return_too_whatever_dies() {
    let mut world = World::there();
    world.ask("bind", &json!({"session-id": "s"}));
    world.pass(64_000);
    assert_eq!(world.asked("presence"), 0);
    world.crash();
    // The alarm is the platform's: it outlives the object.
    world.pass(2_000);
    assert_eq!(world.asked("presence"), 1);
    world.pass(3_600_000);
    assert_eq!(world.asked("presence"), 1);
    // It shows what it had before: token and attach outlive the object as well.
    assert_eq!(world.ask("poll", &json!({"wait-ms": 0})).0, 200);
    assert_eq!(world.asked("presence"), 2);
    assert_eq!(world.ask("detach", &json!({"reason": "stop"})), (200, json!({"ok": true})));
    world.pass(10);
    assert_eq!(world.asked("presence"), 3);
}

#[test]
fn acknowledgements_and_leases_go_to_their_sessions() {
    let world = World::there();
    let ack = |session: &str| json!({"session-id": session, "item-id": "i", "work-seq": 1, "result": "stored"});
    assert_eq!(world.ask("acks", &json!({"acks": [ack("a"), ack("b"), ack("a")]})), (200, json!({"ok": true})));
    let asked = world.ports.sessions.asked.borrow().clone();
    let counts: Vec<(String, usize)> = asked
        .iter()
        .filter(|(_, verb, _)| verb == "acks")
        .map(|(name, _, body)| (name.clone(), body["acks"].as_array().unwrap().len()))
        .collect();
    assert_eq!(counts, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    let (_, body) = world.ask("leases", &json!({"sessions": [{"session-id": "a", "lease": 1}]}));
    assert_eq!(body["sessions"], json!([{"session-id": "a", "state": "held"}]));
    world.ports.sessions.is_gone.set(true);
    let (_, body) = world.ask("leases", &json!({"sessions": [{"session-id": "a", "lease": 1}]}));
    assert_eq!(body["sessions"], json!([{"session-id": "a", "state": "lost"}]));
    assert_eq!(world.ask("acks", &json!({"acks": [ack("a")]})), (200, json!({"ok": true})), "unknown ones are ignored");
}

#[test]
fn reports_are_kept_once_and_the_last_few_are_shown() {
    let world = World::there();
    for number in 0..25 {
        let report = json!({"id": format!("n{number}"), "code": "disk-low", "message": format!("{number}")});
        for _ in 0..2 {
            assert_eq!(world.ask("notices", &report), (200, json!({"ok": true})));
        }
    }
    let (_, about) = world.ask("about", &json!({}));
    let notices = about["notices"].as_array().unwrap();
    assert_eq!((notices.len(), &notices[0]["message"], &notices[19]["message"]), (20, &json!("5"), &json!("24")));
    assert_eq!(world.asked("notice"), 0);
    assert_eq!(world.ask("notices/s", &json!({"id": "x", "code": "c", "message": "m"})).0, 200);
    assert_eq!(world.asked("notice"), 1);
}

#[test]
fn a_deleted_runner_is_told_and_its_sessions_hear_of_it() {
    let world = World::there();
    world.ask("bind", &json!({"session-id": "s"}));
    let waiting = world.begin("poll", &json!({"wait-ms": 40_000}));
    assert_eq!(world.ask("revoke", &json!({})), (200, json!({"ok": true})));
    assert_eq!(waiting.take().unwrap(), (401, json!({"error": "runner revoked"})));
    assert_eq!(world.asked("presence"), 1);
    assert_eq!(world.ask("poll", &json!({})), (401, json!({"error": "runner revoked"})));
    // After a month nobody knows that it was there.
    world.pass(31 * 24 * 3_600_000);
    assert_eq!(world.ask("poll", &json!({})), (401, json!({"error": "unauthorized"})));
}

#[test]
fn requests_of_a_minute_are_counted_by_kind() {
    let world = World::there();
    for _ in 0..9 {
        assert_eq!(world.ask("token", &json!({})).0, 200);
    }
    assert_eq!(
        world.ask("token", &json!({})),
        (429, json!({"error": "rate limited"})),
        "attaching is counted with them"
    );
    for _ in 0..1_200 {
        assert_eq!(world.begin("admit/events", &json!({})).take().unwrap().0, 200);
    }
    let (status, body) = world.ask("admit/events", &json!({}));
    assert_eq!((status, body["retry-after"].is_u64()), (429, true));
}
