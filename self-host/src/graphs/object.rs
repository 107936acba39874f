//! One graph on its thread: the ports that the surface asks for, over a database file and sockets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use database::local_sqlite::Rusqlite;
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use graph::sockets::Message;
use graph::{Graph, Options as GraphOptions};
use http::header::USER_AGENT;
use http::{Request, Response, StatusCode};
use protocol::{ClientMessage, Holder};
use sync_http::graph_routes::{self, GraphHost, GraphState, SharedGraph, Sockets, sockets};
use tokio_util::task::AbortOnDropHandle;
use web::{Failure, Hosted};

use super::CloseFrame;
use super::durable::Durable;
use super::sockets::{Socket, pair};
use super::thread::{Thread, look_for_damage};
use crate::auth::token;
use crate::bodies::{NativeRequest, NativeResponse};
use crate::host::{NativeHost, now_ms};
use crate::metrics::Metrics;
use crate::store::{Index, graph_file, open_graph};

/// One graph: its database, its memory and its sockets.
pub(super) struct GraphObject {
    host: NativeHost,
    graph: SharedGraph<Rusqlite>,
    pub(super) memory: GraphState,
    index: Rc<GraphIndex>,
    pub(super) durable: Rc<Durable>,
    sockets: RefCell<BTreeMap<u64, Rc<Socket>>>,
    next_number: Cell<u64>,
    used: Cell<Instant>,
    folder: PathBuf,
    metrics: Arc<Metrics>,
    /// There were no rows when it was opened.
    is_new: bool,
    thread: Weak<Thread>,
    me: Weak<Self>,
    /// Syncs what is committed; ends with the graph.
    syncing: RefCell<Option<AbortOnDropHandle<()>>>,
}

impl GraphObject {
    /// Opens the graph of a folder, which may not be there yet.
    pub(super) fn open(thread: &Rc<Thread>, folder: &Path) -> Result<Rc<Self>, Failure> {
        let opened = open_graph(folder, &thread.options.hold).map_err(|error| Failure(error.to_string()))?;
        let options = &thread.options;
        let durable = Rc::new(Durable::new(&opened.path, opened.commits, Arc::clone(&options.metrics)));
        let graph_options = GraphOptions { initial_data: options.settings.initial_data, ..GraphOptions::DEFAULT };
        let graph = Rc::new(RefCell::new(Graph::new(opened.sql, now_ms, graph_options)));
        let index = GraphIndex { index: options.index.clone(), durable: Rc::clone(&durable) };
        let object = Rc::new_cyclic(|me| Self {
            host: NativeHost::new(options.log.clone(), Arc::clone(&options.metrics), options.reporter.clone()),
            graph,
            memory: GraphState::new(options.settings.clone(), None),
            index: Rc::new(index),
            durable,
            sockets: RefCell::default(),
            next_number: Cell::default(),
            used: Cell::new(Instant::now()),
            folder: folder.to_owned(),
            metrics: Arc::clone(&options.metrics),
            is_new: opened.is_new,
            thread: Rc::downgrade(thread),
            me: Weak::clone(me),
            syncing: RefCell::default(),
        });
        options.metrics.graphs.fetch_add(1, Ordering::Relaxed);
        let syncing = tokio::task::spawn_local(super::thread::sync(Rc::downgrade(&object)));
        *object.syncing.borrow_mut() = Some(AbortOnDropHandle::new(syncing));
        Ok(object)
    }

    /// Notes that somebody needs it now.
    pub(super) fn touch(&self) {
        self.used.set(Instant::now());
    }

    /// Since when nobody has needed it.
    pub(super) fn unused_for(&self) -> Duration {
        self.used.get().elapsed()
    }

    /// When somebody needed it last.
    pub(super) fn used_at(&self) -> Instant {
        self.used.get()
    }

