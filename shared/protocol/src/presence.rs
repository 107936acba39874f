//! Who has a graph open (sync.md 7.1, 7.4).

use crate::write;
use serde::{Deserialize, Deserializer, Serialize};

/// A user as peers see them; also what a socket's attachment keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PresenceUser {
    /// The user's id: the `sub` of the token.
    pub user_id: String,
    /// E-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Short name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Full name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The block being edited, never blank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editing_block_uuid: Option<String>,
}

impl PresenceUser {
    /// A user without any name.
    pub fn new(user_id: impl Into<String>) -> Self {
        Self { user_id: user_id.into(), email: None, username: None, name: None, editing_block_uuid: None }
    }

    /// Notes the block being edited; nothing or blank text removes it (sync.md 7.2). True if that changed anything.
    pub fn set_editing_block(&mut self, uuid: Option<&str>) -> bool {
        let uuid = uuid.filter(|text| !text.trim().is_empty());
        let changed = self.editing_block_uuid.as_deref() != uuid;
        if changed {
            self.editing_block_uuid = uuid.map(str::to_owned);
        }
        changed
    }

    pub(crate) fn write_json(&self, out: &mut String) {
        out.push_str("{\"user-id\":");
        write::string(out, &self.user_id);
        write::optional(out, "email", self.email.as_deref());
        write::optional(out, "username", self.username.as_deref());
        write::optional(out, "name", self.name.as_deref());
        write::optional(out, "editing-block-uuid", self.editing_block_uuid.as_deref());
        out.push('}');
    }
}

/// The distinct users among those of all sockets, in order of first appearance: two tabs of one user count once while
/// they show the same.
pub fn online_users<'a>(sockets: impl IntoIterator<Item = &'a PresenceUser>) -> Vec<&'a PresenceUser> {
    let mut seen = keyed::Set::default();
    sockets.into_iter().filter(|user| seen.insert(*user)).collect()
}

/// What is kept with a socket and survives hibernation and deploys: `{"presence/user": user}`.
///
/// Read is also the older form, which is the user itself; anything else is a socket without a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// None on connections of the operator, which have no presence.
    #[serde(rename = "presence/user", skip_serializing_if = "Option::is_none")]
    pub user: Option<PresenceUser>,
}

impl<'de> Deserialize<'de> for Attachment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Nested {
                #[serde(rename = "presence/user")]
                user: PresenceUser,
            },
            Plain(PresenceUser),
            Other(serde::de::IgnoredAny),
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Nested { user } | Form::Plain(user) => Self { user: Some(user) },
            Form::Other(_) => Self { user: None },
        })
    }
}

impl Attachment {
    /// The attachment as JSON.
    pub fn to_json(&self) -> String {
        write::to_json(self)
    }
}
