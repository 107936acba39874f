//! Logins with `ChatGPT` (agents.md 2.6.1, 2.6.2, 12.4, 18.1).

use http::{Request, Response};
use serde_json::{Value, json};

use super::identity::Caller;
use super::platform::Platform;
use super::service::Service;
use super::{bodies, internal, ok};
use crate::error::Error;
use crate::registry::logins::{self, LoginState};
use crate::request::{Create, Import};
use crate::runtime::ProviderKind;

pub(super) async fn import<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let body = bodies::read(request).await?;
    let login = Import::read(&body)?;
    let db = platform.db().ok_or(Error::ImportFailed)?;
    let (now, id) = (platform.now_ms(), platform.random_uuid().to_string());
    let kept = logins::import(db, &service.settings.seal(), user, &id, &login, now).await?;
    Ok(ok(&json!({"managed-auth": kept.shown(now, true)})))
}

pub(super) async fn status<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let found = match platform.db() {
        Some(db) => logins::get(db, &service.settings.seal(), user).await?,
        None => None,
    };
    let now = platform.now_ms();
    Ok(ok(&json!({"managed-auth": found.map(|login| Value::Object(login.shown(now, false)))})))
}

pub(super) async fn revoke<P: Platform>(
    platform: &P,
    _: &Service<P::Keys>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    if let Some(db) = platform.db() {
        logins::revoke(db, user, platform.now_ms()).await.map_err(internal)?;
    }
    Ok(ok(&json!({"ok": true})))
}

/// Gives a session of Codex the stored login of its user, unless it brings credentials of its own (agents.md 12.4). None is needed
/// where the operator has a key for all, or where the runner is the user's own (B38).
pub(super) async fn inject<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    user: &str,
    wanted: &mut Create,
) -> Result<(), Error> {
    let agent = wanted.task.agent();
    let name = agent.as_str().or_else(|| agent.get("provider")?.as_str()).unwrap_or_default();
    if !name.trim().eq_ignore_ascii_case("codex") || !wanted.secrets.is_empty() {
        return Ok(());
    }
    let settings = &service.settings;
    let kind = wanted.task.runtime_provider().and_then(ProviderKind::parse).or(settings.runtime.provider);
    let has_key = settings.runtime.model_variables.iter().any(|(name, _)| *name == "OPENAI_API_KEY");
    let is_needed = !has_key && !matches!(kind, Some(ProviderKind::LocalRunner | ProviderKind::LocalDev));
    let now = platform.now_ms();
    let found = match platform.db() {
        Some(db) => logins::get(db, &settings.seal(), user).await?,
        None => None,
    };
    match found.as_ref().map(|login| (login, login.state(now))) {
        Some((login, LoginState::Valid)) => {
            wanted.secrets.managed_auth = Some(login.injected(now, settings.share_refresh_token));
            wanted.task.become_object("codex");
            Ok(())
        }
        Some((_, LoginState::Expired)) if is_needed => Err(Error::LoginExpired),
        _ if is_needed => Err(Error::LoginRequired),
        _ => Ok(()),
    }
}
