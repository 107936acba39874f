//! What an operator sees of all sessions (agents.md 20.10).

use std::cell::RefCell;

use http::{Request, Response, StatusCode};

use super::platform::Platform;
use super::service::Service;
use crate::error::{CORS, Error};
use crate::registry::operator;

/// The header of the operator's token (sync.md 3.5).
const TOKEN: &str = "x-db-sync-admin-token";
/// How long an answer is given again, in milliseconds.
const KEPT_MS: i64 = 10_000;

/// The last answer, and until when it is given again.
#[derive(Default)]
pub(super) struct Shown(RefCell<Option<(i64, String)>>);

pub(super) async fn answer<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let token = request.headers().get(TOKEN).and_then(|value| value.to_str().ok());
    if !service.settings.auth.is_admin(token) {
        return Err(Error::Unauthorized);
    }
    let now = platform.now_ms();
    let shown = &service.overview.0;
    let kept = shown.borrow().as_ref().filter(|(until, _)| now < *until).map(|(_, text)| text.clone());
    let text = if let Some(text) = kept {
        text
    } else {
        let db = platform.db().ok_or_else(|| Error::Internal("no database".to_owned()))?;
        let runtime = &service.settings.runtime;
        let seen = operator::overview(db, runtime.environment.as_deref(), runtime.runner_ttl_ms, now).await?;
        let text = seen.to_string();
        *shown.borrow_mut() = Some((now.saturating_add(KEPT_MS), text.clone()));
        text
    };
    Ok(web::json(&CORS, StatusCode::OK, text))
}
