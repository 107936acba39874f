//! When to fetch the key set, and what holds until then.
//!
//! | the set is | the key is in it | |
//! |---|---|---|
//! | younger than 6 h | yes | use it |
//! | younger than 6 h | no | fetch again, at most once a minute; in between the key is unknown |
//! | older, or missing | | fetch again |
//! | fetch failed | yes, and the set is younger than 24 h | use it |
//! | fetch failed | no | the failure; no further fetch for a second |

use crate::key_set::{FetchError, Key, KeySet};
use std::sync::{Mutex, PoisonError};

const FRESH_MS: i64 = 6 * 60 * 60 * 1000;
/// How long keys hold while the provider cannot be reached: long enough for an outage, short enough for a key that was
/// withdrawn.
const USABLE_MS: i64 = 24 * 60 * 60 * 1000;
/// Between two fetches for the sake of unknown keys: whoever invents key names cannot make this server hammer the
/// provider, and a new key is known within a minute.
const UNKNOWN_KEY_INTERVAL_MS: i64 = 60 * 1000;
/// After a failed fetch.
const RETRY_AFTER_MS: i64 = 1000;

/// The last key set, and how fetching went. Nothing here waits.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<State>);

#[derive(Default)]
struct State {
    set: Option<(KeySet, i64)>,
    failure: Option<(FetchError, i64)>,
    /// When the set was last fetched although it was fresh.
    again_at: Option<i64>,
}

/// What to do about a key.
pub(crate) enum Lookup {
    Found(Key),
    Unknown,
    Failed(FetchError),
    /// `again`: the set is fresh, and fetched only for this key.
    Fetch {
        again: bool,
    },
}

impl KeyCache {
    /// Looks a key up at `now` (milliseconds).
    pub(crate) fn lookup(&self, kid: &str, now: i64) -> Lookup {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |at: i64, span: i64| (0..span).contains(&(now - at));
        let fresh = state.set.as_ref().filter(|(_, at)| within(*at, FRESH_MS));
        if let Some(key) = fresh.and_then(|(set, _)| set.find(kid)) {
            return Lookup::Found(key);
        }
        if let Some((error, at)) = &state.failure
            && within(*at, RETRY_AFTER_MS)
        {
            return state.usable(kid, now).map_or_else(|| Lookup::Failed(error.clone()), Lookup::Found);
        }
        let again = fresh.is_some();
        let lately = state.again_at.is_some_and(|at| within(at, UNKNOWN_KEY_INTERVAL_MS));
        if again && lately { Lookup::Unknown } else { Lookup::Fetch { again } }
    }

    /// Takes in what a fetch brought, and answers the question it was made for.
    pub(crate) fn fetched(
        &self,
        result: Result<KeySet, FetchError>,
        kid: &str,
        again: bool,
        now: i64,
    ) -> Result<Option<Key>, FetchError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(set) => {
                let key = set.find(kid);
                if again {
                    state.again_at = Some(now);
                }
                state.set = Some((set, now));
                state.failure = None;
                Ok(key)
            }
            Err(error) => {
                state.failure = Some((error.clone(), now));
                state.usable(kid, now).map(Some).ok_or(error)
            }
        }
    }
}

impl State {
    /// The key from a set that may be old, but not too old.
    fn usable(&self, kid: &str, now: i64) -> Option<Key> {
        let (set, at) = self.set.as_ref()?;
        (0..USABLE_MS).contains(&(now - at)).then(|| set.find(kid)).flatten()
    }
}
