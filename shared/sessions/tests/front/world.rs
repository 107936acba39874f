//! The front worker over SQLite, and objects that write down what they are sent.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use auth::{FetchError, KeySetSource};
use database::sqlite::Sqlite;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use pollster::block_on;
use serde_json::Value;
use sessions::front::{self, Platform, Service};
use sessions::settings::Settings;
use uuid::Uuid;
use web::{
    Call, CallError, Event, Failure, Fetch, Forward, Host, Incoming, Payload, Reply, RequestBody, ResponseBody, Source,
    Trace, Undone,
};

use crate::objects::Objects;

pub(crate) const NOW: i64 = 1_800_000_000_000;

/// A request's body of chunks.
#[derive(Default)]
pub(crate) struct Body {
    pub(crate) chunks: VecDeque<Vec<u8>>,
    given: usize,
    /// Chunks that were read, for who has sent it.
    pub(crate) read: Rc<Cell<usize>>,
    /// Whether the rest was taken in and thrown away.
    pub(crate) heard_out: Rc<Cell<bool>>,
}

impl RequestBody for Body {
    fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    fn take(&mut self) -> Option<Self> {
        (self.given == 0).then(|| std::mem::take(self))
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        self.given += 1;
        let chunk = self.chunks.pop_front();
        self.read.set(self.read.get() + usize::from(chunk.is_some()));
        Ok(chunk)
    }

    async fn cancel(&mut self) {
        self.chunks.clear();
    }

    async fn discard(&mut self, _: u64) {
        self.heard_out.set(true);
        self.chunks.clear();
    }
}

/// A response's body.
pub(crate) struct Whole(Vec<u8>);

impl ResponseBody for Whole {
    fn empty() -> Self {
        Self(Vec::new())
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    fn streamed(_: Box<dyn Source>) -> Self {
        unreachable!("the front worker streams nothing itself")
    }
}

/// No key set can be fetched: tokens are known by the settings.
pub(crate) struct NoKeys;

impl auth::Clock for NoKeys {
    fn now_ms(&self) -> i64 {
        NOW
    }
}

impl KeySetSource for NoKeys {
    async fn fetch(&self, _: &str) -> Result<String, FetchError> {
        Err(FetchError::Transport("there is no network".into()))
    }

    async fn pause(&self) {}
}

pub(crate) struct NoNetwork;
pub(crate) struct Nothing;

impl Incoming for Nothing {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }
}

impl Fetch for NoNetwork {
    type Body = Nothing;

    async fn fetch(&self, _: Call) -> Result<Reply<Nothing>, CallError> {
        Err(CallError::NotReached("there is no network".into()))
    }
}

/// What an object was sent.
pub(crate) struct Sent {
    pub(crate) name: String,
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the objects answer: status and headers.
type Answers = Box<dyn Fn(&Sent) -> Option<(u16, Vec<(&'static str, String)>)>>;

pub(crate) struct World {
    pub(crate) db: Option<Rc<Sqlite>>,
    pub(crate) sent: RefCell<Vec<Sent>>,
    pub(crate) answers: RefCell<Answers>,
    /// Real objects, which then answer in the place of the others.
    pub(crate) objects: Option<Objects>,
    /// Whether the objects of bridges are bound.
    pub(crate) has_bridges: Cell<bool>,
    pub(crate) now: Cell<i64>,
    /// Whether runners may call us.
    pub(crate) has_runners: Cell<bool>,
    ids: Cell<u128>,
    pub(crate) events: RefCell<Vec<String>>,
    pub(crate) service: Service<NoKeys>,
}

/// Settings with one user, `ann/é`, before whom `extra` goes.
pub(crate) fn settings(extra: &[(&str, &str)]) -> Settings {
    let base = [
        ("DB_SYNC_AUTH_DRIVER", "static"),
        ("DB_SYNC_AUTH_TOKEN", "secret-token"),
        ("DB_SYNC_STATIC_USER_ID", "ann/é"),
    ];
    let find =
        |name: &str| extra.iter().chain(&base).find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Settings::from_lookup(find).unwrap()
}

impl World {
    pub(crate) fn new(extra: &[(&str, &str)]) -> Self {
        let migrations = [index::migrations::MIGRATIONS, sessions::registry::MIGRATIONS].concat();
        Self {
            db: Some(Rc::new(Sqlite::in_memory(&migrations).unwrap())),
            sent: RefCell::default(),
            answers: RefCell::new(Box::new(|_| Some((200, Vec::new())))),
            objects: None,
            has_bridges: Cell::new(true),
            now: Cell::new(NOW),
            has_runners: Cell::new(false),
            ids: Cell::default(),
            events: RefCell::default(),
            service: Service::new(Rc::new(settings(extra)), NoKeys),
        }
    }

    /// The database of all sessions.
    pub(crate) fn database(&self) -> &Sqlite {
        self.db.as_deref().unwrap()
    }

    pub(crate) fn send(&self, request: Request<Body>) -> Answer {
        self.send_to(&self.service, request)
    }

    /// The same, to a front worker with other settings.
    pub(crate) fn send_to(&self, service: &Service<NoKeys>, request: Request<Body>) -> Answer {
        let response = block_on(front::handle(self, service, request));
        let (parts, body) = response.into_parts();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.0 }
    }

    /// A request of the user.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(signed(method, path, body))
    }
}

pub(crate) fn request(method: &str, path: &str, body: &str) -> Request<Body> {
    let mut bytes = Body::default();
    if !body.is_empty() {
        bytes.chunks.push_back(body.into());
    }
    let mut request = Request::new(bytes);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    *request.uri_mut() = format!("https://agents.test{path}").parse().unwrap();
    request
}

pub(crate) fn signed(method: &str, path: &str, body: &str) -> Request<Body> {
    let mut request = request(method, path, body);
    request.headers_mut().insert("authorization", "Bearer secret-token".parse().unwrap());
    request
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and error text.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }
}

