//! When to fetch the key set, and what holds until then.
//!
//! | the set is | the key is in it | |
//! |---|---|---|
//! | younger than 6 h | yes | use it |
//! | younger than 6 h | no | fetch again, at most once a minute, and once more for a token that was issued since the last fetch; in between the key is unknown |
//! | older, or missing | | fetch again |
//! | fetch failed | yes, and the set is younger than 24 h | use it |
//! | fetch failed | no | the failure; no further fetch for a second |
//!
//! One fetch runs at a time: whoever else needs it waits for what it brings. A set without any usable key never takes the
//! place of keys that verify; it is as a failed fetch, but that unknown keys are unknown.

use crate::key_set::{FetchError, Key, KeySet};
use std::sync::{Mutex, MutexGuard, PoisonError};

const FRESH_MS: i64 = 6 * 60 * 60 * 1000;
/// How long keys hold while the provider cannot be reached: long enough for an outage, short enough for a key that was
/// withdrawn.
const USABLE_MS: i64 = 24 * 60 * 60 * 1000;
/// Between two fetches for the sake of unknown keys: whoever invents key names cannot make this server hammer the
/// provider, and a new key is known within a minute. Keys may change twice in it, so a token that was issued since the last
/// fetch may cause one more: one, because anybody can write down any time of issue.
const UNKNOWN_KEY_INTERVAL_MS: i64 = 60 * 1000;
/// After a failed fetch.
const RETRY_AFTER_MS: i64 = 1000;
/// After this a fetch counts as lost, and another may begin: longer than any answer is waited for, because a request
/// whose client went away may never come back to say how its fetch went.
const FLIGHT_MS: i64 = 10_000;

/// The last key set, and how fetching went. Nothing here waits.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<State>);

#[derive(Default)]
struct State {
    set: Option<(KeySet, i64)>,
    failure: Option<(FetchError, i64)>,
    /// That the set was fetched although it was fresh.
    again: Option<Again>,
    flight: Option<Flight>,
    flights: u64,
}

/// Fetches for the sake of unknown keys.
#[derive(Clone, Copy)]
struct Again {
    /// When the minute began that they are counted in.
    since: i64,
    /// Whether there was a second one.
    twice: bool,
}

/// A key that is looked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Its name.
    pub(crate) kid: &'a str,
    /// When the token says that it was issued, in whole seconds since the epoch. Not verified.
    pub(crate) issued_at_s: Option<i64>,
}

/// A fetch that has begun.
#[derive(Clone, Copy)]
struct Flight {
    number: u64,
    since: i64,
    /// The throttle as it was before, for the case that the fetch brings nothing.
    again_before: Option<Again>,
}

/// The right to fetch, held by one caller at a time. Dropped without [`KeyCache::fetched`] it frees the way for the next
/// one.
pub(crate) struct FetchPermit<'a> {
    cache: &'a KeyCache,
    number: u64,
}

impl Drop for FetchPermit<'_> {
    fn drop(&mut self) {
        self.cache.state().land(self.number);
    }
}

/// What to do about a key.
pub(crate) enum Lookup<'a> {
    Found(Key),
    Unknown,
    Failed(FetchError),
    /// Nobody fetches: the caller is to.
    Fetch(FetchPermit<'a>),
    /// Somebody else fetches: ask again in a moment.
    Wait,
}

impl KeyCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks a key up at `now` (milliseconds).
    pub(crate) fn lookup(&self, wanted: Wanted<'_>, now: i64) -> Lookup<'_> {
        let kid = wanted.kid;
        let mut state = self.state();
        let fresh = state.set.as_ref().filter(|(_, at)| within(now, *at, FRESH_MS));
        if let Some(key) = fresh.and_then(|(set, _)| set.find(kid)) {
            return Lookup::Found(key);
        }
        if let Some((error, at)) = &state.failure
            && within(now, *at, RETRY_AFTER_MS)
        {
            return match state.without_keys(kid, error.clone(), now) {
                Ok(Some(key)) => Lookup::Found(key),
                Ok(None) => Lookup::Unknown,
                Err(error) => Lookup::Failed(error),
            };
        }
        if state.flight.is_some_and(|flight| within(now, flight.since, FLIGHT_MS)) {
            return Lookup::Wait;
        }
        let mut again = None;
        if let Some((_, fetched_at)) = fresh {
            // Times of issue are whole seconds: a token of the second of the fetch may be younger than the fetch.
            let is_newer = wanted.issued_at_s.is_some_and(|at| at >= fetched_at.div_euclid(1000));
            again = match state.again.filter(|again| within(now, again.since, UNKNOWN_KEY_INTERVAL_MS)) {
                None => Some(Again { since: now, twice: false }),
                Some(Again { since, twice: false }) if is_newer => Some(Again { since, twice: true }),
                Some(_) => return Lookup::Unknown,
            };
        }
        let number = state.begin(again, now);
        Lookup::Fetch(FetchPermit { cache: self, number })
    }

    /// Takes in what a fetch brought, and answers the question it was made for.
    pub(crate) fn fetched(
        &self,
        permit: FetchPermit<'_>,
        result: Result<KeySet, FetchError>,
        kid: &str,
        now: i64,
    ) -> Result<Option<Key>, FetchError> {
        let number = permit.number;
        let mut state = self.state();
        let outcome = match result {
            Ok(set) => {
                let key = set.find(kid);
                if state.is_under_way(number) {
                    state.flight = None;
                }
                state.set = Some((set, now));
                state.failure = None;
                Ok(key)
            }
            Err(error) => {
                state.failure = Some((error.clone(), now));
                state.land(number);
                state.without_keys(kid, error, now)
            }
        };
        // The permit's own end takes the lock once more.
        drop(state);
        drop(permit);
        outcome
    }
}

impl State {
    /// The throttle holds from here on, not from the answer: between the two many may ask.
    fn begin(&mut self, again: Option<Again>, now: i64) -> u64 {
        self.flights += 1;
        self.flight = Some(Flight { number: self.flights, since: now, again_before: self.again });
        self.again = again.or(self.again);
        self.flights
    }

    fn is_under_way(&self, number: u64) -> bool {
        self.flight.is_some_and(|flight| flight.number == number)
    }

    /// A fetch has ended without keys. A failure has a throttle of its own.
    fn land(&mut self, number: u64) {
        if let Some(flight) = self.flight.take_if(|flight| flight.number == number) {
            self.again = flight.again_before;
        }
    }

    /// What holds after a fetch that brought no keys. A provider that says it has none is not out of reach: whoever has no
    /// key that is known is refused, not failed.
    fn without_keys(&self, kid: &str, error: FetchError, now: i64) -> Result<Option<Key>, FetchError> {
        match (self.usable(kid, now), error) {
            (Some(key), _) => Ok(Some(key)),
            (None, FetchError::Useless) => Ok(None),
            (None, error) => Err(error),
        }
    }

    /// The key from a set that may be old, but not too old.
    fn usable(&self, kid: &str, now: i64) -> Option<Key> {
        let (set, at) = self.set.as_ref()?;
        within(now, *at, USABLE_MS).then(|| set.find(kid)).flatten()
    }
}

/// Whether `now` is less than `span` after `at`. A clock that went back proves nothing.
fn within(now: i64, at: i64, span: i64) -> bool {
    (0..span).contains(&(now - at))
}
