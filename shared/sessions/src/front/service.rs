//! What the front worker remembers between requests, one an isolate or process.

use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use auth::Authenticator;
use web::{Gate, HEARD_OUT_REQUESTS};

use super::overview::Shown;
use super::rates::Rates;
use crate::observer::Observers;
use crate::settings::Settings;

/// The front worker's memory. All of it can be lost.
pub struct Service<K> {
    /// The settings.
    pub settings: Rc<Settings>,
    pub(super) authenticator: Authenticator<K>,
    pub(super) rates: Rates,
    /// Whoever makes and reads observer tokens; none where there is no key.
    pub(super) observers: Option<Observers>,
    /// Known senders whose refused bodies are heard out.
    pub(super) heard_out: Gate,
    /// Whether the database was found to have its tables.
    pub(super) has_schema: AtomicBool,
    /// What operators were shown last.
    pub(super) overview: Shown,
}

impl<K> Service<K> {
    /// A service that knows nothing yet; `keys` fetches key sets and tells the time.
    pub fn new(settings: Rc<Settings>, keys: K) -> Self {
        Self {
            authenticator: Authenticator::new(settings.auth.clone(), keys),
            rates: Rates::default(),
            observers: Observers::new(&settings.seal()).ok(),
            heard_out: Gate::new(HEARD_OUT_REQUESTS),
            has_schema: AtomicBool::default(),
            overview: Shown::default(),
            settings,
        }
    }
}
