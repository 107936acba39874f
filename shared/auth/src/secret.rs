//! Secrets from the configuration.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// A secret text. It is compared in constant time and never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// None when the text is empty: an empty secret protects nothing.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    /// Whether `candidate` is the secret. Digests are compared, so that the time taken reveals neither content nor
    /// length (D-32).
    pub fn matches(&self, candidate: &str) -> bool {
        Sha256::digest(&self.0).ct_eq(&Sha256::digest(candidate)).into()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
