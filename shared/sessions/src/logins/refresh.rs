//! Renewing a login before it runs out (agents.md 12.6).

use database::Database;
use futures_util::future::{Either, select};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde::Deserialize;
use web::{Call, Fetch, Host};

use super::rows::{claim, open, renew};
use super::{Login, LoginState, Tokens};
use crate::error::Error;
use crate::secrets::Seal;

/// Where tokens are renewed.
const ADDRESS: &str = "https://auth.openai.com/oauth/token";
/// How long before its end a login is renewed, in milliseconds.
const BEFORE_MS: i64 = 5 * 60_000;
/// How long the whole answer is waited for, in milliseconds.
const LIMIT_MS: u32 = 10_000;
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// What renewing needs.
pub struct Renewal<'a, D, F, H> {
    /// Where logins lie.
    pub db: &'a D,
    /// What sends requests.
    pub fetch: &'a F,
    /// Time.
    pub host: &'a H,
    /// What tokens are sealed with.
    pub seal: &'a Seal,
    /// `OPENAI_OAUTH_CLIENT_ID`; without it nothing is renewed.
    pub client_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    refresh_token: Option<String>,
    id_token: Option<String>,
    token_type: Option<String>,
    scope: Option<String>,
    expires_in: Option<f64>,
}

/// The login of a user with its tokens, renewed if it runs out within five minutes. What cannot be renewed comes back as it
/// is: whoever needs it looks at its state.
///
/// # Errors
/// [`Error::Internal`] when the database fails or a token does not open.
pub async fn renewed<D: Database, F: Fetch, H: Host>(
    with: &Renewal<'_, D, F, H>,
    user: &str,
) -> Result<Option<Login>, Error> {
    let Some(login) = open(with.db, with.seal, user).await? else { return Ok(None) };
    let now = with.host.now_ms();
    let ends_soon = login.expires_at > 0 && login.expires_at <= now.saturating_add(BEFORE_MS);
    let (Some(client), Some(token)) = (with.client_id, login.tokens.refresh_token.as_deref()) else {
        return Ok(Some(login));
    };
    if !ends_soon || login.state(now) == LoginState::Revoked || !claim(with.db, &login, now).await? {
        return Ok(Some(login));
    }
    let Some(answer) = ask(with, client, token).await else { return Ok(Some(login)) };
    let now = with.host.now_ms();
    let tokens = Tokens {
        access_token: Some(answer.access_token),
        refresh_token: filled(answer.refresh_token).or(login.tokens.refresh_token.clone()),
        id_token: filled(answer.id_token).or(login.tokens.id_token.clone()),
        token_type: filled(answer.token_type).or(login.tokens.token_type.clone()),
        scope: filled(answer.scope).or(login.tokens.scope.clone()),
    };
    let expires_at = ends_at(answer.expires_in, now);
    if renew(with.db, with.seal, &login, &tokens, expires_at, now).await? {
        return Ok(Some(Login { issued_at: now, expires_at, tokens, ..login }));
    }
    // Another login was imported meanwhile, or this one was taken back.
    open(with.db, with.seal, user).await
}

/// New tokens, if they are given.
async fn ask<D, F: Fetch, H: Host>(with: &Renewal<'_, D, F, H>, client: &str, token: &str) -> Option<Answer> {
    let mut call = Call::new(Method::POST, ADDRESS);
    call.limit_ms = Some(LIMIT_MS);
    call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    call.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let (token, client) = (web::url::encode(token), web::url::encode(client));
    call.body = format!("grant_type=refresh_token&refresh_token={token}&client_id={client}").into_bytes();
    let answered = async {
        let reply = with.fetch.fetch(call).await.ok()?;
        if !reply.status.is_success() {
            return None;
        }
        let bytes = reply.bytes(MAX_ANSWER_BYTES).await.ok()?;
        serde_json::from_slice(&bytes).ok().filter(|answer: &Answer| !answer.access_token.trim().is_empty())
    };
    // The time bounds the head and the body of the answer together.
    match select(Box::pin(answered), Box::pin(with.host.sleep_ms(LIMIT_MS))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => None,
    }
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Until when tokens are valid that last so many seconds; 0 when nobody says.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and what is too long is cut below")]
fn ends_at(seconds: Option<f64>, now: i64) -> i64 {
    let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) else { return 0 };
    now.saturating_add((seconds * 1_000.0) as i64).min((1 << 53) - 1)
}
