//! Logins with `ChatGPT` that users keep here for Codex (agents.md 12).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use database::{Database, DbError, Param, ReadFrom, Row};
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::request::Import;
use crate::secrets::Seal;

const PROVIDER: &str = "openai";
const METHOD: &str = "chatgpt";

const PUT: &str = "INSERT INTO managed_auth_sessions (auth_id, user_id, provider, auth_method, access_token, refresh_token, \
    id_token, token_type, scope, issued_at, expires_at, created_at, updated_at, revoked_at) \
    VALUES (?, ?, 'openai', 'chatgpt', ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) \
    ON CONFLICT (user_id, provider, auth_method) DO UPDATE SET auth_id = excluded.auth_id, \
    access_token = excluded.access_token, refresh_token = excluded.refresh_token, id_token = excluded.id_token, \
    token_type = excluded.token_type, scope = excluded.scope, issued_at = excluded.issued_at, \
    expires_at = excluded.expires_at, updated_at = excluded.updated_at, revoked_at = NULL";

const GET: &str = "SELECT auth_id, access_token, refresh_token, id_token, token_type, scope, issued_at, expires_at, revoked_at \
    FROM managed_auth_sessions WHERE user_id = ? AND provider = 'openai' AND auth_method = 'chatgpt' \
    ORDER BY updated_at DESC LIMIT 1";

const REVOKE: &str = "UPDATE managed_auth_sessions SET revoked_at = ?, updated_at = ? \
    WHERE user_id = ? AND provider = 'openai' AND auth_method = 'chatgpt'";

/// Whether a login can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginState {
    /// It can.
    Valid,
    /// Its time is over.
    Expired,
    /// Its user has taken it back.
    Revoked,
}

impl LoginState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A stored login, with its tokens in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    auth_id: String,
    user_id: String,
    access_token: Option<String>,
    /// What a new access token is got with.
    pub refresh_token: Option<String>,
    id_token: Option<String>,
    token_type: Option<String>,
    scope: Option<String>,
    issued_at: i64,
    /// Until when the access token is valid, in milliseconds since 1970; 0 when nobody says.
    pub expires_at: i64,
    revoked_at: i64,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Login").field("auth_id", &self.auth_id).finish_non_exhaustive()
    }
}

impl Login {
    /// Whether it can be used at a time.
    pub fn state(&self, now: i64) -> LoginState {
        if self.revoked_at > 0 {
            LoginState::Revoked
        } else if self.expires_at > 0 && self.expires_at <= now {
            LoginState::Expired
        } else {
            LoginState::Valid
        }
    }

    /// What its user sees of it: no token. An expiry of 0 is left out, except from the answer to an import.
    pub fn shown(&self, now: i64, is_import: bool) -> Map<String, Value> {
        let mut shown = Map::new();
        let mut put = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
        put("auth-id", self.auth_id.as_str().into());
        // What was just brought counts as good.
        let state = if is_import { LoginState::Valid } else { self.state(now) };
        put("auth-state", state.as_str().into());
        put("auth-method", METHOD.into());
        put("provider", PROVIDER.into());
        put("user-id", self.user_id.as_str().into());
        put("issued-at", self.issued_at.into());
        if is_import || self.expires_at != 0 {
            put("expires-at", self.expires_at.into());
        }
        if self.revoked_at != 0 {
            put("revoked-at", self.revoked_at.into());
        }
        shown
    }

    /// The credentials file of Codex (agents.md 12.3). `now` is in milliseconds since 1970.
    pub fn auth_json(&self, now: i64, with_refresh: bool) -> String {
        let mut tokens = Map::new();
        let refresh = self.refresh_token.as_ref().filter(|_| with_refresh);
        for (name, value) in [
            ("id_token", self.id_token.as_ref()),
            ("access_token", self.access_token.as_ref()),
            ("refresh_token", refresh),
            ("account_id", self.account_id().as_ref()),
            ("token_type", self.token_type.as_ref()),
            ("scope", self.scope.as_ref()),
        ] {
            if let Some(value) = value {
                tokens.insert(name.to_owned(), value.as_str().into());
            }
        }
        tokens.insert("expires_at".to_owned(), self.expires_at.into());
        json!({"auth_mode": "chatgpt", "OPENAI_API_KEY": null, "tokens": tokens, "last_refresh": iso(now)}).to_string()
    }

