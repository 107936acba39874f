//! The body of `POST /sessions` (agents.md 2.6.3).

use serde_json::{Map, Value, json};

use super::fields::{Fields, required_object};
use super::limits::{
    MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, MAX_MESSAGE_BYTES, MAX_PATTERN_BYTES, MAX_PATTERNS, MAX_SETUP_BYTES,
    MAX_VARIABLE_BYTES, MAX_VARIABLES, MAX_VARIABLES_BYTES,
};
use super::session_id;
use crate::egress::{self, MAX_RULE_BYTES, MAX_RULES};
use crate::error::Error;
use crate::session::budget::Budget;
use crate::task::{Task, TaskSecrets};

/// A session that somebody wants, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Create {
    /// The task, without credentials.
    pub task: Task,
    /// The credentials that came with it.
    pub secrets: TaskSecrets,
    /// What the session may use (agents.md 20.1); none where the settings say it.
    pub budget: Option<Budget>,
    /// A snapshot to begin with. It counts only if it is known to belong to the same owner (B3).
    pub snapshot_id: Option<String>,
}

impl Create {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Error::MissingBody`], [`Error::InvalidBody`], [`Error::InvalidSessionId`], [`Error::MessageTooLarge`].
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        let members = required_object(body)?;
        let fields = Fields(&members);
        let session_id = fields.required("session-id")?;
        let node_id = fields.required("node-id")?;
        let node_title = fields.required("node-title")?;
        let content = fields.required("content")?;
        let attachments = fields.texts("attachments", MAX_ATTACHMENTS, MAX_ATTACHMENT_BYTES)?;
        let attachments = attachments.ok_or(Error::InvalidBody)?;
        check_project(fields.object("project")?.ok_or(Error::InvalidBody)?)?;
        check_agent(fields)?;
        let checkpoint = fields.object("sandbox-checkpoint")?;
        let snapshot_id = checkpoint.map(|checkpoint| checkpoint.filled("snapshot-id")).transpose()?.flatten();
        checkpoint.map(|checkpoint| checkpoint.text("provider")).transpose()?;
        let budget = members.get("budget").map(Budget::read).transpose().map_err(|_| Error::InvalidBody)?;
        let mut task = json!({
            "id": session_id,
            "source": {"node-id": node_id, "node-title": node_title},
            "intent": {"content": content, "attachments": attachments},
            "project": members.get("project"),
            "agent": members.get("agent"),
            "capabilities": capabilities(fields)?,
        });
        let provider = fields.filled("runtime-provider")?.map(str::to_lowercase);
        let runner = fields.filled("runner-id")?.map(str::to_owned);
        for (key, value) in [("runtime-provider", provider), ("runner-id", runner)] {
            if let (Some(value), Some(task)) = (value, task.as_object_mut()) {
                task.insert(key.to_owned(), value.into());
            }
        }
        session_id::check(session_id)?;
        if content.len() > MAX_MESSAGE_BYTES {
            return Err(Error::MessageTooLarge);
        }
        let mut task = Task(task);
        let secrets = task.take_secrets();
        Ok(Self { task, secrets, budget, snapshot_id: snapshot_id.map(str::to_owned) })
    }

    /// What the session's object is sent.
    pub fn init(&self) -> Value {
        json!({"task": self.task, "secrets": self.secrets, "budget": self.budget, "snapshot-id": self.snapshot_id})
    }
}

fn check_project(project: Fields<'_>) -> Result<(), Error> {
    for name in ["id", "title", "repo-url"] {
        project.required(name)?;
    }
    for name in ["base-branch", "graph-id"] {
        project.text(name)?;
    }
    for name in ["docker-file", "sandbox-init-setup"] {
        project.text_within(name, MAX_SETUP_BYTES)?;
    }
    if let Some(entries) = project.texts("egress", MAX_RULES, MAX_RULE_BYTES)? {
        egress::list(entries.iter().copied()).map_err(|_| Error::InvalidBody)?;
    }
    Ok(())
}

fn check_agent(fields: Fields<'_>) -> Result<(), Error> {
    if fields.0.get("agent").is_some_and(Value::is_string) {
        return Ok(());
    }
    let agent = fields.object("agent")?.ok_or(Error::InvalidBody)?;
    for name in ["provider", "mode", "permission-mode", "api-token", "auth-json"] {
        agent.text(name)?;
    }
    if let Some(variables) = agent.0.get("env").and_then(Value::as_object) {
        check_variables(variables)?;
    }
    let Some(login) = agent.object("managed-auth")? else { return Ok(()) };
    for name in ["auth-id", "auth-state", "auth-method", "user-id", "workspace-id"] {
        login.text(name)?;
    }
    for name in ["issued-at", "expires-at", "revoked-at"] {
        login.int(name)?;
    }
    let payload = login.object("runtime-auth-payload")?;
    payload.map(|payload| payload.text("auth-json")).transpose()?;
    Ok(())
}

/// Values that are no texts are let be and never used.
fn check_variables(variables: &Map<String, Value>) -> Result<(), Error> {
    let size = |value: &Value| value.as_str().map_or(0, str::len);
    let all: usize = variables.iter().map(|(name, value)| name.len() + size(value)).sum();
    let is_large = |value: &Value| size(value) > MAX_VARIABLE_BYTES;
    if variables.len() > MAX_VARIABLES || all > MAX_VARIABLES_BYTES || variables.values().any(is_large) {
        return Err(Error::InvalidBody);
    }
    Ok(())
}

/// The two flags, on by themselves; whether what is said about its pull requests comes back (agents.md 20.4); and the policy of approvals
/// (18.1) if there is one.
fn capabilities(fields: Fields<'_>) -> Result<Value, Error> {
    let Some(sent) = fields.object("capabilities")? else {
        return Ok(json!({"push-enabled": true, "pr-enabled": true}));
    };
    let mut capabilities = json!({
        "push-enabled": sent.flag("push-enabled")?.unwrap_or(true),
        "pr-enabled": sent.flag("pr-enabled")?.unwrap_or(true),
    });
    if let (true, Some(members)) = (sent.flag("follow-up")?.unwrap_or(false), capabilities.as_object_mut()) {
        members.insert("follow-up".to_owned(), true.into());
    }
    let Some(tools) = sent.object("tools")? else { return Ok(capabilities) };
    let mut policy = Map::new();
    for name in ["allow", "deny"] {
        if let Some(patterns) = tools.texts(name, MAX_PATTERNS, MAX_PATTERN_BYTES)? {
            policy.insert(name.to_owned(), patterns.into());
        }
    }
    if let Some(members) = capabilities.as_object_mut() {
        members.insert("tools".to_owned(), policy.into());
    }
    Ok(capabilities)
}
