//! Tokens for somebody who only looks at one session (agents.md 18.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::Error;
use crate::secrets::Seal;

/// How long a token is valid, in milliseconds.
pub const LIFETIME_MS: i64 = 60 * 60 * 1_000;

/// How a token begins. A token of the identity provider has dots and never this beginning.
const VERSION: &str = "obs1_";
/// A signature in base64, without padding.
const SIGNATURE_CHARS: usize = 43;
/// A time in decimal digits: more than that is no time that was issued.
const TIME_DIGITS: usize = 16;

/// Issues tokens and knows them again.
#[derive(Clone)]
pub struct Observers {
    key: [u8; 32],
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Observers(…)")
    }
}

impl Observers {
    /// Whoever has the key of the service's secrets. Without one there is a development key, where credentials may lie in clear.
    ///
    /// # Errors
    /// [`Error::SecretsKey`] without a key.
    pub fn new(seal: &Seal) -> Result<Self, Error> {
        seal.check()?;
        let key = mac(&seal.key.unwrap_or_default(), &["observer"]).finalize().into_bytes().into();
        Ok(Self { key })
    }

    /// A token for a session. The time is the first millisecond at which it is no longer valid.
    pub fn issue(&self, session_id: &str, expires_at_ms: i64) -> String {
        let tag = self.tag(session_id, expires_at_ms).finalize().into_bytes();
        format!("{VERSION}{expires_at_ms}_{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether it is a token for this session and still valid. Also refused: one that is valid for longer than any that was
    /// issued.
    pub fn verify(&self, token: &str, session_id: &str, now_ms: i64) -> bool {
        let Some((expires, signature)) = parts(token) else { return false };
        let in_time = now_ms < expires && expires <= now_ms.saturating_add(LIFETIME_MS);
        // The comparison takes the same time for every signature.
        self.tag(session_id, expires).verify_slice(&signature).is_ok() && in_time
    }

    fn tag(&self, session_id: &str, expires: i64) -> Hmac<Sha256> {
        // Digits hold no line break, so no two pairs give the same text.
        mac(&self.key, &[&expires.to_string(), "\n", session_id])
    }
}

/// Whether a token claims to be one of these, whatever it is worth.
pub fn is_observer_token(token: &str) -> bool {
    token.starts_with(VERSION)
}

fn parts(token: &str) -> Option<(i64, Vec<u8>)> {
    let (expires, signature) = token.strip_prefix(VERSION)?.split_once('_')?;
    let is_time = (1..=TIME_DIGITS).contains(&expires.len()) && expires.bytes().all(|byte| byte.is_ascii_digit());
    if !is_time || signature.len() != SIGNATURE_CHARS {
        return None;
    }
    Some((expires.parse().ok()?, URL_SAFE_NO_PAD.decode(signature).ok()?))
}

fn mac(key: &[u8], parts: &[&str]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length");
    for part in parts {
        mac.update(part.as_bytes());
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn observers(byte: u8) -> Observers {
        Observers::new(&Seal { key: Some([byte; 32]), allows_clear: false }).unwrap()
    }

    #[test]
    fn a_token_is_for_one_session_and_one_hour() {
        let expires = NOW + LIFETIME_MS;
        let token = observers(1).issue("s-1", expires);
        assert!(is_observer_token(&token));
        for (session, now, valid) in [
            ("s-1", NOW, true),
            ("s-1", expires - 1, true),
            ("s-1", expires, false),
            ("s-1", NOW - 1, false),
            ("s-1", i64::MAX, false),
            ("s-1", i64::MIN, false),
            ("s-2", NOW, false),
            ("", NOW, false),
        ] {
            assert_eq!(observers(1).verify(&token, session, now), valid, "{session} {now}");
        }
        assert!(!observers(2).verify(&token, "s-1", NOW), "another key");
    }

    #[test]
    fn everything_else_is_no_token() {
        let token = observers(1).issue("s-1", NOW + 1_000);
        let signature = token.rsplit('_').next().unwrap();
        let (time, other) = (NOW + 1_000, NOW + 1_001);
        for broken in [
            String::new(),
            "a.b.c".to_owned(),
            VERSION.to_owned(),
            format!("{VERSION}{time}"),
            format!("{VERSION}{time}_"),
            format!("{VERSION}{time}_{}", "A".repeat(SIGNATURE_CHARS)),
            format!("{VERSION}{other}_{signature}"),
            format!("{VERSION}+{time}_{signature}"),
            format!("{VERSION}0{time}_{signature}="),
            format!("{VERSION}99999999999999999999_{signature}"),
            format!("{VERSION}_{signature}"),
            token.to_uppercase(),
            "é".repeat(40),
        ] {
            assert!(!observers(1).verify(&broken, "s-1", NOW), "{broken}");
        }
    }

    #[test]
    fn without_a_key_there_are_tokens_in_development_only() {
        assert!(matches!(Observers::new(&Seal { key: None, allows_clear: false }), Err(Error::SecretsKey)));
        let development = Observers::new(&Seal { key: None, allows_clear: true }).unwrap();
        let token = development.issue("s", NOW + 1);
        assert!(development.verify(&token, "s", NOW) && !observers(1).verify(&token, "s", NOW));
        assert_eq!(format!("{development:?}"), "Observers(…)");
    }
}
