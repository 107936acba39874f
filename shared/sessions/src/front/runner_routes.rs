//! Runners of the caller (agents.md 2.6.13, 7, 18.1), of both kinds.

use http::{HeaderValue, Request, Response};
use serde_json::{Value, json};
use web::address::{self, AddressRules};

use super::identity::Caller;
use super::platform::Platform;
use super::service::Service;
use super::{bodies, mailbox_routes, ok};
use crate::error::Error;
use crate::registry::runners::{self, MAX_RUNNERS};
use crate::request::mailbox::RegisterMailbox;
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
    if RegisterMailbox::is_meant(&body)? {
        return mailbox_routes::register(platform, service, user, &body).await;
    }
    let runner = Register::read(&body)?;
    let settings = &service.settings;
    let rules = AddressRules { allow_private: settings.runtime.runner_allow_private, ..AddressRules::default() };
    // What is called later is this text, read the same way.
    address::checked(&crate::acp::base_url(&runner.base_url), &rules).map_err(|_| Error::InvalidBody)?;
    let db = platform.db().ok_or_else(|| Error::Register("no database".to_owned()))?;
    let limit = settings.rate_limits.then_some(MAX_RUNNERS);
    // A name that a runner has which calls us is that one's as long as it is there.
    let replaced = runners::get(db, user, &runner.runner_id).await?.and_then(|known| known.mailbox);
    if let Some(mailbox) = &replaced {
        if let Some(refusal) = mailbox_routes::keeps_name(platform, mailbox).await? {
            return Ok(refusal);
        }
        mailbox_routes::revoke(platform, mailbox).await?;
    }
    let kept = runners::register(db, &settings.seal(), user, &runner, limit, platform.now_ms()).await?;
    Ok(ok(&json!({"runner": kept.shown()})))
}

pub(super) async fn list<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let found = match platform.db() {
        Some(db) => runners::list(db, user).await?,
        None => Vec::new(),
    };
    let shown: Vec<Value> = found.iter().map(crate::registry::Runner::shown).collect();
    let mut response = ok(&json!({"runners": shown}));
    if mailbox_routes::offered(platform, service).is_ok() {
        response.headers_mut().insert(mailbox_routes::OFFERED, HeaderValue::from_static("1"));
    }
    Ok(response)
}

pub(super) async fn get<P: Platform>(platform: &P, caller: &Caller, id: &str) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let found = runners::get(db(platform)?, user, id).await?.ok_or(Error::NotFound)?;
    Ok(ok(&json!({"runner": mailbox_routes::shown(platform, &found).await?})))
}

pub(super) async fn delete<P: Platform>(
    platform: &P,
    caller: &Caller,
    id: &str,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    let db = db(platform)?;
    if let Some(mailbox) = runners::get(db, user, id).await?.and_then(|known| known.mailbox) {
        // Its object first: a row that is gone leads nowhere any more.
        mailbox_routes::revoke(platform, &mailbox).await?;
    }
    let is_gone = runners::delete(db, user, id).await?;
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
    let db = db(platform)?;
    if runners::get(db, user, id).await?.is_some_and(|known| known.mailbox.is_some()) {
        return Err(Error::RunnerUsesMailbox);
    }
    let found = runners::heartbeat(db, user, id, beat.active_sessions, platform.now_ms()).await;
    Ok(ok(&json!({"runner": found?.ok_or(Error::NotFound)?.shown()})))
}
