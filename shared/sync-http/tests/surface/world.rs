//! A platform in memory: the index and the graphs in SQLite, assets in a map, sockets as lists of what was sent.

mod bodies;
mod graph;
mod index;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::database::local_sqlite::Rusqlite;
use auth::{Clock, FetchError, KeySetSource};
use database::Database as _;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use pollster::block_on;
use serde_json::Value;
use sync_http::graph_routes::{self, GraphState};
use sync_http::platform::Platform;
use sync_http::service::{Service, Settings};
use uuid::Uuid;
use web::{Event, Failure, Forward, Host, Level, Objects, Payload, ResponseBody as _, Trace, Undone, Upstream};

pub(crate) use bodies::{Fate, MemoryAssets, Stored, TestAnswer, TestBody};
use graph::GraphIndex;
pub(crate) use graph::{PULL_MESSAGE_BYTES, TestGraph, TestSocket, Write};
pub(crate) use index::{Fault, TestIndex};

pub(crate) const ADMIN: &str = "admin-secret";
pub(crate) const LINK_SECRET: &str = "test-asset-link-secret";
const START_MS: i64 = 1_700_000_000_000;

/// The time that all parts of a world share.
#[derive(Clone)]
pub(crate) struct Time(Rc<Cell<i64>>);

impl Time {
    pub(crate) fn advance(&self, ms: i64) {
        self.0.set(self.0.get() + ms);
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.get()
    }
}

/// No key set can be fetched: tokens count unverified, as the settings say.
pub(crate) struct NoKeys(Time);

impl Clock for NoKeys {
    fn now_ms(&self) -> i64 {
        self.0.now()
    }
}

impl KeySetSource for NoKeys {
    async fn fetch(&self, _url: &str) -> Result<String, FetchError> {
        Err(FetchError::Transport("there is no network".into()))
    }

    async fn pause(&self) {}
}

/// Answers agents requests.
type Agents = Box<dyn FnMut(&Request<TestBody>) -> Result<u16, Failure>>;

/// The agents service, if there is one.
#[derive(Default)]
pub(crate) struct TestAgents(RefCell<Option<Agents>>);

impl TestAgents {
    /// Takes its place.
    pub(crate) fn set(&self, agents: impl FnMut(&Request<TestBody>) -> Result<u16, Failure> + 'static) {
        *self.0.borrow_mut() = Some(Box::new(agents));
    }
}

