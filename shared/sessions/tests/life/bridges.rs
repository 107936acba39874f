//! Bridges to a database beside a session: real objects, a shape service in memory, and calls between objects that can be lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use database::local_sqlite::Rusqlite;
use database::sqlite::Sqlite;
use http::{HeaderMap, StatusCode};
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use sessions::bridge::{self, Bridge};
use sessions::settings::Settings;
use web::{Call, CallError, Failure, Fetch, Hosted, Incoming, Peers, Reply};

use crate::clock::{Owner, Tasks};
use crate::host::TestHost;
use crate::platform::{Answer, Body, Here, Remote};

/// What becomes of a call between two objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does not come.
    Lost,
    /// It comes, and its answer is lost.
    Unanswered,
    /// The bridge dies before it hears of it, or before it hears the answer.
    BridgeDies,
    /// The bridge dies when it is done.
    BridgeDiesAfter,
    /// The object of the session dies before it comes, alone: the bridge lives on, and hears no answer.
    SessionDies,
    /// The same when it has come.
    SessionDiesAfter,
    /// Both objects die before it comes.
    AllDie,
    /// Both objects die when it has come, before anybody hears of that.
    AllDieAfter,
}

impl Fate {
    pub(crate) const ALL: [Self; 8] = [
        Self::Lost,
        Self::Unanswered,
        Self::BridgeDies,
        Self::BridgeDiesAfter,
        Self::SessionDies,
        Self::SessionDiesAfter,
        Self::AllDie,
        Self::AllDieAfter,
    ];
}

/// The shape service: one log.
pub(crate) struct Shapes {
    /// Key, operation and value of each change, in the order of their commits.
    pub(crate) log: Vec<(String, &'static str, Value)>,
    pub(crate) handle: u64,
    /// What the next requests are answered with, instead.
    pub(crate) faults: Vec<u16>,
    /// Addresses that were asked.
    pub(crate) asked: Vec<String>,
    /// So many changes at most in one answer.
    pub(crate) chunk: usize,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { log: Vec::new(), handle: 1, faults: Vec::new(), asked: Vec::new(), chunk: 1_000 }
    }
}

impl Shapes {
    pub(crate) fn insert(&mut self, key: &str) {
        self.log.push((key.to_owned(), "insert", json!({"id": key})));
    }

    fn answer(&mut self, url: &str) -> (u16, Vec<(&'static str, String)>, String) {
        self.asked.push(url.to_owned());
        if !self.faults.is_empty() {
            return (self.faults.remove(0), Vec::new(), "refused".to_owned());
        }
        let uri: http::Uri = url.parse().unwrap();
        let of = |name| web::url::query(&uri, name).unwrap_or_default().into_owned();
        let handle = format!("h{}", self.handle);
        let from = match of("offset").as_str() {
            "now" => self.log.len(),
            _ if of("handle") != handle => {
                return (409, Vec::new(), json!([{"headers": {"control": "must-refetch"}}]).to_string());
            }
            offset => offset.split('_').next().unwrap().parse().unwrap(),
        };
        let to = self.log.len().min(from + self.chunk);
        let mut body: Vec<Value> = self.log[from..to]
            .iter()
            .enumerate()
            .map(|(at, (key, operation, value))| {
                let headers = json!({"operation": operation, "lsn": (from + at + 1).to_string(), "op_position": 0});
                json!({"key": key, "value": value, "headers": headers})
            })
            .collect();
        if to == self.log.len() {
            body.push(json!({"headers": {"control": "up-to-date"}}));
        }
        (200, vec![("electric-handle", handle), ("electric-offset", format!("{to}_inf"))], json!(body).to_string())
    }
}

/// One bridge.
struct Home {
    sql: Rc<Rusqlite>,
    alarm: Rc<Cell<Option<i64>>>,
    object: Rc<Bridge<There>>,
    is_alive: Rc<Cell<bool>>,
}

/// All bridges, and how they reach the session.
pub(crate) struct Bridges {
    host: TestHost,
    pub(crate) db: Option<Rc<Sqlite>>,
    settings: Rc<Settings>,
    pub(crate) tasks: RefCell<Rc<Tasks>>,
    pub(crate) session: RefCell<Option<Rc<sessions::object::Session<Here>>>>,
    homes: RefCell<BTreeMap<String, Home>>,
    pub(crate) shapes: RefCell<Shapes>,
    /// After so many more calls between objects one of them ends so.
    pub(crate) fuse: Cell<Option<(u64, Fate)>>,
    pub(crate) is_bound: Cell<bool>,
    /// Of the objects that have died, only the session is one.
    pub(crate) only_session_died: Cell<bool>,
    /// Calls that went through or not.
    pub(crate) calls: RefCell<Vec<String>>,
    /// How often an alarm was set.
    alarms_set: Cell<u64>,
}

impl Bridges {
    pub(crate) fn new(host: &TestHost, db: Option<Rc<Sqlite>>, settings: &Rc<Settings>, tasks: &Rc<Tasks>) -> Rc<Self> {
        Rc::new(Self {
            host: host.clone(),
            db,
            settings: Rc::clone(settings),
            tasks: RefCell::new(Rc::clone(tasks)),
            session: RefCell::default(),
            homes: RefCell::default(),
            shapes: RefCell::default(),
            fuse: Cell::default(),
            is_bound: Cell::new(true),
            only_session_died: Cell::default(),
            calls: RefCell::default(),
            alarms_set: Cell::default(),
        })
    }

