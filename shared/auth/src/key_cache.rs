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
//! One fetch runs at a time; other callers wait for its result. A set without a usable key never replaces keys that
//! verify. It is treated like a failed fetch, except that a token with an unknown key is refused instead of failing.

use crate::key_set::{FetchError, Key, KeySet};
use std::sync::{Mutex, MutexGuard, PoisonError};

const FRESH_MS: i64 = 6 * 60 * 60 * 1000;
/// How long keys hold while the provider cannot be reached: long enough for an outage, short enough for a key that was
/// withdrawn.
const USABLE_MS: i64 = 24 * 60 * 60 * 1000;
/// The time between two fetches because of unknown keys. Somebody who invents key names cannot make this server flood
/// the provider, and a new key is known within a minute. Keys may change twice within a minute, so a token that says it
/// was issued after the last fetch may cause one more fetch; only one, because a token can claim any time of issue.
const UNKNOWN_KEY_INTERVAL_MS: i64 = 60 * 1000;
/// The time between a failed fetch and the next one.
const RETRY_AFTER_MS: i64 = 1000;
/// After this time a fetch counts as lost and another may begin. It is longer than any answer is waited for. A fetch
/// can be lost because the request that began it was cancelled when its client went away.
const FLIGHT_MS: i64 = 10_000;

/// The last key set, and the state of fetching. No method here waits.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<State>);

#[derive(Default)]
struct State {
    set: Option<(KeySet, i64)>,
    failure: Option<(FetchError, i64)>,
    /// Fetches that were made although the set was fresh.
    again: Option<Again>,
    flight: Option<Flight>,
    flights: u64,
}

/// Fetches because of unknown keys.
#[derive(Clone, Copy)]
struct Again {
    /// When the current minute began.
    since: i64,
    /// Whether the second fetch of this minute was made.
    twice: bool,
}

/// A key to look up.
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
    /// The throttle as it was before; it is restored when the fetch brings nothing.
    again_before: Option<Again>,
}

/// The right to fetch, held by one caller at a time. When it is dropped without [`KeyCache::fetched`], another caller
/// may fetch.
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
    /// Nobody is fetching: the caller has to.
    Fetch(FetchPermit<'a>),
    /// Another caller is fetching: ask again in a moment.
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
            // Times of issue are whole seconds. A token issued in the same second as the fetch may be newer than the
            // fetch.
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

    /// Stores the result of a fetch, and gives the key that the fetch was made for.
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
        // Dropping the permit takes the lock again, so it must be free by then.
        drop(state);
        drop(permit);
        outcome
    }
}

impl State {
    /// The throttle counts from the beginning of the fetch, not from its answer: many callers may ask in between.
    fn begin(&mut self, again: Option<Again>, now: i64) -> u64 {
        self.flights += 1;
        self.flight = Some(Flight { number: self.flights, since: now, again_before: self.again });
        self.again = again.or(self.again);
        self.flights
    }

    fn is_under_way(&self, number: u64) -> bool {
        self.flight.is_some_and(|flight| flight.number == number)
    }

    /// A fetch has ended without keys. Failed fetches have their own throttle.
    fn land(&mut self, number: u64) {
        if let Some(flight) = self.flight.take_if(|flight| flight.number == number) {
            self.again = flight.again_before;
        }
    }

    /// The answer after a fetch that brought no keys. A provider that publishes a set without keys was reachable: a
    /// token with an unknown key is then refused (401) and is no failure (500).
    fn without_keys(&self, kid: &str, error: FetchError, now: i64) -> Result<Option<Key>, FetchError> {
        match (self.usable(kid, now), error) {
            (Some(key), _) => Ok(Some(key)),
            (None, FetchError::Useless) => Ok(None),
            (None, error) => Err(error),
        }
    }

    /// The key from the last set, if that set is younger than 24 hours.
    fn usable(&self, kid: &str, now: i64) -> Option<Key> {
        let (set, at) = self.set.as_ref()?;
        within(now, *at, USABLE_MS).then(|| set.find(kid)).flatten()
    }
}

/// Whether `now` is less than `span` after `at`. False when the clock went back.
fn within(now: i64, at: i64, span: i64) -> bool {
    (0..span).contains(&(now - at))
}
