//! What the surface remembers between requests, one an isolate or process, and how it is set up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use auth::{AccessCache, Authenticator, ConfigError};
use index::activity::ActivitySeen;
use index::users::UserThrottle;
use web::{Gate, HEARD_OUT_REQUESTS};

use crate::address::{Address, AddressError};
use crate::agents::{Silence, WAITING_REQUESTS};

/// Settings, read once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may come in.
    pub auth: auth::Config,
    /// Under which address clients reach the server.
    pub address: Address,
    /// Whether snapshot streams are compressed.
    pub stream_gzip: bool,
    /// `DB_SYNC_INITIAL_DATA`: whether a graph that nobody uploaded begins with the built-in data (D-49).
    pub initial_data: bool,
    /// What one graph takes.
    pub limits: Limits,
    /// `DB_SYNC_LOCAL_AGENTS=starting`, which whoever serves this worker sets when it knows of an agents worker on this machine
    /// that may not have started yet: then that is waited for.
    pub agents_start_here: bool,
}

/// How much one graph takes (sync.md 7.5).
#[derive(Clone, Debug)]
pub struct Limits {
    /// `DB_SYNC_LIMIT_USER_SOCKETS`: open sockets of one user.
    pub user_sockets: Limit,
    /// `DB_SYNC_LIMIT_GRAPH_SOCKETS`: open sockets of all users.
    pub graph_sockets: Limit,
}

/// A limit that may change while it holds. A clone is the same limit.
#[derive(Clone, Debug)]
pub struct Limit(Arc<AtomicUsize>);

impl Limit {
    /// A limit of this many.
    pub fn new(number: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(number)))
    }

    /// How many.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Another number from now on. What is there already stays.
    pub fn set(&self, number: usize) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// Devices and tabs of one person; a client opens one a tab.
const USER_SOCKETS: usize = 32;

/// Each change is told to all of them in one turn.
const GRAPH_SOCKETS: usize = 500;

/// Settings that cannot be served with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// Those of authentication.
    #[error(transparent)]
    Auth(#[from] ConfigError),
    /// Those of the server's address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A limit is no number that limits anything.
    #[error("{name} must be a whole number above 0, not {value:?}")]
    Limit {
        /// The setting.
        name: &'static str,
        /// What it says.
        value: String,
    },
}

impl Settings {
    /// The settings under their names in the environment.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let gzip = lookup("DB_SYNC_SNAPSHOT_STREAM_GZIP").unwrap_or_default().to_ascii_lowercase();
        let stream_gzip = !matches!(gzip.trim(), "false" | "0" | "off" | "no");
        let limits = Limits {
            user_sockets: Limit::new(limit(&lookup, "DB_SYNC_LIMIT_USER_SOCKETS", USER_SOCKETS)?),
            graph_sockets: Limit::new(limit(&lookup, "DB_SYNC_LIMIT_GRAPH_SOCKETS", GRAPH_SOCKETS)?),
        };
        let address = Address::from_lookup(&lookup)?;
        let initial_data = lookup("DB_SYNC_INITIAL_DATA").is_some_and(|value| value == "true");
        let agents_start_here = lookup("DB_SYNC_LOCAL_AGENTS").is_some_and(|agents| agents == "starting");
        let auth = auth::Config::from_lookup(lookup)?;
        Ok(Self { auth, address, stream_gzip, initial_data, limits, agents_start_here })
    }
}

/// A limit under its name; none or an empty text stands for the default.
fn limit(lookup: impl Fn(&str) -> Option<String>, name: &'static str, default: usize) -> Result<usize, SettingsError> {
    match lookup(name).filter(|value| !value.is_empty()) {
        None => Ok(default),
        Some(value) => match value.trim().parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(SettingsError::Limit { name, value }),
        },
    }
}

/// The front worker's memory. All of it can be lost.
pub struct Service<K> {
    /// The settings.
    pub settings: Settings,
    pub(crate) authenticator: Authenticator<K>,
    pub(crate) access: AccessCache,
    pub(crate) users: UserThrottle,
    pub(crate) activity: ActivitySeen,
    /// Requests that wait for the agents service.
    pub(crate) agents: Gate,
    pub(crate) agents_silence: Silence,
    /// Requests whose refused bodies are taken in.
    pub(crate) heard_out: Gate,
    /// Whether the index was found to have its schema.
    pub(crate) has_schema: AtomicBool,
}

impl<K> Service<K> {
    /// A service that knows nothing yet; `keys` fetches key sets and tells the time.
    pub fn new(settings: Settings, keys: K) -> Self {
        Self {
            authenticator: Authenticator::new(settings.auth.clone(), keys),
            settings,
            access: AccessCache::default(),
            users: UserThrottle::default(),
            activity: ActivitySeen::default(),
            agents: Gate::new(WAITING_REQUESTS),
            agents_silence: Silence::default(),
            heard_out: Gate::new(HEARD_OUT_REQUESTS),
            has_schema: AtomicBool::default(),
        }
    }

    /// Forgets who has access to a graph, after its members changed here. Elsewhere what was found out is good for
    /// another five seconds (sync.md 3.4).
    pub(crate) fn forget_access(&self, graph_id: &str) {
        self.access.forget_graph(graph_id);
    }

    /// Forgets whom tokens have let in, after some of them were revoked, or others vouch for them.
    pub fn forget_tokens(&self) {
        self.authenticator.forget();
        self.access.forget_all();
    }
}

#[cfg(test)]
mod tests {
    use super::{Service, Settings, SettingsError};

    /// Fronts on several threads have one memory between them, and graphs on other threads get the settings.
    #[test]
    fn threads_may_share_it() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Service<()>>();
        is_shared::<Settings>();
    }

    #[test]
    fn limits_are_numbers_above_zero() {
        let limits = |value: Option<&str>| {
            let lookup = |name: &str| (name == "DB_SYNC_LIMIT_USER_SOCKETS").then(|| value.map(str::to_owned))?;
            Settings::from_lookup(lookup).map(|settings| settings.limits.user_sockets.get())
        };
        assert_eq!((limits(None), limits(Some("")), limits(Some("5"))), (Ok(32), Ok(32), Ok(5)));
        for value in ["0", "-1", "many", "1.5", "99999999999999999999999"] {
            assert!(matches!(limits(Some(value)), Err(SettingsError::Limit { .. })), "{value}");
        }
    }

    #[test]
    fn streams_are_compressed_unless_the_setting_says_no() {
        for (value, expected) in [
            (None, true),
            (Some(""), true),
            (Some("true"), true),
            (Some("anything"), true),
            (Some("false"), false),
            (Some("FALSE"), false),
            (Some("0"), false),
            (Some("Off"), false),
            (Some("no"), false),
        ] {
            let lookup = |name: &str| (name == "DB_SYNC_SNAPSHOT_STREAM_GZIP").then(|| value.map(str::to_owned))?;
            assert_eq!(Settings::from_lookup(lookup).unwrap().stream_gzip, expected, "{value:?}");
        }
    }
}
