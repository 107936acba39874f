//! `config.json`, which the host writes before it starts an agent's process (docs/spec/session-mailbox.md 4.10, 8.5). It is
//! read once, and strictly: what is not understood ends the process, instead of leaving it with defaults that nobody chose.
//! No secret stands in it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use crate::{Error, fsafe};

/// The file's name in `in/`.
pub const NAME: &str = "config.json";
/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// The version that this program knows.
pub const VERSION: u64 = 1;

/// How a process drives its agent. Every member is required but `reopen` and `transcript`; members that are not known pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    /// [`VERSION`].
    pub v: u64,
    /// The session.
    pub session_id: String,
    /// The mailbox.
    pub mailbox_id: String,
    /// The number that fences processes of one runner.
    pub generation: i64,
    /// The number that fences runners.
    pub lease: i64,
    /// The agent.
    pub agent: Agent,
    /// Limits.
    pub limits: Limits,
    /// Skills, by the names of their folders.
    pub skills: Vec<String>,
    /// Whether git gets its passwords through the mailbox.
    pub git_helper: bool,
    /// How the host's file is read.
    #[serde(default)]
    pub reopen: Reopen,
    /// How conversations are kept (docs/spec/transcripts.md 4.7); none: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
}

/// Whether the host's file is opened anew for each look (docs/spec/session-mailbox.md 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reopen {
    /// It is: on some mounts a reader that stays open does not see what is written.
    #[default]
    Always,
    /// It is not on a file system of this machine.
    Auto,
}

/// How conversations are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Transcript {
    /// Where agents keep theirs: `agent=path` entries separated by commas, besides those that are known.
    pub globs: String,
    /// The longest conversation, in bytes.
    pub max_bytes: u64,
    /// Between two times at which that of a turn that goes on is kept, in milliseconds.
    pub part_ms: u64,
}

/// What is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Agent {
    /// Its name, as people write it.
    pub id: String,
    /// The program.
    pub command: String,
    /// What it is started with.
    pub args: Vec<String>,
    /// Names of variables that it gets of those on standard input.
    pub env_names: Vec<String>,
    /// Its working directory.
    pub cwd: String,
    /// Whether it can load conversations.
    pub load: bool,
    /// The mode that it is set to.
    #[serde(deserialize_with = "required")]
    pub mode: Option<String>,
    /// Where calls of tools say how long they may run: a JSON pointer into their input, in milliseconds, by name or kind of
    /// the tool.
    pub declares_limits: BTreeMap<String, String>,
}

/// Limits, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Limits {
    /// So long without work, and the process ends.
    pub idle_exit_ms: u64,
    /// The longest turn; 0 for none.
    pub turn_limit_ms: u64,
    /// The longest start of the agent.
    pub start_limit_ms: u64,
    /// So long without a host, and the process ends.
    pub orphan_limit_ms: u64,
    /// How often is looked for messages.
    pub poll_ms: u64,
}

/// Unlike what `serde` does by itself, `null` has to be written.
fn required<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

impl Config {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that says what is wrong.
    pub fn read(text: &[u8]) -> Result<Self, Error> {
        let version =
            serde_json::from_slice::<Version>(text).map_err(|error| Error::Config(format!("{NAME}: {error}")))?;
        if version.v != VERSION {
            return Err(Error::Config(format!("{NAME}: version {} is not known", version.v)));
        }
        serde_json::from_slice(text).map_err(|error| Error::Config(format!("{NAME}: {error}")))
    }

    /// Reads the file in the folder `in/`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] that says what is wrong.
    pub fn load(inside: impl AsFd) -> Result<Self, Error> {
        let text =
            fsafe::read(inside, &[NAME], MAX_BYTES).map_err(|error| Error::Config(format!("{NAME}: {error}")))?;
        Self::read(&text)
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn store(&self, inside: impl AsFd) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| Error::Config(error.to_string()))?;
        fsafe::replace(inside, NAME, &text)
    }
}

/// The member that is looked at first: of a version that is not known nothing else is believed.
#[derive(Deserialize)]
struct Version {
    v: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let agent = Agent {
            id: "claude".into(),
            command: "claude-agent-acp".into(),
            args: vec![],
            env_names: vec!["KEY".into()],
            cwd: "/w".into(),
            load: true,
            mode: None,
            declares_limits: BTreeMap::from([("execute".into(), "/timeout".into())]),
        };
        let limits = Limits { idle_exit_ms: 1, turn_limit_ms: 0, start_limit_ms: 2, orphan_limit_ms: 3, poll_ms: 4 };
        Config {
            v: VERSION,
            session_id: "s".into(),
            mailbox_id: "m".into(),
            generation: 1,
            lease: 1,
            agent,
            limits,
            skills: vec!["a".into()],
            git_helper: false,
            reopen: Reopen::Auto,
            transcript: Some(Transcript {
                globs: "pi=.pi/{session}.jsonl".into(),
                max_bytes: 4 << 20,
                part_ms: 60_000,
            }),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = fsafe::folder(place.path()).unwrap();
        config().store(&folder).unwrap();
        assert_eq!(Config::load(&folder).unwrap(), config());
    }

    /// Row of docs/spec/session-mailbox.md 5: "Bad config file → defaults".
    #[test]
    fn a_bad_config_file_is_refused_and_never_replaced_by_defaults() {
        let good = serde_json::to_value(config()).unwrap();
        let refused =
            |value: &serde_json::Value| matches!(Config::read(value.to_string().as_bytes()), Err(Error::Config(_)));
        assert!(!refused(&good));
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove("transcript");
        assert_eq!(
            Config::read(without.to_string().as_bytes()).unwrap().transcript,
            None,
            "as runners before it wrote it"
        );
        without.as_object_mut().unwrap().remove("reopen");
        assert_eq!(Config::read(without.to_string().as_bytes()).unwrap().reopen, Reopen::Always);
        let is_needed = |member: &&String| !matches!(member.as_str(), "transcript" | "reopen");
        for member in good.as_object().unwrap().keys().filter(is_needed) {
            let mut without = good.clone();
            without.as_object_mut().unwrap().remove(member);
            assert!(refused(&without), "without {member}");
        }
        for (outer, inner) in
            [("agent", "mode"), ("agent", "load"), ("agent", "declares-limits"), ("limits", "poll-ms")]
        {
            let mut without = good.clone();
            without[outer].as_object_mut().unwrap().remove(inner);
            assert!(refused(&without), "without {outer}.{inner}");
        }
        let mut other = good.clone();
        other["generation"] = "1".into();
        assert!(refused(&other), "another type");
        for bad in ["", "{", "null", "[]", "{\"v\":\"1\"}"] {
            assert!(Config::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_refused_and_a_member_that_is_not_known_passes() {
        let mut value = serde_json::to_value(config()).unwrap();
        value["more"] = 1.into();
        assert_eq!(Config::read(value.to_string().as_bytes()).unwrap(), config());
        let later = r#"{"v":2,"whatever":true}"#;
        assert!(Config::read(later.as_bytes()).unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn a_config_file_that_is_a_trap_is_not_opened() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/hostname", place.path().join(NAME)).unwrap();
        assert!(matches!(Config::load(fsafe::folder(place.path()).unwrap()), Err(Error::Config(_))));
    }
}
