//! The Durable Object that owns a graph. Constructed for the first event after a start, a deploy or a hibernation: all
//! it keeps is read again from its database and from the attachments of its sockets.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use std::cell::RefCell;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use graph::session::Frame;
use graph::{Graph, Options};
use http::{Request, Response};
use protocol::{Attachment, PresenceUser};
use sync_http::graph_routes::{self, GraphHost, GraphState, SharedGraph, sockets};
use sync_http::platform::Failure;
use sync_http::report::Event;
use uuid::Uuid;
use worker::js_sys::{JsString, Uint8Array};
use worker::wasm_bindgen::prelude::*;
use worker::wasm_bindgen_futures::future_to_promise;
use worker::{
    Delay, DurableObject, Env, Error, Result, State, WebSocket, WebSocketPair, WebSocketRequestResponsePair,
    durable_object, web_sys,
};

use crate::bindings::text;
use crate::body::{self, JsBody};
use crate::d1::D1Index;
use crate::environment::{Isolate, isolate};
use crate::failure::{self, worker_failure};
use crate::keys::now_ms;
use crate::reporter;
use crate::sql::DurableSql;

/// Memory for clean tree nodes of one graph. Objects of one class may share an isolate of 128 MB, and its wasm memory
/// never shrinks: with what a batch needs at its height this stays below 32 MiB.
const CACHE_BYTES: usize = 12 << 20;

/// On the health answer of a graph: the size of the isolate's wasm memory, which is also its peak.
const MEMORY_HEADER: &str = "x-wasm-memory-bytes";

#[cfg(target_arch = "wasm32")]
fn memory_bytes() -> usize {
    const PAGE: usize = 64 << 10;
    core::arch::wasm32::memory_size(0) * PAGE
}

/// Lints are checked on other targets, where there is nothing to tell.
#[cfg(not(target_arch = "wasm32"))]
fn memory_bytes() -> usize {
    0
}

/// One graph: its database, its log and its sockets.
#[durable_object(alarm)]
pub struct SyncDO {
    /// None when the settings cannot be served with.
    host: Option<Rc<Host>>,
}

/// The ports of a graph.
struct Host {
    state: State,
    env: Env,
    isolate: Rc<Isolate>,
    graph: SharedGraph<DurableSql>,
    memory: GraphState,
    /// Users by socket, read from the attachments once: every message asks for its sender.
    users: RefCell<Vec<(WebSocket, Option<PresenceUser>)>>,
}

impl Host {
    fn forget(&self, gone: &WebSocket) {
        self.users.borrow_mut().retain(|(socket, _)| socket != gone);
    }

    fn remember(&self, socket: &WebSocket, user: Option<PresenceUser>) {
        self.forget(socket);
        self.users.borrow_mut().push((socket.clone(), user));
    }
}

impl DurableObject for SyncDO {
    fn new(state: State, env: Env) -> Self {
        // Answered by the runtime: a heartbeat wakes nobody.
        if let Ok(pair) = WebSocketRequestResponsePair::new("ping", "pong") {
            state.set_websocket_auto_response(&pair);
        }
        let host = isolate(&env).map(|isolate| {
            let graph =
                Graph::new(DurableSql::new(&state), now_ms, Options { cache_bytes: CACHE_BYTES, ..Options::default() });
            let memory = GraphState::new(isolate.service.settings.clone(), state.id().name());
            let graph = Rc::new(RefCell::new(graph));
            Rc::new(Host { state, env, isolate, graph, memory, users: RefCell::default() })
        });
        Self { host }
    }

    async fn fetch(&self, request: worker::Request) -> Result<worker::Response> {
        let request = body::incoming(Clone::clone(request.inner())).ok_or_else(misconfigured)?;
        let host = self.host.as_ref().ok_or_else(misconfigured)?;
        let tells_memory = request.uri().path() == "/health";
        let mut response = graph_routes::handle(&**host, &host.memory, request).await;
        if tells_memory {
            response.headers_mut().insert(MEMORY_HEADER, memory_bytes().into());
        }
        body::respond_from_object(response)
    }

    async fn alarm(&self) -> Result<worker::Response> {
        // None is ever set; one that an older server has left behind finds nothing to do.
        worker::Response::empty()
    }
}

