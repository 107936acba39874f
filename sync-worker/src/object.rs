//! The Durable Object that owns a graph. Constructed for the first event after a start, a deploy or a hibernation: all
//! it keeps is read again from its database and from the attachments of its sockets.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::time::Duration;

use graph::sockets::OwnedFrame;
use graph::{Graph, Options};
use http::{Request, Response};
use protocol::Holder;
use sync_http::graph_routes::{self, GraphHost, GraphState, SharedGraph, sockets};
use sync_http::platform::Failure;
use sync_http::report::Event;
use uuid::Uuid;
use worker::js_sys::{JsString, Object, Uint8Array, WeakMap};
use worker::wasm_bindgen::prelude::*;
use worker::wasm_bindgen_futures::future_to_promise;
use worker::{
    DurableObject, Env, Error, Result, State, WebSocket, WebSocketPair, WebSocketRequestResponsePair, durable_object,
    web_sys,
};

use crate::background::background;
use crate::bindings::text::{self, JsText};
use crate::body::{self, JsBody};
use crate::d1::D1Index;
use crate::environment::{Isolate, isolate};
use crate::failure::{self, worker_failure};
use crate::keys::now_ms;
use crate::reporter;
use crate::sleep::Sleep;
use crate::sql::DurableSql;

/// One pull over a WebSocket: the string and the copy that is sent share the isolate's 128 MB with everything else.
const PULL_MESSAGE_BYTES: usize = 64 << 20;

const OPTIONS: Options = Options { pull_message_bytes: PULL_MESSAGE_BYTES, ..Options::DEFAULT };

/// The longest tag that the platform keeps with a socket, in bytes.
const TAG_BYTES: usize = 256;

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
    /// Numbers of sockets, by the objects that the runtime has for them: it gives the same ones until the graph sleeps.
    numbers: WeakMap,
    next_number: Cell<u32>,
    /// Itself, for what is done later.
    me: Weak<Self>,
}

impl Host {
    fn new(state: State, env: Env, isolate: Rc<Isolate>) -> std::result::Result<Rc<Self>, Failure> {
        let sql = DurableSql::new(&state).map_err(|error| Failure(error.to_string()))?;
        let name = state.as_raw().id().map_err(failure::failure)?.name();
        let settings = isolate.service.settings.clone();
        let options = Options { initial_data: settings.initial_data, ..OPTIONS };
        let graph = Rc::new(RefCell::new(Graph::new(sql, now_ms, options)));
        let memory = GraphState::new(settings, name);
        Ok(Rc::new_cyclic(|me| Self {
            state,
            env,
            isolate,
            graph,
            memory,
            numbers: WeakMap::new(),
            next_number: Cell::new(0),
            me: Weak::clone(me),
        }))
    }

    /// Lets something outlast the event.
    fn wait_until(&self, rest: impl Future<Output = ()> + 'static) {
        // Fails when the graph is going; what was begun goes on as long as the runtime lets it.
        let _ = self.state.as_raw().wait_until(&background(rest));
    }
}

