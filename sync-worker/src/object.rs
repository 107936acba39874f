//! The Durable Object that owns a graph. Constructed for the first event after a start, a deploy or a hibernation: all
//! it keeps is read again from its database and from the attachments of its sockets.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use graph::session::Frame;
use graph::{Graph, Options};
use http::{Request, Response};
use protocol::{Attachment, PresenceUser};
use sync_http::graph_routes::{self, GraphHost, GraphState, SharedGraph, sockets};
use sync_http::platform::Failure;
use sync_http::report::Event;
use uuid::Uuid;
use worker::{
    DurableObject, Env, Error, Result, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    WebSocketRequestResponsePair, durable_object, web_sys,
};

use crate::body::{self, JsBody};
use crate::d1::D1Index;
use crate::environment::{Isolate, isolate};
use crate::failure::worker_failure;
use crate::keys::now_ms;
use crate::reporter;
use crate::sql::DurableSql;

/// One graph: its database, its log and its sockets.
#[durable_object]
pub struct SyncDO {
    /// None when the settings cannot be served with.
    host: Option<Host>,
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
            let graph = Graph::new(DurableSql::new(&state), now_ms, Options::default());
            let memory = GraphState::new(isolate.service.settings.clone(), state.id().name());
            Host { state, env, isolate, graph: Rc::new(RefCell::new(graph)), memory, users: RefCell::default() }
        });
        Self { host }
    }

    async fn fetch(&self, request: worker::Request) -> Result<worker::Response> {
        let request = body::incoming(Clone::clone(request.inner())).ok_or_else(misconfigured)?;
        let host = self.host.as_ref().ok_or_else(misconfigured)?;
        let response = graph_routes::handle(host, &host.memory, request).await;
        Ok(body::respond(response)?.into())
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        let frame = match &message {
            WebSocketIncomingMessage::String(text) => Frame::Text(text),
            WebSocketIncomingMessage::Binary(bytes) => Frame::Binary(bytes),
        };
        sockets::on_frame(host, &host.memory, &socket, frame).await;
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, code: usize, reason: String, _was_clean: bool) -> Result<()> {
        if let Some(host) = &self.host {
            sockets::on_close(host, &socket, u16::try_from(code).unwrap_or_default(), &reason);
            host.forget(&socket);
        }
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, error: Error) -> Result<()> {
        if let Some(host) = &self.host {
            sockets::on_error(host, &host.memory, &socket, &error.to_string());
            host.forget(&socket);
        }
        Ok(())
    }

    async fn alarm(&self) -> Result<worker::Response> {
        // None is ever set; one that an older server has left behind finds nothing to do.
        worker::Response::empty()
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