impl Upstream<TestBody, TestAnswer> for TestAgents {
    async fn send(&self, request: Forward<TestBody>) -> Result<Response<TestAnswer>, Failure> {
        let mut agents = self.0.borrow_mut();
        let status = (agents.as_mut().unwrap())(&request.into_request(received))?;
        let mut response = Response::new(TestAnswer::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }
}

/// What a forwarded request arrives with.
fn received(payload: Payload<TestBody>) -> TestBody {
    match payload {
        Payload::None => TestBody::default(),
        Payload::Bytes(bytes) => TestBody::chunks([bytes]),
        Payload::Unread(body) => body,
    }
}

/// Work beside an answer.
type Late = Pin<Box<dyn Future<Output = Result<(), Undone>>>>;

/// One server with everything it stands on.
pub(crate) struct World {
    pub(crate) db: Option<Rc<TestIndex>>,
    pub(crate) assets: Option<MemoryAssets>,
    pub(crate) graphs: RefCell<HashMap<String, Rc<TestGraph>>>,
    /// Method and address of everything that was sent to a graph.
    pub(crate) calls: RefCell<Vec<String>>,
    pub(crate) agents: TestAgents,
    pub(crate) slept_ms: Cell<u64>,
    /// Whoever sleeps never wakes.
    pub(crate) sleeps_forever: Cell<bool>,
    pub(crate) time: Time,
    pub(crate) events: Rc<RefCell<Vec<Value>>>,
    pub(crate) service: Service<NoKeys>,
    /// What goes on beside the answers and beyond them.
    late: RefCell<Vec<Late>>,
    traces: Cell<usize>,
    uuids: Cell<u128>,
}

pub(crate) fn settings(extra: &[(&str, &str)]) -> Settings {
    let base = [
        ("COGNITO_ISSUER", "https://issuer.test"),
        ("COGNITO_CLIENT_ID", "client"),
        ("COGNITO_JWKS_URL", "https://issuer.test/keys"),
        ("DB_SYNC_ALLOW_UNVERIFIED_JWT_CLAIMS", "true"),
        ("DB_SYNC_ADMIN_TOKEN", ADMIN),
        ("ASSET_LINK_SECRET", LINK_SECRET),
        ("DB_SYNC_SNAPSHOT_STREAM_GZIP", "false"),
    ];
    let find =
        |name: &str| extra.iter().chain(&base).find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Settings::from_lookup(find).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(extra: &[(&str, &str)]) -> Self {
        let time = Time(Rc::new(Cell::new(START_MS)));
        Self {
            db: Some(Rc::new(TestIndex::new())),
            assets: Some(MemoryAssets::default()),
            graphs: RefCell::default(),
            calls: RefCell::default(),
            agents: TestAgents::default(),
            slept_ms: Cell::default(),
            sleeps_forever: Cell::default(),
            events: Rc::default(),
            service: Service::new(settings(extra), NoKeys(time.clone())),
            time,
            late: RefCell::default(),
            traces: Cell::default(),
            uuids: Cell::new(1),
        }
    }

    pub(crate) fn graph(&self, name: &str) -> Rc<TestGraph> {
        let mut graphs = self.graphs.borrow_mut();
        let graph = graphs.entry(name.to_owned()).or_insert_with(|| {
            let memory = GraphState::new(self.service.settings.clone(), None);
            let db = self.db.clone().map(|db| Rc::new(GraphIndex::new(db)));
            let sql = Rc::new(Rusqlite::in_memory().unwrap());
            Rc::new(TestGraph::new(sql, memory, db, self.time.clone(), Rc::clone(&self.events)))
        });
        Rc::clone(graph)
    }

    /// Another isolate of the front worker over the same platform, with memory of its own.
    pub(crate) fn isolate(&self) -> Service<NoKeys> {
        Service::new(self.service.settings.clone(), NoKeys(self.time.clone()))
    }

    /// Changes the index behind everybody's back.
    pub(crate) fn sql(&self, sql: &str) {
        block_on(self.db.as_ref().unwrap().execute(sql, &[])).unwrap();
    }

    /// Asks for a socket; the status that came.
    pub(crate) fn upgrade(&self, service: &Service<NoKeys>, user: &str, graph_id: &str) -> u16 {
        let mut request = request(Some(user), "GET", &format!("/sync/{graph_id}"), "");
        request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        self.send_by(service, request).status
    }

    /// Sends a request and checks what holds for every answer.
    pub(crate) fn send(&self, request: Request<TestBody>) -> Answer {
        self.send_by(&self.service, request)
    }

    /// The same through another isolate.
    pub(crate) fn send_by(&self, service: &Service<NoKeys>, request: Request<TestBody>) -> Answer {
        let line = format!("{} {}", request.method(), request.uri());
        let traces = self.traces.get();
        let response = block_on(sync_http::handle(self, service, request));
        // More, where other requests came while this one was answered.
        assert!(self.traces.get() > traces, "{line}");
        self.go_on();
        let (parts, body) = response.into_parts();
        let bytes = body.bytes().unwrap_or_else(|failure| panic!("{line}: {failure}"));
        let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, bytes };
        if answer.header("content-type") == Some("application/json") || answer.status == 204 {
            if self.service.settings.auth.guests().is_none() {
                assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{line}");
            }
            let private = answer.header("content-type").is_some();
            assert_eq!(answer.header("cache-control"), private.then_some("no-store"), "{line}");
            assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"), "{line}");
            assert!(answer.header("access-control-allow-headers").unwrap().contains("authorization"), "{line}");
            assert!(answer.header("access-control-expose-headers").unwrap().contains("x-asset-size"), "{line}");
        }
        assert_eq!(answer.status >= 500, answer.header("x-correlation-id").is_some() || answer.status == 503, "{line}");
        answer
    }

