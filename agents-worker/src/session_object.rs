//! The Durable Object that owns a session. All it keeps is read again from its database when it is constructed anew.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use std::future::Future;
use std::rc::Rc;

use cloudflare::{
    Counters, D1, DurableSql, Heard, HeldSocket, JsRequest, JsResponse, ObjectNamespace, Outside, R2, Rs256,
};
use http::Request;
use sessions::github::{Sign, TokenCache};
use sessions::object::{Inbox, MAX_FRAME_BYTES, Platform, Session, Socket};
use sessions::runtime::{AnyProvider, ProviderKind};
use sessions::session::Transition;
use web::{Failure, Hosted};
use worker::{DurableObject, Env, Error, Response, Result, State};
use worker_macros::durable_object;

use crate::config::{Isolate, isolate};

/// Where transitions are counted, if the operator has bound a dataset.
const COUNTERS: &str = "AGENT_METRICS";

/// On the status of a session: the size of the isolate's wasm memory, which is also its peak.
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

/// One session: its state, its events and who watches it.
#[durable_object(alarm)]
pub struct AgentSessionDO {
    /// None when the settings cannot be served with.
    session: Option<Rc<Session<SessionObject>>>,
}

impl DurableObject for AgentSessionDO {
    fn new(state: State, env: Env) -> Self {
        let session = isolate(&env).ok().and_then(|isolate| match SessionObject::new(state, env, &isolate) {
            Ok(object) => Some(Session::new(object, Rc::clone(&isolate.service.settings))),
            Err(failure) => {
                worker::console_error!("a session without storage: {}", failure.0);
                None
            }
        });
        Self { session }
    }

    async fn fetch(&self, request: worker::Request) -> Result<Response> {
        let session = self.session.as_ref().ok_or_else(misconfigured)?;
        let request = cloudflare::incoming(Clone::clone(request.inner())).ok_or_else(misconfigured)?;
        let tells_of_itself = request.uri().path().ends_with("/status");
        let mut response = sessions::object::handle(session, request).await;
        if tells_of_itself {
            response.headers_mut().insert(MEMORY_HEADER, memory_bytes().into());
        }
        cloudflare::respond_from_object(response)
    }

    async fn alarm(&self) -> Result<Response> {
        let session = self.session.as_ref().ok_or_else(misconfigured)?;
        // A failure lets the runtime set the alarm again, later and later.
        session.alarm().map_err(|error| Error::RustError(error.to_string()))?;
        Response::empty()
    }
}

fn misconfigured() -> Error {
    Error::RustError("the session cannot be served".into())
}

/// The ports of a session.
pub struct SessionObject {
    host: Rc<cloudflare::Host<State>>,
    sql: DurableSql,
    env: Env,
    runtime: Rc<sessions::settings::RuntimeSettings>,
    tokens: Rc<TokenCache>,
}

impl SessionObject {
    fn new(state: State, env: Env, isolate: &Isolate) -> std::result::Result<Self, Failure> {
        let sql = DurableSql::new(&state).map_err(|error| Failure(error.to_string()))?;
        Ok(Self {
            host: Rc::new(cloudflare::Host::new(state, isolate.sentry.clone())),
            sql,
            env,
            runtime: Rc::clone(&isolate.runtime),
            tokens: Rc::clone(&isolate.tokens),
        })
    }
}

impl Hosted for SessionObject {
    type Host = Rc<cloudflare::Host<State>>;

    fn host(&self) -> &Self::Host {
        &self.host
    }
}

/// Signatures with the App's key.
pub struct AppKey;

impl Sign for AppKey {
    async fn rs256(&self, pkcs8_der: &[u8], input: &[u8]) -> std::result::Result<Vec<u8>, Failure> {
        Rs256.rs256(pkcs8_der, input).await
    }
}

/// The socket of a viewer of a terminal.
pub struct Viewer(HeldSocket);

impl Socket for Viewer {
    fn text(&self, text: &str) {
        self.0.text(text);
    }

    fn bytes(&self, bytes: &[u8]) {
        self.0.bytes(bytes);
    }

    fn close(&self, code: u16, reason: &str) {
        self.0.close(code, reason);
    }
}

impl Platform for SessionObject {
    type Request = JsRequest;
    type Response = JsResponse;
    type Sql = DurableSql;
    type Db = D1;
    type Blobs = R2;
    type Fetch = Outside;
    type Sign = AppKey;
    type Runtimes = AnyProvider<Outside, Rc<cloudflare::Host<State>>>;
    type Runners = ObjectNamespace;
    type Socket = Viewer;
    type Bridges = ObjectNamespace;

    fn sql(&self) -> &DurableSql {
        &self.sql
    }

    fn db(&self) -> Option<Rc<D1>> {
        self.env.d1("AGENTS_DB").ok().map(|database| Rc::new(D1::new(&database)))
    }

    fn blobs(&self) -> Option<Rc<R2>> {
        self.env.bucket(crate::BUCKET).ok().map(|bucket| Rc::new(R2::new(bucket)))
    }

    fn bridges(&self) -> Option<Rc<ObjectNamespace>> {
        ObjectNamespace::bound(&self.env, crate::BRIDGES).map(Rc::new)
    }

    fn runners(&self) -> Option<Rc<ObjectNamespace>> {
        ObjectNamespace::bound(&self.env, crate::RUNNERS).map(Rc::new)
    }

    fn fetch(&self) -> Rc<Outside> {
        Rc::new(Outside)
    }

    fn sign(&self) -> Rc<AppKey> {
        Rc::new(AppKey)
    }

    fn tokens(&self) -> Rc<TokenCache> {
        Rc::clone(&self.tokens)
    }

    fn runtimes(&self, kind: ProviderKind) -> Rc<Self::Runtimes> {
        Rc::new(AnyProvider::of(kind, Rc::clone(&self.runtime), Outside, Rc::clone(&self.host)))
    }

    fn accept(
        &self,
        _request: &mut Request<JsRequest>,
        inbox: Rc<Inbox>,
    ) -> std::result::Result<(Viewer, http::Response<JsResponse>), Failure> {
        let limit = u32::try_from(MAX_FRAME_BYTES).unwrap_or(u32::MAX);
        let (socket, response) = HeldSocket::accept(limit, move |heard| match heard {
            Heard::Text(text) => inbox.text(text),
            Heard::Bytes(bytes) => inbox.bytes(bytes),
            Heard::TooLarge => inbox.too_large(),
            Heard::Gone => inbox.gone(),
        })?;
        Ok((Viewer(socket), response))
    }

    fn set_alarm(&self, at: i64) {
        crate::alarm::set(&self.host, at);
    }

    fn count(&self, transition: &Transition) {
        if let Some(counters) = Counters::bound(&self.env, COUNTERS) {
            let Transition { to, from, provider, cause, duration_ms, .. } = transition;
            counters.count([to, from, provider.unwrap_or_default(), cause], *duration_ms);
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.host.outlast(work);
    }
}
