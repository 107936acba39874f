//! The Durable Object that owns a graph. Constructed for the first event after a start, a deploy or a hibernation: all
//! it keeps is read again from its database and from the attachments of its sockets.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use std::time::Duration;

use cloudflare::text::{self, JsText};
use cloudflare::{D1, DurableSql, JsRequest, JsResponse, Sleep, failure, now_ms, thrown_text, worker_failure};
use graph::sockets::OwnedFrame;
use graph::{Graph, Options};
use http::{HeaderValue, Request, Response};
use js_sys::{JsString, Object, Uint8Array, WeakMap};
use protocol::Holder;
use sync_http::graph_routes::{self, GraphHost, GraphState, SharedGraph, Sockets, sockets};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web::{Failure, Hosted};
use worker::{
    DurableObject, Env, Error, Result, State, WebSocket, WebSocketPair, WebSocketRequestResponsePair, web_sys,
};
use worker_macros::durable_object;

use crate::config::{Isolate, isolate};

/// One pull over a WebSocket: the string and the copy that is sent share the isolate's 128 MB with everything else.
const PULL_MESSAGE_BYTES: usize = 64 << 20;

const OPTIONS: Options = Options { pull_message_bytes: PULL_MESSAGE_BYTES, ..Options::DEFAULT };

/// The longest tag that the platform keeps with a socket, in bytes.
const TAG_BYTES: usize = 256;

/// On the health answer of a graph: the size of the isolate's wasm memory, which is also its peak.
const MEMORY_HEADER: &str = "x-wasm-memory-bytes";

/// Beside it: a random id of this object in memory. Another one tells that the graph slept or was started anew in between.
const INSTANCE_HEADER: &str = "x-instance-id";

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
    host: Option<Rc<GraphObject>>,
}

/// The ports of a graph.
struct GraphObject {
    host: cloudflare::Host<State>,
    env: Env,
    graph: SharedGraph<DurableSql>,
    memory: GraphState,
    /// What [`INSTANCE_HEADER`] says.
    instance: HeaderValue,
    /// Numbers of sockets, by the objects that the runtime has for them: it gives the same ones until the graph sleeps.
    numbers: WeakMap,
    next_number: Cell<u32>,
    /// Itself, for what is done later.
    me: Weak<Self>,
}

impl GraphObject {
    fn new(state: State, env: Env, isolate: &Isolate) -> std::result::Result<Rc<Self>, Failure> {
        let sql = DurableSql::new(&state).map_err(|error| Failure(error.to_string()))?;
        let name = state.as_raw().id().map_err(failure)?.name();
        let settings = isolate.service.settings.clone();
        let options = Options { initial_data: settings.initial_data, ..OPTIONS };
        let graph = Rc::new(RefCell::new(Graph::new(sql, now_ms, options)));
        let memory = GraphState::new(settings, name);
        // Within an object the runtime always has random bytes.
        let instance = web::random_uuid().unwrap_or_default().to_string();
        let instance = HeaderValue::try_from(instance).map_err(|error| Failure(error.to_string()))?;
        Ok(Rc::new_cyclic(|me| Self {
            host: cloudflare::Host::new(state, isolate.sentry.clone()),
            env,
            graph,
            memory,
            instance,
            numbers: WeakMap::new(),
            next_number: Cell::new(0),
            me: Weak::clone(me),
        }))
    }
}

impl DurableObject for SyncDO {
    fn new(state: State, env: Env) -> Self {
        // Answered by the runtime: a heartbeat wakes nobody.
        if let Ok(pair) = WebSocketRequestResponsePair::new("ping", "pong") {
            // Without it each heartbeat wakes the graph, and is answered all the same.
            let _ = state.as_raw().set_websocket_auto_response(&pair);
        }
        let host = isolate(&env).ok().and_then(|isolate| match GraphObject::new(state, env, &isolate) {
            Ok(host) => Some(host),
            Err(failure) => {
                worker::console_error!("a graph without storage: {}", failure.0);
                None
            }
        });
        Self { host }
    }

