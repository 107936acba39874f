//! Stored tokens in memory, as requests are checked against them. A second after the file has changed they are read again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ::auth::{Claims, StoredTokens};
use database::local_sqlite::Journal;
use tokio::time::{MissedTickBehavior, interval};
use web::{Event, Host as _, Level};

use super::token;
use super::users::{Entry, Users, UsersError, hash};
use crate::host::{NativeHost, now_ms};

/// How often the file is looked at. A revocation is to count within two seconds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The tokens that count, and those that were used since the file was told.
pub(crate) struct Stored {
    path: PathBuf,
    journal: Journal,
    entries: RwLock<keyed::Map<String, Entry>>,
    used: Mutex<BTreeSet<String>>,
    /// The file stays open: a full disk lets nobody open it, and a revocation has to be read all the same.
    open: Mutex<Option<Users>>,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl Stored {
    /// The tokens of a file, which has this journal from now on.
    pub(crate) fn open(path: PathBuf, journal: Journal) -> Result<Arc<Self>, UsersError> {
        let stored = Self { path, journal, entries: RwLock::default(), used: Mutex::default(), open: Mutex::default() };
        stored.load()?;
        Ok(Arc::new(stored))
    }

    /// Whether anybody has a token.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Reads the file; gives the ids of tokens that do not count any more, and notes which were used.
    fn load(&self) -> Result<Vec<String>, UsersError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // One that fails is opened anew.
        let users = match open.take() {
            Some(users) => users,
            None => Users::open_with(&self.path, self.journal)?,
        };
        let fresh: keyed::Map<String, Entry> =
            users.entries()?.into_iter().map(|entry| (entry.token_id.clone(), entry)).collect();
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let gone = entries.keys().filter(|id| !fresh.contains_key(*id)).cloned().collect();
        *entries = fresh;
        drop(entries);
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let now = crate::log::now();
        let day = now.get(..10).unwrap_or_default();
        // When a token was used is for the operator to know; a disk that does not take it keeps no token in force.
        let _ = used.iter().try_for_each(|id| users.note_use(id, day));
        *open = Some(users);
        Ok(gone)
    }

    /// Looks at the file now and then; `revoked` is told which tokens do not count any more.
    pub(crate) async fn watch(self: Arc<Self>, host: NativeHost, revoked: impl AsyncFn(Arc<[String]>)) {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let stored = Arc::clone(&self);
            let gone = match tokio::task::spawn_blocking(move || stored.load()).await {
                Ok(Ok(gone)) => gone,
                Ok(Err(error)) => {
                    host.report(&Event::new(Level::Error, "db-sync/users-failed").with_error(&error.to_string()));
                    continue;
                }
                Err(_) => return,
            };
            if !gone.is_empty() {
                revoked(gone.into()).await;
            }
        }
    }
}

impl StoredTokens for Stored {
    fn is_one(&self, text: &str) -> bool {
        token::id(text).is_some()
    }

    fn claims(&self, text: &str) -> Option<Claims> {
        let id = token::id(text)?;
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(id)?;
        let is_it: bool = subtle::ConstantTimeEq::ct_eq(&*entry.hash, &hash(text)[..]).into();
        if !is_it || entry.expires_at.is_some_and(|end| end <= now_ms()) {
            return None;
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
        Some(Claims::of_stored_user(&entry.user_id, entry.email.as_deref(), &entry.username))
    }
}

#[cfg(test)]
mod tests {
    use super::super::users::NewUser;
    use super::*;

    #[test]
    fn a_token_counts_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("self-host.sqlite");
        let mut users = Users::open(&path).unwrap();
        let user = NewUser { username: "ann".into(), email: Some("ann@example.org".into()), ..NewUser::default() };
        let (user_id, new) = users.add(&user).unwrap();
        let stored = Stored::open(path, Journal::WriteAhead).unwrap();
        let claims = stored.claims(&new.token).unwrap();
        assert_eq!(
            (claims.sub(), claims.email(), claims.username()),
            (Some(&*user_id), Some("ann@example.org"), Some("ann"))
        );
        assert_eq!(claims.email_verified(), Some(true));
        for forged in [format!("{}x", new.token), new.token.replace("lgs_", "lgt_"), format!("lgs_{}_x", new.token_id)]
        {
            assert!(stored.claims(&forged).is_none(), "{forged}");
        }
        assert!(stored.load().unwrap().is_empty());
        assert!(users.list().unwrap()[0].tokens[0].last_used_day.is_some(), "its use was noted");
        users.revoke("ann", None).unwrap();
        assert_eq!(stored.load().unwrap(), [new.token_id]);
        assert!(stored.claims(&new.token).is_none());
    }
}
