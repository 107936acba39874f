//! Signed links to assets (sync.md 6.4): whoever has one may read that object for a few minutes.

use crate::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;

/// How long a link is valid, in seconds.
const LIFETIME_S: i64 = 300;

/// The query of a link, as text: `expires=…&signature=…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetLink {
    /// The last second of validity, since the epoch.
    pub expires: i64,
    /// HMAC-SHA-256 in lower-case hexadecimal digits.
    pub signature: String,
}

impl fmt::Display for AssetLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expires={}&signature={}", self.expires, self.signature)
    }
}

/// Signs a link to the object `<graph-id>/<asset-uuid>.<asset-type>`, valid from `now_s` (seconds since the epoch) on.
pub fn sign(secret: &Secret, object: &str, now_s: i64) -> AssetLink {
    let expires = now_s.saturating_add(LIFETIME_S);
    let tag = mac(secret, object, expires).finalize().into_bytes();
    AssetLink { expires, signature: base16ct::lower::encode_string(&tag) }
}

/// Whether the query parameters of a link allow to read `object` now. `expires` is decimal digits alone; beyond the
/// lifetime from now on it is refused, so that no link lives longer.
pub fn verify(secret: &Secret, object: &str, expires: &str, signature: &str, now_s: i64) -> bool {
    let Some(expires) = digits(expires) else { return false };
    let mut tag = [0; 32];
    let Ok(tag) = base16ct::mixed::decode(signature, &mut tag) else { return false };
    let in_time = now_s < expires && expires <= now_s.saturating_add(LIFETIME_S);
    // The comparison takes the same time for every signature.
    in_time && mac(secret, object, expires).verify_slice(tag).is_ok()
}

fn mac(secret: &Secret, object: &str, expires: i64) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("any key length");
    mac.update(object.as_bytes());
    mac.update(format!(":{expires}").as_bytes());
    mac
}

fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECT: &str = "graph-1/00000000-0000-0000-0000-000000000001.png";
    const SIGNATURE: &str = "ccbd5f547c0ef4959624c345b8a0ca92ec04fab4346c67dfdcddfad261d4be9e";
    const EXPIRES: i64 = 1_700_000_000;

    fn secret() -> Secret {
        Secret::new("test-asset-link-secret").unwrap()
    }

    #[test]
    fn the_golden_link() {
        let link = sign(&secret(), OBJECT, EXPIRES - LIFETIME_S);
        assert_eq!(link, AssetLink { expires: EXPIRES, signature: SIGNATURE.to_owned() });
        assert_eq!(link.to_string(), format!("expires=1700000000&signature={SIGNATURE}"));
        let valid_at = |now| verify(&secret(), OBJECT, "1700000000", SIGNATURE, now);
        assert!(valid_at(EXPIRES - LIFETIME_S));
        assert!(valid_at(EXPIRES - 1));
        assert!(!valid_at(EXPIRES));
        assert!(!valid_at(EXPIRES - LIFETIME_S - 1));
        assert!(!valid_at(i64::MAX) && !valid_at(i64::MIN));
        assert!(verify(&secret(), OBJECT, "1700000000", &SIGNATURE.to_uppercase(), EXPIRES - 1));
    }

    #[test]
    fn everything_else_is_unsigned() {
        let check = |object, expires, signature: &str| verify(&secret(), object, expires, signature, EXPIRES - 1);
        assert!(!check("graph-2/00000000-0000-0000-0000-000000000001.png", "1700000000", SIGNATURE));
        assert!(!check(OBJECT, "1700000001", SIGNATURE));
        for expires in ["", " 1700000000", "+1700000000", "1700000000x", "1.7e9", "99999999999999999999"] {
            assert!(!check(OBJECT, expires, SIGNATURE), "{expires:?}");
        }
        let mut changed = SIGNATURE.to_owned();
        changed.replace_range(0..1, "d");
        for signature in ["", "cc", &SIGNATURE[1..], &changed, &SIGNATURE.replace('c', "g"), &"é".repeat(32)] {
            assert!(!check(OBJECT, "1700000000", signature), "{signature:?}");
        }
        let other = Secret::new("other").unwrap();
        assert!(!verify(&other, OBJECT, "1700000000", SIGNATURE, EXPIRES - 1));
    }
}
