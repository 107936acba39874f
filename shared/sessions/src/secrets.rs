//! How credentials lie in stores: encrypted, bound to the row that they belong to (agents.md 12.6).

use std::fmt;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::error::Error;

/// How a sealed text begins. What does not begin so was stored in clear, by the reference or without a key.
const VERSION: &str = "v1:";
const NONCE_BYTES: usize = 12;

/// Seals and opens credentials.
#[derive(Clone)]
pub struct Seal {
    /// The operator's key, `MANAGED_AUTH_KEY`.
    pub key: Option<[u8; 32]>,
    /// Whether credentials may be stored in clear where there is no key: under the drivers `static` and `none` only.
    pub allows_clear: bool,
}

impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Seal")
            .field("has_key", &self.key.is_some())
            .field("allows_clear", &self.allows_clear)
            .finish()
    }
}

impl Seal {
    /// Whether credentials can be stored at all.
    ///
    /// # Errors
    /// [`Error::SecretsKey`] where there is no key and they may not lie in clear.
    pub fn check(&self) -> Result<(), Error> {
        if self.key.is_some() || self.allows_clear { Ok(()) } else { Err(Error::SecretsKey) }
    }

    /// The text to store: `v1:<nonce>:<ciphertext>`, both in base64. `bound_to` is authenticated with it (the AAD of agents.md
    /// 12.6): it opens only for the same.
    ///
    /// # Errors
    /// [`Error::SecretsKey`] where there is no key and it may not lie in clear, [`Error::Internal`] without random bytes.
    pub fn seal(&self, plain: &str, bound_to: &str) -> Result<String, Error> {
        let Some(key) = &self.key else {
            self.check()?;
            // A text that looks sealed could not be told from one that is.
            let is_ambiguous = plain.starts_with(VERSION);
            return if is_ambiguous { Err(Error::SecretsKey) } else { Ok(plain.to_owned()) };
        };
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| Error::Internal(format!("no random bytes: {error}")))?;
        let payload = Payload { msg: plain.as_bytes(), aad: bound_to.as_bytes() };
        let sealed = Aes256Gcm::new(key.into())
            .encrypt(Nonce::from_slice(&nonce), payload)
            .map_err(|_| Error::Internal("a secret could not be sealed".to_owned()))?;
        Ok(format!("{VERSION}{}:{}", STANDARD.encode(nonce), STANDARD.encode(sealed)))
    }

    /// What was stored. A text that was stored in clear comes back as it is.
    ///
    /// # Errors
    /// [`Error::Internal`] when a sealed text does not open: there is no key or another one, it was changed, or it belongs to
    /// another row.
    pub fn open(&self, stored: &str, bound_to: &str) -> Result<String, Error> {
        let Some(rest) = stored.strip_prefix(VERSION) else { return Ok(stored.to_owned()) };
        self.opened(rest, bound_to).ok_or_else(|| Error::Internal("a stored secret does not open".to_owned()))
    }

    fn opened(&self, rest: &str, bound_to: &str) -> Option<String> {
        let (nonce, sealed) = rest.split_once(':')?;
        let nonce: [u8; NONCE_BYTES] = STANDARD.decode(nonce).ok()?.try_into().ok()?;
        let sealed = STANDARD.decode(sealed).ok()?;
        let payload = Payload { msg: &sealed, aad: bound_to.as_bytes() };
        let plain = Aes256Gcm::new(self.key.as_ref()?.into()).decrypt(Nonce::from_slice(&nonce), payload).ok()?;
        String::from_utf8(plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal { key: Some([byte; 32]), allows_clear: false }
    }

    #[test]
    fn a_secret_opens_for_its_own_row_only() {
        for plain in ["", "geheim", "häßlich 😀", "v1:a:b", &"x".repeat(100_000)] {
            let stored = seal(1).seal(plain, "user-1").unwrap();
            assert_eq!(seal(1).open(&stored, "user-1").unwrap(), plain);
            for (seal, bound_to) in [(seal(1), "user-2"), (seal(1), ""), (seal(2), "user-1")] {
                assert!(matches!(seal.open(&stored, bound_to), Err(Error::Internal(_))));
            }
            assert!(plain.len() < 3 || !stored.contains(plain));
        }
    }

    #[test]
    fn each_sealing_has_a_nonce_of_its_own() {
        let stored: Vec<String> = (0..100).map(|_| seal(1).seal("same", "u").unwrap()).collect();
        let mut nonces: Vec<&str> = stored.iter().map(|text| text.split(':').nth(1).unwrap()).collect();
        assert!(nonces.iter().all(|nonce| nonce.len() == 16));
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 100);
    }

    /// A text sealed elsewhere, with the same key, nonce and AAD: the form must never change.
    #[test]
    fn a_known_text_opens() {
        let stored = "v1:AAECAwQFBgcICQoL:/KRYN27Qvr0fTnozgZMQn5sFRvcdauM=";
        assert_eq!(seal(0).open(stored, "user-1").unwrap(), "token-1");
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let stored = seal(1).seal("geheim", "u").unwrap();
        // Every byte counts: nonce, ciphertext, tag, separators.
        for at in VERSION.len()..stored.len() {
            let mut bytes = stored.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(seal(1).open(&String::from_utf8(bytes).unwrap(), "u").is_err(), "{at}");
        }
        for broken in
            ["v1:", "v1::", "v1:AAAA:AAAA", "v1:AAAAAAAAAAAAAAAA:", "v1:????:????", "v1:AAAAAAAAAAAAAAAA:AAAA"]
        {
            assert!(seal(1).open(broken, "u").is_err(), "{broken}");
        }
    }

    #[test]
    fn without_a_key_only_development_stores_in_clear() {
        let refusing = Seal { key: None, allows_clear: false };
        assert_eq!((refusing.check(), refusing.seal("x", "u")), (Err(Error::SecretsKey), Err(Error::SecretsKey)));
        let clear = Seal { key: None, allows_clear: true };
        assert_eq!(clear.seal("x", "u").unwrap(), "x");
        assert_eq!(clear.open("x", "u").unwrap(), "x");
        assert_eq!(clear.seal("v1:x", "u"), Err(Error::SecretsKey));
        let stored = seal(1).seal("x", "u").unwrap();
        assert!(clear.open(&stored, "u").is_err(), "sealed, and no key");
    }

    #[test]
    fn what_lies_in_clear_is_read() {
        assert_eq!(seal(1).open("old token", "u").unwrap(), "old token");
        assert_eq!(seal(1).open("", "u").unwrap(), "");
    }

    #[test]
    fn nothing_is_shown() {
        let shown = format!("{:?}", seal(65));
        assert!(!shown.contains("65") && !shown.contains("AAA"), "{shown}");
    }
}
