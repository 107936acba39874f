//! Settings and what an isolate keeps between requests.

use std::cell::OnceCell;
use std::rc::Rc;

use cloudflare::{HttpKeys, setting};
use sync_http::service::{Service, Settings, SettingsError};
use web::Sentry;
use worker::Env;

/// The service by its name in reports.
const SERVICE: &str = "logseq-sync";

/// One an isolate: the environment of its requests does not change.
pub(crate) struct Isolate {
    /// The surface's memory.
    pub(crate) service: Service<HttpKeys>,
    /// Where errors are reported, if anywhere.
    pub(crate) sentry: Option<Rc<Sentry>>,
}

thread_local! {
    static ISOLATE: OnceCell<Result<Rc<Isolate>, SettingsError>> = const { OnceCell::new() };
}

/// The isolate's state, or why the settings cannot be served with.
pub(crate) fn isolate(env: &Env) -> Result<Rc<Isolate>, SettingsError> {
    ISOLATE.with(|isolate| {
        let opened = isolate.get_or_init(|| match Settings::from_lookup(|name| setting(env, name)) {
            Ok(settings) => {
                if let Some(warning) = settings.auth.warning() {
                    worker::console_warn!("{warning}");
                }
                let sentry = Sentry::from_lookup(SERVICE, |name| setting(env, name)).map(Rc::new);
                Ok(Rc::new(Isolate { service: Service::new(settings, HttpKeys), sentry }))
            }
            Err(error) => {
                worker::console_error!("{error}");
                Err(error)
            }
        });
        opened.clone()
    })
}
