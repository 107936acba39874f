//! Remembers for a moment who may touch which graph.

use crate::digest::{self, Key};
use lru::LruCache;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

/// How long an answer is used, in milliseconds. A removed member may keep access for as long.
const FRESH_MS: i64 = 5_000;
const CAPACITY: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// The access decisions of the last five seconds (sync.md 3.4), one for a graph and a credential: a token, or a user
/// where no token is at hand.
///
/// Holds at most 256; beyond that the oldest goes. Neither reading nor writing waits for anything.
pub struct AccessCache(Mutex<LruCache<Key, Decision, keyed::Build>>);

struct Decision {
    allowed: bool,
    graph_id: Box<str>,
    at_ms: i64,
}

impl Default for AccessCache {
    fn default() -> Self {
        Self(Mutex::new(LruCache::with_hasher(CAPACITY, keyed::Build::default())))
    }
}

impl AccessCache {
    /// The decision for this graph and credential, if one was taken less than five seconds before `now_ms`.
    pub fn get(&self, graph_id: &str, credential: &str, now_ms: i64) -> Option<bool> {
        let key = digest::of_pair(graph_id, credential);
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Reading does not renew a decision. The oldest decision is dropped first, so expired ones go before others.
        let decision = cache.peek(&key)?;
        (0..FRESH_MS).contains(&(now_ms - decision.at_ms)).then_some(decision.allowed)
    }

    /// Stores a decision made at `now_ms`.
    pub fn put(&self, graph_id: &str, credential: &str, allowed: bool, now_ms: i64) {
        let key = digest::of_pair(graph_id, credential);
        let decision = Decision { allowed, graph_id: graph_id.into(), at_ms: now_ms };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, decision);
    }

    /// Drops all decisions about a graph. Called after this process has changed its members.
    pub fn forget_graph(&self, graph_id: &str) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<Key> =
            cache.iter().filter(|(_, decision)| *decision.graph_id == *graph_id).map(|(key, _)| *key).collect();
        for key in keys {
            cache.pop(&key);
        }
    }
}

impl fmt::Debug for AccessCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessCache(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outcomes_hold_for_five_seconds() {
        let cache = AccessCache::default();
        cache.put("g", "yes", true, 1_000);
        cache.put("g", "no", false, 1_000);
        assert_eq!((cache.get("g", "yes", 5_999), cache.get("g", "no", 5_999)), (Some(true), Some(false)));
        assert_eq!((cache.get("g", "yes", 6_000), cache.get("g", "no", 6_000)), (None, None));
        assert_eq!(cache.get("g", "yes", 999), None, "a clock that went back proves nothing");
        assert_eq!((cache.get("gy", "es", 1_000), cache.get("h", "yes", 1_000)), (None, None));
    }

    #[test]
    fn the_oldest_decision_goes_first() {
        let cache = AccessCache::default();
        for i in 0..256 {
            cache.put("g", &i.to_string(), true, i);
        }
        assert_eq!(cache.get("g", "0", 256), Some(true));
        cache.put("g", "new", true, 256);
        assert_eq!(cache.get("g", "0", 256), None);
        assert_eq!(cache.get("g", "1", 256), Some(true));
    }

    #[test]
    fn a_change_of_members_is_seen_at_once() {
        let cache = AccessCache::default();
        cache.put("g", "t", true, 0);
        cache.put("h", "t", true, 0);
        cache.forget_graph("g");
        assert_eq!((cache.get("g", "t", 0), cache.get("h", "t", 0)), (None, Some(true)));
    }
}
