//! Settings and what an isolate keeps between requests.

use std::cell::OnceCell;
use std::rc::Rc;

use sync_http::sentry::Sentry;
use sync_http::service::{Service, Settings};
use worker::Env;
use worker::js_sys::Reflect;
use worker::wasm_bindgen::JsValue;

use crate::keys::HttpKeys;

/// One an isolate: the environment of its requests does not change.
pub struct Isolate {
    /// The surface's memory.
    pub service: Service<HttpKeys>,
    /// Where errors are reported, if anywhere.
    pub sentry: Option<Sentry>,
}

thread_local! {
    static ISOLATE: OnceCell<Option<Rc<Isolate>>> = const { OnceCell::new() };
}

/// The isolate's state; none when the settings cannot be served with.
pub fn isolate(env: &Env) -> Option<Rc<Isolate>> {
    ISOLATE.with(|isolate| {
        let opened = isolate.get_or_init(|| match Settings::from_lookup(|name| setting(env, name)) {
            Ok(settings) => {
                if let Some(warning) = settings.auth.warning() {
                    worker::console_warn!("{warning}");
                }
                let sentry = Sentry::from_lookup(|name| setting(env, name));
                Some(Rc::new(Isolate { service: Service::new(settings, HttpKeys), sentry }))
            }
            Err(error) => {
                worker::console_error!("{error}");
                None
            }
        });
        opened.clone()
    })
}

/// A variable or secret. Booleans and numbers of the configuration file count as their texts.
fn setting(env: &Env, name: &str) -> Option<String> {
    let value = Reflect::get(env.as_ref(), &JsValue::from_str(name)).ok()?;
    let number = || value.as_f64().map(|number| number.to_string());
    value.as_string().or_else(|| value.as_bool().map(|flag| flag.to_string())).or_else(number)
}
