//! Hash maps, sets and caches over what clients choose.
//!
//! A client that knows the hash function can send keys that all fall into one slot. Every look-up then walks over all
//! of them, and n keys cost n² steps. So keys that clients choose are hashed with a secret that is drawn once a
//! process. The standard library's `RandomState` is not enough: on `wasm32-unknown-unknown` it has no randomness, and
//! its secret is the same in every process. Numbers that the server gives out itself (entity ids, addresses) need none
//! of this.
//!
//! Nothing that is stored or sent may depend on these hashes: they differ from one process to the next.

mod cache;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::{FoldHasher, SeedableRandomState};

pub use cache::Cache;

/// A map whose keys come from clients.
pub type Map<K, V> = HashMap<K, V, Build>;
/// A set whose members come from clients.
pub type Set<T> = HashSet<T, Build>;

/// Makes hashers with this process's secret: all of them give the same hash for the same key.
#[derive(Clone, Debug)]
pub struct Build(SeedableRandomState);

struct Secret {
    shared: SharedSeed,
    own: u64,
}

/// Drawn at the first use: outside of a request, Workers give no random bytes.
static SECRET: LazyLock<Secret> = LazyLock::new(|| Secret { shared: SharedSeed::from_u64(random()), own: random() });

/// 64 random bits, for what must differ and need not be secret. Where the platform gives no random bytes, the standard
/// library's own hash state is used instead: it is weaker, but a server that does not start would be worse.
pub fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(0_u8))
}

impl Default for Build {
    fn default() -> Self {
        Self(SeedableRandomState::with_seed(SECRET.own, &SECRET.shared))
    }
}

impl BuildHasher for Build {
    type Hasher = FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_process_agree() {
        let (a, b) = (Build::default(), Build::default());
        assert_eq!(a.hash_one("block/title"), b.hash_one("block/title"));
        assert_ne!(a.hash_one("block/title"), b.hash_one("block/name"));
    }

    #[test]
    fn the_secret_is_random() {
        assert_ne!(random(), random());
    }
}
