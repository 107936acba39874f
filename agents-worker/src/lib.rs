//! The agents worker on Cloudflare: the front worker here, the Durable Objects of a session in [`session_object`], of a runner that calls
//! us in [`runner_object`], and of a bridge to a database in [`bridge_object`].
//!
//! Nothing is decided here: both give the ports of `sessions` what `cloudflare` has for them.

mod alarm;
pub mod bridge_object;
mod config;
pub mod runner_object;
pub mod session_object;

use std::rc::Rc;

use cloudflare::{D1, Host, HttpKeys, JsRequest, JsResponse, KeepAlive, ObjectNamespace, Outside, R2};
use js_sys::Promise;
use sessions::front::{self, Platform};
use sessions::runtime::E2bSandboxes;
use wasm_bindgen::JsValue;
use web::Hosted;
use worker::{Context, Env, Result, ScheduleContext, ScheduledEvent, web_sys};
use worker_macros::event;

/// The objects of sessions.
pub(crate) const SESSIONS: &str = "LOGSEQ_AGENT_SESSION_DO";
/// The objects of runners that call us.
pub(crate) const RUNNERS: &str = "LOGSEQ_AGENT_RUNNER_DO";
/// The bucket of transcripts.
pub(crate) const BUCKET: &str = "BACKUP_BUCKET";
/// The objects of bridges to databases.
pub(crate) const BRIDGES: &str = "LOGSEQ_PG_SYNC_DO";
/// When bridges are looked after (wrangler.agents.toml); all other times are for cleaning up.
const BRIDGES_CRON: &str = "*/15 * * * *";

/// Front worker: every request enters here (agents.md 2.1).
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> Result<web_sys::Response> {
    let (request, isolate) = match cloudflare::enter(request, config::isolate(&env)) {
        Ok(entered) => entered,
        Err(answer) => return answer,
    };
    let front = Front::new(&env, context, &isolate);
    cloudflare::respond(front::handle(&front, &isolate.service, request).await)
}

/// Clean-up by the clock (agents.md 16).
#[event(scheduled)]
async fn scheduled(event: ScheduledEvent, env: Env, context: ScheduleContext) {
    // Wrong settings are told by every request.
    if let Ok(isolate) = config::isolate(&env) {
        let front = Front::new(&env, Clock(context), &isolate);
        if event.cron() == BRIDGES_CRON {
            front::look_after_bridges(&front).await;
            return;
        }
        front::scheduled(&front, &isolate.service).await;
        if let Ok(bucket) = env.bucket(BUCKET) {
            front::sweep_transcripts(&front, &isolate.service, &R2::new(bucket)).await;
        }
        let host = Rc::clone(&front.host);
        let sandboxes = E2bSandboxes::new(Rc::clone(&isolate.runtime), Outside, host);
        front::reconcile(&front, &isolate.service, &sandboxes).await;
    }
}

/// The context of a scheduled event.
struct Clock(ScheduleContext);

impl KeepAlive for Clock {
    fn wait_until(&self, promise: &Promise) -> std::result::Result<(), JsValue> {
        let promise = promise.clone();
        self.0.wait_until(async move {
            // Whatever becomes of it is reported by whoever began it.
            let _ = wasm_bindgen_futures::JsFuture::from(promise).await;
        });
        Ok(())
    }
}

/// What one request has of its platform.
struct Front<K> {
    host: Rc<Host<K>>,
    db: Option<D1>,
    objects: ObjectNamespace,
    bridges: Option<ObjectNamespace>,
    runners: Option<ObjectNamespace>,
}

impl<K: KeepAlive> Front<K> {
    /// The bindings of a request.
    fn new(env: &Env, context: K, isolate: &config::Isolate) -> Self {
        Self {
            host: Rc::new(Host::new(context, isolate.sentry.clone())),
            db: env.d1("AGENTS_DB").ok().map(|database| D1::new(&database)),
            objects: ObjectNamespace::new(env, SESSIONS),
            bridges: ObjectNamespace::bound(env, BRIDGES),
            runners: ObjectNamespace::bound(env, RUNNERS),
        }
    }
}

impl<K: KeepAlive> Hosted for Front<K> {
    type Host = Rc<Host<K>>;

    fn host(&self) -> &Self::Host {
        &self.host
    }
}

impl<K: KeepAlive> Platform for Front<K> {
    type Request = JsRequest;
    type Response = JsResponse;
    type Db = D1;
    type Keys = HttpKeys;
    type Objects = ObjectNamespace;
    type Runners = ObjectNamespace;
    type Fetch = Outside;

    fn db(&self) -> Option<&D1> {
        self.db.as_ref()
    }

    fn objects(&self) -> &ObjectNamespace {
        &self.objects
    }

    fn bridges(&self) -> Option<&ObjectNamespace> {
        self.bridges.as_ref()
    }

    fn runners(&self) -> Option<&ObjectNamespace> {
        self.runners.as_ref()
    }

    fn fetch(&self) -> &Outside {
        &Outside
    }
}
