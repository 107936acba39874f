//! Giving a stored login to a session that is being created (agents.md 12.4).

use database::Database;
use serde_json::{Value, json};
use web::{Fetch, Host};

use super::refresh::{Renewal, renewed};
use super::{Login, LoginState, auth_json};
use crate::error::Error;
use crate::request::Create;
use crate::runtime::ProviderKind;
use crate::secrets::Seal;
use crate::settings::Settings;

/// What giving a login needs.
pub struct Injection<'a, D, F, H> {
    /// Where logins lie; none where the binding is missing.
    pub db: Option<&'a D>,
    /// What sends requests.
    pub fetch: &'a F,
    /// Time.
    pub host: &'a H,
    /// All settings.
    pub settings: &'a Settings,
}

/// Gives the login of a user to a session of Codex that brings no credentials of its own. A text as agent becomes an object.
///
/// # Errors
/// [`Error::LoginRequired`] and [`Error::LoginExpired`], but for sessions that can do without (B38): on a runner, or with the
/// operator's key. [`Error::Internal`] when the database fails or a token does not open.
pub async fn inject<D: Database, F: Fetch, H: Host>(
    with: &Injection<'_, D, F, H>,
    user: &str,
    create: &mut Create,
) -> Result<(), Error> {
    if !is_codex(create.task.agent()) || !create.secrets.is_empty() {
        return Ok(());
    }
    let now = with.host.now_ms();
    let login = stored(with, user).await?;
    let refused = match login.as_ref().map(|login| (login, login.state(now))) {
        Some((login, LoginState::Valid)) => {
            give(create, login, with.settings.share_refresh_token, now);
            return Ok(());
        }
        Some((_, LoginState::Expired)) => Error::LoginExpired,
        Some((_, LoginState::Revoked)) | None => Error::LoginRequired,
    };
    if can_do_without(with.settings, create) { Ok(()) } else { Err(refused) }
}

async fn stored<D: Database, F: Fetch, H: Host>(
    with: &Injection<'_, D, F, H>,
    user: &str,
) -> Result<Option<Login>, Error> {
    let Some(db) = with.db else { return Ok(None) };
    let seal: Seal = with.settings.seal();
    let client_id = with.settings.oauth_client_id.as_deref();
    renewed(&Renewal { db, fetch: with.fetch, host: with.host, seal: &seal, client_id }, user).await
}

fn is_codex(agent: &Value) -> bool {
    let name = agent.as_str().or_else(|| agent.get("provider")?.as_str());
    name.is_some_and(|name| name.trim().eq_ignore_ascii_case("codex"))
}

/// Whether Codex has other credentials: those of the runner's machine, or the operator's key.
fn can_do_without(settings: &Settings, create: &Create) -> bool {
    let asked = create.task.runtime_provider().and_then(ProviderKind::parse);
    let kind = asked.or(settings.runtime.provider).unwrap_or(ProviderKind::E2b);
    kind != ProviderKind::E2b || settings.runtime.model_variables.iter().any(|(name, _)| *name == "OPENAI_API_KEY")
}

fn give(create: &mut Create, login: &Login, share_refresh: bool, now: i64) {
    let mut managed = login.shown(now);
    if let Some(members) = managed.as_object_mut() {
        let payload = json!({"auth-json": auth_json(login, share_refresh, now)});
        members.insert("runtime-auth-payload".to_owned(), payload);
    }
    create.secrets.managed_auth = Some(managed);
    create.task.become_object("codex");
}
