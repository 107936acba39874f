//! A secret on its way through the mailbox is sealed to a key that was made for one question (docs/spec/session-mailbox.md 4.10): what lies
//! on the disk is of no use to whoever reads it there. X25519 with a key of each side, HKDF-SHA-256, AES-256-GCM.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::SystemRandom;

/// Bytes of a public key.
const KEY_BYTES: usize = 32;
/// What the agreed key is for, so that it is no key of anything else.
const PURPOSE: &[u8] = b"mailbox secret, version 1";

/// Why a secret could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The other side's key has another form, or agrees to nothing.
    #[error("not a public key")]
    Key,
    /// It was sealed to another key, for another question, or was changed.
    #[error("it cannot be opened")]
    Sealed,
    /// The system gives no random numbers.
    #[error("no key can be made")]
    Random,
}

/// The key of one question. It opens one answer, and lies nowhere but in this process.
pub struct QuestionKey {
    own: EphemeralPrivateKey,
    public: [u8; KEY_BYTES],
}

impl fmt::Debug for QuestionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("QuestionKey").finish_non_exhaustive()
    }
}

impl QuestionKey {
    /// A new key.
    ///
    /// # Errors
    /// [`SealError::Random`].
    pub fn new() -> Result<Self, SealError> {
        let (own, public) = pair()?;
        Ok(Self { own, public })
    }

    /// What the answer is sealed to, in hex.
    pub fn public(&self) -> String {
        base16ct::lower::encode_string(&self.public)
    }

    /// Opens the answer to a question of this name.
    ///
    /// # Errors
    /// [`SealError::Sealed`], [`SealError::Key`].
    pub fn open(self, about: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        let mut bytes = base16ct::lower::decode_vec(sealed).map_err(|_| SealError::Sealed)?;
        let (theirs, body) = bytes.split_at_mut_checked(KEY_BYTES).ok_or(SealError::Sealed)?;
        let key = agreed(self.own, theirs, &self.public, theirs)?;
        let opened = key.open_in_place(once(), Aad::from(about.as_bytes()), body);
        opened.map(|secret| secret.to_vec()).map_err(|_| SealError::Sealed)
    }
}

/// Seals the answer to a question of this name to the question's key, in hex.
///
/// # Errors
/// [`SealError::Key`], [`SealError::Random`].
pub fn seal(to: &str, about: &str, secret: &[u8]) -> Result<String, SealError> {
    let theirs = base16ct::lower::decode_vec(to).map_err(|_| SealError::Key)?;
    let (own, public) = pair()?;
    let key = agreed(own, &theirs, &theirs, &public)?;
    let mut body = secret.to_vec();
    key.seal_in_place_append_tag(once(), Aad::from(about.as_bytes()), &mut body).map_err(|_| SealError::Sealed)?;
    Ok(base16ct::lower::encode_string(&[&public[..], &body].concat()))
}

fn pair() -> Result<(EphemeralPrivateKey, [u8; KEY_BYTES]), SealError> {
    let own = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| SealError::Random)?;
    let public = own.compute_public_key().map_err(|_| SealError::Random)?;
    let public = public.as_ref().try_into().map_err(|_| SealError::Random)?;
    Ok((own, public))
}

/// The key that both sides agree on; it depends on both public keys.
fn agreed(own: EphemeralPrivateKey, theirs: &[u8], asks: &[u8], answers: &[u8]) -> Result<LessSafeKey, SealError> {
    let salt = Salt::new(HKDF_SHA256, &[asks, answers].concat());
    let agreed = agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, theirs), |secret| {
        salt.extract(secret).expand(&[PURPOSE], &AES_256_GCM).map(UnboundKey::from)
    });
    agreed.and_then(|key| key).map(LessSafeKey::new).map_err(|_| SealError::Key)
}

/// A key seals one message: its number is always the same.
fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_to_a_question_is_opened_with_its_key_alone() {
        let key = QuestionKey::new().unwrap();
        let (one, two) = (seal(&key.public(), "q", b"secret").unwrap(), seal(&key.public(), "q", b"secret").unwrap());
        assert_ne!(one, two, "each is sealed with a key of its own");
        assert!(!one.contains(&base16ct::lower::encode_string(b"secret")));
        assert_eq!(key.open("q", &one).unwrap(), b"secret");
        let other = QuestionKey::new().unwrap();
        assert_eq!(other.open("q", &two), Err(SealError::Sealed));
    }

    #[test]
    fn nothing_else_is_opened() {
        let sealed_to = |key: &QuestionKey| seal(&key.public(), "q", b"secret").unwrap();
        let tried = |change: &dyn Fn(String) -> String, about: &str| {
            let key = QuestionKey::new().unwrap();
            let sealed = change(sealed_to(&key));
            key.open(about, &sealed)
        };
        assert!(tried(&|it| it, "q").is_ok());
        assert_eq!(tried(&|it| it, "another question"), Err(SealError::Sealed));
        assert_eq!(tried(&|it| it[..it.len() - 2].to_owned(), "q"), Err(SealError::Sealed));
        assert_eq!(tried(&|_| "00".repeat(8), "q"), Err(SealError::Sealed));
        assert_eq!(tried(&|_| "no hex".to_owned(), "q"), Err(SealError::Sealed));
        // A key with which everybody agrees on the same.
        assert_eq!(tried(&|it| "00".repeat(KEY_BYTES) + &it[2 * KEY_BYTES..], "q"), Err(SealError::Key));
        for bad in ["", "00", &"00".repeat(KEY_BYTES), "no hex"] {
            assert_eq!(seal(bad, "q", b"secret"), Err(SealError::Key), "{bad}");
        }
    }
}
