//! Who has a graph open (sync.md 7.1, 7.4).

use crate::{limits, write};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use transit::json;

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

    /// Bounds what came in a token, so that it fits beside the id with a socket: names are cut, an address that is too
    /// long is left out, since the rest of one is another address.
    pub fn shorten(&mut self) {
        self.email = self.email.take().filter(|email| email.chars().count() <= limits::EMAIL_CHARS);
        for name in [&mut self.username, &mut self.name].into_iter().flatten() {
            if let Some((end, _)) = name.char_indices().nth(limits::NAME_CHARS) {
                name.truncate(end);
            }
        }
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
        json::write_str(out, &self.user_id);
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

/// Whom a socket belongs to. It is kept with the socket and survives hibernation and deploys: `{"presence/user": user}`
/// or `{"operator": true}`.
///
/// The older form, the user's fields without a wrapper, is read as well. Anything else is an error: a socket whose user is
/// unknown must not be taken for an operator's, who may do everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A user, with what peers see of them.
    User(PresenceUser),
    /// The operator, who has no presence.
    Operator,
}

impl Holder {
    /// The user, unless it is the operator.
    pub const fn user(&self) -> Option<&PresenceUser> {
        match self {
            Self::User(user) => Some(user),
            Self::Operator => None,
        }
    }
}

impl Serialize for Holder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            #[serde(rename = "presence/user", skip_serializing_if = "Option::is_none")]
            user: Option<&'a PresenceUser>,
            #[serde(skip_serializing_if = "Option::is_none")]
            operator: Option<bool>,
        }
        let user = self.user();
        Form { user, operator: user.is_none().then_some(true) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Holder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Nested {
                #[serde(rename = "presence/user")]
                user: PresenceUser,
            },
            Plain(PresenceUser),
            Operator {
                operator: bool,
            },
        }
        match Form::deserialize(deserializer)? {
            Form::Nested { user } | Form::Plain(user) => Ok(Self::User(user)),
            Form::Operator { operator: true } => Ok(Self::Operator),
            Form::Operator { operator: false } => Err(serde::de::Error::custom("a socket of nobody")),
        }
    }
}

impl Holder {
    /// The attachment as JSON.
    pub fn to_json(&self) -> String {
        write::to_json(self)
    }
}