    /// Another life of all objects.
    pub(crate) fn crash(self: &Rc<Self>, tasks: &Rc<Tasks>) {
        *self.tasks.borrow_mut() = Rc::clone(tasks);
        let names: Vec<String> = self.homes.borrow().keys().cloned().collect();
        for name in &names {
            self.kill(name);
        }
    }

    /// The object of a bridge dies, and is made anew when it is called or its alarm goes off.
    pub(crate) fn kill(self: &Rc<Self>, name: &str) {
        let mut homes = self.homes.borrow_mut();
        let Some(home) = homes.get_mut(name) else { return };
        home.is_alive.set(false);
        home.is_alive = Rc::new(Cell::new(true));
        home.object = self.object(&home.sql, &home.alarm, &home.is_alive);
    }

    pub(crate) fn kill_all(self: &Rc<Self>) {
        let tasks = Rc::clone(&self.tasks.borrow());
        self.crash(&tasks);
    }

    fn object(
        self: &Rc<Self>,
        sql: &Rc<Rusqlite>,
        alarm: &Rc<Cell<Option<i64>>>,
        is_alive: &Rc<Cell<bool>>,
    ) -> Rc<Bridge<There>> {
        let (sql, alarm, is_alive) = (Rc::clone(sql), Rc::clone(alarm), Rc::clone(is_alive));
        Bridge::new(There { world: Rc::clone(self), sql, alarm, is_alive }, Rc::clone(&self.settings))
    }

    fn at(self: &Rc<Self>, name: &str) -> Rc<Bridge<There>> {
        let mut homes = self.homes.borrow_mut();
        let home = homes.entry(name.to_owned()).or_insert_with(|| {
            let (sql, alarm) = (Rc::new(Rusqlite::in_memory().unwrap()), Rc::default());
            let is_alive = Rc::new(Cell::new(true));
            let object = self.object(&sql, &alarm, &is_alive);
            Home { sql, alarm, object, is_alive }
        });
        Rc::clone(&home.object)
    }

