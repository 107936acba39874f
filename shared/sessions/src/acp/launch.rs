//! Which agent is started, and in which mode (agents.md 4.1, 4.3).

use serde_json::Value;

/// The name by which sandbox-agent knows an agent; nothing for a blank one.
pub fn agent_alias(name: &str) -> Option<String> {
    let name = name.trim().to_lowercase();
    match name.as_str() {
        "" => None,
        "claude-code" | "claude_code" => Some("claude".to_owned()),
        "chatgpt" => Some("codex".to_owned()),
        "open-code" | "open_code" => Some("opencode".to_owned()),
        _ => Some(name),
    }
}

/// How an agent is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The agent; nothing when the task names a blank one, which no server takes.
    pub agent: Option<String>,
    /// The agent's own mode, such as `build` or `plan`.
    pub agent_mode: String,
    /// What it may do without asking, in lower case.
    pub permission_mode: String,
}

impl Launch {
    /// Reads the agent of a task: a text, or an object.
    pub fn of(agent: &Value) -> Self {
        let text = |keys: &[&str]| keys.iter().find_map(|key| agent.get(key)?.as_str());
        let chosen = match agent {
            Value::String(name) => name.as_str(),
            // The reference prints the object where it names no agent. Of the empty one that is these two characters.
            _ => text(&["provider", "id"]).unwrap_or("{}"),
        };
        let name = agent_alias(chosen);
        let usual = if name.as_deref() == Some("codex") { "bypass" } else { "default" };
        let filled = |keys: &[&str]| {
            keys.iter().find_map(|key| agent.get(key)?.as_str().map(str::trim).filter(|value| !value.is_empty()))
        };
        Self {
            agent_mode: filled(&["mode", "agent-mode", "model"]).unwrap_or("build").to_owned(),
            permission_mode: filled(&["permission-mode", "permissionMode"]).unwrap_or(usual).to_lowercase(),
            agent: name,
        }
    }

    /// The mode that `session/set_mode` sets, if it is to be called.
    pub fn mode_id(&self) -> Option<&str> {
        let permission = self.permission_mode.as_str();
        match self.agent.as_deref() {
            Some("codex") => match permission {
                "read-only" | "default" => Some("read-only"),
                "bypass" | "auto" => Some("auto"),
                "full-access" => Some("full-access"),
                _ => None,
            },
            Some("claude") => match permission {
                "acceptedits" | "accept-edits" => Some("acceptEdits"),
                "plan" => Some("plan"),
                "bypass" => Some("bypassPermissions"),
                "default" => Some("default"),
                _ => None,
            },
            Some("amp") => match permission {
                "bypass" => Some("bypass"),
                "default" => Some("default"),
                _ => None,
            },
            _ => Some(self.agent_mode.as_str()),
        }
    }

    /// Whether the agent never asks, so that an approval need not wait for a person (agents.md 18.1).
    pub fn allows_all(&self) -> bool {
        matches!(self.permission_mode.as_str(), "bypass" | "full-access")
    }
}
