//! Settings, and what an isolate keeps between requests.

use std::cell::OnceCell;
use std::rc::Rc;

use cloudflare::{HttpKeys, setting};
use sessions::front::Service;
use sessions::github::TokenCache;
use sessions::settings::{Settings, SettingsError};
use web::Sentry;
use worker::Env;

/// The service by its name in reports.
const SERVICE: &str = "logseq-agents";

/// One an isolate: the environment of its requests does not change.
pub(crate) struct Isolate {
    /// The front worker's memory, with the settings.
    pub(crate) service: Service<HttpKeys>,
    /// The settings of runtimes.
    pub(crate) runtime: Rc<sessions::settings::RuntimeSettings>,
    /// Tokens for repositories.
    pub(crate) tokens: Rc<TokenCache>,
    /// Where errors are reported, if anywhere.
    pub(crate) sentry: Option<Rc<Sentry>>,
}

thread_local! {
    static ISOLATE: OnceCell<Result<Rc<Isolate>, SettingsError>> = const { OnceCell::new() };
}

/// The isolate's state, or why the settings cannot be served with.
pub(crate) fn isolate(env: &Env) -> Result<Rc<Isolate>, SettingsError> {
    ISOLATE.with(|isolate| isolate.get_or_init(|| open(env)).clone())
}

fn open(env: &Env) -> Result<Rc<Isolate>, SettingsError> {
    let settings =
        Settings::from_lookup(|name| setting(env, name)).inspect_err(|error| worker::console_error!("{error}"))?;
    if let Some(warning) = settings.auth.warning() {
        worker::console_warn!("{warning}");
    }
    let sentry = Sentry::from_lookup(SERVICE, |name| setting(env, name)).map(Rc::new);
    let runtime = Rc::new(settings.runtime.clone());
    Ok(Rc::new(Isolate { service: Service::new(Rc::new(settings), HttpKeys), runtime, tokens: Rc::default(), sentry }))
}
