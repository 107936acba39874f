//! Commands for sandboxes and runners: no text of a user, a repository or an agent is code (agents.md 5.2.1, B58).
//!
//! A [`Command`] is a program, its arguments and its environment. Where a shell is needed, the program is bash and the text
//! is a constant of ours; values come in through the environment, and the text holds them as quoted references only.

mod quote;
mod scripts;
mod template;
mod workspace;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod push_test;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod workspace_test;

use std::borrow::Cow;
use std::time::Duration;

pub use quote::{QuoteError, quote};
pub use scripts::{
    AgentServer, BROKER_FILE, CREDENTIALS, Clone, Lease, Push, VersionChannel, agent_server, clear_credentials, clone,
    end_restored, health, install, is_healthy, run_init, secure_credentials, stop_agent, update, use_broker,
};
pub use template::configured_clone;
pub use workspace::{PIECE_BYTES, bundle, diff, drop_bundle, list, look, restore};

/// Longest value that a command takes, in bytes. Linux takes no single argument or variable of 128 KiB or more.
pub const MAX_VALUE_BYTES: usize = 120 * 1_024;

/// A program to start, with everything that it is given. `Debug` shows names of variables but no value: some are secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    program: &'static str,
    arguments: Vec<Cow<'static, str>>,
    environment: Vec<(Cow<'static, str>, String)>,
    limit: Duration,
}

/// Why there is no command. The value itself is not in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No argument and no variable can hold NUL.
    #[error("a value of the command holds a NUL character")]
    Nul,
    /// Longer than [`MAX_VALUE_BYTES`].
    #[error("a value of the command is too long")]
    TooLong,
    /// The version channel of the agent server is not of the form `[0-9A-Za-z.-]{1,32}`.
    #[error("invalid version of the agent server")]
    Version,
}

/// The usual limit of a command (agents.md 5.3.5).
const LIMIT: Duration = Duration::from_mins(1);

impl Command {
    /// A constant text for a login bash. The values are reachable in it as variables, and nothing else of them is.
    fn script(text: &'static str, values: &[(&'static str, &str)]) -> Result<Self, CommandError> {
        Self::bash(Cow::Borrowed(text), values)
    }

    fn bash(text: Cow<'static, str>, values: &[(&'static str, &str)]) -> Result<Self, CommandError> {
        check(&text)?;
        let mut command = Self {
            program: "/bin/bash",
            arguments: vec![Cow::Borrowed("-l"), Cow::Borrowed("-c"), text],
            environment: vec![
                (Cow::Borrowed("GIT_TERMINAL_PROMPT"), "0".to_owned()),
                (Cow::Borrowed("GIT_ALLOW_PROTOCOL"), "https:http:ssh".to_owned()),
            ],
            limit: LIMIT,
        };
        for (name, value) in values {
            check(value)?;
            command.environment.push((Cow::Borrowed(name), (*value).to_owned()));
        }
        Ok(command)
    }

    /// The same command with another limit.
    #[must_use]
    fn within(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// The same command with variables that a user chose. A name is data here; one that no environment can hold (empty,
    /// with `=` or NUL) is left out, and so is a value with NUL or one that is too long. What a script of ours needs itself
    /// (`AGENT_…`, `GIT_…`) stays as it is.
    #[must_use]
    pub fn with_environment<'a>(mut self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        // The number of variables is bounded where the session is created (agents.md 2.8).
        for (name, value) in variables {
            let is_name = !name.is_empty() && !name.contains(['=', '\0']);
            if is_name && check(value).is_ok() && !self.environment.iter().any(|(ours, _)| ours == name) {
                self.environment.push((Cow::Owned(name.to_owned()), value.to_owned()));
            }
        }
        self
    }

    /// The program, an absolute path.
    pub fn program(&self) -> &str {
        self.program
    }

    /// The arguments after the program.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(AsRef::as_ref)
    }

    /// The variables that are set for this command alone.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_ref(), value.as_str()))
    }

    /// How long the command may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The whole command as one text for bash, for a place that takes only a text. Values that are secret stand in it, so
    /// a place that takes arguments and variables is to be given those. Fails when a variable has a name that bash cannot
    /// assign to.
    pub fn to_bash(&self) -> Result<String, QuoteError> {
        let mut text = String::new();
        for (name, value) in self.environment() {
            text.push_str(&quote::assignment(name, value)?);
            text.push(' ');
        }
        let words: Vec<&str> = std::iter::once(self.program).chain(self.arguments()).collect();
        text.push_str(&quote(&words)?);
        Ok(text)
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Command")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("variables", &self.environment.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("limit", &self.limit)
            .finish()
    }
}

fn check(value: &str) -> Result<(), CommandError> {
    if value.len() > MAX_VALUE_BYTES {
        return Err(CommandError::TooLong);
    }
    if value.contains('\0') {
        return Err(CommandError::Nul);
    }
    Ok(())
}
