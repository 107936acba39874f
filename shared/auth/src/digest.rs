//! SHA-256 digests as cache keys: they have a fixed size, and no cache has to hold a token.

use sha2::{Digest, Sha256};

/// A digest of a token, or of a pair.
pub(crate) type Key = [u8; 32];

/// The key of one text.
pub(crate) fn of(text: &str) -> Key {
    Sha256::digest(text.as_bytes()).into()
}

/// The key of two texts; ("ab", "c") and ("a", "bc") have different ones.
pub(crate) fn of_pair(first: &str, second: &str) -> Key {
    let mut hasher = Sha256::new();
    hasher.update(of(first));
    hasher.update(second.as_bytes());
    hasher.finalize().into()
}
