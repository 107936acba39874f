//! One session over a real database, with a clock that only goes when everybody waits, and an agent that lives on when the object dies.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use database::local::Sql as _;
use database::local_sqlite::Rusqlite;
use database::sqlite::Sqlite;
use serde_json::{Value, json};
use sessions::github::Sign;
use sessions::object::{Platform, Session};
use sessions::runtime::ProviderKind;
use sessions::settings::Settings;
use uuid::Uuid;
use web::{Event, Failure, Host, LiveBody, LiveSource, RequestBody, ResponseBody, Source, Trace, Undone};

use crate::agent::{Agent, Runtimes};
use crate::receiver::{Net, Outside};

/// Time, and whoever waits for it.
#[derive(Default)]
pub(crate) struct Clock {
    pub(crate) now: Cell<i64>,
    waiting: RefCell<BTreeMap<(i64, u64), Waker>>,
    next: Cell<u64>,
}

struct Sleep {
    clock: Rc<Clock>,
    until: i64,
    id: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.now.get() >= self.until {
            return Poll::Ready(());
        }
        self.clock.waiting.borrow_mut().insert((self.until, self.id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.waiting.borrow_mut().remove(&(self.until, self.id));
    }
}

impl Clock {
    pub(crate) fn sleep(self: &Rc<Self>, ms: i64) -> impl Future<Output = ()> + 'static {
        let id = self.next.get();
        self.next.set(id + 1);
        Sleep { clock: Rc::clone(self), until: self.now.get() + ms, id }
    }

    fn next_wake(&self) -> Option<i64> {
        self.waiting.borrow().keys().next().map(|(until, _)| *until)
    }

