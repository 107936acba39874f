//! What the surface remembers between requests, one an isolate or process, and how it is set up.

use auth::{AccessCache, Authenticator, ConfigError};
use index::activity::ActivitySeen;
use index::users::UserThrottle;

use crate::agents::WAITING_REQUESTS;
use crate::body::HEARD_OUT_REQUESTS;
use crate::gate::Gate;

/// Settings, read once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may come in.
    pub auth: auth::Config,
    /// Whether snapshot streams are compressed.
    pub stream_gzip: bool,
}

impl Settings {
    /// The settings under their names in the environment.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let gzip = lookup("DB_SYNC_SNAPSHOT_STREAM_GZIP").unwrap_or_default().to_ascii_lowercase();
        let stream_gzip = !matches!(gzip.trim(), "false" | "0" | "off" | "no");
        Ok(Self { auth: auth::Config::from_lookup(lookup)?, stream_gzip })
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
    /// Requests whose refused bodies are taken in.
    pub(crate) heard_out: Gate,
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
            heard_out: Gate::new(HEARD_OUT_REQUESTS),
        }
    }

    /// Forgets who has access to a graph, after its members changed here. Elsewhere what was found out is good for
    /// another five seconds (sync.md 3.4).
    pub(crate) fn forget_access(&self, graph_id: &str) {
        self.access.forget_graph(graph_id);
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

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
