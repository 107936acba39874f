//! What is remembered of tokens: whose they are, and which graphs they open.
//!
//! The keys are SHA-256 digests: they are of one size, and a cache holds no tokens.

use std::num::NonZeroUsize;

use keyed::Cache;
use sha2::{Digest, Sha256};

use crate::Claims;

/// How long a verified token counts without being verified again. It counts for as long after its key was withdrawn.
const TOKEN_MS: i64 = 60 * 60 * 1000;
/// Tokens kept (D-22).
const TOKENS: NonZeroUsize = NonZeroUsize::new(200).unwrap();

/// How long a decision is used. A removed member may keep access for as long.
const DECISION_MS: i64 = 5_000;
/// Decisions kept.
const DECISIONS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

type Key = [u8; 32];

/// The claims of tokens whose signature was verified, so that it is verified once.
#[derive(Debug)]
pub(crate) struct TokenCache(Cache<Key, Claims>);

impl Default for TokenCache {
    fn default() -> Self {
        Self(Cache::new(TOKENS))
    }
}

impl TokenCache {
    /// Forgets all of them.
    pub(crate) fn forget(&self) {
        self.0.retain(|_| false);
    }

    /// The claims of a token verified less than an hour before `now` (milliseconds), unless it has expired since.
    pub(crate) fn get(&self, token: &str, now: i64) -> Option<Claims> {
        self.0.get(&digest(token), now)
    }

    /// Keeps the claims of a token verified at `now`, if it says when it expires.
    pub(crate) fn put(&self, token: &str, claims: &Claims, now: i64) {
        let Some(exp) = claims.exp() else { return };
        #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
        let end = (exp.ceil() as i64).saturating_mul(1000);
        self.0.put(digest(token), claims.clone(), now..end.min(now.saturating_add(TOKEN_MS)));
    }
}

/// The access decisions of the last five seconds (sync.md 3.4). Each is about a graph and a credential: a token, or a
/// user where no token is at hand.
#[derive(Debug)]
pub struct AccessCache(Cache<Key, Decision>);

#[derive(Clone)]
struct Decision {
    allowed: bool,
    graph_id: Box<str>,
}

impl Default for AccessCache {
    fn default() -> Self {
        Self(Cache::new(DECISIONS))
    }
}

impl AccessCache {
    /// The decision for this graph and credential, if one was taken less than five seconds before `now_ms`.
    pub fn get(&self, graph_id: &str, credential: &str, now_ms: i64) -> Option<bool> {
        self.0.get(&digest_of_pair(graph_id, credential), now_ms).map(|decision| decision.allowed)
    }

    /// Stores a decision made at `now_ms`.
    pub fn put(&self, graph_id: &str, credential: &str, allowed: bool, now_ms: i64) {
        let decision = Decision { allowed, graph_id: graph_id.into() };
        self.0.put(digest_of_pair(graph_id, credential), decision, now_ms..now_ms.saturating_add(DECISION_MS));
    }

    /// Drops all decisions about a graph. Called after this process has changed its members.
    pub fn forget_graph(&self, graph_id: &str) {
        self.0.retain(|decision| *decision.graph_id != *graph_id);
    }

    /// Drops all decisions. Called after tokens were revoked.
    pub fn forget_all(&self) {
        self.0.retain(|_| false);
    }
}

fn digest(text: &str) -> Key {
    Sha256::digest(text).into()
}

/// One key of two texts; ("ab", "c") and ("a", "bc") have different ones.
fn digest_of_pair(first: &str, second: &str) -> Key {
    Sha256::new().chain_update(digest(first)).chain_update(second).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    fn claims(exp: impl Into<Value>) -> Claims {
        Claims::new(Map::from_iter([("exp".to_owned(), exp.into())]))
    }

    #[test]
    fn a_token_holds_until_its_end_and_no_longer_than_an_hour() {
        let cache = TokenCache::default();
        let holds = |exp: f64, now| {
            cache.put("t", &claims(exp), 1_000);
            cache.get("t", now).is_some()
        };
        assert!(holds(2.0, 1_999) && !holds(2.0, 2_000));
        assert!(holds(2.5, 2_999) && !holds(2.5, 3_000), "the end of the second counts");
        assert!(!holds(1.0, 1_000) && !holds(-1e300, 1_000));
        for exp in [1e6, 1e300] {
            assert!(holds(exp, 1_000 + TOKEN_MS - 1) && !holds(exp, 1_000 + TOKEN_MS), "{exp}");
        }
        cache.put("text", &claims("2"), 1_000);
        assert!(cache.get("text", 1_000).is_none());
    }

    #[test]
    fn two_hundred_tokens_are_kept() {
        let cache = TokenCache::default();
        for i in 0..=200 {
            cache.put(&i.to_string(), &claims(2), 1_000);
        }
        let known = |token: &str| cache.get(token, 1_000).is_some();
        assert!(!known("0") && known("1") && known("200"));
    }

    #[test]
    fn both_outcomes_hold_for_five_seconds() {
        let cache = AccessCache::default();
        cache.put("g", "yes", true, 1_000);
        cache.put("g", "no", false, 1_000);
        assert_eq!((cache.get("gy", "es", 1_000), cache.get("h", "yes", 1_000)), (None, None));
        assert_eq!((cache.get("g", "yes", 5_999), cache.get("g", "no", 5_999)), (Some(true), Some(false)));
        assert_eq!((cache.get("g", "yes", 6_000), cache.get("g", "no", 6_000)), (None, None));
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
