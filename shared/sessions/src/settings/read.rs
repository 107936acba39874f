//! All settings with their defaults (agents.md 15).

use super::lookup::{Lookup, SettingsError};
use super::{E2bApi, GitHubSettings, RuntimeSettings, SessionSettings, Settings};
use crate::command::VersionChannel;
use crate::egress::{self, Rule};
use crate::legacy::ApiSetting;
use crate::publish::ProtectedBranches;
use crate::runtime::ProviderKind;

/// The most of what is kept in memory.
const MOST_IN_MEMORY: i64 = i32::MAX as i64;
/// The longest event, in bytes, that fits a row of an object beside its other columns.
const MOST_IN_ROW: i64 = 1_900_000;
/// The largest bundle of a working tree: its pieces are numbered with three digits.
const MOST_OF_BUNDLE: i64 = 1 << 30;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
/// What `SANDBOX_AGENT_VERSION` is by itself.
const AGENT_VERSION: &str = "0.3.x";
/// The shortest time after which a silent runner counts as gone, in milliseconds (agents.md 7.4).
const LEAST_RUNNER_TTL_MS: i64 = 1_000;
/// Variables for models that are handed into sandboxes.
const MODEL_VARIABLES: [&str; 4] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"];

impl Settings {
    /// Reads the settings by their names. A blank value counts as none.
    ///
    /// # Errors
    /// A [`SettingsError`] that names the setting, when a value is none that it can have.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let auth = auth::Config::from_lookup(&lookup)?;
        let get = Lookup(lookup);
        let secrets_key = get.key("MANAGED_AUTH_KEY")?;
        let is_development = !matches!(auth.driver, auth::Driver::Cognito(_));
        let modes = [("strict", true), ("reference", false)];
        Ok(Self {
            auth,
            base_url: get.address("PUBLIC_BASE_URL")?.or(get.address("DB_SYNC_BASE_URL")?),
            strict_access: get.word("AGENT_ACCESS_MODE", "strict or reference", &modes)?.unwrap_or(false),
            rate_limits: !get.text("AGENT_RATE_LIMITS").is_some_and(|value| value.eq_ignore_ascii_case("off")),
            secrets_key,
            oauth_client_id: get.text("OPENAI_OAUTH_CLIENT_ID"),
            share_refresh_token: !get.is_off("MANAGED_AUTH_SHARE_REFRESH"),
            session: session(&get)?,
            github: github(&get)?,
            runtime: runtime(&get)?,
            transcripts: super::transcripts::read(&get, secrets_key, is_development)?,
            follow_up: super::follow_up::read(&get)?,
            pg_sync: super::pg_sync::read(&get)?,
        })
    }
}

fn session<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<SessionSettings, SettingsError> {
    Ok(SessionSettings {
        idle_timeout_ms: get.number("AGENT_IDLE_TIMEOUT_MS", 15 * MINUTE_MS)?,
        snapshot_on_stop: get.is_on("AGENT_SNAPSHOT_ON_STOP"),
        push_to_base: get.is_on("AGENT_PUSH_TO_BASE"),
        chat_publish: !get.is_off("AGENT_CHAT_PUBLISH"),
        protected_branches: ProtectedBranches::parse(&get.text("AGENT_PROTECTED_BRANCHES").unwrap_or_default()),
        max_event_rows: get.number("AGENT_EVENTS_MAX_ROWS", 200_000)?.unsigned_abs(),
        max_events_bytes: get.number("AGENT_EVENTS_MAX_BYTES", 256 << 20)?.unsigned_abs(),
        max_event_bytes: get.sized("AGENT_EVENT_MAX_BYTES", 256 << 10, MOST_IN_ROW)?,
        max_orders: get.sized("AGENT_MAX_ORDERS", 50, MOST_IN_MEMORY)?,
        max_active_sessions: get.sized("AGENT_MAX_ACTIVE_SESSIONS", 20, MOST_IN_MEMORY)?,
        max_bundle_bytes: get.sized("AGENT_BUNDLE_MAX_BYTES", 64 << 20, MOST_OF_BUNDLE)?,
        prompt_post_ms: get.number("AGENT_PROMPT_POST_MS", MINUTE_MS / 2)?,
        turn_silence_ms: get.number("AGENT_TURN_SILENCE_MS", 30 * MINUTE_MS)?,
        stop_grace_ms: get.number("AGENT_STOP_GRACE_MS", MINUTE_MS / 2)?,
        approval_timeout_ms: get.number("AGENT_APPROVAL_TIMEOUT_MS", 30 * MINUTE_MS)?,
        budget_session: get.budget("AGENT_BUDGET_SESSION")?,
        budget_user_day: get.budget("AGENT_BUDGET_USER_DAY")?,
        order_ttl_ms: get.number("AGENT_ORDER_TTL_MS", 7 * DAY_MS)?,
        runner_offline_turn_ms: get.number("AGENT_RUNNER_OFFLINE_TURN_MS", DAY_MS)?,
        runner_open_wait_ms: get.number("AGENT_RUNNER_OPEN_WAIT_MS", MINUTE_MS / 6)?,
        deadline_divisor: deadline_divisor(get)?,
    })
}

