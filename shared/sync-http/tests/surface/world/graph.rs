//! One graph of a world: its object, its sockets as lists of what was sent, and the index as it reaches it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use ::database::local_sqlite::Rusqlite;
use ::graph::{Graph, Options};
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use http::{Request, Response, StatusCode};
use pollster::block_on;
use protocol::Holder;
use serde_json::Value;
use sync_http::graph_routes::{self, GraphHost, GraphState, SharedGraph, Sockets, sockets};
use uuid::Uuid;
use web::{Event, Failure, Host, ResponseBody as _, Trace, Undone};

use super::Time;
use super::bodies::{TestAnswer, TestBody};
use super::index::TestIndex;

/// The index as a graph reaches it.
pub(crate) struct GraphIndex {
    db: Rc<TestIndex>,
    /// Answers never.
    pub(crate) hangs: Cell<bool>,
    /// Answers once this is over.
    pub(crate) late: Cell<bool>,
    /// How often it was asked.
    pub(crate) asked: Cell<usize>,
    /// How often it was asked for membership.
    questions: Cell<usize>,
    /// Done once, while membership is asked.
    meanwhile: RefCell<Option<Box<dyn FnOnce()>>>,
    /// What becomes of the writes to come, one after the other; after them all are well.
    pub(crate) writes: RefCell<VecDeque<Write>>,
}

/// What becomes of a write to the index.
pub(crate) enum Write {
    /// It is not carried out.
    Refused,
    /// It is carried out, and its answer is lost.
    Lost,
    /// It is carried out after something else.
    After(Box<dyn FnOnce()>),
}

impl GraphIndex {
    /// The world's index, asked by one graph.
    pub(crate) fn new(db: Rc<TestIndex>) -> Self {
        Self {
            db,
            hangs: Cell::default(),
            late: Cell::default(),
            asked: Cell::default(),
            questions: Cell::default(),
            meanwhile: RefCell::default(),
            writes: RefCell::default(),
        }
    }
}

impl Database for GraphIndex {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.asked.set(self.asked.get() + 1);
        if sql.contains("graph_members") {
            self.questions.set(self.questions.get() + 1);
        }
        if self.hangs.get() {
            std::future::pending::<()>().await;
        }
        std::future::poll_fn(|_| if self.late.get() { Poll::Pending } else { Poll::Ready(()) }).await;
        let rows = self.db.query(from, sql, params).await;
        if let Some(meanwhile) = sql.contains("graph_members").then(|| self.meanwhile.take()).flatten() {
            meanwhile();
        }
        rows
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        let away = || DbError("the index is away".into());
        let fate = self.writes.borrow_mut().pop_front();
        match fate {
            Some(Write::Refused) => return Err(away()),
            Some(Write::After(other)) => other(),
            Some(Write::Lost) => return self.db.execute(sql, params).await.and(Err(away())),
            None => {}
        }
        self.db.execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        self.db.batch(statements).await
    }
}

/// One accepted socket.
pub(crate) struct TestSocket {
    id: u64,
    /// What is kept with it; none: nothing that can be read.
    pub(crate) attachment: RefCell<Option<Holder>>,
    /// The graph it is at, as it was kept with it.
    pub(crate) tag: RefCell<Option<String>>,
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
    pub(crate) time: Time,
    pub(crate) events: Rc<RefCell<Vec<Value>>>,
    /// Answers nothing but an error.
    pub(crate) broken: Cell<bool>,
    /// After so many answers it breaks.
    pub(crate) answers_left: Cell<Option<usize>>,
    /// No attachment can be stored.
    pub(crate) full: Cell<bool>,
    /// Whether a wake-up was asked for.
    pub(crate) to_wake: Cell<bool>,
    /// After how many milliseconds it is to be called when it is idle.
    to_rest: Cell<Option<u32>>,
    /// How often others had their turn.
    pub(crate) turns: Cell<usize>,
    /// No turn ends.
    pub(crate) busy: Cell<bool>,
}

/// One pull over a socket in a world, in bytes.
pub(crate) const PULL_MESSAGE_BYTES: usize = 2 << 20;

impl TestGraph {
    pub(crate) fn frame(&self, socket: &Rc<TestSocket>, text: &str) {
        block_on(sockets::on_frame(self, &self.memory, socket, ::graph::sockets::OwnedFrame::Text(text.to_owned())));
    }

