//! The rows of users: what their claims say, written when it changed (sync.md 8.3).

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use database::{Database, Param, ReadFrom};
use lru::LruCache;

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

struct Seen {
    email: Option<String>,
    email_verified: Option<bool>,
    username: Option<String>,
    at_ms: i64,
}

impl Seen {
    /// True when writing `user` would change nothing: every claim that is present equals the value written last.
    fn covers(&self, user: &User<'_>) -> bool {
        user.email.is_none_or(|email| self.email.as_deref() == Some(email))
            && user.email_verified.is_none_or(|verified| self.email_verified == Some(verified))
            && user.username.is_none_or(|name| self.username.as_deref() == Some(name))
    }

    fn merge(&mut self, user: &User<'_>, now_ms: i64) {
        // As in the statement below: a flag that belongs to the old address does not count for a new one.
        let same_address = user.email.is_none_or(|email| self.email.as_deref() == Some(email));
        self.email_verified = user.email_verified.or(self.email_verified.filter(|_| same_address));
        if let Some(email) = user.email {
            self.email = Some(email.to_owned());
        }
        if let Some(name) = user.username {
            self.username = Some(name.to_owned());
        }
        self.at_ms = now_ms;
    }
}

/// Remembers which users were written lately. There is one for each isolate or process.
pub struct UserThrottle(Mutex<LruCache<String, Seen, keyed::Build>>);

impl Default for UserThrottle {
    fn default() -> Self {
        Self(Mutex::new(LruCache::with_hasher(THROTTLE_CAPACITY, keyed::Build::default())))
    }
}

impl UserThrottle {
    /// True when the user was written less than the throttle's time ago with the same values; renews that time.
    fn renew(&self, user: &User<'_>, now_ms: i64) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(user.id) {
            Some(entry) if entry.covers(user) && now_ms - entry.at_ms < THROTTLE_MS => {
                entry.at_ms = now_ms;
                true
            }
            _ => false,
        }
    }

    fn remember(&self, user: &User<'_>, now_ms: i64) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = seen.get_mut(user.id) {
            entry.merge(user, now_ms);
        } else {
            let mut entry = Seen { email: None, email_verified: None, username: None, at_ms: now_ms };
            entry.merge(user, now_ms);
            seen.put(user.id.to_owned(), entry);
        }
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
// whether an unverified row is the only one.
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
