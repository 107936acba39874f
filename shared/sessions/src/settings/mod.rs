//! The settings of the agents service (agents.md 15), read once. A blank value counts as unset.

mod follow_up;
mod lookup;
mod pg_sync;
mod read;
#[cfg(test)]
mod tests;
mod transcripts;

pub use self::follow_up::FollowUpSettings;
pub use self::pg_sync::{ConfiguredConnection, POLL_MS, PgSyncSettings};
pub use self::transcripts::TranscriptSettings;
pub use lookup::SettingsError;

use crate::command::VersionChannel;
use crate::egress::Rule;
use crate::legacy::ApiSetting;
use crate::publish::ProtectedBranches;
use crate::runtime::ProviderKind;
use crate::secrets::Seal;
use crate::session::budget::Budget;

/// All settings but those of reporting, which have a reader of their own.
#[derive(Clone)]
pub struct Settings {
    /// Who may come in.
    pub auth: auth::Config,
    /// `PUBLIC_BASE_URL`, else `DB_SYNC_BASE_URL`: where clients reach the service; none for the address of the request.
    pub base_url: Option<String>,
    /// `AGENT_ACCESS_MODE=strict`.
    pub strict_access: bool,
    /// `AGENT_RATE_LIMITS` is not `off`.
    pub rate_limits: bool,
    /// `MANAGED_AUTH_KEY`, 32 bytes.
    pub secrets_key: Option<[u8; 32]>,
    /// `OPENAI_OAUTH_CLIENT_ID`.
    pub oauth_client_id: Option<String>,
    /// `MANAGED_AUTH_SHARE_REFRESH` is not `0`.
    pub share_refresh_token: bool,
    /// How sessions go on.
    pub session: SessionSettings,
    /// GitHub.
    pub github: GitHubSettings,
    /// Runtimes.
    pub runtime: RuntimeSettings,
    /// Transcripts.
    pub transcripts: TranscriptSettings,
    /// The pull-request loop.
    pub follow_up: FollowUpSettings,
    /// The observation of databases.
    pub pg_sync: PgSyncSettings,
}

impl Settings {
    /// What credentials are sealed with (agents.md 12.6).
    pub fn seal(&self) -> Seal {
        let allows_clear = !matches!(self.auth.driver, auth::Driver::Cognito(_));
        Seal { key: self.secrets_key, allows_clear }
    }
}

/// How one session goes on. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// `AGENT_IDLE_TIMEOUT_MS`.
    pub idle_timeout_ms: i64,
    /// `AGENT_SNAPSHOT_ON_STOP=1`.
    pub snapshot_on_stop: bool,
    /// `AGENT_PUSH_TO_BASE=1`.
    pub push_to_base: bool,
    /// `AGENT_CHAT_PUBLISH` is not `0`.
    pub chat_publish: bool,
    /// `AGENT_PROTECTED_BRANCHES`.
    pub protected_branches: ProtectedBranches,
    /// `AGENT_EVENTS_MAX_ROWS`.
    pub max_event_rows: u64,
    /// `AGENT_EVENTS_MAX_BYTES`.
    pub max_events_bytes: u64,
    /// `AGENT_EVENT_MAX_BYTES`.
    pub max_event_bytes: usize,
    /// `AGENT_MAX_ORDERS`.
    pub max_orders: usize,
    /// `AGENT_MAX_ACTIVE_SESSIONS`.
    pub max_active_sessions: usize,
    /// `AGENT_BUNDLE_MAX_BYTES`: a bundle of what was not pushed, at most.
    pub max_bundle_bytes: usize,
    /// `AGENT_PROMPT_POST_MS`.
    pub prompt_post_ms: i64,
    /// `AGENT_TURN_SILENCE_MS`.
    pub turn_silence_ms: i64,
    /// `AGENT_STOP_GRACE_MS`.
    pub stop_grace_ms: i64,
    /// `AGENT_APPROVAL_TIMEOUT_MS`.
    pub approval_timeout_ms: i64,
    /// `AGENT_BUDGET_SESSION`: what a session may use for which its creator sets no limits.
    pub budget_session: Budget,
    /// `AGENT_BUDGET_USER_DAY`: what the sessions of one creator may use on a day (UTC).
    pub budget_user_day: Budget,
    /// `AGENT_ORDER_TTL_MS`: how long a prompt waits for a runner that calls us (session-mailbox.md 7.4).
    pub order_ttl_ms: i64,
    /// `AGENT_RUNNER_OFFLINE_TURN_MS`: how long a turn outlives the silence of such a runner (session-mailbox.md 7.8).
    pub runner_offline_turn_ms: i64,
    /// `AGENT_RUNNER_OPEN_WAIT_MS`: how long a creation waits for such a runner to open the session (session-mailbox.md 7.7).
    pub runner_open_wait_ms: i64,
    /// What all deadlines of agents.md 3.14 are divided by: 1, and more in builds for tests only.
    pub deadline_divisor: i64,
}

