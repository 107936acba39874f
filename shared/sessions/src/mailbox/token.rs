//! Tokens of runners (session-mailbox.md 7.2): `lrt_<runner-key>_<secret>`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What each token begins with, so that it is recognised wherever it turns up.
pub const TOKEN_PREFIX: &str = "lrt_";
const KEY_DIGITS: usize = 32;
const SECRET_DIGITS: usize = 64;

/// A token as a runner shows it. Only the secret proves anything; the key says whose object to ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    key: String,
    secret: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Token").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Token {
    /// A token of random bytes.
    pub fn new(key: &[u8; 16], secret: &[u8; 32]) -> Self {
        Self { key: base16ct::lower::encode_string(key), secret: base16ct::lower::encode_string(secret) }
    }

    /// A new token of the object with that key, 32 hex digits.
    pub fn of(key: &str, secret: &[u8; 32]) -> Self {
        Self { key: key.to_owned(), secret: base16ct::lower::encode_string(secret) }
    }

    /// Reads one; none if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_token = is_hex(key, KEY_DIGITS) && is_hex(secret, SECRET_DIGITS);
        is_token.then(|| Self { key: key.to_owned(), secret: secret.to_owned() })
    }

    /// The key of the runner's object.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The text that the runner shows.
    pub fn text(&self) -> String {
        format!("{TOKEN_PREFIX}{}_{}", self.key, self.secret)
    }

    /// What is stored of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(base16ct::lower::encode_string(&Sha256::digest(&self.secret)))
    }
}

/// SHA-256 of a secret, in hex. Never the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHash(String);

impl TokenHash {
    /// One that was written down with [`Self::text`].
    pub fn of_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it is handed on within the service.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether both are of the same secret; takes the same time whatever they are.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_read_as_it_was_written_and_is_not_printed() {
        let token = Token::new(&[0xab; 16], &[0xcd; 32]);
        let text = token.text();
        assert_eq!(text, format!("lrt_{}_{}", "ab".repeat(16), "cd".repeat(32)));
        assert_eq!(Token::parse(&text), Some(token.clone()));
        assert!(!format!("{token:?}").contains("cdcd"));
        assert!(token.hash().matches(&token.hash()));
        assert!(!token.hash().matches(&Token::new(&[0xab; 16], &[0xce; 32]).hash()));
    }

    #[test]
    fn anything_else_is_no_token() {
        let good = Token::new(&[1; 16], &[2; 32]).text();
        for bad in [
            "",
            "lrt_",
            good.trim_start_matches("lrt_"),
            &good.to_uppercase(),
            &good.replace("lrt_", "lrt_0"),
            &format!("{good}0"),
            &good.replacen('1', "g", 1),
            &good.replace('_', "-"),
        ] {
            assert_eq!(Token::parse(bad), None, "{bad}");
        }
    }
}
