//! The task of a session (agents.md 2.6.3): what a person wants done, as it was sent, without credentials.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::acp::Launch;
use crate::egress::{self, Rule};
use crate::event::{MIN_SECRET_BYTES, REDACTED};
use crate::repository::BranchName;

/// A normalised task. Unknown members are kept; none of it is trusted beyond what [`crate::request`] has checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Task(pub Value);

/// The credentials that came with a task. They are stored encrypted, in a row of their own.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TaskSecrets {
    /// Key of the model's provider.
    pub api_token: Option<String>,
    /// Text of the agent's own credentials file.
    pub auth_json: Option<String>,
    /// The stored login, with `runtime-auth-payload.auth-json`.
    pub managed_auth: Option<Value>,
    /// Variables of the agent's environment that are secrets by their names; at most 100 (agents.md 2.8).
    pub variables: BTreeMap<String, String>,
}

impl TaskSecrets {
    /// The text of the credentials file: the stored login wins over what came with the task (agents.md 12.5).
    pub fn auth_json(&self) -> Option<&str> {
        let managed =
            self.managed_auth.as_ref().and_then(|auth| auth.get("runtime-auth-payload")?.get("auth-json")?.as_str());
        managed.or(self.auth_json.as_deref())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for TaskSecrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TaskSecrets(…)")
    }
}