impl DurableObject for SyncDO {
    fn new(state: State, env: Env) -> Self {
        // Answered by the runtime: a heartbeat wakes nobody.
        if let Ok(pair) = WebSocketRequestResponsePair::new("ping", "pong") {
            // Without it each heartbeat wakes the graph, and is answered all the same.
            let _ = state.as_raw().set_websocket_auto_response(&pair);
        }
        let host = isolate(&env).and_then(|isolate| match Host::new(state, env, isolate) {
            Ok(host) => Some(host),
            Err(failure) => {
                worker::console_error!("a graph without storage: {}", failure.0);
                None
            }
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
        let Err(later) = sockets::on_frame_at_once(&**host, &host.memory, &socket, frame) else {
            return JsValue::UNDEFINED;
        };
        let host = Rc::clone(host);
        let handled = async move {
            sockets::finish(&*host, &host.memory, &socket, later).await;
            Ok(JsValue::UNDEFINED)
        };
        future_to_promise(AssertUnwindSafe(handled)).into()
    }

    /// A socket goes.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn web_socket_close(&self, socket: web_sys::WebSocket, code: u16, reason: &str) {
        if let Some(host) = &self.host {
            sockets::on_close(&**host, &host.memory, &WebSocket::from(socket), code, reason);
        }
    }

    /// A socket broke.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn web_socket_error(&self, socket: web_sys::WebSocket, error: JsValue) {
        if let Some(host) = &self.host {
            sockets::on_error(&**host, &host.memory, &WebSocket::from(socket), &failure::text(error));
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
    type LongText = JsText;

    fn graph(&self) -> &SharedGraph<DurableSql> {
        &self.graph
    }

    fn db(&self) -> Option<Rc<D1Index>> {
        self.env.d1("DB").ok().map(|database| Rc::new(D1Index::new(&database)))
    }

    fn accept(
        &self,
        _request: Request<JsBody>,
        holder: &Holder,
        graph_id: Option<&str>,
    ) -> std::result::Result<(WebSocket, Response<JsBody>), Failure> {
        let WebSocketPair { client, server } = WebSocketPair::new().map_err(worker_failure)?;
        // Before it is accepted: a socket of nobody never comes to be.
        self.keep(&server, holder)?;
        // The answer first: what cannot be answered is not accepted.
        let response = body::switching(client)?;
        let state = self.state.as_raw();
        match graph_id.filter(|id| !id.is_empty() && id.len() <= TAG_BYTES) {
            Some(id) => state.accept_websocket_with_tags(server.as_ref(), vec![id.into()]),
            None => state.accept_websocket(server.as_ref()),
        }
        .map_err(failure::failure)?;
        Ok((server, body::passed(response)?))
    }

    fn sockets(&self) -> Vec<WebSocket> {
        // A graph that cannot be told who is there goes on without them: clients catch up by `t`.
        let sockets = self.state.as_raw().get_websockets().unwrap_or_default();
        let open = sockets.into_iter().filter(|socket| socket.ready_state() == web_sys::WebSocket::OPEN);
        open.map(WebSocket::from).collect()
    }

    fn id(&self, socket: &WebSocket) -> u64 {
        let key: &Object = socket.as_ref().unchecked_ref();
        if let Some(number) = self.numbers.get(key).as_f64() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number made below")]
            return number as u64;
        }
        let number = self.next_number.get();
        self.next_number.set(number.wrapping_add(1));
        self.numbers.set(key, &number.into());
        number.into()
    }

    fn holder(&self, socket: &WebSocket) -> Option<Holder> {
        socket.deserialize_attachment::<Holder>().ok().flatten()
    }

    fn graph_id(&self, socket: &WebSocket) -> Option<String> {
        self.state.as_raw().get_tags(socket.as_ref()).ok()?.into_iter().next()
    }

    fn keep(&self, socket: &WebSocket, holder: &Holder) -> std::result::Result<(), Failure> {
        socket.serialize_attachment(holder).map_err(worker_failure)
    }

    fn send(&self, socket: &WebSocket, text: &str) {
        let _ = socket.send_with_str(text);
    }

    fn append(&self, text: &mut JsText, piece: &str) {
        text.push(piece);
    }

    fn send_long(&self, socket: &WebSocket, text: JsText) {
        text::send(socket.as_ref(), &text);
    }

    fn close(&self, socket: &WebSocket, code: u16, reason: &str) {
        // Fails only when the socket is closed already.
        let _ = socket.close(Some(code), Some(reason));
    }

    async fn turn(&self) {
        Sleep::new(Duration::ZERO).await;
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        Sleep::new(Duration::from_millis(ms.into()))
    }

    fn wake_after(&self, ms: u32) {
        let me = Weak::clone(&self.me);
        self.wait_until(async move {
            Sleep::new(Duration::from_millis(ms.into())).await;
            if let Some(host) = me.upgrade() {
                sockets::on_wake(&*host, &host.memory);
            }
        });
    }

    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn random_uuid(&self) -> Uuid {
        reporter::random_uuid()
    }

    fn report(&self, event: &Event<'_>) {
        if let Some(rest) = reporter::report(self.isolate.sentry.as_ref(), event) {
            self.wait_until(rest);
        }
    }
}