/// The handlers of hibernating sockets. The `worker` crate would make each of them a task of its own, whose promise and
/// microtasks cost as much as a small message itself; nearly all messages need none.
#[wasm_bindgen]
impl SyncDO {
    /// A frame has come in. Gives a promise where something has to be awaited.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub fn web_socket_message(&self, socket: web_sys::WebSocket, message: &JsValue) -> JsValue {
        let Some(host) = &self.host else { return JsValue::UNDEFINED };
        let socket = WebSocket::from(socket);
        let frame = match message.dyn_ref::<JsString>() {
            Some(text) => OwnedFrame::Text(text::to_string(text)),
            None => OwnedFrame::Binary(Uint8Array::new(message).to_vec()),
        };
        if sockets::on_frame_at_once(&**host, &host.memory, &socket, frame.as_frame()) {
            return JsValue::UNDEFINED;
        }
        let host = Rc::clone(host);
        let handled = async move {
            sockets::on_frame(&*host, &host.memory, &socket, frame.as_frame()).await;
            Ok(JsValue::UNDEFINED)
        };
        future_to_promise(AssertUnwindSafe(handled)).into()
    }

    /// A socket goes.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn web_socket_close(&self, socket: web_sys::WebSocket, code: u16, reason: &str) {
        if let Some(host) = &self.host {
            let socket = WebSocket::from(socket);
            sockets::on_close(&**host, &socket, code, reason);
            host.forget(&socket);
        }
    }

    /// A socket broke.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn web_socket_error(&self, socket: web_sys::WebSocket, error: JsValue) {
        if let Some(host) = &self.host {
            let socket = WebSocket::from(socket);
            sockets::on_error(&**host, &host.memory, &socket, &failure::text(error));
            host.forget(&socket);
        }
    }
}

enum OwnedFrame {
    Text(String),
    Binary(Vec<u8>),
}

impl OwnedFrame {
    fn as_frame(&self) -> Frame<'_> {
        match self {
            Self::Text(text) => Frame::Text(text),
            Self::Binary(bytes) => Frame::Binary(bytes),
        }
    }
}

fn misconfigured() -> Error {
    Error::RustError("the graph cannot be served".into())
}

impl GraphHost for Host {
    type Sql = DurableSql;
    type Body = JsBody;
    type Db = D1Index;
    type Socket = WebSocket;

    fn graph(&self) -> &SharedGraph<DurableSql> {
        &self.graph
    }

    fn db(&self) -> Option<Rc<D1Index>> {
        self.env.d1("DB").ok().map(|database| Rc::new(D1Index::new(database)))
    }

    fn accept(
        &self,
        _request: Request<JsBody>,
        user: Option<&PresenceUser>,
    ) -> std::result::Result<Response<JsBody>, Failure> {
        let WebSocketPair { client, server } = WebSocketPair::new().map_err(worker_failure)?;
        self.state.accept_web_socket(&server);
        if let Some(user) = user {
            self.keep(&server, user);
        }
        let response = worker::Response::from_websocket(client).map_err(worker_failure)?;
        body::passed(response.into())
    }

    fn sockets(&self) -> Vec<WebSocket> {
        let mut sockets = self.state.get_websockets();
        sockets.retain(|socket| socket.as_ref().ready_state() == web_sys::WebSocket::OPEN);
        sockets
    }

    fn is_same(&self, one: &WebSocket, other: &WebSocket) -> bool {
        one == other
    }

    fn user(&self, socket: &WebSocket) -> Option<PresenceUser> {
        let known = self.users.borrow().iter().find(|(known, _)| known == socket).map(|(_, user)| user.clone());
        known.unwrap_or_else(|| {
            // An attachment that cannot be read is that of a socket without a user.
            let user = socket.deserialize_attachment::<Attachment>().ok().flatten().and_then(|kept| kept.user);
            self.remember(socket, user.clone());
            user
        })
    }

    fn keep(&self, socket: &WebSocket, user: &PresenceUser) {
        // Refused only above 16 KiB, which the limits on tokens and messages exclude.
        let _ = socket.serialize_attachment(Attachment { user: Some(user.clone()) });
        self.remember(socket, Some(user.clone()));
    }

    fn send(&self, socket: &WebSocket, text: &str) {
        let _ = socket.send_with_str(text);
    }

    fn close(&self, socket: &WebSocket, code: u16, reason: &str) {
        // Fails only when the socket is closed already.
        let _ = socket.close(Some(code), Some(reason));
    }

    async fn exclusively<T: 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
    ) -> std::result::Result<T, Failure> {
        self.state.block_concurrency_while(async { Ok(work.await) }).await.map_err(worker_failure)
    }

    async fn turn(&self) {
        Delay::from(Duration::ZERO).await;
    }

    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn random_uuid(&self) -> Uuid {
        reporter::random_uuid()
    }

    fn report(&self, event: &Event<'_>) {
        if let Some(rest) = reporter::report(self.isolate.sentry.as_ref(), event) {
            self.state.wait_until(rest);
        }
    }
}