    /// Goes on with what no answer waits for; how much of it is left.
    pub(crate) fn go_on(&self) -> usize {
        let mut late = self.late.take();
        late.retain_mut(|work| match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                if let Err(Undone { event, failure }) = outcome {
                    self.report(&Event::new(Level::Warning, event).with_error(&failure.0));
                }
                false
            }
        });
        let left = late.len();
        self.late.borrow_mut().extend(late);
        left
    }

    /// The index, which can be made to fail.
    pub(crate) fn index(&self) -> &TestIndex {
        self.db.as_ref().unwrap()
    }

    /// The assets, which can be made to fail.
    pub(crate) fn store(&self) -> &MemoryAssets {
        self.assets.as_ref().unwrap()
    }

    /// A request of a user, or of nobody.
    pub(crate) fn call(&self, user: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
        self.send(request(user, method, path, body))
    }

    /// The answer's body, which must come with status 200.
    pub(crate) fn ok(&self, user: &str, method: &str, path: &str, body: &str) -> Value {
        let answer = self.call(Some(user), method, path, body);
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()
    }

    /// A plain graph of a user.
    pub(crate) fn create(&self, user: &str, name: &str) -> String {
        let body = format!("{{\"graph-name\":\"{name}\",\"graph-e2ee?\":false,\"schema-version\":\"65\"}}");
        self.ok(user, "POST", "/graphs", &body)["graph-id"].as_str().unwrap().to_owned()
    }

    /// Opens a socket.
    pub(crate) fn connect(&self, user: &str, graph_id: &str) -> Rc<TestSocket> {
        let mut request = request(Some(user), "GET", &format!("/sync/{graph_id}"), "");
        request.headers_mut().insert("upgrade", "WebSocket".parse().unwrap());
        assert_eq!(self.send(request).status, 101);
        let graph = self.graph(graph_id);
        // What is gathered is told.
        graph.wake();
        let socket = graph.sockets.borrow().last().cloned();
        socket.unwrap()
    }

    pub(crate) fn event_names(&self) -> Vec<String> {
        self.events.borrow().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn request(user: Option<&str>, method: &str, path: &str, body: &str) -> Request<TestBody> {
    let body = if body.is_empty() { TestBody::default() } else { TestBody::chunks([body.into()]) };
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = format!("http://sync.test{path}").parse().unwrap();
    if let Some(user) = user {
        let header = if user == ADMIN { "x-db-sync-admin-token" } else { "authorization" };
        let value = if user == ADMIN { ADMIN.to_owned() } else { format!("Bearer {}", token(user)) };
        request.headers_mut().insert(header, value.parse().unwrap());
    }
    request
}

/// A token whose signature nobody can check.
pub(crate) fn token(user: &str) -> String {
    token_with(user, &serde_json::json!({}))
}

/// The same with more claims, or others.
pub(crate) fn token_with(user: &str, claims: &Value) -> String {
    let mut payload = serde_json::json!({
        "sub": user, "email": format!("{user}@example.test"), "email_verified": true, "cognito:username": user,
        "iss": "https://issuer.test", "aud": "client",
    });
    payload.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    format!(
        "{}.{}.{}",
        base64url(r#"{"alg":"RS256","kid":"k"}"#),
        base64url(&payload.to_string()),
        base64url("signature")
    )
}

fn base64url(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            encoded.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    encoded
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Status and error text.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }
}

impl Objects<TestBody, TestAnswer> for World {
    async fn send(&self, name: &str, request: Forward<TestBody>) -> Result<Response<TestAnswer>, Failure> {
        let request = request.into_request(received);
        self.calls.borrow_mut().push(format!("{name} {} {}", request.method(), request.uri()));
        let graph = self.graph(name);
        if graph.answers_left.get() == Some(0) {
            graph.broken.set(true);
            graph.answers_left.set(None);
        }
        graph.answers_left.set(graph.answers_left.get().map(|left| left - 1));
        if graph.broken.get() {
            return Err(Failure("the graph is away".into()));
        }
        Ok(graph_routes::handle(&*graph, &graph.memory, request).await)
    }
}

impl Platform for World {
    type Request = TestBody;
    type Response = TestAnswer;
    type Db = Rc<TestIndex>;
    type Keys = NoKeys;
    type Assets = MemoryAssets;
    type Graphs = Self;
    type Agents = TestAgents;

    fn db(&self) -> Option<&Rc<TestIndex>> {
        self.db.as_ref()
    }

    fn assets(&self) -> Option<&MemoryAssets> {
        self.assets.as_ref()
    }

    fn graphs(&self) -> &Self {
        self
    }

    fn agents(&self) -> Option<&TestAgents> {
        self.agents.0.borrow().is_some().then_some(&self.agents)
    }
}

impl Host for World {
    fn now_ms(&self) -> i64 {
        self.time.now()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        self.slept_ms.set(self.slept_ms.get() + u64::from(ms));
        let forever = self.sleeps_forever.get();
        std::future::poll_fn(move |_| if forever { Poll::Pending } else { Poll::Ready(()) })
    }

    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static) {
        self.late.borrow_mut().push(Box::pin(work));
    }

    fn trace(&self, trace: &Trace<'_>) {
        assert!(!trace.route.contains('?') && trace.started_ms <= trace.ended_ms, "{trace:?}");
        self.traces.set(self.traces.get() + 1);
    }

    fn random_uuid(&self) -> Uuid {
        self.uuids.set(self.uuids.get() + 1);
        Uuid::from_u128(0x4000_8000_0000_0000_0000 + self.uuids.get())
    }

    fn report(&self, event: &Event<'_>) {
        self.events.borrow_mut().push(serde_json::from_str(&event.to_json()).unwrap());
    }
}
