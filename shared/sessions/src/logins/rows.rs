//! The rows of logins (agents.md 12.2, 12.3): one a user. Tokens lie sealed, bound to the user.

use database::{Database, DbError, Param, ReadFrom, Row};

use super::{Login, Tokens};
use crate::error::Error;
use crate::request::Import;
use crate::secrets::Seal;

const UPSERT: &str = "INSERT INTO managed_auth_sessions (auth_id, user_id, provider, auth_method, access_token, \
    refresh_token, id_token, token_type, scope, issued_at, expires_at, created_at, updated_at, revoked_at) \
    VALUES (?, ?, 'openai', 'chatgpt', ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL) \
    ON CONFLICT(user_id, provider, auth_method) DO UPDATE SET auth_id = excluded.auth_id, \
    access_token = excluded.access_token, refresh_token = excluded.refresh_token, id_token = excluded.id_token, \
    token_type = excluded.token_type, scope = excluded.scope, issued_at = excluded.issued_at, \
    expires_at = excluded.expires_at, updated_at = excluded.updated_at, revoked_at = NULL";

const GET: &str = "SELECT auth_id, user_id, issued_at, expires_at, revoked_at, token_type, scope, access_token, \
    refresh_token, id_token FROM managed_auth_sessions \
    WHERE user_id = ? AND provider = 'openai' AND auth_method = 'chatgpt' ORDER BY updated_at DESC LIMIT 1";

// A login that was taken back opens nothing any more: its tokens are not kept.
const REVOKE: &str = "UPDATE managed_auth_sessions SET revoked_at = ?, updated_at = ?, access_token = NULL, \
    refresh_token = NULL, id_token = NULL WHERE user_id = ? AND COALESCE(revoked_at, 0) = 0";

// Nobody has tried since the tokens came, or whoever tried has had time enough to be done.
const CLAIM: &str = "UPDATE managed_auth_sessions SET updated_at = ? WHERE user_id = ? AND auth_id = ? \
    AND COALESCE(revoked_at, 0) = 0 AND issued_at = ? AND (updated_at = issued_at OR updated_at <= ?)";

const RENEW: &str = "UPDATE managed_auth_sessions SET access_token = ?, refresh_token = ?, id_token = ?, token_type = ?, \
    scope = ?, issued_at = ?, expires_at = ?, updated_at = ? \
    WHERE user_id = ? AND auth_id = ? AND issued_at = ? AND COALESCE(revoked_at, 0) = 0";

/// How long whoever renews a login is waited for, in milliseconds.
const CLAIM_MS: i64 = 30_000;

/// Stores a login in place of the one that was known.
///
/// # Errors
/// [`Error::SecretsKey`], [`Error::ImportFailed`] when the database fails.
pub async fn import(
    db: &impl Database,
    seal: &Seal,
    user: &str,
    import: &Import,
    auth_id: &str,
    now: i64,
) -> Result<Login, Error> {
    let tokens = Tokens {
        access_token: Some(import.access_token.clone()),
        refresh_token: import.refresh_token.clone(),
        id_token: import.id_token.clone(),
        token_type: import.token_type.clone(),
        scope: import.scope.clone(),
    };
    let expires_at = import.ends_at(now);
    let sealed = Sealed::of(&tokens, seal, user)?;
    let [access, refresh, id] = sealed.params();
    let (token_type, scope) = (Param::opt(tokens.token_type.as_deref()), Param::opt(tokens.scope.as_deref()));
    let (time, auth, owner) = (Param::Int(now), Param::Text(auth_id), Param::Text(user));
    let row = [auth, owner, access, refresh, id, token_type, scope, time, Param::Int(expires_at), time, time];
    db.execute(UPSERT, &row).await.map_err(|_| Error::ImportFailed)?;
    Ok(Login {
        auth_id: auth_id.to_owned(),
        user_id: user.to_owned(),
        issued_at: now,
        expires_at,
        revoked_at: 0,
        tokens: Tokens::default(),
    })
}

