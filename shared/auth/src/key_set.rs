//! The public keys of an identity provider.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_compact::alg::{Rsa, RsaPublicKey, StrongAlg, StrongKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmSignature};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;

use crate::jwt::Jwt;

/// The most bytes read of a key set: providers publish a few kilobytes.
pub const KEY_SET_BYTES: usize = 256 << 10;

/// Keys used of a set; providers publish two or three.
const MAX_KEYS: usize = 100;

/// The only algorithm, whatever a token's header says. Keys shorter than 2048 bits are refused.
const ALGORITHM: StrongAlg<Rsa> = StrongAlg(Rsa::rs256());

/// Why there is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No URL is configured.
    #[error("COGNITO_JWKS_URL is not set")]
    NoUrl,
    /// The provider answered with a status that is no success.
    #[error("the key set was answered with status {0}")]
    Status(u16),
    /// The answer is longer than [`KEY_SET_BYTES`].
    #[error("the key set is larger than {KEY_SET_BYTES} bytes")]
    TooLarge,
    /// The answer is no key set.
    #[error("the key set is malformed")]
    Malformed,
    /// The answer is a key set without any key that could verify a token.
    #[error("the key set has no usable key")]
    Useless,
    /// No answer came, for the reason given.
    #[error("the key set could not be fetched: {0}")]
    Transport(String),
}

/// A public key that verifies RS256.
#[derive(Clone)]
pub(crate) struct Key(Arc<StrongKey<RsaPublicKey>>);

impl Key {
    /// Whether the token was signed with the private key that belongs to this public key.
    pub(crate) fn verifies(&self, jwt: &Jwt<'_>) -> bool {
        AlgorithmSignature::try_from_slice(&jwt.signature)
            .is_ok_and(|signature| ALGORITHM.verify_signature(&signature, &self.0, jwt.signed.as_bytes()))
    }
}

/// The keys of a set that can verify tokens, by their names.
pub(crate) struct KeySet(Vec<(String, Key)>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    n: String,
    e: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
}

impl KeySet {
    /// Reads a JSON Web Key Set. Keys of other kinds, for other uses, or without a name are skipped. A set in which no
    /// key is left is [`FetchError::Useless`].
    pub(crate) fn parse(text: &str) -> Result<Self, FetchError> {
        if text.len() > KEY_SET_BYTES {
            return Err(FetchError::TooLarge);
        }
        let document: Document = serde_json::from_str(text).map_err(|_| FetchError::Malformed)?;
        let usable = document.keys.into_iter().filter_map(|key| import(serde_json::from_value(key).ok()?));
        let set = Self(usable.take(MAX_KEYS).collect());
        // At most MAX_KEYS² comparisons of names.
        if set.0.iter().any(|(name, _)| set.find(name).is_some()) { Ok(set) } else { Err(FetchError::Useless) }
    }

    /// The key of that name. None when two keys have the name, as it is not known which of them is meant.
    pub(crate) fn find(&self, kid: &str) -> Option<Key> {
        let mut named = self.0.iter().filter(|(name, _)| name == kid);
        let (_, key) = named.next()?;
        named.next().is_none().then(|| key.clone())
    }
}

fn import(jwk: Jwk) -> Option<(String, Key)> {
    let for_signatures = jwk.purpose.is_none_or(|purpose| purpose == "sig");
    let for_algorithm = jwk.alg.is_none_or(|alg| alg == "RS256");
    if jwk.kty != "RSA" || !for_signatures || !for_algorithm {
        return None;
    }
    let number = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().map(Cow::Owned);
    let key = JsonWebKey::Rsa { modulus: number(&jwk.n)?, public_exponent: number(&jwk.e)?, private_parts: None };
    let key = StrongKey::try_from(RsaPublicKey::try_from(&key).ok()?).ok()?;
    Some((jwk.kid, Key(Arc::new(key))))
}