/// Builds for tests may make deadlines short, so that tests of them do not wait for minutes.
#[cfg(feature = "test-deadlines")]
fn deadline_divisor<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<i64, SettingsError> {
    get.number("AGENT_TEST_DEADLINE_DIVISOR", 1)
}

#[cfg(not(feature = "test-deadlines"))]
#[expect(clippy::unnecessary_wraps, reason = "the shape of the function that builds for tests have")]
fn deadline_divisor<F: Fn(&str) -> Option<String>>(_: &Lookup<F>) -> Result<i64, SettingsError> {
    Ok(1)
}

fn github<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<GitHubSettings, SettingsError> {
    Ok(GitHubSettings {
        app_id: get.text("GITHUB_APP_ID"),
        private_key: get.raw("GITHUB_APP_PRIVATE_KEY"),
        installation_id: get.id("GITHUB_APP_INSTALLATION_ID")?,
        slug: get.text("GITHUB_APP_SLUG").or_else(|| get.text("GITHUB_APP_NAME")),
        api_base: get.address("GITHUB_API_BASE")?.unwrap_or_else(|| "https://api.github.com".to_owned()),
        user_agent: get.text("GITHUB_USER_AGENT").unwrap_or_else(|| "logseq-worker/1.0".to_owned()),
        is_brokered: get
            .word("AGENT_GIT_CREDENTIALS", "env or broker", &[("broker", true), ("env", false)])?
            .unwrap_or(false),
    })
}

fn runtime<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<RuntimeSettings, SettingsError> {
    let versions = [("v1", E2bApi::V1), ("v2", E2bApi::V2), ("auto", E2bApi::Auto)];
    Ok(RuntimeSettings {
        provider: get.text("AGENT_RUNTIME_PROVIDER").as_deref().and_then(ProviderKind::parse),
        environment: get.text("AGENT_ENVIRONMENT"),
        sandbox_ttl_days: get.sized("AGENT_SANDBOX_TTL_DAYS", 30_u32, 36_500)?.into(),
        e2b_api_key: get.text("E2B_API_KEY"),
        e2b_domain: get.text("E2B_DOMAIN").unwrap_or_else(|| "e2b.app".to_owned()),
        e2b_api: get.word("E2B_API_VERSION", "v1, v2 or auto", &versions)?.unwrap_or(E2bApi::V1),
        e2b_template: get.text("E2B_TEMPLATE"),
        e2b_clone_command: get.text("E2B_REPO_CLONE_COMMAND"),
        e2b_agent_port: get.sized("E2B_SANDBOX_AGENT_PORT", 2_468, i64::from(u16::MAX))?,
        e2b_timeout_ms: get.number("E2B_SANDBOX_TIMEOUT_MS", 30 * MINUTE_MS)?,
        e2b_health_retries: get.sized("E2B_HEALTH_RETRIES", 30, 10_000)?,
        e2b_health_interval_ms: get.sized("E2B_HEALTH_INTERVAL_MS", 300, MINUTE_MS)?,
        agent_token: get.text("SANDBOX_AGENT_TOKEN"),
        agent_version: agent_version(get)?,
        agent_url: get.address("SANDBOX_AGENT_URL")?.unwrap_or_else(|| "http://127.0.0.1:2468".to_owned()),
        agent_api: ApiSetting::read(get.text("SANDBOX_AGENT_API").as_deref()),
        runner_ttl_ms: get.number("LOCAL_RUNNER_HEARTBEAT_TTL_MS", MINUTE_MS)?.max(LEAST_RUNNER_TTL_MS),
        runner_mailbox: !get.text("RUNNER_MAILBOX").is_some_and(|value| value.eq_ignore_ascii_case("off")),
        runner_fallback_e2b: get.word("LOCAL_RUNNER_FALLBACK", "e2b", &[("e2b", true)])?.unwrap_or(false),
        egress: egress(get)?,
        runner_allow_private: get.is_on("LOCAL_RUNNER_ALLOW_PRIVATE"),
        model_variables: MODEL_VARIABLES.into_iter().filter_map(|name| Some((name, get.raw(name)?))).collect(),
    })
}

fn egress<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<Option<Vec<Rule>>, SettingsError> {
    let list = get.text("AGENT_EGRESS_ALLOW").map(|text| egress::list(text.split(','))).transpose();
    list.map_err(|error| SettingsError::Form { name: "AGENT_EGRESS_ALLOW", why: error.to_string() })
}

fn agent_version<F: Fn(&str) -> Option<String>>(get: &Lookup<F>) -> Result<VersionChannel, SettingsError> {
    let value = get.text("SANDBOX_AGENT_VERSION").unwrap_or_else(|| AGENT_VERSION.to_owned());
    VersionChannel::parse(&value).map_err(|_| SettingsError::Word {
        name: "SANDBOX_AGENT_VERSION",
        allowed: "at most 32 letters, digits, dots and hyphens",
        value,
    })
}
