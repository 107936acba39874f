//! Bodies of messages, publishing and decisions (agents.md 2.6.5, 2.6.7, 18.1).

use serde::Serialize;

use super::fields::{Fields, object, required_object};
use super::limits::{MAX_MESSAGE_BYTES, MAX_TEXT_BYTES, MAX_TITLE_BYTES};
use crate::error::Error;
use crate::repository::requested_head;

/// A message to the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// What it says; may be empty.
    pub message: String,
    /// What kind of message the client calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

impl Message {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`], [`Error::MessageTooLarge`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let (message, kind) = (fields.required("message")?, fields.text_within("kind", MAX_TITLE_BYTES)?);
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(Error::MessageTooLarge);
        }
        Ok(Self { message: message.to_owned(), kind: kind.map(str::to_owned) })
    }
}

/// Where a session is to go (session-mailbox.md 7.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Move {
    /// Who is to run it.
    pub runtime_provider: String,
    /// The machine, where it is to be a certain one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_id: Option<String>,
    /// Whether a turn that runs is broken off, and a runner that does not answer is not waited for.
    pub force: bool,
}

impl Move {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let provider = crate::runtime::ProviderKind::parse(fields.required("runtime-provider")?);
        let runner_id = fields.text_within("runner-id", MAX_TITLE_BYTES)?.filter(|id| !id.is_empty());
        Ok(Self {
            runtime_provider: provider.ok_or(Error::InvalidBody)?.as_str().to_owned(),
            runner_id: runner_id.map(str::to_owned),
            force: fields.flag("force")?.unwrap_or_default(),
        })
    }
}

/// A branch to push, and a pull request to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Publish {
    /// Title of the pull request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Body of the pull request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What the commit says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_message: Option<String>,
    /// The branch to push, valid; none for a generated one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_branch: Option<String>,
    /// The branch that it is to be merged into. A wish: what is not valid counts as absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_branch: Option<String>,
    /// Whether a pull request is opened.
    pub create_pr: bool,
    /// Whether the branch may be overwritten.
    pub force: bool,
}

impl Publish {
    /// Reads a body. A missing one is an empty object.
    ///
    /// # Errors
    /// [`Error::InvalidBody`], [`Error::InvalidHead`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = object(body)?.unwrap_or_default();
        let fields = Fields(&members);
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let head = fields.text("head-branch")?;
        let wanted = Self {
            title: owned(fields.text_within("title", MAX_TITLE_BYTES)?),
            body: owned(fields.text_within("body", MAX_TEXT_BYTES)?),
            commit_message: owned(fields.text_within("commit-message", MAX_TEXT_BYTES)?),
            head_branch: None,
            base_branch: owned(fields.text("base-branch")?),
            create_pr: fields.flag("create-pr")?.unwrap_or(true),
            force: fields.flag("force")?.unwrap_or(false),
        };
        let head = requested_head(head).map_err(|_| Error::InvalidHead)?;
        Ok(Self { head_branch: head.map(|head| head.as_str().to_owned()), ..wanted })
    }
}

/// A decision about a tool that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ApprovalDecision {
    /// `granted` or `denied`.
    pub decision: &'static str,
    /// The option of the agent that is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub option_id: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ApprovalDecision {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let decision = match fields.required("decision")? {
            "granted" => "granted",
            "denied" => "denied",
            _ => return Err(Error::InvalidBody),
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self {
            decision,
            option_id: owned(fields.text_within("option-id", MAX_TITLE_BYTES)?),
            reason: owned(fields.text_within("reason", MAX_TEXT_BYTES)?),
        })
    }
}
