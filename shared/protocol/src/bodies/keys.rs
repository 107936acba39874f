//! Keys of end-to-end encryption (sync.md 4.7). All key material is opaque text.

use super::Body;
use crate::errors::{BodyError, INVALID_BODY};
use crate::json::{self, Fields, Item, Json, Mismatch, Skipped};
use crate::limits::{EMAIL_CHARS, GRANTS, KEY_BYTES};
use serde::Serialize;
use serde::de::MapAccess;
use std::borrow::Cow;

/// A user's RSA pair: body and answer of `POST /e2ee/user-keys`, answer of `GET /e2ee/user-keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserKeys<'a> {
    /// Readable by every user.
    pub public_key: Cow<'a, str>,
    /// Encrypted by the client.
    pub encrypted_private_key: Cow<'a, str>,
}

impl Body for UserKeys<'_> {}

impl<'a> UserKeys<'a> {
    /// Reads the body; `reset-private-key` is checked and otherwise ignored.
    pub fn parse(body: &'a str) -> Result<Self, BodyError> {
        let fields: UserKeyFields<'a> = json::body(body, INVALID_BODY)?;
        fields.check().map_err(|Mismatch| BodyError::Schema(INVALID_BODY))
    }
}

#[derive(Debug, Default)]
struct UserKeyFields<'a> {
    public: Json<'a>,
    encrypted_private: Json<'a>,
    reset_private: Json<'a>,
}

impl<'a> Fields<'a> for UserKeyFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "public-key" => self.public = map.next_value()?,
            "encrypted-private-key" => self.encrypted_private = map.next_value()?,
            "reset-private-key" => self.reset_private = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> UserKeyFields<'a> {
    fn check(self) -> Result<UserKeys<'a>, Mismatch> {
        self.reset_private.optional_bool()?;
        Ok(UserKeys { public_key: key(self.public)?, encrypted_private_key: key(self.encrypted_private)? })
    }
}

/// Key material, of the length of a key.
fn key(value: Json<'_>) -> Result<Cow<'_, str>, Mismatch> {
    value.text().and_then(|text| if text.len() <= KEY_BYTES { Ok(text) } else { Err(Mismatch) })
}

/// Answer of the routes that read keys when there are none: `{}`.
pub const NO_KEYS: &str = "{}";

/// Answer of `GET /e2ee/user-public-key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublicKey {
    /// The user's public key.
    pub public_key: String,
}

impl Body for PublicKey {}

/// Answer of `GET /e2ee/graphs/:id/aes-key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GraphKey {
    /// The caller's copy of the graph's key; null when there is none.
    pub encrypted_aes_key: Option<String>,
}

impl Body for GraphKey {}

/// Body and answer of `POST /e2ee/graphs/:id/aes-key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SetGraphKey<'a> {
    /// The caller's copy of the graph's key.
    pub encrypted_aes_key: Cow<'a, str>,
}

impl Body for SetGraphKey<'_> {}

impl<'a> SetGraphKey<'a> {
    /// Reads the body.
    pub fn parse(body: &'a str) -> Result<Self, BodyError> {
        let fields: GrantFields<'a> = json::body(body, INVALID_BODY)?;
        let key = key(fields.encrypted_aes_key).map_err(|Mismatch| BodyError::Schema(INVALID_BODY))?;
        Ok(Self { encrypted_aes_key: key })
    }
}

/// Body of `POST /e2ee/graphs/:id/grant-access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantAccess<'a> {
    /// Copies of the graph's key, one for each member.
    pub grants: Vec<Grant<'a>>,
}

/// One member's copy of the graph's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant<'a> {
    /// Whose it is.
    pub email: Cow<'a, str>,
    /// The graph's key, encrypted for them.
    pub encrypted_aes_key: Cow<'a, str>,
}

impl<'a> GrantAccess<'a> {
    /// Reads the body.
    pub fn parse(body: &'a str) -> Result<Self, BodyError> {
        let fields: GrantListFields<'a> = json::body(body, INVALID_BODY)?;
        fields.check().map_err(|Mismatch| BodyError::Schema(INVALID_BODY))
    }
}

#[derive(Debug, Default)]
struct GrantListFields<'a> {
    grants: Json<'a, Skipped, Json<'a, GrantFields<'a>>>,
}

impl<'a> Fields<'a> for GrantListFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let wanted = key == "target-user-email+encrypted-aes-key-coll";
        if wanted {
            self.grants = map.next_value()?;
        }
        Ok(wanted)
    }
}

impl<'a> GrantListFields<'a> {
    fn check(self) -> Result<GrantAccess<'a>, Mismatch> {
        let grants = self.grants.array()?.into_iter().map(|grant| {
            let grant = grant.object()?;
            Ok(Grant { email: grant.email.short_text(EMAIL_CHARS)?, encrypted_aes_key: key(grant.encrypted_aes_key)? })
        });
        Ok(GrantAccess { grants: grants.collect::<Result<_, _>>()? })
    }
}

#[derive(Debug, Default)]
struct GrantFields<'a> {
    email: Json<'a>,
    encrypted_aes_key: Json<'a>,
}

impl<'a> Fields<'a> for GrantFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "email" => self.email = map.next_value()?,
            "encrypted-aes-key" => self.encrypted_aes_key = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> Item<'a> for Json<'a, GrantFields<'a>> {
    const MAX: usize = GRANTS;
}

/// Answer of `POST /e2ee/graphs/:id/grant-access`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AccessGranted {
    ok: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_users: Vec<String>,
}

impl AccessGranted {
    /// The answer, with the addresses that belong to nobody who has access.
    pub fn new(missing_users: Vec<String>) -> Self {
        Self { ok: true, missing_users }
    }
}

impl Body for AccessGranted {}
