//! Taking a JWT apart. Nothing here is trusted yet.

use crate::Claims;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::limits::TOKEN_BYTES;
use serde::Deserialize;

/// A well-formed token signed with RS256, as its header says.
pub(crate) struct Jwt<'a> {
    /// The name of the key that signed it (`kid`).
    pub(crate) kid: String,
    /// The claims. They are not verified.
    pub(crate) claims: Claims,
    /// Header and payload as they were signed.
    pub(crate) signed: &'a str,
    /// The signature.
    pub(crate) signature: Vec<u8>,
}

/// The parts of a header that are used. References to keys (`jku`, `x5u`, `jwk`, `x5c`) are ignored: keys come from the
/// configured URL alone. A header that repeats a name is malformed.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions the reader must understand (RFC 7515, 4.1.11). None is understood.
    crit: Option<serde::de::IgnoredAny>,
}

impl<'a> Jwt<'a> {
    /// None if this is not a token of three parts, or if its header does not name RS256 and a key.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = parts(token)?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        if header.alg != "RS256" || header.crit.is_some() {
            return None;
        }
        let signature = decode(signature).filter(|signature| !signature.is_empty())?;
        Some(Self { kid: header.kid?, claims: decode_claims(payload)?, signed, signature })
    }
}

/// The payload of a token of three parts. The signature is not checked.
pub(crate) fn payload(token: &str) -> Option<Claims> {
    parts(token).and_then(|(_, payload)| decode_claims(payload))
}

/// Header and payload, still encoded.
fn parts(token: &str) -> Option<(&str, &str)> {
    if token.len() > TOKEN_BYTES {
        return None;
    }
    let mut parts = token.split('.');
    let (header, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    parts.next().is_none().then_some((header, payload))
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn decode_claims(payload: &str) -> Option<Claims> {
    serde_json::from_slice(&decode(payload)?).ok().map(Claims::new)
}
