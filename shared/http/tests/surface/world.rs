//! A platform in memory: the index and the graphs in SQLite, assets in a map, sockets as lists of what was sent.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use auth::{Clock, FetchError, KeySetSource};
use graph::sql_rusqlite::Rusqlite;
use graph::{Graph, Options};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use index::sqlite::SqliteIndex;
use index::{Database, DbError, Param, Row, Session, Statement};
use pollster::block_on;
use protocol::Holder;
use serde_json::Value;
use sync_http::graph_routes::{self, GraphHost, GraphState, SharedGraph, sockets};
use sync_http::platform::{Asset, AssetMeta, AssetStore, Body, Failure, Platform, PutError, Size, Source};
use sync_http::report::{Event, Trace};
use sync_http::service::{Service, Settings};
use uuid::Uuid;

pub(crate) const ADMIN: &str = "admin-secret";
pub(crate) const LINK_SECRET: &str = "test-asset-link-secret";
const START_MS: i64 = 1_700_000_000_000;

/// What a sender learns of a body.
#[derive(Default)]
pub(crate) struct Fate {
    /// Bytes that were read.
    pub(crate) read: Cell<usize>,
    /// That no more will be.
    pub(crate) cancelled: Cell<bool>,
    /// Bytes that were taken in for the sender's sake.
    pub(crate) discarded: Cell<Option<u64>>,
}

/// A body of chunks, or one made while it is read.
#[derive(Default)]
pub(crate) struct TestBody {
    pub(crate) chunks: VecDeque<Vec<u8>>,
    source: Option<Box<dyn Source>>,
    /// The connection breaks after the chunks.
    pub(crate) broken: bool,
    /// Done before the chunk of that number comes.
    before: Option<(usize, Box<dyn FnOnce()>)>,
    given: usize,
    /// Nothing comes after the chunks, and no end.
    pub(crate) never_ends: bool,
    /// What became of the body, for who has sent it.
    pub(crate) fate: Rc<Fate>,
}

impl TestBody {
    pub(crate) fn chunks(chunks: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { chunks: chunks.into_iter().collect(), ..Self::default() }
    }

    pub(crate) fn before_chunk(self, number: usize, work: Box<dyn FnOnce()>) -> Self {
        Self { before: Some((number, work)), ..self }
    }

    pub(crate) fn bytes(mut self) -> Result<Vec<u8>, Failure> {
        let mut bytes: Vec<u8> = self.chunks.drain(..).flatten().collect();
        while let Some(chunk) = self.source.as_mut().map_or(Ok(None), |source| source.next())? {
            assert!(!chunk.is_empty(), "sources give no empty chunk");
            bytes.extend(chunk);
        }
        Ok(bytes)
    }
}

impl Body for TestBody {
    fn empty() -> Self {
        Self::default()
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self::chunks([bytes])
    }

    fn streamed(source: Box<dyn Source>) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.source.is_none() && !self.broken
    }

    async fn cancel(&mut self) {
        self.chunks.clear();
        self.fate.cancelled.set(true);
    }

    async fn discard(&mut self, limit: u64) {
        let bytes: usize = self.chunks.drain(..).map(|chunk| chunk.len()).sum();
        if self.never_ends {
            std::future::pending::<()>().await;
        }
        self.fate.discarded.set(Some(limit.min(bytes as u64)));
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some((_, work)) = self.before.take_if(|(number, _)| *number == self.given) {
            work();
        }
        self.given += 1;
        let chunk = self.chunks.pop_front();
        self.fate.read.set(self.fate.read.get() + chunk.as_ref().map_or(0, Vec::len));
        match chunk {
            None if self.broken => Err(Failure("the connection broke".into())),
            chunk => Ok(chunk),
        }
    }
}

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

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) content_type: String,
    pub(crate) content_encoding: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) extension: String,
}

/// Assets by key; a page of deletions is two objects.
#[derive(Default)]
pub(crate) struct MemoryAssets {
    pub(crate) objects: RefCell<BTreeMap<String, Stored>>,
    pub(crate) broken: Cell<bool>,
}

