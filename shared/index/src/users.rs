//! The rows of users: what their claims say, written when it has changed (sync.md 8.3).

use std::num::NonZeroUsize;

use database::{Database, Param, ReadFrom};
use keyed::Cache;

use crate::Error;

/// How long a user whose claims did not change is not written again. Each request renews this time.
const THROTTLE_MS: i64 = 60 * 60 * 1000;

/// How many users the throttle remembers.
const THROTTLE_CAPACITY: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// What the claims say about a user. An absent claim leaves the stored column as it is (D-11): access tokens carry no
/// e-mail address.
#[derive(Clone, Copy, Debug, Default)]
pub struct User<'a> {
    /// The subject.
    pub id: &'a str,
    /// The e-mail address.
    pub email: Option<&'a str>,
    /// Whether the identity provider has verified the address.
    pub email_verified: Option<bool>,
    /// The name to show.
    pub username: Option<&'a str>,
}

/// What was written about a user, as far as claims told it.
#[derive(Clone, Debug, Default)]
struct Seen {
    email: Option<String>,
    email_verified: Option<bool>,
    username: Option<String>,
}

impl Seen {
    /// True when writing `user` would change nothing: every claim that is present equals the value written last.
    fn covers(&self, user: &User<'_>) -> bool {
        user.email.is_none_or(|email| self.email.as_deref() == Some(email))
            && user.email_verified.is_none_or(|verified| self.email_verified == Some(verified))
            && user.username.is_none_or(|name| self.username.as_deref() == Some(name))
    }

    fn merge(&mut self, user: &User<'_>) {
        // As in the statement below: a flag that belongs to the old address does not count for a new one.
        let same_address = user.email.is_none_or(|email| self.email.as_deref() == Some(email));
        self.email_verified = user.email_verified.or(self.email_verified.filter(|_| same_address));
        if let Some(email) = user.email {
            self.email = Some(email.to_owned());
        }
        if let Some(name) = user.username {
            self.username = Some(name.to_owned());
        }
    }
}

/// Remembers which users were written lately. There is one for each isolate or process.
#[derive(Debug)]
pub struct UserThrottle(Cache<String, Seen>);

impl Default for UserThrottle {
    fn default() -> Self {
        Self(Cache::new(THROTTLE_CAPACITY))
    }
}

impl UserThrottle {
    /// True when the user was written less than the throttle's time ago with the same values; renews that time.
    fn renew(&self, user: &User<'_>, now_ms: i64) -> bool {
        let covering = self.0.get(user.id, now_ms).filter(|seen| seen.covers(user));
        let is_covered = covering.is_some();
        if let Some(seen) = covering {
            self.put(user, seen, now_ms);
        }
        is_covered
    }

    fn remember(&self, user: &User<'_>, now_ms: i64) {
        let mut seen = self.0.get(user.id, now_ms).unwrap_or_default();
        seen.merge(user);
        self.put(user, seen, now_ms);
    }

    fn put(&self, user: &User<'_>, seen: Seen, now_ms: i64) {
        self.0.put(user.id.to_owned(), seen, now_ms..now_ms.saturating_add(THROTTLE_MS));
    }
}

// The flag "verified" belongs to the address. When the address changes, the flag is cleared.
const UPSERT: &str = "INSERT INTO users (id, email, email_verified, username, created_at) VALUES (?, ?, ?, ?, ?) \
    ON CONFLICT(id) DO UPDATE SET email = COALESCE(excluded.email, users.email), \
    email_verified = CASE WHEN excluded.email IS NOT NULL AND excluded.email IS NOT users.email \
    THEN excluded.email_verified ELSE COALESCE(excluded.email_verified, users.email_verified) END, \
    username = COALESCE(excluded.username, users.username), \
    created_at = COALESCE(users.created_at, excluded.created_at)";

// Verified rows first, then the oldest; a row without a time is older than that column. Two rows are enough to see
// whether a row without the flag is the only one.
const BY_EMAIL: &str = "SELECT id, email_verified FROM users \
    WHERE email = ? AND (email_verified IS NULL OR email_verified <> 0) \
    ORDER BY email_verified IS NULL, created_at, rowid LIMIT 2";

/// Writes what the claims say, unless the same was written within the hour.
pub async fn upsert(db: &impl Database, throttle: &UserThrottle, user: &User<'_>, now_ms: i64) -> Result<(), Error> {
    if throttle.renew(user, now_ms) {
        return Ok(());
    }
    let params = [
        Param::Text(user.id),
        Param::opt(user.email),
        user.email_verified.map_or(Param::Null, Param::flag),
        Param::opt(user.username),
        Param::Int(now_ms),
    ];
    db.execute(UPSERT, &params).await?;
    throttle.remember(user, now_ms);
    Ok(())
}

/// The id of the user to whom this e-mail address belongs (D-42): the oldest user whose address is verified. If there
/// is none: the user for whom it is not known, if there is only one such user. A user whose address is known to be
/// unverified is never found.
pub async fn id_by_email(db: &impl Database, email: &str) -> Result<Option<String>, Error> {
    let rows = db.query(ReadFrom::Primary, BY_EMAIL, &[Param::Text(email)]).await?;
    Ok(match rows.as_slice() {
        [first, ..] if first.int(1).is_some() => first.string(0),
        [only] => only.string(0),
        _ => None,
    })
}

const VERIFIED_EMAIL: &str = "SELECT email FROM users WHERE id = ? AND email_verified <> 0";

/// The verified e-mail address of a user, as it was told last.
pub async fn verified_email(db: &impl Database, id: &str) -> Result<Option<String>, Error> {
    let rows = db.query(ReadFrom::Primary, VERIFIED_EMAIL, &[Param::Text(id)]).await?;
    Ok(rows.first().and_then(|row| row.string(0)))
}