    fn advance(&self, to: i64) {
        self.now.set(to.max(self.now.get()));
        let due: Vec<Waker> = {
            let mut waiting = self.waiting.borrow_mut();
            let later = waiting.split_off(&(to + 1, 0));
            std::mem::replace(&mut *waiting, later).into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tasks of one life of the object.
#[derive(Default)]
pub(crate) struct Tasks {
    new: RefCell<Vec<Task>>,
    running: RefCell<Vec<Task>>,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.new.borrow_mut().push(Box::pin(task));
    }

    /// Drops everything.
    fn end(&self) {
        self.new.borrow_mut().clear();
        self.running.borrow_mut().clear();
    }

    /// Runs until everybody waits.
    pub(crate) fn run(&self) {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        while flag.0.swap(false, Ordering::Relaxed) || !self.new.borrow().is_empty() {
            let mut running = std::mem::take(&mut *self.running.borrow_mut());
            running.append(&mut self.new.borrow_mut());
            running.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            self.running.borrow_mut().append(&mut running);
        }
    }
}

/// The platform of one life of the object.
#[derive(Clone)]
pub(crate) struct Here {
    pub(crate) clock: Rc<Clock>,
    pub(crate) tasks: Rc<Tasks>,
    pub(crate) sql: Rc<Rusqlite>,
    pub(crate) agent: Rc<RefCell<Agent>>,
    pub(crate) alarm: Rc<Cell<Option<i64>>>,
    pub(crate) ids: Rc<Cell<u128>>,
    pub(crate) db: Option<Rc<Sqlite>>,
    pub(crate) net: Rc<RefCell<Net>>,
}

impl Host for Here {
    fn now_ms(&self) -> i64 {
        self.clock.now.get()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        self.clock.sleep(ms.into())
    }

    fn wait_until(&self, _: impl Future<Output = Result<(), Undone>> + 'static) {}

    fn random_uuid(&self) -> Uuid {
        self.ids.set(self.ids.get() + 1);
        Uuid::from_u128(self.ids.get())
    }

    fn report(&self, _: &Event<'_>) {}

    fn trace(&self, _: &Trace<'_>) {}
}

/// Nothing is signed for the App.
pub(crate) struct NoKey;

impl Sign for NoKey {
    async fn rs256(&self, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Failure> {
        Err(Failure("no key".into()))
    }
}

/// A body in memory.
pub(crate) struct Body(pub(crate) Option<Vec<u8>>);

impl RequestBody for Body {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn take(&mut self) -> Option<Self> {
        Some(Self(self.0.take()))
    }

    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.take())
    }

    async fn cancel(&mut self) {}

    async fn discard(&mut self, _: u64) {}
}

/// What is answered.
pub(crate) enum Answer {
    Bytes(Vec<u8>),
    Source(Box<dyn Source>),
    Live,
}

impl ResponseBody for Answer {
    fn empty() -> Self {
        Self::Bytes(Vec::new())
    }

    fn full(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }

    fn streamed(source: Box<dyn Source>) -> Self {
        Self::Source(source)
    }
}

impl LiveBody for Answer {
    fn live(_: Box<dyn LiveSource>) -> Self {
        Self::Live
    }
}

impl Platform for Here {
    type Request = Body;
    type Response = Answer;
    type Sql = Rusqlite;
    type Db = Sqlite;
    type Fetch = Outside;
    type Sign = NoKey;
    type Runtimes = Runtimes;

    fn sql(&self) -> &Rusqlite {
        &self.sql
    }

    fn db(&self) -> Option<Rc<Sqlite>> {
        self.db.clone()
    }

    fn fetch(&self) -> Rc<Outside> {
        Rc::new(Outside { clock: Rc::clone(&self.clock), net: Rc::clone(&self.net) })
    }

    fn sign(&self) -> Rc<NoKey> {
        Rc::new(NoKey)
    }

    fn tokens(&self) -> Rc<sessions::github::TokenCache> {
        Rc::default()
    }

    fn runtimes(&self, kind: ProviderKind) -> Rc<Runtimes> {
        Rc::new(Runtimes { agent: Rc::clone(&self.agent), kind })
    }

    fn set_alarm(&self, at: i64) {
        self.alarm.set(Some(at));
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.tasks.spawn(work);
    }
}

/// A session that lives through many lives of its object.
pub(crate) struct World {
    here: Here,
    pub(crate) clock: Rc<Clock>,
    pub(crate) agent: Rc<RefCell<Agent>>,
    pub(crate) net: Rc<RefCell<Net>>,
    settings: Rc<Settings>,
    pub(crate) tasks: Rc<Tasks>,
    pub(crate) session: Rc<Session<Here>>,
    pub(crate) provider: &'static str,
}

impl World {
    pub(crate) fn new(settings: Settings, provider: &'static str) -> Self {
        Self::beside(settings, provider, None)
    }

    /// The same, beside other sessions whose database this is.
    pub(crate) fn beside(settings: Settings, provider: &'static str, db: Option<Rc<Sqlite>>) -> Self {
        let clock = Rc::new(Clock::default());
        clock.now.set(1_700_000_000_000);
        let here = Here {
            clock,
            tasks: Rc::default(),
            sql: Rc::new(Rusqlite::in_memory().unwrap()),
            agent: Rc::default(),
            alarm: Rc::default(),
            ids: Rc::default(),
            db,
            net: Rc::default(),
        };
        let settings = Rc::new(settings);
        let session = Session::new(here.clone(), Rc::clone(&settings));
        let (clock, agent, tasks) = (Rc::clone(&here.clock), Rc::clone(&here.agent), Rc::clone(&here.tasks));
        let net = Rc::clone(&here.net);
        Self { here, clock, agent, net, settings, tasks, session, provider }
    }

    /// The object dies, with everything that it was doing, and is started anew.
    pub(crate) fn crash(&mut self) {
        self.tasks.end();
        self.tasks = Rc::default();
        self.here.tasks = Rc::clone(&self.tasks);
        self.session = Session::new(self.here.clone(), Rc::clone(&self.settings));
    }

    /// Lets time go by; alarms go off.
    pub(crate) fn pass(&self, ms: i64) {
        let end = self.clock.now.get() + ms;
        self.tasks.run();
        loop {
            let wake = self.clock.next_wake().filter(|at| *at <= end);
            let alarm = self.here.alarm.get().filter(|at| *at <= end);
            let Some(next) = [wake, alarm].into_iter().flatten().min() else { break };
            self.clock.advance(next);
            if self.here.alarm.get().is_some_and(|at| at <= next) {
                self.here.alarm.set(None);
                self.session.alarm().unwrap();
            }
            self.tasks.run();
        }
        self.clock.advance(end);
        self.tasks.run();
    }

    /// Whether nothing is to come but by a person.
    pub(crate) fn alarm(&self) -> Option<i64> {
        self.here.alarm.get()
    }

    /// Asks with an idempotency key.
    pub(crate) fn keyed(&self, method: &str, path: &str, body: &Value, key: &str) -> (u16, Value) {
        self.send(&[("x-user-id", "ann"), ("idempotency-key", key)], method, path, Some(body))
    }

    /// Asks the object; gives status and body, when it has answered.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.send(&[("x-user-id", "ann")], method, path, body)
    }

    /// The same, by somebody else than the creator.
    pub(crate) fn ask_as(&self, user: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.send(&[("x-user-id", user)], method, path, body)
    }

    /// A delivery is sent again, as the service asks for it.
    pub(crate) fn replay(&self, delivery_id: &str) -> (u16, Value) {
        self.send(&[("x-caller", "service")], "POST", &format!("replay/{delivery_id}"), None)
    }

    /// The same with an idempotency key.
    pub(crate) fn replay_keyed(&self, delivery_id: &str, key: &str) -> (u16, Value) {
        let headers = [("x-caller", "service"), ("idempotency-key", key)];
        self.send(&headers, "POST", &format!("replay/{delivery_id}"), None)
    }

    fn send(&self, headers: &[(&'static str, &str)], method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = http::Request::new(Body(body.map(|body| body.to_string().into_bytes())));
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = format!("https://session/__session__/{path}").parse().unwrap();
        for (name, value) in [("x-session-id", "s"), ("x-stream-base", "https://base.test")].iter().chain(headers) {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let answered: Rc<RefCell<Option<(u16, Value)>>> = Rc::default();
        let (session, slot) = (Rc::clone(&self.session), Rc::clone(&answered));
        self.tasks.spawn(async move {
            let response = sessions::object::handle(&session, request).await;
            let status = response.status().as_u16();
            let bytes = match response.into_body() {
                Answer::Bytes(bytes) => bytes,
                Answer::Source(mut source) => {
                    let mut all = Vec::new();
                    while let Some(mut bytes) = source.next().unwrap() {
                        all.append(&mut bytes);
                    }
                    all
                }
                Answer::Live => Vec::new(),
            };
            *slot.borrow_mut() = Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)));
        });
        // Nothing here takes longer than a second of this world, but for what the agent holds back.
        for _ in 0..100 {
            self.tasks.run();
            if let Some(answer) = answered.borrow_mut().take() {
                return answer;
            }
            self.pass(50);
        }
        (0, Value::Null)
    }

    pub(crate) fn create(&self) -> (u16, Value) {
        self.create_within(None)
    }

    /// Creates a session that belongs to a graph.
    pub(crate) fn create_in_graph(&self, graph: &str) -> (u16, Value) {
        let mut task = self.task();
        task["task"]["project"]["graph-id"] = graph.into();
        self.ask("POST", "init", Some(&task))
    }

    fn task(&self) -> Value {
        json!({"task": {"id": "s", "source": {"node-id": "n", "node-title": "Title"}, "intent": {"content": "Do it."},
            "project": {"id": "p", "title": "P"}, "agent": {"provider": "claude"}, "runtime-provider": self.provider,
            "capabilities": {"push-enabled": true, "pr-enabled": true}}, "secrets": {}})
    }

    /// Creates a session that may use so much.
    pub(crate) fn create_within(&self, budget: Option<&Value>) -> (u16, Value) {
        let mut task = self.task();
        if let (Some(budget), Some(members)) = (budget, task.as_object_mut()) {
            members.insert("budget".to_owned(), budget.clone());
        }
        self.ask("POST", "init", Some(&task))
    }

    /// Deletes the session.
    pub(crate) fn delete(&self) {
        assert_eq!(self.ask("POST", "delete", None), (200, json!({"ok": true})));
    }

    /// Drops tables, as if an earlier version had made the session.
    pub(crate) fn forget_tables(&self, names: &[&str]) {
        for name in names {
            self.here.sql.execute(&format!("DROP TABLE {name}"), &[]).unwrap();
        }
    }

    /// The tables of the session's own database.
    pub(crate) fn tables(&self) -> Vec<String> {
        let mut names = Vec::new();
        let each = &mut |row: &dyn database::local::Row| {
            names.extend(row.text(0)?.map(std::borrow::Cow::into_owned));
            Ok(std::ops::ControlFlow::Continue(()))
        };
        self.here.sql.query("SELECT name FROM sqlite_master WHERE type = 'table'", &[], each).unwrap();
        names
    }

    pub(crate) fn message(&self, text: &str) -> (u16, Value) {
        self.ask("POST", "messages", Some(&json!({"message": text, "kind": "user"})))
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        let (status, body) = self.ask("GET", "events?limit=10000", None);
        assert_eq!(status, 200, "{body}");
        body["events"].as_array().unwrap().clone()
    }
}
