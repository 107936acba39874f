//! The Durable Object that owns a bridge to a database. All it keeps is read again from its database when it is constructed anew.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use std::future::Future;
use std::rc::Rc;

use cloudflare::{D1, DurableSql, JsRequest, JsResponse, ObjectNamespace, Outside};
use sessions::bridge::{Bridge, Platform};
use web::{Failure, Hosted};
use worker::{DurableObject, Env, Error, Response, Result, State};
use worker_macros::durable_object;

use crate::config::{Isolate, isolate};

/// One bridge: its source, its log and who observes it.
#[durable_object(alarm)]
pub struct PgSyncBridgeDO {
    /// None when the settings cannot be served with.
    bridge: Option<Rc<Bridge<BridgeObject>>>,
}

impl DurableObject for PgSyncBridgeDO {
    fn new(state: State, env: Env) -> Self {
        let bridge = isolate(&env).ok().and_then(|isolate| match BridgeObject::new(state, env, &isolate) {
            Ok(object) => Some(Bridge::new(object, Rc::clone(&isolate.service.settings))),
            Err(failure) => {
                worker::console_error!("a bridge without storage: {}", failure.0);
                None
            }
        });
        Self { bridge }
    }

    async fn fetch(&self, request: worker::Request) -> Result<Response> {
        let bridge = self.bridge.as_ref().ok_or_else(misconfigured)?;
        let request = cloudflare::incoming(Clone::clone(request.inner())).ok_or_else(misconfigured)?;
        cloudflare::respond_from_object(sessions::bridge::handle(bridge, request).await)
    }

    async fn alarm(&self) -> Result<Response> {
        self.bridge.as_ref().ok_or_else(misconfigured)?.alarm();
        Response::empty()
    }
}

fn misconfigured() -> Error {
    Error::RustError("the bridge cannot be served".into())
}

/// The ports of a bridge.
pub struct BridgeObject {
    host: Rc<cloudflare::Host<State>>,
    sql: Rc<DurableSql>,
    env: Env,
}

impl BridgeObject {
    fn new(state: State, env: Env, isolate: &Isolate) -> std::result::Result<Self, Failure> {
        let sql = DurableSql::new(&state).map_err(|error| Failure(error.to_string()))?;
        Ok(Self { host: Rc::new(cloudflare::Host::new(state, isolate.sentry.clone())), sql: Rc::new(sql), env })
    }
}

impl Hosted for BridgeObject {
    type Host = Rc<cloudflare::Host<State>>;

    fn host(&self) -> &Self::Host {
        &self.host
    }
}

impl Platform for BridgeObject {
    type Request = JsRequest;
    type Response = JsResponse;
    type Sql = DurableSql;
    type Db = D1;
    type Fetch = Outside;
    type Sessions = ObjectNamespace;

    fn sql(&self) -> Rc<DurableSql> {
        Rc::clone(&self.sql)
    }

    fn db(&self) -> Option<Rc<D1>> {
        self.env.d1("AGENTS_DB").ok().map(|database| Rc::new(D1::new(&database)))
    }

    fn fetch(&self) -> Rc<Outside> {
        Rc::new(Outside)
    }

    fn sessions(&self) -> Rc<ObjectNamespace> {
        Rc::new(ObjectNamespace::new(&self.env, crate::SESSIONS))
    }

    fn set_alarm(&self, at: i64) {
        crate::alarm::set(&self.host, at);
    }

    fn clear_alarm(&self) {
        crate::alarm::clear(&self.host);
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.host.outlast(work);
    }
}
