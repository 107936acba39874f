//! Signatures of requests to runners (agents.md 7.5, B63): a runner can tell requests of this service from those of whoever
//! has read its address and token somewhere.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use http::{Method, Uri};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::RuntimeSecrets;

/// The header that holds the signature.
pub const SIGNATURE_HEADER: &str = "x-logseq-signature";

/// The key of a runner's requests: the one that it registered, else its agent token. None when it has neither.
fn key(secrets: &RuntimeSecrets) -> Option<Vec<u8>> {
    let registered = secrets.signing_key.as_deref().and_then(|key| STANDARD.decode(key.trim()).ok());
    registered.or_else(|| secrets.agent_token.as_ref().map(|token| token.clone().into_bytes()))
}

/// The value of [`SIGNATURE_HEADER`] for a request, or none for a runner that shares no secret with us.
pub fn signature(
    secrets: &RuntimeSecrets,
    now_ms: i64,
    nonce: Uuid,
    method: &Method,
    url: &str,
    body: &[u8],
) -> Option<String> {
    // A key of any length is taken.
    let mut mac = Hmac::<Sha256>::new_from_slice(&key(secrets)?).ok()?;
    let uri: Uri = url.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let (time, nonce) = (now_ms.to_string(), nonce.simple().to_string());
    let digest = base16ct::lower::encode_string(&Sha256::digest(body));
    mac.update(["v2", &time, &nonce, method.as_str(), path, &digest].join("\n").as_bytes());
    let signed = base16ct::lower::encode_string(&mac.finalize().into_bytes());
    Some(format!("t={time},n={nonce},v2={signed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(signing_key: Option<&str>, agent_token: Option<&str>) -> RuntimeSecrets {
        RuntimeSecrets {
            signing_key: signing_key.map(str::to_owned),
            agent_token: agent_token.map(str::to_owned),
            ..RuntimeSecrets::default()
        }
    }

    fn signed(secrets: &RuntimeSecrets, url: &str, body: &[u8]) -> Option<String> {
        signature(secrets, 1_700_000_000_000, Uuid::from_u128(0xab), &Method::POST, url, body)
    }

    /// Computed with Python's `hmac` over the lines of agents.md 7.5.
    #[test]
    fn a_signature_is_over_time_nonce_method_path_and_body() {
        let key = STANDARD.encode([7_u8; 32]);
        let value = signed(&secrets(Some(&key), Some("t")), "https://a.test/v1/acp/s%201?agent=claude", b"{}").unwrap();
        assert_eq!(
            value,
            "t=1700000000000,n=000000000000000000000000000000ab,\
             v2=a0ca832d1c4eb304ed09f86686c0e3cca4c355dc6e2183c6de6b2d1fd74210ae"
        );
    }

    #[test]
    fn everything_that_is_signed_changes_the_signature() {
        let with_token = secrets(None, Some("token"));
        let of = |url: &str, body: &[u8]| signed(&with_token, url, body).unwrap();
        let first = of("https://a.test/v1/health", b"");
        assert_eq!(first, of("https://b.test/v1/health", b""), "the host may be that of a tunnel");
        for other in [
            of("https://a.test/v1/health?x", b""),
            of("https://a.test/v1/health", b"x"),
            signed(&secrets(None, Some("other")), "https://a.test/v1/health", b"").unwrap(),
            signed(&secrets(Some("AAAA"), Some("token")), "https://a.test/v1/health", b"").unwrap(),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(signed(&secrets(None, None), "https://a.test/v1/health", b""), None);
    }
}