    async fn fetch(&self, request: worker::Request) -> Result<worker::Response> {
        let request = cloudflare::incoming(Clone::clone(request.inner())).ok_or_else(misconfigured)?;
        let host = self.host.as_ref().ok_or_else(misconfigured)?;
        let tells_of_itself = request.uri().path() == "/health";
        let mut response = graph_routes::handle(&**host, &host.memory, request).await;
        if tells_of_itself {
            response.headers_mut().insert(MEMORY_HEADER, memory_bytes().into());
            response.headers_mut().insert(INSTANCE_HEADER, host.instance.clone());
        }
        cloudflare::respond_from_object(response)
    }

    async fn alarm(&self) -> Result<worker::Response> {
        if let Some(host) = &self.host {
            graph_routes::on_rest(&**host, &host.memory).await;
        }
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
            sockets::on_error(&**host, &host.memory, &WebSocket::from(socket), &thrown_text(error));
        }
    }
}

fn misconfigured() -> Error {
    Error::RustError("the graph cannot be served".into())
}

impl Hosted for GraphObject {
    type Host = cloudflare::Host<State>;

    fn host(&self) -> &Self::Host {
        &self.host
    }
}

impl Sockets for GraphObject {
    type Request = JsRequest;
    type Response = JsResponse;
    type Socket = WebSocket;
    type LongText = JsText;

    fn accept(
        &self,
        _request: &mut Request<JsRequest>,
        holder: &Holder,
        graph_id: Option<&str>,
    ) -> std::result::Result<(WebSocket, Response<JsResponse>), Failure> {
        let WebSocketPair { client, server } = WebSocketPair::new().map_err(worker_failure)?;
        // Before it is accepted: a socket of nobody never comes to be.
        self.keep(&server, holder)?;
        // The answer first: what cannot be answered is not accepted.
        let response = cloudflare::switching(client)?;
        let state = self.host.keeper().as_raw();
        match graph_id.filter(|id| !id.is_empty() && id.len() <= TAG_BYTES) {
            Some(id) => state.accept_websocket_with_tags(server.as_ref(), vec![id.into()]),
            None => state.accept_websocket(server.as_ref()),
        }
        .map_err(failure)?;
        Ok((server, cloudflare::passed(response)?))
    }

    fn sockets(&self) -> Vec<WebSocket> {
        // A graph that cannot be told who is there goes on without them: clients catch up by `t`.
        let sockets = self.host.keeper().as_raw().get_websockets().unwrap_or_default();
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
        self.host.keeper().as_raw().get_tags(socket.as_ref()).ok()?.into_iter().next()
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
}

impl GraphHost for GraphObject {
    type Sql = DurableSql;
    type Db = D1;

    fn graph(&self) -> &SharedGraph<DurableSql> {
        &self.graph
    }

    fn db(&self) -> Option<Rc<D1>> {
        self.env.d1("DB").ok().map(|database| Rc::new(D1::new(&database)))
    }

    async fn turn(&self) {
        Sleep::new(Duration::ZERO).await;
    }

    fn wake_after(&self, ms: u32) {
        let me = Weak::clone(&self.me);
        self.host.outlast(async move {
            Sleep::new(Duration::from_millis(ms.into())).await;
            if let Some(host) = me.upgrade() {
                sockets::on_wake(&*host, &host.memory);
            }
        });
    }

    fn rest_after(&self, ms: u32) {
        let (storage, me) = (self.host.keeper().storage(), Weak::clone(&self.me));
        self.host.outlast(async move {
            // The runtime stores it together with what was committed before.
            let set = storage.set_alarm(Duration::from_millis(ms.into())).await;
            if let (Err(error), Some(host)) = (set, me.upgrade()) {
                let event = web::Event::new(web::Level::Error, "db-sync/alarm-not-set");
                web::Host::report(&*host, &event.with_error(&error.to_string()));
            }
        });
    }
}
