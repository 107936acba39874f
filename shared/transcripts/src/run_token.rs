//! Tokens of runs (transcripts.md 4.8): whoever holds one acts for one turn of one session, for a quarter of an hour.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::Sha256;

use crate::limits::{TOKEN_CHARS, TOKEN_KEYS, TOKEN_S, TOKEN_SKEW_S};

/// Reading snapshots.
pub const READ: &str = "transcript:read";
/// Storing snapshots.
pub const WRITE: &str = "transcript:write";
/// Telling events.
pub const EVENTS: &str = "events:write";

/// Asking for git's credentials (agents.md 20.6).
pub const GIT: &str = "git:token";

/// What the header of such a token calls itself, so that no token of an identity provider is taken for one.
const KIND: &str = "run";
const ALGORITHM: &str = "HS256";
/// Characters of the name of a key.
const KID_CHARS: usize = 32;
/// The key of development, where no identity provider guards anything either.
const DEVELOPMENT: [u8; 32] = *b"run tokens of development only!!";

/// The turn that a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its name.
    pub run: String,
    /// Its number; turns of a session are counted.
    pub seq: u64,
}

/// What a token says. Members that are not named here are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user.
    pub sub: String,
    /// The session.
    pub sid: String,
    /// The turn; none for a token that only reads.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The attempt.
    #[serde(default)]
    pub att: u64,
    /// The epoch of the conversation.
    #[serde(default)]
    pub ep: u64,
    /// What it allows.
    #[serde(default)]
    pub scope: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// The first second at which it is not valid any more.
    pub exp: i64,
    /// Its own name.
    pub jti: String,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Claims {
    /// Whether it allows that.
    pub fn allows(&self, scope: &str) -> bool {
        self.scope.iter().any(|allowed| allowed == scope)
    }

    /// The same for a further quarter of an hour.
    #[must_use]
    pub fn renewed(mut self, now_ms: i64, jti: String) -> Self {
        self.iat = now_ms.div_euclid(1_000);
        self.exp = self.iat.saturating_add(TOKEN_S);
        self.jti = jti;
        self
    }
}

/// Why a token is none. Clients are told no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has another form, another key, or was changed.
    #[error("not a token of this service")]
    Unknown,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Its time has not come.
    #[error("made in the future")]
    Future,
}

/// Why keys are none. No text shows one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// An entry has another form.
    #[error("must be kid:key entries separated by commas, each key 32 bytes in base64")]
    Form,
    /// Two keys have the same name, or there are too many.
    #[error("must be at most 8 keys with names of their own")]
    Names,
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

/// Makes tokens with the first of its keys, and knows those of all of them.
#[derive(Clone)]
pub struct RunTokens(Vec<(String, [u8; 32])>);

impl fmt::Debug for RunTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.iter().map(|(kid, _)| kid)).finish()
    }
}

impl RunTokens {
    /// The keys of `RUN_TOKEN_KEYS`: `kid:key` entries separated by commas.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        let mut keys: Vec<(String, [u8; 32])> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let (kid, key) = entry.split_once(':').ok_or(KeysError::Form)?;
            let is_name = (1..=KID_CHARS).contains(&kid.len())
                && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let key = STANDARD_NO_PAD.decode(key.trim_end_matches('=')).ok().and_then(|key| key.try_into().ok());
            let (true, Some(key)) = (is_name, key) else { return Err(KeysError::Form) };
            if keys.len() >= TOKEN_KEYS || keys.iter().any(|(known, _)| known == kid) {
                return Err(KeysError::Names);
            }
            keys.push((kid.to_owned(), key));
        }
        Ok(Self(keys))
    }

    /// A fixed key, for services that let in whoever has one token, or everybody.
    pub fn development() -> Self {
        Self(vec![("development".to_owned(), DEVELOPMENT)])
    }

    /// A token that says this.
    ///
    /// # Errors
    /// Without a key there is none.
    pub fn issue(&self, claims: &Claims) -> Result<String, TokenError> {
        self.signed(KIND, claims).next().unwrap_or(Err(TokenError::Unknown))
    }

    /// What a valid token says.
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        let claims: Claims = self.opened(KIND, token)?;
        check_times(claims.iat, claims.exp, TOKEN_S, now_ms)?;
        Ok(claims)
    }

    /// Tokens of a kind that say this, one for each key; with the first of them tokens are made.
    pub(crate) fn signed<T: Serialize>(
        &self,
        kind: &str,
        claims: &T,
    ) -> impl Iterator<Item = Result<String, TokenError>> {
        // At most TOKEN_KEYS.
        self.0.iter().map(move |(kid, key)| {
            let header = Header { alg: ALGORITHM, typ: kind, kid };
            let header = serde_json::to_vec(&header).map_err(|_| TokenError::Unknown)?;
            let claims = serde_json::to_vec(claims).map_err(|_| TokenError::Unknown)?;
            let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let tag = mac(key, signed.as_bytes()).finalize().into_bytes();
            Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
        })
    }

    /// What a token of a kind says, whenever that was. Its signature is looked at before anything else of it is believed.
    pub(crate) fn opened<T: DeserializeOwned>(&self, kind: &str, token: &str) -> Result<T, TokenError> {
        let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Unknown)?;
        let (head, body) = signed.split_once('.').ok_or(TokenError::Unknown)?;
        let head = header(kind, token, head).ok_or(TokenError::Unknown)?;
        let head: Header<'_> = serde_json::from_slice(&head).map_err(|_| TokenError::Unknown)?;
        let key = self.0.iter().find(|(kid, _)| head.alg == ALGORITHM && kid == head.kid);
        let (_, key) = key.ok_or(TokenError::Unknown)?;
        let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| TokenError::Unknown)?;
        // The comparison takes the same time for every tag.
        mac(key, signed.as_bytes()).verify_slice(&tag).map_err(|_| TokenError::Unknown)?;
        let claims = URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenError::Unknown)?;
        serde_json::from_slice(&claims).map_err(|_| TokenError::Unknown)
    }
}

/// Whether a token that was made and ends at these seconds, and may live for so many, is valid now.
pub(crate) fn check_times(iat: i64, exp: i64, longest_s: i64, now_ms: i64) -> Result<(), TokenError> {
    if iat.saturating_mul(1_000) > now_ms.saturating_add(TOKEN_SKEW_S * 1_000) {
        return Err(TokenError::Future);
    }
    let is_short = exp.saturating_sub(iat) <= longest_s;
    if is_short && now_ms < exp.saturating_mul(1_000) { Ok(()) } else { Err(TokenError::Expired) }
}

/// Whether a text claims to be one of these, whatever it is worth.
pub fn is_run_token(text: &str) -> bool {
    is_of_kind(KIND, text)
}

/// Whether a text claims to be a token of a kind, whatever it is worth.
pub(crate) fn is_of_kind(kind: &str, text: &str) -> bool {
    text.split('.').count() == 3 && text.split('.').next().is_some_and(|head| header(kind, text, head).is_some())
}

/// The header of what claims to be a token of a kind.
fn header(kind: &str, token: &str, head: &str) -> Option<Vec<u8>> {
    if token.len() > TOKEN_CHARS {
        return None;
    }
    let head = URL_SAFE_NO_PAD.decode(head).ok()?;
    let is_ours = serde_json::from_slice::<Header<'_>>(&head).is_ok_and(|head| head.typ == kind);
    is_ours.then_some(head)
}

fn mac(key: &[u8; 32], text: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length");
    mac.update(text);
    mac
}
