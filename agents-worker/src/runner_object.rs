//! The Durable Object of a runner that calls us. All it keeps is read again from its database when it is constructed anew.

#![expect(missing_docs, reason = "the attribute of Durable Objects generates undocumented methods")]

use std::future::Future;
use std::rc::Rc;

use cloudflare::{D1, DurableSql, JsRequest, JsResponse, ObjectNamespace};
use sessions::runner_object::{Platform, RunnerObject};
use web::{Failure, Hosted};
use worker::{DurableObject, Env, Error, Response, Result, State};
use worker_macros::durable_object;

use crate::alarm::set as set_alarm;
use crate::config::isolate;

/// One runner: its tokens, which of its processes counts, and its request that waits for work.
#[durable_object(alarm)]
pub struct AgentRunnerDO {
    /// None when the settings cannot be served with.
    runner: Option<Rc<RunnerObject<RunnerPorts>>>,
}

impl DurableObject for AgentRunnerDO {
    fn new(state: State, env: Env) -> Self {
        let runner =
            isolate(&env).ok().and_then(|isolate| match RunnerPorts::new(state, env, isolate.sentry.clone()) {
                Ok(ports) => Some(RunnerObject::new(ports, Rc::clone(&isolate.service.settings))),
                Err(failure) => {
                    worker::console_error!("a runner without storage: {}", failure.0);
                    None
                }
            });
        Self { runner }
    }

    async fn fetch(&self, request: worker::Request) -> Result<Response> {
        let runner = self.runner.as_ref().ok_or_else(misconfigured)?;
        let request = cloudflare::incoming(Clone::clone(request.inner())).ok_or_else(misconfigured)?;
        cloudflare::respond_from_object(sessions::runner_object::handle(runner, request).await)
    }

    async fn alarm(&self) -> Result<Response> {
        let runner = self.runner.as_ref().ok_or_else(misconfigured)?;
        // A failure lets the runtime set the alarm again, later and later.
        runner.alarm().map_err(|error| Error::RustError(error.to_string()))?;
        Response::empty()
    }
}

fn misconfigured() -> Error {
    Error::RustError("the runner cannot be served".into())
}

/// The ports of a runner.
pub struct RunnerPorts {
    host: Rc<cloudflare::Host<State>>,
    sql: DurableSql,
    env: Env,
    sessions: Rc<ObjectNamespace>,
}

impl RunnerPorts {
    fn new(state: State, env: Env, sentry: Option<Rc<web::Sentry>>) -> std::result::Result<Self, Failure> {
        let sql = DurableSql::new(&state).map_err(|error| Failure(error.to_string()))?;
        let sessions = Rc::new(ObjectNamespace::new(&env, crate::SESSIONS));
        Ok(Self { host: Rc::new(cloudflare::Host::new(state, sentry)), sql, env, sessions })
    }
}

impl Hosted for RunnerPorts {
    type Host = Rc<cloudflare::Host<State>>;

    fn host(&self) -> &Self::Host {
        &self.host
    }
}

impl Platform for RunnerPorts {
    type Request = JsRequest;
    type Response = JsResponse;
    type Sql = DurableSql;
    type Db = D1;
    type Sessions = ObjectNamespace;

    fn sql(&self) -> &DurableSql {
        &self.sql
    }

    fn db(&self) -> Option<Rc<D1>> {
        self.env.d1("AGENTS_DB").ok().map(|database| Rc::new(D1::new(&database)))
    }

    fn sessions(&self) -> Rc<ObjectNamespace> {
        Rc::clone(&self.sessions)
    }

    fn set_alarm(&self, at: i64) {
        set_alarm(&self.host, at);
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        self.host.outlast(work);
    }
}