/// GitHub (agents.md 9).
#[derive(Clone)]
pub struct GitHubSettings {
    /// `GITHUB_APP_ID`.
    pub app_id: Option<String>,
    /// `GITHUB_APP_PRIVATE_KEY`, as it is set.
    pub private_key: Option<String>,
    /// `GITHUB_APP_INSTALLATION_ID`.
    pub installation_id: Option<i64>,
    /// `GITHUB_APP_SLUG`, else `GITHUB_APP_NAME`.
    pub slug: Option<String>,
    /// `GITHUB_API_BASE`, without a slash at its end.
    pub api_base: String,
    /// `GITHUB_USER_AGENT`.
    pub user_agent: String,
    /// `AGENT_GIT_CREDENTIALS=broker`: no token for GitHub lies in a sandbox; git asks for one (agents.md 20.6).
    pub is_brokered: bool,
}

impl GitHubSettings {
    /// Whether an App is configured at all. Without one the check of installations is left out (agents.md 14.2).
    pub fn is_configured(&self) -> bool {
        self.app_id.is_some() || self.private_key.is_some()
    }
}

/// Which API of E2B is spoken (agents.md 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum E2bApi {
    /// The older one.
    V1,
    /// The newer one.
    V2,
    /// The newer one, and the older where it is unknown.
    Auto,
}

/// Runtimes (agents.md 5, 6).
#[derive(Clone)]
pub struct RuntimeSettings {
    /// `AGENT_RUNTIME_PROVIDER`; unknown names are as none.
    pub provider: Option<ProviderKind>,
    /// `AGENT_ENVIRONMENT`.
    pub environment: Option<String>,
    /// `AGENT_SANDBOX_TTL_DAYS`.
    pub sandbox_ttl_days: i64,
    /// `E2B_API_KEY`.
    pub e2b_api_key: Option<String>,
    /// `E2B_DOMAIN`.
    pub e2b_domain: String,
    /// `E2B_API_VERSION`.
    pub e2b_api: E2bApi,
    /// `E2B_TEMPLATE`.
    pub e2b_template: Option<String>,
    /// `E2B_REPO_CLONE_COMMAND`.
    pub e2b_clone_command: Option<String>,
    /// `E2B_SANDBOX_AGENT_PORT`.
    pub e2b_agent_port: u16,
    /// `E2B_SANDBOX_TIMEOUT_MS`.
    pub e2b_timeout_ms: i64,
    /// `E2B_HEALTH_RETRIES`.
    pub e2b_health_retries: u32,
    /// `E2B_HEALTH_INTERVAL_MS`.
    pub e2b_health_interval_ms: u32,
    /// `SANDBOX_AGENT_TOKEN`.
    pub agent_token: Option<String>,
    /// `SANDBOX_AGENT_VERSION`.
    pub agent_version: VersionChannel,
    /// `SANDBOX_AGENT_URL`.
    pub agent_url: String,
    /// `SANDBOX_AGENT_API`.
    pub agent_api: ApiSetting,
    /// `LOCAL_RUNNER_HEARTBEAT_TTL_MS`, at least 1000.
    pub runner_ttl_ms: i64,
    /// `RUNNER_MAILBOX` is not `off`: runners may call us (session-mailbox.md 7.2).
    pub runner_mailbox: bool,
    /// `LOCAL_RUNNER_FALLBACK=e2b`.
    pub runner_fallback_e2b: bool,
    /// `AGENT_EGRESS_ALLOW`: what sandboxes may talk to; none where they may talk to anyone (agents.md 20.7).
    pub egress: Option<Vec<Rule>>,
    /// `LOCAL_RUNNER_ALLOW_PRIVATE=1`.
    pub runner_allow_private: bool,
    /// `OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, `OPENAI_BASE_URL`, `ANTHROPIC_BASE_URL`, as far as they are set.
    pub model_variables: Vec<(&'static str, String)>,
}