impl MemoryAssets {
    fn check(&self) -> Result<(), Failure> {
        if self.broken.get() { Err(Failure("the store is away".into())) } else { Ok(()) }
    }
}

impl AssetStore<TestBody> for MemoryAssets {
    async fn get(&self, key: &str) -> Result<Option<Asset<TestBody>>, Failure> {
        self.check()?;
        Ok(self.objects.borrow().get(key).cloned().map(|stored| Asset {
            size: stored.bytes.len() as u64,
            body: TestBody::full(stored.bytes),
            content_type: Some(stored.content_type),
            content_encoding: stored.content_encoding,
            cache_control: stored.cache_control,
        }))
    }

    async fn put(&self, key: &str, body: &mut TestBody, size: Size, meta: AssetMeta<'_>) -> Result<(), PutError> {
        self.check()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.chunk().await? {
            bytes.extend(chunk);
            if bytes.len() as u64 > size.declared.unwrap_or(size.limit) {
                return Err(PutError::TooLarge);
            }
        }
        let stored = Stored {
            bytes,
            content_type: meta.content_type.to_owned(),
            content_encoding: None,
            cache_control: None,
            checksum: meta.checksum.map(str::to_owned),
            extension: meta.extension.to_owned(),
        };
        self.objects.borrow_mut().insert(key.to_owned(), stored);
        Ok(())
    }

    async fn delete(&self, key: &str) -> Result<(), Failure> {
        self.check()?;
        self.objects.borrow_mut().remove(key);
        Ok(())
    }

    async fn delete_page(&self, prefix: &str) -> Result<bool, Failure> {
        self.check()?;
        let mut objects = self.objects.borrow_mut();
        let keys: Vec<String> = objects.keys().filter(|key| key.starts_with(prefix)).take(2).cloned().collect();
        for key in &keys {
            objects.remove(key);
        }
        Ok(keys.len() == 2)
    }
}

/// The index as a graph reaches it.
pub(crate) struct GraphIndex {
    db: Rc<SqliteIndex>,
    /// Answers never.
    pub(crate) hangs: Cell<bool>,
    /// How often it was asked.
    pub(crate) asked: Cell<usize>,
}

