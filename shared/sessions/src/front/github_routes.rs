//! What GitHub sends (agents.md 20.4): nobody is known by a token here, the signature of the body tells who it comes from.

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use serde_json::{Value, json};
use web::{Forward, Objects as _, url};

use super::platform::Platform;
use super::service::Service;
use super::{bodies, forward};
use crate::error::{CORS, Error};
use crate::follow_up::{Heard, Signature};
use crate::object::Told;
use crate::registry::pulls;

/// The longest name of a delivery or an event, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Takes a delivery. It is answered once it is written down where it belongs; nothing else is waited for.
pub(super) async fn take<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let settings = &service.settings.follow_up;
    let secret = settings.secret.as_deref().ok_or(Error::NotFound)?;
    let signature = header(request, "x-hub-signature-256").and_then(|text| Signature::read(&text));
    let signature = signature.ok_or(Error::Unauthorized)?;
    let body = bodies::read(request).await?;
    if !signature.is_of(secret, &body) {
        return Err(Error::Unauthorized);
    }
    let delivery = named(request, "x-github-delivery")?;
    let event = named(request, "x-github-event")?;
    let body: Value = serde_json::from_slice(&body).map_err(|_| Error::InvalidBody)?;
    if let Some(heard) = Heard::read(&event, &body, settings) {
        hand_on(platform, &delivery, &heard).await?;
    }
    Ok(web::json(&CORS, StatusCode::ACCEPTED, json!({"ok": true}).to_string()))
}

fn header<B>(request: &Request<B>, name: &str) -> Option<String> {
    request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn named<B>(request: &Request<B>, name: &str) -> Result<String, Error> {
    let value = header(request, name).filter(|value| (1..=MAX_NAME_BYTES).contains(&value.len()));
    value.ok_or(Error::InvalidBody)
}

/// Hands it to the sessions that it is about. They take each delivery once; that it was taken is remembered after that, so that one which
/// was lost on the way is taken when GitHub sends it again.
async fn hand_on<P: Platform>(platform: &P, delivery: &str, heard: &Heard) -> Result<(), Error> {
    let db = platform.db().ok_or_else(|| Error::Internal("no database".to_owned()))?;
    let found = pulls::find(db, &heard.repository, &heard.about).await?;
    if found.is_empty() || pulls::knows(db, delivery).await? {
        return Ok(());
    }
    // At most ten (`registry::pulls`).
    for (session, number) in found {
        let told = Told {
            delivery: delivery.to_owned(),
            repository: heard.repository.clone(),
            number,
            about: heard.about.clone(),
            news: heard.news.clone(),
        };
        let body = serde_json::to_vec(&told).map_err(|error| Error::Internal(error.to_string()))?;
        let status = send(platform, &session, body).await?;
        // One that is gone has nothing to hear.
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            return Err(Error::Internal(format!("the session answered {status}")));
        }
    }
    pulls::remember(db, delivery, platform.now_ms()).await?;
    Ok(())
}

async fn send<P: Platform>(platform: &P, session: &str, body: Vec<u8>) -> Result<StatusCode, Error> {
    let internal = |error: &dyn std::fmt::Display| Error::Internal(error.to_string());
    let uri: Uri = format!("{}follow-up", forward::ORIGIN).parse().map_err(|error| internal(&error))?;
    let mut forward = Forward::new(Method::POST, uri).with_body(body);
    let name = HeaderValue::from_str(&url::encode(session)).map_err(|error| internal(&error))?;
    forward.set_header(HeaderName::from_static("x-session-id"), name);
    forward.set_header(HeaderName::from_static("x-caller"), HeaderValue::from_static("service"));
    let answer = platform.objects().send(session, forward).await.map_err(|failure| Error::Internal(failure.0))?;
    Ok(answer.status())
}
