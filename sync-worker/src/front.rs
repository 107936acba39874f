//! The ports of the front worker.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response};
use sync_http::platform::{Failure, Platform, Undone};
use sync_http::report::{Event, Level, Trace};
use uuid::Uuid;
use worker::worker_sys::Context as JsContext;
use worker::{Context, Env, Fetcher};

use crate::background::background;
use crate::body::{self, JsBody};
use crate::d1::D1Index;
use crate::environment::Isolate;
use crate::failure::worker_failure;
use crate::keys::{self, HttpKeys};
use crate::r2::R2Assets;
use crate::reporter;
use crate::sleep::Sleep;

/// What one request has of its platform.
pub struct Front {
    env: Env,
    context: Context,
    isolate: Rc<Isolate>,
    db: Option<Rc<D1Index>>,
    assets: Option<R2Assets>,
    agents: Option<Fetcher>,
}

impl Front {
    /// The bindings of a request.
    pub fn new(env: Env, context: Context, isolate: Rc<Isolate>) -> Self {
        let db = env.d1("DB").ok().map(|database| Rc::new(D1Index::new(&database)));
        let assets = env.bucket("LOGSEQ_SYNC_ASSETS").ok().map(R2Assets::new);
        let agents = env.service("AGENTS_SERVICE").ok();
        Self { env, context, isolate, db, assets, agents }
    }

    /// Lets something outlast the request.
    fn outlast(&self, rest: impl Future<Output = ()> + 'static) {
        let context: &JsContext = self.context.as_ref();
        // Fails when the request is over; what was begun goes on as long as the runtime lets it.
        let _ = context.wait_until(&background(rest));
    }
}

impl Platform for Front {
    type Body = JsBody;
    type Db = Rc<D1Index>;
    type Keys = HttpKeys;
    type Assets = R2Assets;

    fn db(&self) -> Option<&Rc<D1Index>> {
        self.db.as_ref()
    }

    fn assets(&self) -> Option<&R2Assets> {
        self.assets.as_ref()
    }

    async fn call_graph(&self, name: &str, request: Request<JsBody>) -> Result<Response<JsBody>, Failure> {
        let graphs = self.env.durable_object("LOGSEQ_SYNC_DO").map_err(worker_failure)?;
        // A fresh stub for every call: one that has failed stays broken.
        let graph = graphs.get_by_name(name).map_err(worker_failure)?;
        let request = body::to_graph(request)?;
        let response = graph.fetch_with_request(request.into()).await.map_err(worker_failure)?;
        body::passed(response.into())
    }

    fn has_agents(&self) -> bool {
        self.agents.is_some()
    }

    async fn call_agents(&self, request: Request<JsBody>) -> Result<Response<JsBody>, Failure> {
        let agents = self.agents.as_ref().ok_or_else(|| Failure("no agents service".into()))?;
        let request = worker::Request::from(body::without_local_headers(body::outgoing(request)?)?);
        let response = agents.fetch_request(request).await.map_err(worker_failure)?;
        body::passed(response.into())
    }

    fn now_ms(&self) -> i64 {
        keys::now_ms()
    }

    async fn sleep_ms(&self, ms: u32) {
        Sleep::new(Duration::from_millis(ms.into())).await;
    }

    fn wait_until(&self, work: impl Future<Output = std::result::Result<(), Undone>> + 'static) {
        let isolate = Rc::clone(&self.isolate);
        self.outlast(async move {
            let Err(Undone { event, failure }) = work.await else { return };
            let event = Event::new(Level::Warning, event).with_error(&failure.0);
            if let Some(rest) = reporter::report(isolate.sentry.as_ref(), &event) {
                rest.await;
            }
        });
    }

    fn random_uuid(&self) -> Uuid {
        reporter::random_uuid()
    }

    fn report(&self, event: &Event<'_>) {
        if let Some(rest) = reporter::report(self.isolate.sentry.as_ref(), event) {
            self.outlast(rest);
        }
    }

    fn trace(&self, trace: &Trace<'_>) {
        if let Some(rest) = reporter::trace(self.isolate.sentry.as_ref(), trace) {
            self.outlast(rest);
        }
    }
}