    /// Whether nothing but the map of its thread holds it, and all it has committed is on the disk.
    pub(super) fn is_idle(self: &Rc<Self>) -> bool {
        Rc::strong_count(self) == 1 && Rc::strong_count(&self.graph) == 1 && self.durable.is_settled()
    }

    /// A socket has ended.
    pub(super) fn forget_socket(&self, socket: &Socket) {
        self.sockets.borrow_mut().remove(&socket.number);
    }

    /// Closes the sockets that came with one of these tokens.
    pub(super) fn revoke(&self, tokens: &[String]) {
        for socket in self.sockets() {
            if socket.token.as_ref().is_some_and(|token| tokens.contains(token)) {
                self.close(&socket, 1008, "revoked");
            }
        }
    }

    /// Cuts all sockets off, without waiting for anything.
    pub(super) fn cut_off(&self, code: u16, reason: &str) {
        for socket in self.sockets.borrow().values() {
            socket.closing.set(true);
            socket.queue.close(CloseFrame { code, reason: reason.to_owned() });
        }
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its database file.
    pub(super) fn file(&self) -> PathBuf {
        graph_file(&self.folder)
    }

    /// Whether its file was found damaged.
    pub(super) fn is_damaged(&self) -> bool {
        self.graph.borrow().sql().is_damaged()
    }

    /// Whether its files may go once it is closed: it was deleted, or nothing was ever written.
    pub(super) fn leaves_nothing(&self) -> bool {
        let deleted = matches!(self.graph.borrow_mut().is_deleted(), Ok(true));
        deleted || (self.is_new && !self.durable.has_commits())
    }

    /// The name of its folder.
    fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Counts what became of transactions since the last call, and takes over limits that have changed.
    pub(super) fn count(&self) {
        let mut graph = self.graph.borrow_mut();
        let tally = graph.take_tally();
        if !tally.is_empty() {
            self.metrics.traffic.transactions(&tally);
        }
        if let Some(thread) = self.thread.upgrade() {
            graph.limit_exports(thread.options.limits.exports.get());
        }
    }

    /// Its thread, while that runs.
    pub(super) fn thread(&self) -> Option<Rc<Thread>> {
        self.thread.upgrade()
    }

    /// The graph, for what its thread does with it.
    pub(super) fn shared(&self) -> &SharedGraph<Rusqlite> {
        &self.graph
    }
}

impl Drop for GraphObject {
    fn drop(&mut self) {
        self.metrics.graphs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hosted for GraphObject {
    type Host = NativeHost;

    fn host(&self) -> &NativeHost {
        &self.host
    }
}

impl Sockets for GraphObject {
    type Request = NativeRequest;
    type Response = NativeResponse;
    type Socket = Rc<Socket>;
    type LongText = String;

    fn accept(
        &self,
        request: &mut Request<NativeRequest>,
        holder: &Holder,
        graph_id: Option<&str>,
    ) -> Result<(Rc<Socket>, Response<NativeResponse>), Failure> {
        let gone = || Failure("the graph is being closed".into());
        let (me, thread) = (self.me.upgrade().ok_or_else(gone)?, self.thread.upgrade().ok_or_else(gone)?);
        let number = self.next_number.get();
        self.next_number.set(number.wrapping_add(1));
        let agent = request.headers().get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let options = &thread.options;
        let device = options.devices.enter(&self.name(), holder, agent, now_ms());
        let token = token::id_of(request);
        let (socket, arrivals, ends) = pair(number, holder, graph_id, token, device, &options.limits.unread);
        let socket = Rc::new(socket);
        self.sockets.borrow_mut().insert(number, Rc::clone(&socket));
        thread.attend(me, Rc::clone(&socket), arrivals);
        let mut response = Response::new(NativeResponse::Socket(Box::new(ends)));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        Ok((socket, response))
    }

    fn sockets(&self) -> Vec<Rc<Socket>> {
        self.sockets.borrow().values().filter(|socket| !socket.closing.get()).cloned().collect()
    }

    fn id(&self, socket: &Rc<Socket>) -> u64 {
        socket.number
    }

    fn holder(&self, socket: &Rc<Socket>) -> Option<Holder> {
        Some(socket.holder.borrow().clone())
    }

    fn graph_id(&self, socket: &Rc<Socket>) -> Option<String> {
        socket.graph_id.clone()
    }

    fn keep(&self, socket: &Rc<Socket>, holder: &Holder) -> Result<(), Failure> {
        *socket.holder.borrow_mut() = holder.clone();
        Ok(())
    }

    fn heard(&self, socket: &Rc<Socket>, message: &Message<'_>) {
        let (kind, t) = match message {
            Message::RawPing | Message::Client(ClientMessage::Ping) => ("ping", None),
            Message::Client(ClientMessage::Hello { .. }) => ("hello", None),
            Message::Client(ClientMessage::Presence { .. }) => ("presence", None),
            Message::Client(ClientMessage::Pull { since }) => ("pull", Some(*since)),
            Message::Client(ClientMessage::EntityPull { since }) => ("entity/pull", Some(*since)),
            Message::Client(ClientMessage::TxBatch(batch)) => ("tx/batch", Some(batch.t_before)),
            Message::Invalid(_) | Message::TooLarge => ("invalid", None),
        };
        self.metrics.traffic.received(kind);
        match t {
            Some(t) => socket.device.saw(t, now_ms()),
            None => socket.device.spoke(now_ms()),
        }
    }

    fn send(&self, socket: &Rc<Socket>, text: &str) {
        self.send_long(socket, text.to_owned());
    }

    fn append(&self, text: &mut String, piece: &str) {
        text.push_str(piece);
    }

    fn send_long(&self, socket: &Rc<Socket>, text: String) {
        if !socket.closing.get() {
            let queue = socket.queue.clone();
            self.durable.after_commits(move || queue.text(text));
        }
    }

    fn close(&self, socket: &Rc<Socket>, code: u16, reason: &str) {
        if !socket.closing.replace(true) {
            let (queue, frame) = (socket.queue.clone(), CloseFrame { code, reason: reason.to_owned() });
            self.durable.after_commits(move || queue.close(frame));
        }
    }
}

impl GraphHost for GraphObject {
    type Sql = Rusqlite;
    type Db = GraphIndex;

    fn graph(&self) -> &SharedGraph<Rusqlite> {
        &self.graph
    }

    fn db(&self) -> Option<Rc<GraphIndex>> {
        Some(Rc::clone(&self.index))
    }

    async fn turn(&self) {
        tokio::task::yield_now().await;
    }

    fn wake_after(&self, ms: u32) {
        let (Some(me), Some(thread)) = (self.me.upgrade(), self.thread.upgrade()) else { return };
        thread.later(async move {
            tokio::time::sleep(Duration::from_millis(ms.into())).await;
            sockets::on_wake(&*me, &me.memory);
        });
    }

    fn rest_after(&self, ms: u32) {
        let Some(thread) = self.thread.upgrade() else { return };
        // It does not hold the graph: one that is closed before rests then.
        let (me, mut stopping) = (Weak::clone(&self.me), thread.stopping());
        thread.later(async move {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(ms.into())) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
            if let Some(me) = me.upgrade() {
                graph_routes::on_rest(&*me, &me.memory).await;
                look_for_damage(&me);
            }
        });
    }
}

/// The index as a graph asks it: what is written there follows from what the graph has committed, so that comes first.
pub(super) struct GraphIndex {
    index: Index,
    durable: Rc<Durable>,
}

impl GraphIndex {
    async fn settle(&self) -> Result<(), DbError> {
        self.durable.settle().await.map_err(|failure| DbError(failure.0))
    }
}

impl Database for GraphIndex {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        self.index.query(from, sql, params).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.settle().await?;
        self.index.execute(sql, params).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        self.settle().await?;
        self.index.batch(statements).await
    }
}
