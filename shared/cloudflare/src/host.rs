//! Time, ids, reports and what outlasts an answer.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use js_sys::{Promise, Reflect};
use uuid::Uuid;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::future_to_promise;
use web::{Event, Level, Sentry, Trace, Undone};
use worker::{Context, Env, State};

use crate::reporter;
use crate::sleep::Sleep;

/// What keeps an instance alive while something goes on.
pub trait KeepAlive {
    /// Keeps it until the promise is settled. Fails when the request or the object is over: what was begun goes on as long as
    /// the runtime lets it.
    fn wait_until(&self, promise: &Promise) -> Result<(), JsValue>;
}

impl KeepAlive for Context {
    fn wait_until(&self, promise: &Promise) -> Result<(), JsValue> {
        // The method of that name of the `worker` crate unwraps what the runtime throws.
        let context: &worker::worker_sys::Context = self.as_ref();
        context.wait_until(promise)
    }
}

impl KeepAlive for State {
    fn wait_until(&self, promise: &Promise) -> Result<(), JsValue> {
        self.as_raw().wait_until(promise)
    }
}

/// The runtime under a request or an object.
pub struct Host<K> {
    keeper: K,
    sentry: Option<Rc<Sentry>>,
}

impl<K: KeepAlive> Host<K> {
    /// The runtime; errors are reported to Sentry where that is configured.
    pub fn new(keeper: K, sentry: Option<Rc<Sentry>>) -> Self {
        Self { keeper, sentry }
    }

    /// What keeps the instance alive: the context of a request, the state of an object.
    pub fn keeper(&self) -> &K {
        &self.keeper
    }

    /// Lets something outlast the request.
    pub fn outlast(&self, rest: impl Future<Output = ()> + 'static) {
        let begun = future_to_promise(AssertUnwindSafe(async {
            rest.await;
            Ok(JsValue::UNDEFINED)
        }));
        // Work that was begun goes on as long as the runtime lets it.
        let _ = self.keeper.wait_until(&begun);
    }
}

impl<K: KeepAlive> web::Host for Host<K> {
    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        Sleep::new(Duration::from_millis(ms.into()))
    }

    fn wait_until(&self, work: impl Future<Output = Result<(), Undone>> + 'static) {
        let sentry = self.sentry.clone();
        self.outlast(async move {
            let Err(Undone { event, failure }) = work.await else { return };
            let event = Event::new(Level::Warning, event).with_error(&failure.0);
            if let Some(rest) = reporter::report(sentry.as_deref(), &event) {
                rest.await;
            }
        });
    }

    fn random_uuid(&self) -> Uuid {
        random_uuid()
    }

    fn report(&self, event: &Event<'_>) {
        if let Some(rest) = reporter::report(self.sentry.as_deref(), event) {
            self.outlast(rest);
        }
    }

    fn trace(&self, trace: &Trace<'_>) {
        if let Some(rest) = reporter::trace(self.sentry.as_deref(), trace) {
            self.outlast(rest);
        }
    }
}

/// A random UUID (version 4). Within a request or an object the runtime always has random bytes; without any the id is nil.
pub(crate) fn random_uuid() -> Uuid {
    web::random_uuid().unwrap_or_default()
}

/// Milliseconds since the epoch.
#[expect(clippy::cast_possible_truncation, reason = "the clock gives whole milliseconds below 2^53")]
pub fn now_ms() -> i64 {
    js_sys::Date::now() as i64
}

/// A variable or secret of a worker. Booleans and numbers of the configuration file count as their texts.
pub fn setting(env: &Env, name: &str) -> Option<String> {
    let value = Reflect::get(env.as_ref(), &JsValue::from_str(name)).ok()?;
    let number = || value.as_f64().map(|number| number.to_string());
    value.as_string().or_else(|| value.as_bool().map(|flag| flag.to_string())).or_else(number)
}
