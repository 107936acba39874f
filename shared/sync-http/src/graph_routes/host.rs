//! The ports of a graph, and what is remembered beside it.

use std::cell::RefCell;
use std::rc::Rc;

use auth::AccessCache;
use database::Database;
use database::local::Sql;
use graph::Graph;
use graph::sockets::Message;
use http::{Request, Response};
use protocol::Holder;
use web::{Failure, Gate, HEARD_OUT_REQUESTS, Host, RequestBody, ResponseBody};

use super::allowance::Allowances;
use super::line::Lines;
use super::question::Questions;
use super::ready::ReadyFlag;
use super::rest::Rest;
use super::roster::Roster;
use super::single::Single;
use super::stream::Streams;
use crate::service::Settings;

/// A graph and those who stream from it. Borrowed for one synchronous step at a time, never across an await.
///
/// A stream has a clone for as long as it runs. A platform that drops graphs to save memory drops one only when it has the
/// last clone: a second graph over the same rows would not see what the first one changes.
pub type SharedGraph<S> = Rc<RefCell<Graph<S>>>;

/// The platform under a graph. A graph lives on one thread, which may have others beside it.
#[expect(async_fn_in_trait, reason = "a graph lives on one thread")]
pub trait GraphHost: Host + Sockets {
    /// The graph's own database.
    type Sql: Sql + 'static;
    /// The index database.
    type Db: Database + 'static;

    /// The graph.
    fn graph(&self) -> &SharedGraph<Self::Sql>;

    /// The index database, unless it is not configured.
    fn db(&self) -> Option<Rc<Self::Db>>;

    /// Lets whatever else waits have its turn: long work is cut into pieces with this between them.
    async fn turn(&self);

    /// Calls [`sockets::on_wake`](super::sockets::on_wake) once, after that time. Until then the graph stays in memory.
    fn wake_after(&self, ms: u32);

    /// Calls [`on_rest`](super::on_rest) once, after that time. The graph may leave memory until then, where the platform
    /// loads it again for the call or has it rest before; a wish that was not met is replaced by a new one.
    fn rest_after(&self, ms: u32);
}

/// The sockets of a graph.
pub trait Sockets {
    /// Bodies of requests.
    type Request: RequestBody;
    /// Bodies of responses.
    type Response: ResponseBody;
    /// A handle to an accepted socket.
    type Socket;
    /// A long message under construction. Where memory is short it lies outside of it (D-41).
    type LongText: Default;

    /// Accepts a WebSocket, keeps with it whom it belongs to and which graph it is at, and gives it and the answer that
    /// switches protocols. Fails, and accepts nothing, when the holder cannot be kept.
    fn accept(
        &self,
        request: &mut Request<Self::Request>,
        holder: &Holder,
        graph_id: Option<&str>,
    ) -> Result<(Self::Socket, Response<Self::Response>), Failure>;

    /// All accepted sockets that are open.
    fn sockets(&self) -> Vec<Self::Socket>;

    /// A number for a socket, the same for as long as the graph is in memory, in constant time.
    fn id(&self, socket: &Self::Socket) -> u64;

    /// Whom a socket belongs to, as it was kept with it across hibernation and deploys; none when that cannot be read.
    fn holder(&self, socket: &Self::Socket) -> Option<Holder>;

    /// Which graph a socket is at, as it was kept with it (sync.md 7.1); none when that is not known.
    fn graph_id(&self, socket: &Self::Socket) -> Option<String>;

    /// Keeps with a socket whom it belongs to, in place of what was kept before.
    fn keep(&self, socket: &Self::Socket, holder: &Holder) -> Result<(), Failure>;

    /// A message came from a socket, before anything becomes of it: for whoever counts.
    fn heard(&self, _socket: &Self::Socket, _message: &Message<'_>) {}

    /// Sends a text. A socket that is going away loses it: clients catch up by `t`.
    fn send(&self, socket: &Self::Socket, text: &str);

    /// Appends to a long message.
    fn append(&self, text: &mut Self::LongText, piece: &str);

    /// Sends a long message.
    fn send_long(&self, socket: &Self::Socket, text: Self::LongText);

    /// Closes a socket.
    fn close(&self, socket: &Self::Socket, code: u16, reason: &str);
}

/// What a graph's routes remember between requests; all of it can be lost.
pub struct GraphState {
    /// The settings.
    pub settings: Settings,
    /// Which users had access lately (D-18).
    pub(crate) access: AccessCache,
    /// Who is being asked about.
    pub(crate) questions: Questions,
    /// Frames that wait for an answer.
    pub(crate) lines: Rc<Lines>,
    /// What was sent lately in answer to pulls.
    pub(crate) allowances: Allowances,
    /// The long pull over a socket that is made.
    pub(crate) long_pull: Single,
    /// Pulls that are sent while they are made.
    pub(crate) streams: Streams,
    /// Who sits at the graph, and what they are to be told.
    pub(crate) roster: RefCell<Roster>,
    /// Requests whose refused bodies are taken in.
    pub(crate) heard_out: Gate,
    /// Whether the graph is to be called when it is idle.
    pub(super) rest: Rest,
    /// What is being written about the graph's readiness.
    pub(super) ready: ReadyFlag,
    graph_id: RefCell<Option<String>>,
    /// The schema version that clients are told, once it is known.
    pub(super) schema_version: RefCell<Option<Rc<str>>>,
}

impl GraphState {
    /// The state of a graph; the id is that of the graph where the platform knows it.
    pub fn new(settings: Settings, graph_id: Option<String>) -> Self {
        Self {
            settings,
            access: AccessCache::default(),
            questions: Questions::default(),
            lines: Rc::default(),
            allowances: Allowances::default(),
            long_pull: Single::default(),
            streams: Streams::default(),
            roster: RefCell::default(),
            heard_out: Gate::new(HEARD_OUT_REQUESTS),
            rest: Rest::default(),
            ready: ReadyFlag::default(),
            graph_id: RefCell::new(graph_id),
            schema_version: RefCell::default(),
        }
    }

    /// The graph's id, once it is known.
    pub fn graph_id(&self) -> Option<String> {
        self.graph_id.borrow().clone()
    }

    /// After a removal everyone's access is asked again.
    pub(crate) fn forget_access(&self) {
        self.questions.forget();
        if let Some(graph_id) = self.graph_id() {
            self.access.forget_graph(&graph_id);
        }
    }

    /// The first id stays: an object has one name.
    pub(crate) fn remember_graph_id(&self, graph_id: &str) {
        self.graph_id.borrow_mut().get_or_insert_with(|| graph_id.to_owned());
    }
}
