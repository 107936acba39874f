//! Credentials of a session: sealed in a row of their own, and taken out of everything that is shown (agents.md 3.2, 3.15).

use serde::{Deserialize, Serialize};

use super::core::Core;
use super::{Platform, Session};
use crate::error::Error;
use crate::event::Redactor;
use crate::runtime::{ProviderKind, RuntimeSecrets};
use crate::secrets::Seal;
use crate::session::State;
use crate::task::{Task, TaskSecrets};

/// Everything that is sealed together.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Secrets {
    /// What came with the task.
    pub(super) task: TaskSecrets,
    /// What opens the runtime.
    pub(super) runtime: RuntimeSecrets,
}

/// What the sealed text is bound to: it opens for no other user and no other session.
pub(super) fn bound_to(state: &State) -> String {
    format!("{}\n{}", state.requested_by, state.id)
}

/// What stands before a piece of text when it is sealed, so that no text of an agent's looks as if it were sealed already.
const PIECE: char = '=';

/// The form in which a piece of a running turn's text is stored. An agent may say a secret in it, and it is redacted only as a whole;
/// without a key it lies in clear, as it must survive the object.
pub(super) fn seal_piece(seal: &Seal, piece: &str, bound_to: &str) -> String {
    let plain = format!("{PIECE}{piece}");
    seal.seal(&plain, bound_to).unwrap_or(plain)
}

/// The piece that was stored. One that an older version stored has nothing before it.
pub(super) fn open_piece(seal: &Seal, stored: &str, bound_to: &str) -> Result<String, Error> {
    let plain = seal.open(stored, bound_to)?;
    Ok(plain.strip_prefix(PIECE).map(str::to_owned).unwrap_or(plain))
}

impl<P: Platform> Session<P> {
    fn seal(&self) -> Seal {
        self.settings.seal()
    }

    pub(super) fn open_secrets(&self, state: &State, stored: Option<&str>) -> Result<Secrets, Error> {
        let Some(stored) = stored else { return Ok(Secrets::default()) };
        let text = self.seal().open(stored, &bound_to(state))?;
        serde_json::from_str(&text).map_err(|_| Error::Internal("unreadable secrets".to_owned()))
    }

    pub(super) fn seal_secrets(&self, core: &Core) -> Result<String, Error> {
        let runtime = core.state.runtime.as_ref().map(|runtime| runtime.secrets.clone()).unwrap_or_default();
        self.sealed(&core.state, &Secrets { task: core.secrets.clone(), runtime })
    }

    /// Takes secret variables out of the task of a new session, where they can be sealed.
    pub(super) fn take_secret_variables(&self, task: &mut Task, secrets: &mut TaskSecrets) {
        if self.seal().check().is_ok() {
            secrets.variables = task.take_secret_variables();
        }
    }

    /// The sealed credentials of a new session; none when it has none.
    pub(super) fn seal_task_secrets(&self, state: &State, task: &TaskSecrets) -> Result<Option<String>, Error> {
        if task.is_empty() {
            return Ok(None);
        }
        let secrets = Secrets { task: task.clone(), runtime: RuntimeSecrets::default() };
        self.sealed(state, &secrets).map(Some)
    }

    fn sealed(&self, state: &State, secrets: &Secrets) -> Result<String, Error> {
        let text = serde_json::to_string(secrets).map_err(|error| Error::Internal(error.to_string()))?;
        self.seal().seal(&text, &bound_to(state))
    }

    /// A sandbox has tokens of its own from the beginning: where nothing can be sealed, none is made.
    pub(super) fn check_seal(&self, task: &Task) -> Result<(), Error> {
        if self.provider_kind(task) == ProviderKind::E2b { self.seal().check() } else { Ok(()) }
    }

    /// What takes the secrets of a session and of the operator out of texts.
    pub(super) fn redactor(&self, secrets: &Secrets, task: &Task, state: &State) -> Redactor {
        let settings = &self.settings;
        let own = [&settings.runtime.e2b_api_key, &settings.runtime.agent_token, &secrets.task.api_token];
        let own = own.into_iter().flatten().cloned();
        let keys = settings.runtime.model_variables.iter().filter(|(name, _)| name.ends_with("_KEY"));
        let keys = keys.map(|(_, value)| value.clone());
        // At most 100 variables (agents.md 2.8).
        let variables = task.secret_values().chain(secrets.task.variables.values().map(String::as_str));
        let variables = variables.map(str::to_owned);
        let login = secrets.task.auth_json().map(tokens_of).unwrap_or_default();
        let runtime = secrets.runtime.values().map(str::to_owned);
        let tools = self.tool_tokens(state);
        Redactor::new(own.chain(keys).chain(variables).chain(login).chain(runtime).chain(tools))
    }
}

/// The tokens in the text of a credentials file.
fn tokens_of(auth_json: &str) -> Vec<String> {
    let file: serde_json::Value = serde_json::from_str(auth_json).unwrap_or_default();
    let tokens = file.get("tokens").and_then(serde_json::Value::as_object);
    let named = tokens.into_iter().flatten().filter(|(name, _)| name.ends_with("_token"));
    named.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_back_whatever_it_looks_like_and_whoever_stored_it() {
        for key in [Some([7; 32]), None] {
            for allows_clear in [true, false] {
                let seal = Seal { key, allows_clear };
                for piece in ["text", "=", "v1:AAAA:BBBB", "é"] {
                    let stored = seal_piece(&seal, piece, "ann");
                    assert_eq!(open_piece(&seal, &stored, "ann").unwrap(), piece);
                    assert_eq!(open_piece(&seal, &stored, "bob").is_err(), key.is_some());
                }
                assert_eq!(open_piece(&seal, "of an older version", "ann").unwrap(), "of an older version");
            }
        }
    }
}