    /// How often the index was asked for membership.
    pub(crate) fn questions(&self) -> usize {
        self.db.as_ref().unwrap().questions.get()
    }

    /// Has this done once, while membership is asked.
    pub(crate) fn meanwhile(&self, work: impl FnOnce() + 'static) {
        *self.db.as_ref().unwrap().meanwhile.borrow_mut() = Some(Box::new(work));
    }

    /// An object over what is stored, with nothing in memory.
    pub(crate) fn new(
        sql: Rc<Rusqlite>,
        memory: GraphState,
        db: Option<Rc<GraphIndex>>,
        time: Time,
        events: Rc<RefCell<Vec<Value>>>,
    ) -> Self {
        let clock = time.clone();
        let options = Options { pull_message_bytes: PULL_MESSAGE_BYTES, ..Options::default() };
        Self {
            graph: Rc::new(RefCell::new(Graph::new(Rc::clone(&sql), move || clock.now(), options))),
            sql,
            memory,
            sockets: RefCell::default(),
            db,
            time,
            events,
            broken: Cell::default(),
            answers_left: Cell::default(),
            full: Cell::default(),
            to_wake: Cell::default(),
            to_rest: Cell::default(),
            turns: Cell::default(),
            busy: Cell::default(),
        }
    }

    /// The object loses its memory; what is stored and the sockets stay.
    pub(crate) fn restart(&self) -> Self {
        let memory = GraphState::new(self.memory.settings.clone(), self.memory.graph_id());
        let sql = Rc::clone(&self.sql);
        let fresh = Self::new(sql, memory, self.db.clone(), self.time.clone(), Rc::clone(&self.events));
        fresh.sockets.borrow_mut().clone_from(&self.sockets.borrow());
        fresh
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

impl TestGraph {
    /// The call of an idle graph that was asked for, if one was. The result is after how many milliseconds it was to come.
    pub(crate) fn rest(&self) -> Option<u32> {
        let asked = self.to_rest.take();
        if asked.is_some() {
            block_on(graph_routes::on_rest(self, &self.memory));
        }
        asked
    }
}

impl Sockets for TestGraph {
    type Request = TestBody;
    type Response = TestAnswer;
    type Socket = Rc<TestSocket>;
    type LongText = String;

    fn accept(
        &self,
        _: &mut Request<TestBody>,
        holder: &Holder,
        graph_id: Option<&str>,
    ) -> Result<(Rc<TestSocket>, Response<TestAnswer>), Failure> {
        let socket = Rc::new(TestSocket {
            id: self.sockets.borrow().len() as u64,
            attachment: RefCell::default(),
            tag: RefCell::new(graph_id.map(str::to_owned)),
            received: RefCell::default(),
            closed: RefCell::default(),
        });
        self.keep(&socket, holder)?;
        self.sockets.borrow_mut().push(Rc::clone(&socket));
        let mut response = Response::new(TestAnswer::empty());
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

    fn graph_id(&self, socket: &Rc<TestSocket>) -> Option<String> {
        socket.tag.borrow().clone()
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
}

impl GraphHost for TestGraph {
    type Sql = Rc<Rusqlite>;
    type Db = GraphIndex;

    fn graph(&self) -> &SharedGraph<Rc<Rusqlite>> {
        &self.graph
    }

    fn db(&self) -> Option<Rc<GraphIndex>> {
        self.db.clone()
    }

    async fn turn(&self) {
        self.turns.set(self.turns.get() + 1);
        std::future::poll_fn(|_| if self.busy.get() { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    fn wake_after(&self, _: u32) {
        assert!(!self.to_wake.replace(true), "asked once");
    }

    fn rest_after(&self, ms: u32) {
        assert!(self.to_rest.replace(Some(ms)).is_none(), "asked once");
    }
}

impl Host for TestGraph {
    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        assert!(ms <= 5_000, "nobody waits longer for an answer of the index");
        let over = self.db.as_ref().is_some_and(|db| db.hangs.get());
        std::future::poll_fn(move |_| if over { Poll::Ready(()) } else { Poll::Pending })
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

    fn wait_until(&self, _: impl Future<Output = Result<(), Undone>> + 'static) {
        unreachable!("a graph answers when all is done");
    }

    fn trace(&self, _: &Trace<'_>) {
        unreachable!("the front traces requests");
    }
}
