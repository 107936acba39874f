//! What an agent asks before it uses a tool (agents.md 4.4, 18.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{MAX_ID_BYTES, id_text};

/// How many options one request may offer.
pub const MAX_OPTIONS: usize = 32;
/// How much of a name or a title is kept, in bytes.
const MAX_TITLE_BYTES: usize = 1024;

/// What an option means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionKind {
    /// Yes, this time.
    AllowOnce,
    /// Yes, from now on.
    AllowAlways,
    /// No, this time.
    RejectOnce,
    /// No, from now on.
    RejectAlways,
}

impl OptionKind {
    /// Whether the tool may be used.
    pub fn allows(self) -> bool {
        matches!(self, Self::AllowOnce | Self::AllowAlways)
    }
}

/// One of the answers that the agent offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionOption {
    /// The agent's name for it.
    pub option_id: String,
    /// What a person reads.
    pub name: String,
    /// What it means.
    pub kind: OptionKind,
}

/// A request for permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PermissionRequest {
    /// The agent's session.
    pub runtime_session_id: Option<String>,
    /// The call of the tool.
    pub call_id: Option<String>,
    /// The kind of tool.
    pub tool: Option<String>,
    /// What a person reads.
    pub title: Option<String>,
    /// The answers to choose from; at least one.
    pub options: Vec<PermissionOption>,
}

/// A request that nobody can decide on. It is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the agent's request for permission is unreadable")]
pub struct Unreadable;

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// This option.
    Selected(&'a str),
    /// None: the turn is being cancelled, or the agent offered nothing that means no.
    Cancelled,
}

impl PermissionRequest {
    /// Reads the parameters of `session/request_permission`.
    pub fn read(params: &Value) -> Result<Self, Unreadable> {
        let options = params.get("options").and_then(Value::as_array).ok_or(Unreadable)?;
        if options.is_empty() || options.len() > MAX_OPTIONS {
            return Err(Unreadable);
        }
        // At most MAX_OPTIONS turns, each over texts that are cut.
        let options = options.iter().map(option).collect::<Option<Vec<_>>>().ok_or(Unreadable)?;
        let call = params.get("toolCall");
        let of_call = |key: &str| call.and_then(|call| call.get(key));
        Ok(Self {
            runtime_session_id: id_text(params.get("sessionId")).map(str::to_owned),
            call_id: id_text(of_call("toolCallId")).map(str::to_owned),
            tool: id_text(of_call("kind")).map(str::to_owned),
            title: of_call("title").and_then(Value::as_str).map(title),
            options,
        })
    }

    /// The option of this kind, if the agent offers one.
    pub fn option_of(&self, kind: OptionKind) -> Option<&PermissionOption> {
        self.options.iter().find(|option| option.kind == kind)
    }

    /// The answer that allows: the named option, or the one for this time. Nothing when there is none, or when it means
    /// the contrary.
    pub fn grant(&self, option_id: Option<&str>) -> Option<Answer<'_>> {
        self.chosen(option_id, OptionKind::AllowOnce).filter(|option| option.kind.allows()).map(selected)
    }

    /// The answer that refuses: the named option, or the one for this time, or a cancellation where the agent offers none.
    /// Nothing when the named one does not exist or means the contrary.
    pub fn deny(&self, option_id: Option<&str>) -> Option<Answer<'_>> {
        match self.chosen(option_id, OptionKind::RejectOnce) {
            Some(option) => (!option.kind.allows()).then(|| selected(option)),
            None => option_id.is_none().then_some(Answer::Cancelled),
        }
    }

    fn chosen(&self, option_id: Option<&str>, usual: OptionKind) -> Option<&PermissionOption> {
        match option_id {
            Some(id) => self.options.iter().find(|option| option.option_id == id),
            None => self.option_of(usual),
        }
    }
}

fn selected(option: &PermissionOption) -> Answer<'_> {
    Answer::Selected(&option.option_id)
}

fn option(value: &Value) -> Option<PermissionOption> {
    let kind = match value.get("kind")?.as_str()? {
        "allow_once" => OptionKind::AllowOnce,
        "allow_always" => OptionKind::AllowAlways,
        "reject_once" => OptionKind::RejectOnce,
        "reject_always" => OptionKind::RejectAlways,
        _ => return None,
    };
    let option_id = id_text(value.get("optionId"))?.to_owned();
    let name = value.get("name").and_then(Value::as_str).map_or_else(|| option_id.clone(), title);
    Some(PermissionOption { option_id, name, kind })
}

/// The beginning of a text that people read.
fn title(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TITLE_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}

/// The id of a request as JSON-RPC allows it: a number, or a text of bearable length. Under another one nothing can be
/// answered.
pub(super) fn rpc_id(envelope: &Value) -> Option<Value> {
    envelope.get("id").and_then(usable)
}

pub(super) fn usable(id: &Value) -> Option<Value> {
    match id {
        Value::Number(_) => Some(id.clone()),
        Value::String(text) if text.len() <= MAX_ID_BYTES => Some(id.clone()),
        _ => None,
    }
}