/// The login of a user, without its tokens.
pub async fn read(db: &impl Database, user: &str) -> Result<Option<Login>, DbError> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(user)]).await?;
    Ok(rows.first().and_then(login_of))
}

/// The login of a user, with its tokens.
///
/// # Errors
/// [`Error::Internal`] when the database fails or a token does not open.
pub async fn open(db: &impl Database, seal: &Seal, user: &str) -> Result<Option<Login>, Error> {
    let rows = db.query(ReadFrom::Primary, GET, &[Param::Text(user)]).await?;
    let Some((row, login)) = rows.first().and_then(|row| Some((row, login_of(row)?))) else { return Ok(None) };
    let opened = |column| filled(row, column).map(|stored| seal.open(stored, user)).transpose();
    let tokens = Tokens {
        access_token: opened(7)?,
        refresh_token: opened(8)?,
        id_token: opened(9)?,
        token_type: filled(row, 5).map(str::to_owned),
        scope: filled(row, 6).map(str::to_owned),
    };
    Ok(Some(Login { tokens, ..login }))
}

/// Takes the login of a user back. There need not be one.
pub async fn revoke(db: &impl Database, user: &str, now: i64) -> Result<(), DbError> {
    db.execute(REVOKE, &[Param::Int(now), Param::Int(now), Param::Text(user)]).await?;
    Ok(())
}

/// Whether the caller is the one who renews this login now: a refresh token is good for one renewal only.
pub(super) async fn claim(db: &impl Database, login: &Login, now: i64) -> Result<bool, DbError> {
    let params = [
        Param::Int(now),
        Param::Text(&login.user_id),
        Param::Text(&login.auth_id),
        Param::Int(login.issued_at),
        Param::Int(now.saturating_sub(CLAIM_MS)),
    ];
    Ok(db.execute(CLAIM, &params).await? > 0)
}

/// Stores renewed tokens, unless another login was imported meanwhile or this one was taken back.
pub(super) async fn renew(
    db: &impl Database,
    seal: &Seal,
    before: &Login,
    tokens: &Tokens,
    expires_at: i64,
    now: i64,
) -> Result<bool, Error> {
    let sealed = Sealed::of(tokens, seal, &before.user_id)?;
    let [access, refresh, id] = sealed.params();
    let params = [
        access,
        refresh,
        id,
        Param::opt(tokens.token_type.as_deref()),
        Param::opt(tokens.scope.as_deref()),
        Param::Int(now),
        Param::Int(expires_at),
        Param::Int(now),
        Param::Text(&before.user_id),
        Param::Text(&before.auth_id),
        Param::Int(before.issued_at),
    ];
    Ok(db.execute(RENEW, &params).await? > 0)
}

struct Sealed {
    access: Option<String>,
    refresh: Option<String>,
    id: Option<String>,
}

impl Sealed {
    fn of(tokens: &Tokens, seal: &Seal, user: &str) -> Result<Self, Error> {
        let sealed = |token: &Option<String>| token.as_deref().map(|token| seal.seal(token, user)).transpose();
        Ok(Self {
            access: sealed(&tokens.access_token)?,
            refresh: sealed(&tokens.refresh_token)?,
            id: sealed(&tokens.id_token)?,
        })
    }

    fn params(&self) -> [Param<'_>; 3] {
        [&self.access, &self.refresh, &self.id].map(|token| Param::opt(token.as_deref()))
    }
}

fn filled(row: &Row, column: usize) -> Option<&str> {
    row.text(column).filter(|text| !text.is_empty())
}

fn login_of(row: &Row) -> Option<Login> {
    Some(Login {
        auth_id: row.string(0)?,
        user_id: row.string(1)?,
        issued_at: row.int(2).unwrap_or_default(),
        expires_at: row.int(3).unwrap_or_default(),
        revoked_at: row.int(4).unwrap_or_default(),
        tokens: Tokens::default(),
    })
}