    /// The names of the objects that store anything.
    pub(crate) fn stored(&self) -> Vec<String> {
        let has_rows = |home: &&Home| {
            let count: i64 =
                home.sql.connection().query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0)).unwrap();
            count > 0
        };
        let homes = self.homes.borrow();
        homes.iter().filter(|(_, home)| has_rows(home)).map(|(name, _)| name.clone()).collect()
    }

    /// What a bridge follows.
    pub(crate) fn source(&self, source_id: &str) -> Value {
        let homes = self.homes.borrow();
        let connection = homes[&format!("pgsync:{source_id}")].sql.connection();
        let stored: String = connection.query_row("SELECT stored FROM pg_bridges", [], |row| row.get(0)).unwrap();
        serde_json::from_str::<Value>(&stored).unwrap()["source"].clone()
    }

    /// Every byte that bridges have stored.
    pub(crate) fn bytes(&self) -> String {
        let mut all = String::new();
        for home in self.homes.borrow().values() {
            for table in ["pg_bridges", "pg_observers", "pg_changes", "pg_gaps", "pg_rows"] {
                let connection = home.sql.connection();
                let Ok(mut statement) = connection.prepare(&format!("SELECT * FROM {table}")) else { continue };
                let columns = statement.column_count();
                let mut rows = statement.query([]).unwrap();
                while let Some(row) = rows.next().unwrap() {
                    for at in 0..columns {
                        if let ValueRef::Text(text) = row.get_ref(at).unwrap() {
                            all.push_str(&String::from_utf8_lossy(text));
                        }
                    }
                }
            }
        }
        all
    }

    /// Rows that bridges have written, as they are billed: an alarm that is set is one.
    pub(crate) fn rows_written(&self) -> u64 {
        let of = |home: &Home| -> u64 {
            let rows: i64 = home.sql.connection().query_row("SELECT total_changes()", [], |row| row.get(0)).unwrap();
            rows.unsigned_abs()
        };
        self.alarms_set.get() + self.homes.borrow().values().map(of).sum::<u64>()
    }

    /// The state of a bridge is lost, as if it had been collected.
    pub(crate) fn wipe(self: &Rc<Self>) {
        for home in self.homes.borrow_mut().values_mut() {
            home.sql = Rc::new(Rusqlite::in_memory().unwrap());
            home.alarm.set(None);
        }
        self.kill_all();
    }

    /// The platform forgets the alarms.
    pub(crate) fn lose_alarms(&self) {
        self.homes.borrow().values().for_each(|home| home.alarm.set(None));
    }

    /// The earliest alarm.
    pub(crate) fn next_alarm(&self) -> Option<i64> {
        self.homes.borrow().values().filter_map(|home| home.alarm.get()).min()
    }

    /// Alarms that are due go off.
    pub(crate) fn ring(self: &Rc<Self>, now: i64) {
        let due: Vec<Rc<Bridge<There>>> = self
            .homes
            .borrow()
            .values()
            .filter(|home| home.alarm.get().is_some_and(|at| at <= now))
            .map(|home| {
                home.alarm.set(None);
                Rc::clone(&home.object)
            })
            .collect();
        for object in &due {
            object.alarm();
        }
    }

    /// What becomes of this call.
    fn fate(&self) -> Option<Fate> {
        let (left, fate) = self.fuse.get()?;
        self.fuse.set((left > 0).then(|| (left - 1, fate)));
        (left == 0).then_some(fate)
    }

    /// The object of the session dies, and nothing else does: the bridge that calls it hears so, whom it calls hears no more of it.
    async fn session_dies(&self, caller: Owner) -> Failure {
        self.only_session_died.set(true);
        self.host.clock.die();
        match caller {
            Owner::Bridge => Failure("it died".into()),
            Owner::Session => std::future::pending().await,
        }
    }

    async fn between<F: Future<Output = Option<(u16, Vec<u8>)>>>(
        self: &Rc<Self>,
        caller: Owner,
        what: String,
        call: F,
    ) -> Result<(u16, Vec<u8>), Failure> {
        self.host.clock.sleep(1).await;
        let fate = self.fate();
        self.calls.borrow_mut().push(format!("{what} {fate:?}"));
        match fate {
            Some(Fate::Lost) => return Err(Failure("lost".into())),
            Some(Fate::BridgeDies) => {
                self.kill_all();
                return Err(Failure("it died".into()));
            }
            Some(Fate::SessionDies) => return Err(self.session_dies(caller).await),
            Some(Fate::AllDie) => {
                self.host.clock.die();
                return std::future::pending().await;
            }
            _ => {}
        }
        let answer = call.await;
        match fate {
            Some(Fate::Unanswered) => return Err(Failure("no answer".into())),
            Some(Fate::BridgeDiesAfter) => {
                self.kill_all();
                return Err(Failure("it died".into()));
            }
            Some(Fate::SessionDiesAfter) => return Err(self.session_dies(caller).await),
            Some(Fate::AllDieAfter) => {
                self.host.clock.die();
                return std::future::pending().await;
            }
            _ => {}
        }
        answer.ok_or_else(|| Failure("the object is away".into()))
    }

    /// Asks a bridge from outside.
    pub(crate) async fn ask(self: &Rc<Self>, name: &str, call: Call) -> (u16, Vec<u8>) {
        let object = self.at(name);
        // Objects call each other: a future of unknown size ends the circle.
        let handled: Pin<Box<dyn Future<Output = http::Response<Answer>> + '_>> =
            Box::pin(bridge::handle(&object, request(call)));
        let response = handled.await;
        let status = response.status().as_u16();
        let Answer::Bytes(bytes) = response.into_body() else { panic!("no plain answer") };
        (status, bytes)
    }
}