impl Database for GraphIndex {
    async fn query(&self, session: Session, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.asked.set(self.asked.get() + 1);
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        self.db.query(session, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.db.execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<(), DbError> {
        self.db.batch(statements).await
    }
}

/// One accepted socket.
pub(crate) struct TestSocket {
    id: u64,
    /// What is kept with it; none: nothing that can be read.
    pub(crate) attachment: RefCell<Option<Holder>>,
    pub(crate) received: RefCell<Vec<Value>>,
    pub(crate) closed: RefCell<Option<(u16, String)>>,
}

/// A graph and its sockets.
pub(crate) struct TestGraph {
    pub(crate) graph: SharedGraph<Rc<Rusqlite>>,
    sql: Rc<Rusqlite>,
    pub(crate) memory: GraphState,
    pub(crate) sockets: RefCell<Vec<Rc<TestSocket>>>,
    pub(crate) db: Option<Rc<GraphIndex>>,
    time: Time,
    pub(crate) events: Rc<RefCell<Vec<Value>>>,
    /// How often work was done exclusively.
    pub(crate) exclusive: Cell<usize>,
    /// Answers nothing but an error.
    pub(crate) broken: Cell<bool>,
    /// After so many answers it breaks.
    pub(crate) answers_left: Cell<Option<usize>>,
    /// No attachment can be stored.
    pub(crate) full: Cell<bool>,
    /// Whether a wake-up was asked for.
    pub(crate) to_wake: Cell<bool>,
    /// Done once, while membership is asked.
    pub(crate) meanwhile: RefCell<Option<Box<dyn FnOnce()>>>,
}

/// One pull over a socket in a world, in bytes.
pub(crate) const PULL_MESSAGE_BYTES: usize = 2 << 20;

impl TestGraph {
    pub(crate) fn frame(&self, socket: &Rc<TestSocket>, text: &str) {
        block_on(sockets::on_frame(self, &self.memory, socket, graph::session::OwnedFrame::Text(text.to_owned())));
    }

    /// The object loses its memory; what is stored and the sockets stay.
    pub(crate) fn restart(&self) -> Self {
        let sql = Rc::clone(&self.sql);
        let time = self.time.clone();
        Self {
            graph: Rc::new(RefCell::new(Graph::new(sql, move || time.now(), Options::default()))),
            memory: GraphState::new(self.memory.settings.clone(), self.memory.graph_id()),
            sql: Rc::clone(&self.sql),
            sockets: RefCell::new(self.sockets.borrow().clone()),
            db: self.db.clone(),
            time: self.time.clone(),
            events: Rc::clone(&self.events),
            exclusive: Cell::default(),
            broken: Cell::default(),
            answers_left: Cell::default(),
            full: Cell::default(),
            to_wake: Cell::default(),
            meanwhile: RefCell::default(),
        }
    }

    /// The wake-up that was asked for, if one was, after its time.
    pub(crate) fn wake(&self) -> bool {
        self.time.advance(30);
        let asked = self.to_wake.take();
        if asked {
            sockets::on_wake(self, &self.memory);
        }
        asked
    }
}

impl GraphHost for TestGraph {
    type Sql = Rc<Rusqlite>;
    type Body = TestBody;
    type Db = GraphIndex;
    type Socket = Rc<TestSocket>;
    type LongText = String;

    fn graph(&self) -> &SharedGraph<Rc<Rusqlite>> {
        &self.graph
    }

    fn db(&self) -> Option<Rc<GraphIndex>> {
        self.db.clone()
    }

    fn accept(&self, _: Request<TestBody>, holder: &Holder) -> Result<(Rc<TestSocket>, Response<TestBody>), Failure> {
        let socket = Rc::new(TestSocket {
            id: self.sockets.borrow().len() as u64,
            attachment: RefCell::default(),
            received: RefCell::default(),
            closed: RefCell::default(),
        });
        self.keep(&socket, holder)?;
        self.sockets.borrow_mut().push(Rc::clone(&socket));
        let mut response = Response::new(TestBody::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        Ok((socket, response))
    }

    fn sockets(&self) -> Vec<Rc<TestSocket>> {
        self.sockets.borrow().iter().filter(|socket| socket.closed.borrow().is_none()).cloned().collect()
    }

    fn id(&self, socket: &Rc<TestSocket>) -> u64 {
        socket.id
    }

    fn holder(&self, socket: &Rc<TestSocket>) -> Option<Holder> {
        socket.attachment.borrow().clone()
    }

    fn keep(&self, socket: &Rc<TestSocket>, holder: &Holder) -> Result<(), Failure> {
        if self.full.get() {
            return Err(Failure("the attachment is too large".into()));
        }
        *socket.attachment.borrow_mut() = Some(holder.clone());
        Ok(())
    }

    fn send(&self, socket: &Rc<TestSocket>, text: &str) {
        socket.received.borrow_mut().push(serde_json::from_str(text).unwrap());
    }

    fn append(&self, text: &mut String, piece: &str) {
        text.push_str(piece);
    }

    fn send_long(&self, socket: &Rc<TestSocket>, text: String) {
        self.send(socket, &text);
    }

    fn close(&self, socket: &Rc<TestSocket>, code: u16, reason: &str) {
        socket.closed.borrow_mut().get_or_insert_with(|| (code, reason.to_owned()));
    }

    async fn turn(&self) {}

    async fn exclusively<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> Result<T, Failure> {
        self.exclusive.set(self.exclusive.get() + 1);
        let answer = work.await;
        if let Some(meanwhile) = self.meanwhile.take() {
            meanwhile();
        }
        Ok(answer)
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        assert!(ms <= 5_000, "nobody waits longer for an answer of the index");
        let over = self.db.as_ref().is_some_and(|db| db.hangs.get());
        std::future::poll_fn(move |_| if over { Poll::Ready(()) } else { Poll::Pending })
    }

    fn wake_after(&self, _: u32) {
        assert!(!self.to_wake.replace(true), "asked once");
    }

    fn now_ms(&self) -> i64 {
        self.time.now()
    }

    fn random_uuid(&self) -> Uuid {
        Uuid::from_u128(0xfeed)
    }

    fn report(&self, event: &Event<'_>) {
        self.events.borrow_mut().push(serde_json::from_str(&event.to_json()).unwrap());
    }
}

/// Answers agents requests.
type Agents = Box<dyn FnMut(&Request<TestBody>) -> Result<u16, Failure>>;

/// One server with everything it stands on.
pub(crate) struct World {
    pub(crate) db: Option<Rc<SqliteIndex>>,
    pub(crate) assets: Option<MemoryAssets>,
    pub(crate) graphs: RefCell<HashMap<String, Rc<TestGraph>>>,
    /// Method and address of everything that was sent to a graph.
    pub(crate) calls: RefCell<Vec<String>>,
    pub(crate) agents: RefCell<Option<Agents>>,
    pub(crate) slept_ms: Cell<u64>,
    /// Whoever sleeps never wakes.
    pub(crate) sleeps_forever: Cell<bool>,
    pub(crate) time: Time,
    pub(crate) events: Rc<RefCell<Vec<Value>>>,
    pub(crate) service: Service<NoKeys>,
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
            db: Some(Rc::new(SqliteIndex::in_memory().unwrap())),
            assets: Some(MemoryAssets::default()),
            graphs: RefCell::default(),
            calls: RefCell::default(),
            agents: RefCell::default(),
            slept_ms: Cell::default(),
            sleeps_forever: Cell::default(),
            events: Rc::default(),
            service: Service::new(settings(extra), NoKeys(time.clone())),
            time,
            traces: Cell::default(),
            uuids: Cell::new(1),
        }
    }

    pub(crate) fn graph(&self, name: &str) -> Rc<TestGraph> {
        let mut graphs = self.graphs.borrow_mut();
        let graph = graphs.entry(name.to_owned()).or_insert_with(|| {
            let time = self.time.clone();
            let sql = Rc::new(Rusqlite::in_memory().unwrap());
            let options = Options { pull_message_bytes: PULL_MESSAGE_BYTES, ..Options::default() };
            let graph = Graph::new(Rc::clone(&sql), move || time.now(), options);
            Rc::new(TestGraph {
                graph: Rc::new(RefCell::new(graph)),
                sql,
                memory: GraphState::new(self.service.settings.clone(), None),
                sockets: RefCell::default(),
                db: self
                    .db
                    .clone()
                    .map(|db| Rc::new(GraphIndex { db, hangs: Cell::default(), asked: Cell::default() })),
                time: self.time.clone(),
                events: Rc::clone(&self.events),
                exclusive: Cell::default(),
                broken: Cell::default(),
                answers_left: Cell::default(),
                full: Cell::default(),
                to_wake: Cell::default(),
                meanwhile: RefCell::default(),
            })
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
        assert_eq!(self.traces.get(), traces + 1, "{line}");
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
        let body = format!("{{\"graph-name\":\"{name}\",\"graph-e2ee?\":false}}");
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
    let body = if body.is_empty() { TestBody::empty() } else { TestBody::full(body.into()) };
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

impl Platform for World {
    type Body = TestBody;
    type Db = SqliteIndex;
    type Keys = NoKeys;
    type Assets = MemoryAssets;

    fn db(&self) -> Option<&SqliteIndex> {
        self.db.as_deref()
    }

    fn assets(&self) -> Option<&MemoryAssets> {
        self.assets.as_ref()
    }

    async fn call_graph(&self, name: &str, request: Request<TestBody>) -> Result<Response<TestBody>, Failure> {
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

    fn has_agents(&self) -> bool {
        self.agents.borrow().is_some()
    }

    async fn call_agents(&self, request: Request<TestBody>) -> Result<Response<TestBody>, Failure> {
        let mut agents = self.agents.borrow_mut();
        let status = (agents.as_mut().unwrap())(&request)?;
        let mut response = Response::new(TestBody::empty());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Ok(response)
    }

    fn now_ms(&self) -> i64 {
        self.time.now()
    }

    async fn sleep_ms(&self, ms: u32) {
        self.slept_ms.set(self.slept_ms.get() + u64::from(ms));
        if self.sleeps_forever.get() {
            std::future::pending::<()>().await;
        }
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
