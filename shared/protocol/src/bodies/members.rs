//! Members of a graph (sync.md 4.6).

use super::Body;
use crate::errors::{BodyError, INVALID_BODY};
use crate::json::{self, Fields, Json, Mismatch};
use crate::limits::{EMAIL_CHARS, ID_CHARS, ROLE_CHARS};
use serde::Serialize;
use serde::de::MapAccess;
use std::borrow::Cow;

/// What a member may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May also manage members and delete the graph.
    Manager,
    /// May read and write the graph.
    #[default]
    Member,
}

impl Role {
    /// The text on the wire and in the index.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Member => "member",
        }
    }

    /// The role of that text.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "manager" => Some(Self::Manager),
            "member" => Some(Self::Member),
            _ => None,
        }
    }
}

/// Answer of `GET /graphs/:id/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberList {
    /// Oldest first.
    pub members: Vec<Member>,
}

impl Body for MemberList {}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Member {
    /// The member.
    pub user_id: String,
    /// The graph.
    pub graph_id: String,
    /// Their role.
    pub role: Role,
    /// Who added them.
    pub invited_by: Option<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// None for users who never called.
    pub email: Option<String>,
    /// None for users who never called.
    pub username: Option<String>,
}

/// Body of `POST /graphs/:id/members`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddMember<'a> {
    /// Who is to be added.
    pub target: MemberTarget<'a>,
    /// The role to give; `member` when not said.
    pub role: Role,
}

/// How a body names the user it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberTarget<'a> {
    /// By id, taken as it is.
    UserId(Cow<'a, str>),
    /// By e-mail, to be looked up.
    Email(Cow<'a, str>),
}

impl<'a> AddMember<'a> {
    /// Reads the body.
    pub fn parse(body: &'a str) -> Result<Self, BodyError> {
        let fields: MemberFields<'a> = json::body(body, INVALID_BODY)?;
        fields.add().map_err(|Mismatch| BodyError::Schema(INVALID_BODY))
    }
}

/// Body of `PUT /graphs/:id/members/:member-id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeRole {
    /// The role to give.
    pub role: Role,
}

impl ChangeRole {
    /// Reads the body.
    pub fn parse(body: &str) -> Result<Self, BodyError> {
        let fields: MemberFields<'_> = json::body(body, INVALID_BODY)?;
        let role = fields.role.short_text(ROLE_CHARS).ok().and_then(|text| Role::from_text(&text));
        role.map(|role| Self { role }).ok_or(BodyError::Schema(INVALID_BODY))
    }
}

#[derive(Debug, Default)]
struct MemberFields<'a> {
    user_id: Json<'a>,
    email: Json<'a>,
    role: Json<'a>,
}

impl<'a> Fields<'a> for MemberFields<'a> {
    fn read<A: MapAccess<'a>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        match key {
            "user-id" => self.user_id = map.next_value()?,
            "email" => self.email = map.next_value()?,
            "role" => self.role = map.next_value()?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl<'a> MemberFields<'a> {
    /// Either of the two forms suffices: a wrong type in the other does no harm.
    fn add(self) -> Result<AddMember<'a>, Mismatch> {
        let role = match self.role.optional_text()? {
            Some(text) => Role::from_text(&json::short(text, ROLE_CHARS)?).ok_or(Mismatch)?,
            None => Role::default(),
        };
        let target = match self.user_id.text() {
            Ok(user_id) => MemberTarget::UserId(json::short(user_id, ID_CHARS)?),
            Err(Mismatch) => MemberTarget::Email(self.email.short_text(EMAIL_CHARS)?),
        };
        Ok(AddMember { target, role })
    }
}
