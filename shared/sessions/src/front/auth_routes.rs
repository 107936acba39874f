//! Logins with `ChatGPT` (agents.md 2.6.1, 2.6.2, 12.4, 18.1).

use http::{Request, Response};
use serde_json::json;

use super::identity::Caller;
use super::platform::Platform;
use super::service::Service;
use super::{bodies, ok};
use crate::error::Error;
use crate::logins::{self, Injection};
use crate::request::{Create, Import};

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
    let kept = logins::import(db, &service.settings.seal(), user, &login, &id, now).await?;
    Ok(ok(&json!({"managed-auth": kept.imported()})))
}

pub(super) async fn status<P: Platform>(
    platform: &P,
    _: &Service<P::Keys>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let found = match platform.db() {
        Some(db) => logins::read(db, user).await?,
        None => None,
    };
    let now = platform.now_ms();
    Ok(ok(&json!({"managed-auth": found.map(|login| login.shown(now))})))
}

pub(super) async fn revoke<P: Platform>(
    platform: &P,
    _: &Service<P::Keys>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    if let Some(db) = platform.db() {
        logins::revoke(db, user, platform.now_ms()).await?;
    }
    Ok(ok(&json!({"ok": true})))
}

/// Gives a session of Codex the stored login of its user (agents.md 12.4).
pub(super) async fn inject<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    user: &str,
    wanted: &mut Create,
) -> Result<(), Error> {
    let (fetch, settings) = (platform.fetch(), &service.settings);
    logins::inject(&Injection { db: platform.db(), fetch, host: platform, settings }, user, wanted).await
}
