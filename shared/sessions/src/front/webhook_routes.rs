//! Webhooks of the caller (agents.md 20.3).

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use web::address::{self, AddressRules};
use web::{Forward, Objects as _, url};

use super::identity::Caller;
use super::platform::Platform;
use super::rates::Kind;
use super::service::Service;
use super::{bodies, ok, paging, session_routes};
use crate::access;
use crate::error::Error;
use crate::registry::webhooks::{self, Webhook};
use crate::request::NewWebhook;

/// The header with which clients repeat a request.
const KEY: &str = "idempotency-key";
/// The longest key of a client, in bytes.
const MAX_KEY_BYTES: usize = 255;

fn db<P: Platform>(platform: &P) -> Result<&P::Db, Error> {
    platform.db().ok_or_else(|| Error::Internal("no database".to_owned()))
}

/// A webhook of the caller.
async fn own<P: Platform>(platform: &P, caller: &Caller, id: &str) -> Result<Webhook, Error> {
    let user = caller.user()?;
    let found = webhooks::get(db(platform)?, id).await?;
    found.filter(|webhook| webhook.user_id == user).ok_or(Error::NotFound)
}

pub(super) async fn add<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    session_routes::take_rate(platform, service, user, Kind::Control)?;
    let id = new_id(platform, request, user)?;
    let body = bodies::read(request).await?;
    let wanted = NewWebhook::read(&body)?;
    let settings = &service.settings;
    let rules = AddressRules { allow_private: settings.runtime.runner_allow_private, ..AddressRules::default() };
    // Each attempt checks it again, and calls what that check gives.
    address::checked(&wanted.url, &rules).map_err(|_| Error::InvalidUrl)?;
    let db = db(platform)?;
    if let Some(graph) = &wanted.graph_id {
        access::may(Some(db), settings.strict_access, Some(user), "", Some(graph)).await?;
    }
    let (webhook, secret) = webhooks::add(db, &settings.seal(), user, &id, &wanted, platform.now_ms()).await?;
    Ok(ok(&json!({"webhook": webhook.shown(), "secret": secret.text()})))
}

/// The name of a new webhook. A request that is repeated with its key means the same one.
fn new_id<P: Platform>(platform: &P, request: &Request<P::Request>, user: &str) -> Result<String, Error> {
    let Some(key) = request.headers().get(KEY).and_then(|value| value.to_str().ok()) else {
        return Ok(format!("wh_{}", platform.random_uuid().simple()));
    };
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Error::InvalidBody);
    }
    // A header holds no line break, so no two pairs give the same text.
    let digest = Sha256::digest(format!("{key}\n{user}"));
    let (half, _) = digest.split_at(16);
    Ok(format!("wh_{}", base16ct::lower::encode_string(half)))
}

pub(super) async fn list<P: Platform>(platform: &P, caller: &Caller) -> Result<Response<P::Response>, Error> {
    let found = webhooks::list(db(platform)?, caller.user()?).await?;
    let shown: Vec<Value> = found.iter().map(Webhook::shown).collect();
    Ok(ok(&json!({"webhooks": shown})))
}

pub(super) async fn delete<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    id: &str,
) -> Result<Response<P::Response>, Error> {
    let user = caller.user()?;
    session_routes::take_rate(platform, service, user, Kind::Control)?;
    let is_gone = webhooks::delete(db(platform)?, user, id).await?;
    if is_gone { Ok(ok(&json!({"ok": true}))) } else { Err(Error::NotFound) }
}

pub(super) async fn deliveries<P: Platform>(
    platform: &P,
    caller: &Caller,
    id: &str,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let webhook = own(platform, caller, id).await?;
    let after = paging::after(request)?;
    let (page, next) = webhooks::deliveries(db(platform)?, &webhook.webhook_id, after.as_ref()).await?;
    let shown = page.iter().map(webhooks::Told::shown).collect();
    Ok(ok(&paging::page("deliveries", shown, next.as_ref())))
}

/// The session of the delivery is asked to send it again.
pub(super) async fn replay<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    caller: &Caller,
    id: &str,
    delivery_id: &str,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    session_routes::take_rate(platform, service, caller.user()?, Kind::Control)?;
    let webhook = own(platform, caller, id).await?;
    let session = webhooks::session_of(db(platform)?, &webhook.webhook_id, delivery_id).await?;
    let session = session.ok_or(Error::NotFound)?;
    if webhook.disabled_at.is_some() {
        return Err(Error::WebhookDisabled);
    }
    let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
    let address = format!("{}replay/{}", super::forward::ORIGIN, url::encode(delivery_id));
    let uri: Uri = address.parse().map_err(|_| Error::NotFound)?;
    let mut forward = Forward::new(http::Method::POST, uri);
    let name = HeaderValue::from_str(&url::encode(&session)).map_err(|error| internal(&error))?;
    forward.set_header(HeaderName::from_static("x-session-id"), name);
    forward.set_header(HeaderName::from_static("x-caller"), HeaderValue::from_static("service"));
    if let Some(key) = request.headers().get(KEY) {
        forward.set_header(HeaderName::from_static(KEY), key.clone());
    }
    platform.objects().send(&session, forward).await.map_err(|failure| Error::Internal(failure.0))
}