impl web::Objects<Body, Whole> for World {
    async fn send(&self, name: &str, request: Forward<Body>) -> Result<Response<Whole>, Failure> {
        let request = request.into_request(|payload| match payload {
            Payload::None => Vec::new(),
            Payload::Bytes(bytes) => bytes,
            Payload::Unread(body) => body.chunks.into_iter().flatten().collect(),
        });
        let line = format!("{} {}", request.method(), request.uri());
        let (parts, body) = request.into_parts();
        let sent = Sent { name: name.to_owned(), line, headers: parts.headers, body };
        if let Some(objects) = &self.objects {
            let (status, bytes) = objects.answer(&sent).ok_or_else(|| Failure("the object is away".into()))?;
            self.sent.borrow_mut().push(sent);
            let mut response = Response::new(Whole(bytes));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            return Ok(response);
        }
        let answer = (self.answers.borrow())(&sent);
        self.sent.borrow_mut().push(sent);
        let (status, headers) = answer.ok_or_else(|| Failure("the object is away".into()))?;
        let mut response = Response::new(Whole(Vec::new()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        for (name, value) in headers {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        Ok(response)
    }
}

impl web::Peers for World {
    async fn ask(&self, name: &str, call: Call, _: usize) -> Result<(StatusCode, Vec<u8>), Failure> {
        let mut forward = Forward::<Body>::new(call.method, call.url.parse().unwrap()).with_body(call.body);
        for (name, value) in &call.headers {
            forward.set_header(name.clone(), value.clone());
        }
        let response = web::Objects::send(self, name, forward).await?;
        let (status, body) = (response.status(), response.into_body().0);
        Ok((status, if body.is_empty() { b"{}".to_vec() } else { body }))
    }
}

impl Platform for World {
    type Request = Body;
    type Response = Whole;
    type Db = Sqlite;
    type Keys = NoKeys;
    type Objects = Self;
    type Runners = Self;
    type Fetch = NoNetwork;

    fn db(&self) -> Option<&Sqlite> {
        self.db.as_deref()
    }

    fn objects(&self) -> &Self {
        self
    }

    fn bridges(&self) -> Option<&Self> {
        self.has_bridges.get().then_some(self)
    }

    fn runners(&self) -> Option<&Self> {
        self.has_runners.get().then_some(self)
    }

    fn fetch(&self) -> &NoNetwork {
        &NoNetwork
    }
}

impl Host for World {
    fn now_ms(&self) -> i64 {
        self.now.get()
    }

    fn sleep_ms(&self, _: u32) -> impl Future<Output = ()> + 'static {
        std::future::ready(())
    }

    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static) {
        let _ = block_on(work);
    }

    fn random_uuid(&self) -> Uuid {
        self.ids.set(self.ids.get() + 1);
        Uuid::from_u128(0x4000_8000_0000_0000_0000 + self.ids.get())
    }

    fn report(&self, event: &Event<'_>) {
        self.events.borrow_mut().push(event.to_json());
    }

    fn trace(&self, trace: &Trace<'_>) {
        assert!(!trace.route.contains('?'), "{trace:?}");
    }
}
