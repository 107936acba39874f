//! The token by which a GitHub App speaks for itself (agents.md 9.3). The signature is the platform's.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::Serialize;

/// Longest private key that is looked at, in bytes of PEM.
const MAX_PEM_BYTES: usize = 16 * 1_024;
const HEADER: &str = r#"{"alg":"RS256","typ":"JWT"}"#;
/// The clock of GitHub may be behind ours by so many seconds.
const BACKDATED_SECONDS: i64 = 60;
const LIFETIME_SECONDS: i64 = 540;

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The App's id or key is not configured (`missing-github-app-auth`).
    #[error("missing github app auth")]
    Missing,
    /// The key is no PEM text of the two kinds that are accepted.
    #[error("invalid github app private key")]
    Key,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: Issuer<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Issuer<'a> {
    Number(i64),
    Text(&'a str),
}

/// Header and claims of the token, joined by a dot: what is to be signed with RSASSA-PKCS1-v1_5 and SHA-256. `now` is in
/// seconds since 1970.
pub fn signing_input(app_id: &str, now: i64) -> Result<String, AppError> {
    let app_id = app_id.trim();
    if app_id.is_empty() {
        return Err(AppError::Missing);
    }
    let claims = Claims {
        iat: now.saturating_sub(BACKDATED_SECONDS),
        exp: now.saturating_add(LIFETIME_SECONDS),
        iss: app_id.parse().map_or(Issuer::Text(app_id), Issuer::Number),
    };
    let claims = serde_json::to_vec(&claims).map_err(|_| AppError::Missing)?;
    Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims)))
}

/// The token: what was signed, and its signature.
pub fn token(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// How the bytes of a private key are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// `BEGIN RSA PRIVATE KEY`, what GitHub hands out.
    Pkcs1,
    /// `BEGIN PRIVATE KEY`, what the Web Crypto API takes.
    Pkcs8,
}

/// A private key as bytes. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey {
    /// The arrangement of the bytes.
    pub form: KeyForm,
    /// The key in DER.
    pub der: Vec<u8>,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PrivateKey").field("form", &self.form).finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Reads the setting `GITHUB_APP_PRIVATE_KEY`: one PEM block, in which a line break may also be written as the two
    /// characters `\n`. A text without armour counts as PKCS#8, as in the reference.
    pub fn from_pem(setting: &str) -> Result<Self, AppError> {
        if setting.len() > MAX_PEM_BYTES {
            return Err(AppError::Key);
        }
        let text = setting.replace("\\n", "\n");
        let text = text.trim();
        if text.is_empty() {
            return Err(AppError::Missing);
        }
        let (form, base64) = if text.starts_with("-----") {
            [(KeyForm::Pkcs1, "RSA PRIVATE KEY"), (KeyForm::Pkcs8, "PRIVATE KEY")]
                .into_iter()
                .find_map(|(form, label)| Some((form, between(text, label)?)))
                .ok_or(AppError::Key)?
        } else {
            (KeyForm::Pkcs8, text)
        };
        let digits: String = base64.chars().filter(|character| !character.is_whitespace()).collect();
        let der = STANDARD.decode(digits).map_err(|_| AppError::Key)?;
        // Both forms are one ASN.1 sequence: 0x30. Anything else is no key.
        if der.first() == Some(&0x30) { Ok(Self { form, der }) } else { Err(AppError::Key) }
    }
}

fn between<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.strip_prefix(&format!("-----BEGIN {label}-----"))?.strip_suffix(&format!("-----END {label}-----"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claims_of_the_app() {
        let claims = |id| {
            let input = signing_input(id, 1_700_000_000).unwrap();
            let (header, claims) = input.split_once('.').unwrap();
            let text = |part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
            assert_eq!(text(header), r#"{"alg":"RS256","typ":"JWT"}"#);
            text(claims)
        };
        assert_eq!(claims("4242"), r#"{"iat":1699999940,"exp":1700000540,"iss":4242}"#);
        assert_eq!(claims("Iv1.abc\""), r#"{"iat":1699999940,"exp":1700000540,"iss":"Iv1.abc\""}"#);
        assert_eq!(signing_input(" ", 0), Err(AppError::Missing));
        assert_eq!(token("a.b", &[0xfb, 0xff]), "a.b.-_8");
    }

    #[test]
    fn both_forms_of_a_private_key() {
        for (label, form) in [("RSA PRIVATE KEY", KeyForm::Pkcs1), ("PRIVATE KEY", KeyForm::Pkcs8)] {
            let key = PrivateKey { form, der: vec![0x30, 0x03, 0x02, 0x01, 0x00] };
            for pem in [
                format!("-----BEGIN {label}-----\nMAMC\nAQA=\n-----END {label}-----\n"),
                format!("-----BEGIN {label}-----\r\nMAMCAQA=\r\n-----END {label}-----\r\n"),
                format!("-----BEGIN {label}-----\\nMAMCAQA=\\n-----END {label}-----\\n"),
                format!("-----BEGIN {label}----- MAMC AQA= -----END {label}-----"),
            ] {
                assert_eq!(PrivateKey::from_pem(&pem), Ok(key.clone()), "{pem}");
            }
            assert_eq!(format!("{key:?}"), format!("PrivateKey {{ form: {form:?}, .. }}"));
        }
        assert_eq!(PrivateKey::from_pem("MAMCAQA=").unwrap().form, KeyForm::Pkcs8);
    }

    #[test]
    fn what_is_no_private_key() {
        assert_eq!(PrivateKey::from_pem(" \\n "), Err(AppError::Missing));
        for pem in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAMCAQA=\n-----END ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN PUBLIC KEY-----\nMAMCAQA=\n-----END PUBLIC KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nMAMCAQA=\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nMAMCAQA=",
            "-----BEGIN PRIVATE KEY-----\nMAMC*QA=\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----",
        ] {
            assert_eq!(PrivateKey::from_pem(pem), Err(AppError::Key), "{pem}");
        }
        assert_eq!(PrivateKey::from_pem(&"A".repeat(MAX_PEM_BYTES + 1)), Err(AppError::Key));
    }
}