impl Task {
    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.0, |value, key| value.get(key))
    }

    fn text(&self, path: &[&str]) -> Option<&str> {
        self.at(path).and_then(Value::as_str)
    }

    fn filled(&self, path: &[&str]) -> Option<&str> {
        self.text(path).map(str::trim).filter(|text| !text.is_empty())
    }

    /// The session.
    pub fn id(&self) -> &str {
        self.text(&["id"]).unwrap_or_default()
    }

    /// Title of the block that the task came from.
    pub fn node_title(&self) -> Option<&str> {
        self.filled(&["source", "node-title"])
    }

    /// What is to be done.
    pub fn content(&self) -> &str {
        self.text(&["intent", "content"]).unwrap_or_default()
    }

    /// Addresses of what is attached; at most 100 (agents.md 2.8).
    pub fn attachments(&self) -> Vec<String> {
        let list = self.at(&["intent", "attachments"]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
    }

    /// The project as it was sent.
    pub fn project(&self) -> &Value {
        self.at(&["project"]).unwrap_or(&Value::Null)
    }

    /// Its title.
    pub fn project_title(&self) -> Option<&str> {
        self.filled(&["project", "title"])
    }

    /// The repository's address, unless it is blank.
    pub fn repo_url(&self) -> Option<&str> {
        self.filled(&["project", "repo-url"])
    }

    /// The base branch that the task has, asked for or found out.
    pub fn base_branch(&self) -> Option<&str> {
        self.filled(&["project", "base-branch"]).or_else(|| self.filled(&["project", "branch"]))
    }

    /// Notes the base branch that was found out.
    pub fn set_base_branch(&mut self, branch: &BranchName) {
        if let Some(project) = self.0.get_mut("project").and_then(Value::as_object_mut) {
            project.insert("base-branch".to_owned(), branch.as_str().into());
        }
    }

    /// The graph that it belongs to.
    pub fn graph_id(&self) -> Option<&str> {
        self.filled(&["project", "graph-id"])
    }

    /// What the project wants to talk to, at most; none where it says nothing (agents.md 20.7). It was checked when the session was
    /// created.
    pub fn egress(&self) -> Option<Vec<Rule>> {
        let entries = self.at(&["project", "egress"])?.as_array()?;
        egress::list(entries.iter().map(|entry| entry.as_str().unwrap_or_default())).ok()
    }

    /// The project's Dockerfile.
    pub fn docker_file(&self) -> Option<&str> {
        self.filled(&["project", "docker-file"])
    }

    /// The template that the project or the task names.
    pub fn template(&self) -> Option<&str> {
        self.filled(&["project", "template"]).or_else(|| self.filled(&["runtime", "template"]))
    }

    /// The project's init script, out of its fence if it stands in one (agents.md 5.2).
    pub fn init_setup(&self) -> Option<&str> {
        let text = self.filled(&["project", "sandbox-init-setup"])?;
        let fenced = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
        let inside = fenced.and_then(|rest| rest.split_once('\n')).map(|(_, inside)| inside);
        Some(inside.unwrap_or(text).trim()).filter(|text| !text.is_empty())
    }

    /// The agent as it was sent, without credentials.
    pub fn agent(&self) -> &Value {
        self.at(&["agent"]).unwrap_or(&Value::Null)
    }

    /// How the agent is started.
    pub fn launch(&self) -> Launch {
        Launch::of(self.agent())
    }

    /// Variables of the agent's environment as far as they are no secrets; at most 100 (agents.md 2.8).
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.at(&["agent", "env"]).and_then(Value::as_object);
        variables.into_iter().flatten().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// Values of variables that are secrets by their names and lie in the task all the same: where nothing can be sealed.
    pub fn secret_values(&self) -> impl Iterator<Item = &str> {
        self.environment().filter(|(name, _)| is_secret_name(name)).map(|(_, value)| value)
    }

    /// The provider that was asked for by name.
    pub fn runtime_provider(&self) -> Option<&str> {
        self.filled(&["runtime-provider"])
    }

    /// The runner that was asked for by name.
    pub fn runner_id(&self) -> Option<&str> {
        self.filled(&["runner-id"])
    }

    fn capability(&self, name: &str) -> bool {
        self.at(&["capabilities", name]).and_then(Value::as_bool).unwrap_or(true)
    }

    /// Whether the session may push.
    pub fn push_enabled(&self) -> bool {
        self.capability("push-enabled")
    }

    /// Whether the session may open pull requests.
    pub fn pr_enabled(&self) -> bool {
        self.capability("pr-enabled")
    }

    /// Whether what is said about its pull requests comes back as orders (agents.md 20.4).
    pub fn follow_up(&self) -> bool {
        self.at(&["capabilities", "follow-up"]).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The policy of approvals (agents.md 18.1).
    pub fn tools(&self) -> &Value {
        self.at(&["capabilities", "tools"]).unwrap_or(&Value::Null)
    }

    /// An agent that is only named becomes an object with that name.
    pub fn become_object(&mut self, name: &str) {
        if let Some(agent) = self.0.get_mut("agent")
            && agent.is_string()
        {
            *agent = serde_json::json!({"provider": name});
        }
    }

    /// Takes the credentials out of it.
    pub fn take_secrets(&mut self) -> TaskSecrets {
        let Some(agent) = self.0.get_mut("agent").and_then(Value::as_object_mut) else { return TaskSecrets::default() };
        let text = |agent: &mut Map<String, Value>, key: &str| match agent.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        TaskSecrets {
            api_token: text(agent, "api-token"),
            auth_json: text(agent, "auth-json"),
            managed_auth: agent.remove("managed-auth").filter(Value::is_object),
            variables: BTreeMap::new(),
        }
    }

    /// Takes the values of those variables out of it that are secrets by their names. What is left in their place is what the log
    /// shows of them.
    pub fn take_secret_variables(&mut self) -> BTreeMap<String, String> {
        let variables = self.0.get_mut("agent").and_then(|agent| agent.get_mut("env")).and_then(Value::as_object_mut);
        let is_secret = |name: &str, value: &str| is_secret_name(name) && value.len() >= MIN_SECRET_BYTES;
        let secret = variables.into_iter().flatten().filter_map(|(name, value)| match value {
            Value::String(text) if is_secret(name, text) => {
                Some((name.clone(), std::mem::replace(text, REDACTED.to_owned())))
            }
            _ => None,
        });
        secret.collect()
    }
}

/// Whether a variable of this name holds a secret.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_variables_leave_the_task() {
        let env =
            serde_json::json!({"MY_token": "long enough", "A_KEY": "short", "NAME": "no secret at all", "KEY_N": 5});
        let mut task = Task(serde_json::json!({"agent": {"provider": "codex", "env": env}}));
        let taken = task.take_secret_variables();
        assert_eq!(taken, BTreeMap::from([("MY_token".to_owned(), "long enough".to_owned())]));
        let left = serde_json::json!({"MY_token": REDACTED, "A_KEY": "short", "NAME": "no secret at all", "KEY_N": 5});
        assert_eq!(task.0["agent"]["env"], left);
        for odd in [serde_json::json!({"agent": "codex"}), serde_json::json!({"agent": {"env": "text"}}), Value::Null] {
            assert!(Task(odd).take_secret_variables().is_empty());
        }
    }
}
