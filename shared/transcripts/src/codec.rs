//! How bodies lie in stores (transcripts.md 4.3, 5): compressed, and encrypted where the operator has set a key. Each user has a key
//! of its own, made from that one.

use std::fmt;
use std::io::{Read, Write};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hmac::{Hmac, Mac};
use sha2::Sha256;

const NONCE_BYTES: usize = 12;
/// What encryption and compression add to a body at most, beside a thousandth of it.
const MORE_BYTES: usize = 1 << 10;

/// The form of a stored body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Compressed.
    Gzip,
    /// Compressed, then encrypted.
    Sealed,
}

impl Codec {
    /// Its name in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Sealed => "gzip+aes256gcm",
        }
    }

    /// The form of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Sealed].into_iter().find(|codec| codec.as_str() == name)
    }
}

/// Why a body cannot be coded or read. For logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// It has more bytes than it may.
    #[error("the body is too large")]
    TooLarge,
    /// It was changed, or is of another form, user or place.
    #[error("the body cannot be read")]
    Unreadable,
    /// There are no random bytes.
    #[error("no random bytes")]
    NoRandom,
}

/// Codes and reads bodies.
#[derive(Clone, Copy, Default)]
pub struct Vault(Option<[u8; 32]>);

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Vault(sealed)" } else { "Vault(clear)" })
    }
}

impl Vault {
    /// Encrypts with keys made from this one; without one, bodies are only compressed.
    pub fn new(key: Option<[u8; 32]>) -> Self {
        Self(key)
    }

    /// The body as it is stored. It opens only for the same user and place.
    pub fn close(&self, user: &str, place: &str, body: &[u8]) -> Result<(Codec, Vec<u8>), CodecError> {
        let packed = gzip(body).map_err(|_| CodecError::TooLarge)?;
        let Some(cipher) = self.cipher(user) else { return Ok((Codec::Gzip, packed)) };
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| CodecError::NoRandom)?;
        let payload = Payload { msg: &packed, aad: place.as_bytes() };
        let sealed = cipher.encrypt(Nonce::from_slice(&nonce), payload).map_err(|_| CodecError::TooLarge)?;
        Ok((Codec::Sealed, [&nonce[..], &sealed].concat()))
    }

    /// A stored body of `size` bytes.
    pub fn open(
        &self,
        codec: Codec,
        user: &str,
        place: &str,
        stored: &[u8],
        size: usize,
    ) -> Result<Vec<u8>, CodecError> {
        let body = match codec {
            Codec::Gzip => gunzip(stored, size)?,
            Codec::Sealed => {
                let cipher = self.cipher(user).ok_or(CodecError::Unreadable)?;
                let (nonce, sealed) = stored.split_at_checked(NONCE_BYTES).ok_or(CodecError::Unreadable)?;
                let payload = Payload { msg: sealed, aad: place.as_bytes() };
                let packed = cipher.decrypt(Nonce::from_slice(nonce), payload).map_err(|_| CodecError::Unreadable)?;
                gunzip(&packed, size)?
            }
        };
        if body.len() == size { Ok(body) } else { Err(CodecError::Unreadable) }
    }

    fn cipher(&self, user: &str) -> Option<Aes256Gcm> {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(self.0.as_ref()?).ok()?;
        mac.update(b"transcript\0");
        mac.update(user.as_bytes());
        Some(Aes256Gcm::new(&mac.finalize().into_bytes()))
    }
}

/// The most bytes that a stored body of `size` bytes can have.
pub fn most_stored(size: usize) -> usize {
    size.saturating_add(size / 1_000).saturating_add(MORE_BYTES)
}

/// Compresses.
pub fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

/// What is compressed, if it has no more than `limit` bytes. No more than that is ever made of it.
pub fn gunzip(packed: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut body = Vec::new();
    let most = (limit as u64).saturating_add(1);
    MultiGzDecoder::new(packed).take(most).read_to_end(&mut body).map_err(|_| CodecError::Unreadable)?;
    if body.len() > limit { Err(CodecError::TooLarge) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_opens_for_its_user_and_place_only() {
        let (vault, other) = (Vault::new(Some([7; 32])), Vault::new(Some([8; 32])));
        let body = b"geheim \xff\x00".repeat(100);
        let (codec, stored) = vault.close("ann", "s/1/run-1", &body).unwrap();
        assert_eq!(codec, Codec::Sealed);
        assert_eq!(vault.open(codec, "ann", "s/1/run-1", &stored, body.len()).unwrap(), body);
        for (vault, user, place) in [
            (vault, "bob", "s/1/run-1"),
            (vault, "ann", "s/1/run-2"),
            (other, "ann", "s/1/run-1"),
            (Vault::new(None), "ann", "s/1/run-1"),
        ] {
            assert_eq!(vault.open(codec, user, place, &stored, body.len()), Err(CodecError::Unreadable));
        }
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            assert!(vault.open(codec, "ann", "s/1/run-1", &changed, body.len()).is_err(), "{at}");
        }
        assert!(!format!("{vault:?}").contains('7'));
    }

    #[test]
    fn without_a_key_bodies_are_compressed() {
        let vault = Vault::new(None);
        let (codec, stored) = vault.close("ann", "p", b"abc").unwrap();
        assert_eq!((codec, vault.open(codec, "bob", "q", &stored, 3).unwrap().as_slice()), (Codec::Gzip, &b"abc"[..]));
        assert_eq!(vault.open(codec, "ann", "p", &stored, 4), Err(CodecError::Unreadable));
        assert_eq!(vault.open(codec, "ann", "p", &stored, 2), Err(CodecError::TooLarge));
    }

    /// What becomes gigabytes is given up at the limit.
    #[test]
    fn a_bomb_is_refused() {
        let layer = gzip(&vec![0; 64 << 20]).unwrap();
        // 10 GiB of nothing in about 10 MB: members of one archive follow each other.
        let bomb = layer.repeat(160);
        assert!(bomb.len() < 12 << 20, "{}", bomb.len());
        assert_eq!(gunzip(&bomb, 4 << 20), Err(CodecError::TooLarge));
        assert_eq!(gunzip(b"nothing", 10), Err(CodecError::Unreadable));
    }

    #[test]
    fn names_are_read_back() {
        for codec in [Codec::Gzip, Codec::Sealed] {
            assert_eq!(Codec::parse(codec.as_str()), Some(codec));
        }
        assert_eq!(Codec::parse("zstd"), None);
    }
}
