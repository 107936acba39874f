//! Signatures as Standard Webhooks describes them, so that receivers check them with a library that they have.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::error::Error;

/// How a secret begins.
const PREFIX: &str = "whsec_";
const KEY_BYTES: usize = 32;

/// What a webhook and its receiver share.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// [`Error::Internal`] without random bytes.
    pub fn random() -> Result<Self, Error> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|error| Error::Internal(format!("no random bytes: {error}")))?;
        Ok(Self(format!("{PREFIX}{}", STANDARD.encode(key))))
    }

    /// The secret of such a text.
    pub fn of_text(text: String) -> Self {
        Self(text)
    }

    /// The text that the receiver gets.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The value of the header `webhook-signature`: over the delivery's id, the time in seconds since 1970, and the body. None for a
/// secret that is none.
pub fn signature(secret: &Secret, id: &str, seconds: i64, body: &str) -> Option<String> {
    let key = STANDARD.decode(secret.0.strip_prefix(PREFIX)?).ok()?;
    // A key of any length is taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn the_published_example_comes_out() {
        let secret = Secret::of_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn everything_that_is_signed_changes_the_signature() {
        let (secret, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        let first = signature(&secret, "id", 1, "body").unwrap();
        for changed in [
            signature(&other, "id", 1, "body"),
            signature(&secret, "id2", 1, "body"),
            signature(&secret, "id", 2, "body"),
            signature(&secret, "id", 1, "body2"),
        ] {
            assert_ne!(changed.unwrap(), first);
        }
    }

    #[test]
    fn secrets_have_32_random_bytes_and_are_not_shown() {
        let secrets: Vec<Secret> = (0..50).map(|_| Secret::random().unwrap()).collect();
        for secret in &secrets {
            assert_eq!(STANDARD.decode(secret.text().strip_prefix("whsec_").unwrap()).unwrap().len(), KEY_BYTES);
            assert_eq!(format!("{secret:?}"), "Secret(…)");
        }
        assert!(secrets.windows(2).all(|pair| pair[0] != pair[1]));
        for none in ["", "whsec_???", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(signature(&Secret::of_text(none.to_owned()), "id", 1, ""), None, "{none}");
        }
    }
}
