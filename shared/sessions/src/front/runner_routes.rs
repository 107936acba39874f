//! Runners of the caller (agents.md 2.6.13, 7, 18.1).

use http::{Request, Response};
use serde_json::{Value, json};
use web::address::{self, AddressRules};

use super::identity::Caller;
use super::platform::Platform;
use super::service::Service;
use super::{bodies, ok};
use crate::error::Error;
use crate::registry::runners::{self, MAX_RUNNERS};
use crate::request::{Heartbeat, Register};

fn db<P: Platform>(platform: &P) -> Result<&P::Db, Error> {
    platform.db().ok_or(Error::NotFound)
}

pub(super) async fn register<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let body = bodies::read(request).await?;
    let runner = Register::read(&body)?;
    let settings = &service.settings;
    let rules = AddressRules { allow_private: settings.runtime.runner_allow_private, ..AddressRules::default() };
    // What is called later is this text, read the same way.
    address::checked(&crate::acp::base_url(&runner.base_url), &rules).map_err(|_| Error::InvalidBody)?;
    let db = platform.db().ok_or_else(|| Error::Register("no database".to_owned()))?;
    let limit = settings.rate_limits.then_some(MAX_RUNNERS);
    let kept = runners::register(db, &settings.seal(), user, &runner, limit, platform.now_ms()).await?;
    Ok(ok(&json!({"runner": kept.shown()})))
}

pub(super) async fn list<P: Platform>(platform: &P, caller: &Caller) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let found = match platform.db() {
        Some(db) => runners::list(db, user).await?,
        None => Vec::new(),
    };
    let shown: Vec<Value> = found.iter().map(crate::registry::Runner::shown).collect();
    Ok(ok(&json!({"runners": shown})))
}

pub(super) async fn get<P: Platform>(platform: &P, caller: &Caller, id: &str) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let found = runners::get(db(platform)?, user, id).await?;
    Ok(ok(&json!({"runner": found.ok_or(Error::NotFound)?.shown()})))
}

pub(super) async fn delete<P: Platform>(
    platform: &P,
    caller: &Caller,
    id: &str,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let is_gone = runners::delete(db(platform)?, user, id).await?;
    if is_gone { Ok(ok(&json!({"ok": true}))) } else { Err(Error::NotFound) }
}

pub(super) async fn heartbeat<P: Platform>(
    platform: &P,
    caller: &Caller,
    id: &str,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let body = bodies::read(request).await?;
    let beat = Heartbeat::read(&body)?;
    let found = runners::heartbeat(db(platform)?, user, id, beat.active_sessions, platform.now_ms()).await;
    Ok(ok(&json!({"runner": found?.ok_or(Error::NotFound)?.shown()})))
}
