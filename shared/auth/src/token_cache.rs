//! Tokens whose signature was verified, so that it is verified once.

use crate::Claims;
use crate::digest::{self, Key};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// How long a verified token is believed: also how long it outlives a key that was withdrawn.
const FRESH_MS: i64 = 60 * 60 * 1000;
/// Tokens kept; beyond that the one unused for longest goes (D-22).
const CAPACITY: NonZeroUsize = NonZeroUsize::new(200).unwrap();

/// The claims of verified tokens.
pub(crate) struct TokenCache(Mutex<LruCache<Key, (Claims, i64)>>);

impl Default for TokenCache {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(CAPACITY)))
    }
}

impl TokenCache {
    /// The claims of a token verified less than an hour before `now` (milliseconds), unless it has expired since.
    pub(crate) fn get(&self, token: &str, now: i64) -> Option<Claims> {
        let key = digest::of(token);
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (claims, at) = cache.get(&key)?;
        if (0..FRESH_MS).contains(&(now - *at)) && claims.exp().is_some_and(|exp| exp > seconds(now)) {
            return Some(claims.clone());
        }
        cache.pop(&key);
        None
    }

    /// Keeps the claims of a token verified at `now`, if it says when it expires.
    pub(crate) fn put(&self, token: &str, claims: &Claims, now: i64) {
        if claims.exp().is_some() {
            let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            cache.put(digest::of(token), (claims.clone(), now));
        }
    }
}

/// Whole seconds, in the type of the claims that they are compared with.
#[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are far below 2^53")]
pub(crate) fn seconds(now_ms: i64) -> f64 {
    now_ms.div_euclid(1000) as f64
}
