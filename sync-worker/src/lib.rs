//! The sync worker on Cloudflare: the front worker here, the Durable Object of a graph in [`graph_object`].
//!
//! Nothing is decided here: both give the ports of `sync-http` what `cloudflare` has for them.

mod config;
pub mod graph_object;

use std::rc::Rc;

use cloudflare::{D1, Host, HttpKeys, JsRequest, JsResponse, ObjectNamespace, R2, Service};
use sync_http::platform::Platform;
use web::Hosted;
use worker::{Context, Env, Result, web_sys};
use worker_macros::event;

/// Front worker: every request enters here (sync.md 2.1).
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> Result<web_sys::Response> {
    let (request, isolate) = match cloudflare::enter(request, config::isolate(&env)) {
        Ok(entered) => entered,
        Err(answer) => return answer,
    };
    let front = Front::new(&env, context, &isolate);
    cloudflare::respond(sync_http::handle(&front, &isolate.service, request).await)
}

/// What one request has of its platform.
struct Front {
    host: Host<Context>,
    db: Option<Rc<D1>>,
    assets: Option<R2>,
    graphs: ObjectNamespace,
    agents: Option<Service>,
}

impl Front {
    /// The bindings of a request.
    fn new(env: &Env, context: Context, isolate: &config::Isolate) -> Self {
        Self {
            host: Host::new(context, isolate.sentry.clone()),
            db: env.d1("DB").ok().map(|database| Rc::new(D1::new(&database))),
            assets: env.bucket("LOGSEQ_SYNC_ASSETS").ok().map(R2::new),
            graphs: ObjectNamespace::new(env, "LOGSEQ_SYNC_DO"),
            agents: env.service("AGENTS_SERVICE").ok().map(Service::new),
        }
    }
}

impl Hosted for Front {
    type Host = Host<Context>;

    fn host(&self) -> &Self::Host {
        &self.host
    }
}

impl Platform for Front {
    type Request = JsRequest;
    type Response = JsResponse;
    type Db = Rc<D1>;
    type Keys = HttpKeys;
    type Assets = R2;
    type Graphs = ObjectNamespace;
    type Agents = Service;

    fn db(&self) -> Option<&Rc<D1>> {
        self.db.as_ref()
    }

    fn assets(&self) -> Option<&R2> {
        self.assets.as_ref()
    }

    fn graphs(&self) -> &ObjectNamespace {
        &self.graphs
    }

    fn agents(&self) -> Option<&Service> {
        self.agents.as_ref()
    }
}