fn request(call: Call) -> http::Request<Body> {
    let mut request = http::Request::new(Body(Some(call.body).filter(|body| !body.is_empty())));
    *request.method_mut() = call.method;
    *request.uri_mut() = call.url.parse().unwrap();
    *request.headers_mut() = call.headers;
    request
}

/// What a call asks for, without where.
fn path_of(call: &Call) -> String {
    call.url.parse::<http::Uri>().unwrap().path().to_owned()
}

/// An answer that is not larger than whoever asks takes.
fn within_limit((status, body): (u16, Vec<u8>), limit: usize) -> (StatusCode, Vec<u8>) {
    assert!(body.len() <= limit, "an answer of {} bytes", body.len());
    (StatusCode::from_u16(status).unwrap(), body)
}

/// Bridges, as the session calls them.
pub(crate) struct ToBridges(pub(crate) Rc<Bridges>);

impl Peers for ToBridges {
    async fn ask(&self, name: &str, call: Call, limit: usize) -> Result<(StatusCode, Vec<u8>), Failure> {
        let answer =
            self.0.between(Owner::Session, path_of(&call), async { Some(self.0.ask(name, call).await) }).await?;
        Ok(within_limit(answer, limit))
    }
}

/// The session, as bridges call it.
pub(crate) struct ToSessions(Rc<Bridges>);

impl Peers for ToSessions {
    async fn ask(&self, _: &str, call: Call, limit: usize) -> Result<(StatusCode, Vec<u8>), Failure> {
        let what = path_of(&call);
        let answer = async {
            let session = self.0.session.borrow().clone()?;
            let response = sessions::object::handle(&session, request(call)).await;
            let status = response.status().as_u16();
            let Answer::Bytes(bytes) = response.into_body() else { return None };
            Some((status, bytes))
        };
        Ok(within_limit(Box::pin(self.0.between(Owner::Bridge, what, answer)).await?, limit))
    }
}

/// The platform of one life of a bridge.
pub(crate) struct There {
    world: Rc<Bridges>,
    sql: Rc<Rusqlite>,
    alarm: Rc<Cell<Option<i64>>>,
    is_alive: Rc<Cell<bool>>,
}

impl Hosted for There {
    type Host = TestHost;

    fn host(&self) -> &TestHost {
        &self.world.host
    }
}

impl bridge::Platform for There {
    type Request = Body;
    type Response = Answer;
    type Sql = Rusqlite;
    type Db = Remote;
    type Fetch = ToShapes;
    type Sessions = ToSessions;

    fn sql(&self) -> Rc<Rusqlite> {
        Rc::clone(&self.sql)
    }

    fn db(&self) -> Option<Rc<Remote>> {
        let db = self.world.db.clone()?;
        Some(Rc::new(Remote { clock: Rc::clone(&self.world.host.clock), db }))
    }

    fn fetch(&self) -> Rc<ToShapes> {
        Rc::new(ToShapes(Rc::clone(&self.world)))
    }

    fn sessions(&self) -> Rc<ToSessions> {
        Rc::new(ToSessions(Rc::clone(&self.world)))
    }

    fn set_alarm(&self, at: i64) {
        if self.is_alive.get() {
            self.alarm.set(Some(at));
            self.world.alarms_set.set(self.world.alarms_set.get() + 1);
        }
    }

    fn clear_alarm(&self) {
        self.alarm.set(None);
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        let (is_alive, mut work) = (Rc::clone(&self.is_alive), Box::pin(work));
        let tasks = Rc::clone(&self.world.tasks.borrow());
        tasks.spawn_of(
            Owner::Bridge,
            std::future::poll_fn(
                move |context| {
                    if is_alive.get() { Pin::new(&mut work).poll(context) } else { Poll::Ready(()) }
                },
            ),
        );
    }
}

/// The shape service, as bridges reach it.
pub(crate) struct ToShapes(Rc<Bridges>);

/// What it says.
pub(crate) struct Said(Option<Vec<u8>>);

impl Incoming for Said {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.take())
    }
}

impl Fetch for ToShapes {
    type Body = Said;

    async fn fetch(&self, call: Call) -> Result<Reply<Said>, CallError> {
        self.0.host.clock.sleep(1).await;
        let (status, named, body) = self.0.shapes.borrow_mut().answer(&call.url);
        self.0.host.clock.sleep(1).await;
        let mut headers = HeaderMap::new();
        for (name, value) in named {
            headers.insert(name, value.parse().unwrap());
        }
        Ok(Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: Said(Some(body.into_bytes())) })
    }
}
