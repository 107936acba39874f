//! The signature of what GitHub sends: HMAC-SHA-256 of the body's bytes, in hexadecimal, in `x-hub-signature-256`.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

const PREFIX: &str = "sha256=";
const DIGEST_BYTES: usize = 32;

/// A signature that has the right form. Whether it is the right one, the body tells.
#[derive(Clone, Debug)]
pub struct Signature([u8; DIGEST_BYTES]);

impl Signature {
    /// Reads the header. None for whatever cannot be a signature: its body need not be read.
    pub fn read(header: &str) -> Option<Self> {
        let mut digest = [0; DIGEST_BYTES];
        let written = base16ct::mixed::decode(header.strip_prefix(PREFIX)?, &mut digest).ok()?;
        (written.len() == DIGEST_BYTES).then_some(Self(digest))
    }

    /// Whether somebody who knows the secret signed this body. The comparison takes the same time whatever differs.
    pub fn is_of(&self, secret: &str, body: &[u8]) -> bool {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
        mac.update(body);
        mac.verify_slice(&self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's own documentation.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNED: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_published_example_is_right() {
        assert!(Signature::read(SIGNED).unwrap().is_of(SECRET, BODY));
        assert!(Signature::read(&SIGNED.replace("757107ea", "757107EA")).unwrap().is_of(SECRET, BODY));
    }

    #[test]
    fn everything_that_differs_is_wrong() {
        let right = Signature::read(SIGNED).unwrap();
        assert!(!right.is_of("another secret", BODY));
        assert!(!right.is_of("", BODY));
        assert!(!right.is_of(SECRET, b"Hello, World"));
        for place in 0..64 {
            let mut text = SIGNED.to_owned().into_bytes();
            let digit = &mut text[PREFIX.len() + place];
            *digit = if *digit == b'0' { b'1' } else { b'0' };
            let wrong = Signature::read(std::str::from_utf8(&text).unwrap()).unwrap();
            assert!(!wrong.is_of(SECRET, BODY), "{place}");
        }
    }

    #[test]
    fn what_is_no_signature_is_told_before_the_body_is_read() {
        for header in [
            "",
            "sha256=",
            "sha1=757107ea",
            &SIGNED[..70],
            &format!("{SIGNED}00"),
            &SIGNED.replace('7', "g"),
            &SIGNED[7..],
        ] {
            assert!(Signature::read(header).is_none(), "{header}");
        }
    }
}