    /// The account that the tokens are of, as they say without proof.
    fn account_id(&self) -> Option<String> {
        [&self.id_token, &self.access_token].into_iter().flatten().find_map(|token| {
            let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
            let claims: Value = serde_json::from_slice(&payload).ok()?;
            let account = claims.get("https://api.openai.com/auth")?.get("chatgpt_account_id")?.as_str()?;
            Some(account.to_owned())
        })
    }

    /// What a session of its user is given: everything that is shown, and the credentials file (agents.md 12.4).
    pub fn injected(&self, now: i64, with_refresh: bool) -> Value {
        let mut shown = self.shown(now, false);
        shown.insert("runtime-auth-payload".to_owned(), json!({"auth-json": self.auth_json(now, with_refresh)}));
        Value::Object(shown)
    }
}

/// Stores a login in place of the one that the user had.
pub async fn import(
    db: &impl Database,
    seal: &Seal,
    user: &str,
    auth_id: &str,
    login: &Import,
    now: i64,
) -> Result<Login, Error> {
    let sealed = |text: Option<&str>| text.map(|text| seal.seal(text, user)).transpose();
    let access = sealed(Some(login.access_token.trim()))?;
    let (refresh, id) = (sealed(login.refresh_token.as_deref())?, sealed(login.id_token.as_deref())?);
    let ends = login.ends_at(now);
    let params = [
        Param::Text(auth_id),
        Param::Text(user),
        Param::opt(access.as_deref()),
        Param::opt(refresh.as_deref()),
        Param::opt(id.as_deref()),
        Param::opt(login.token_type.as_deref()),
        Param::opt(login.scope.as_deref()),
        Param::Int(now),
        Param::Int(ends),
        Param::Int(now),
        Param::Int(now),
    ];
    db.execute(PUT, &params).await.map_err(|_| Error::ImportFailed)?;
    let kept = get(db, seal, user).await.map_err(|_| Error::ImportFailed)?;
    kept.ok_or(Error::ImportFailed)
}

/// The login of a user.
pub async fn get(db: &impl Database, seal: &Seal, user: &str) -> Result<Option<Login>, Error> {
    let internal = |error: DbError| Error::Internal(error.to_string());
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(user)]).await.map_err(internal)?;
    rows.first().map(|row| opened(row, seal, user)).transpose()
}

fn opened(row: &Row, seal: &Seal, user: &str) -> Result<Login, Error> {
    let secret = |column| row.text(column).map(|text| seal.open(text, user)).transpose();
    Ok(Login {
        auth_id: row.string(0).unwrap_or_default(),
        user_id: user.to_owned(),
        access_token: secret(1)?,
        refresh_token: secret(2)?,
        id_token: secret(3)?,
        token_type: row.string(4),
        scope: row.string(5),
        issued_at: row.int(6).unwrap_or_default(),
        expires_at: row.int(7).unwrap_or_default(),
        revoked_at: row.int(8).unwrap_or_default(),
    })
}

/// Takes a login back.
pub async fn revoke(db: &impl Database, user: &str, now: i64) -> Result<(), DbError> {
    db.execute(REVOKE, &[Param::Int(now), Param::Int(now), Param::Text(user)]).await.map(drop)
}

/// A time in milliseconds since 1970 as JavaScript writes it.
fn iso(ms: i64) -> String {
    let time =
        time::OffsetDateTime::from_unix_timestamp(ms.div_euclid(1_000)).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        ms.rem_euclid(1_000)
    )
}
