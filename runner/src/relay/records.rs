//! What the runner remembers of a session beside the mailbox: `session.json` and `spawn.json` in the session's folder, which no agent sees
//! (docs/spec/session-mailbox.md 4.5, 8.4).

use std::io::ErrorKind;
use std::path::Path;

use mailbox::{Places, fsafe};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cgroup::Group;
use super::driver::Kind;
use super::process::Identity;

/// Bytes of one of these files.
const MAX_BYTES: u64 = 1 << 20;
const SESSION: &str = "session.json";
const SPAWN: &str = "spawn.json";
const MAILBOX: &str = "mailbox.json";

/// What is known of a session. Written before the worker is told that an item is stored.
#[expect(clippy::struct_field_names, reason = "the members are named as on the wire")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Session {
    /// The worker's id of it.
    pub(crate) session_id: String,
    /// The lease under which the mailbox was made.
    pub(crate) lease: i64,
    /// The highest number of an item that was stored.
    pub(crate) work_seq: i64,
    /// The greatest generation of outputs that the worker has.
    pub(crate) generation: i64,
    /// What the agent's session is opened with: the body of the last item that said so.
    pub(crate) open: Option<Value>,
    /// That item.
    pub(crate) opened_by: Option<String>,
    /// The last prompt: its turn may run.
    pub(crate) prompt: Option<Prompt>,
    /// The last runs that this runner was given.
    pub(crate) runs: Vec<Prompt>,
    /// The last conversation that both the worker and the agent's home have.
    pub(crate) kept: Option<Kept>,
    /// It is being ended.
    pub(crate) closing: Option<Closing>,
    /// When it was ended, in milliseconds since 1970.
    pub(crate) closed_at: Option<i64>,
}

/// A prompt, as the worker counts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Prompt {
    /// The message, which is the item.
    pub(crate) item_id: String,
    /// The run of its transcript.
    pub(crate) run: u64,
    /// Which try of the worker's.
    pub(crate) attempt: u64,
}

/// A conversation that is kept at the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Its run.
    pub(crate) run: u64,
    /// The digest of its files, in hex.
    pub(crate) sha256: String,
}

/// A session that is being ended (docs/spec/session-mailbox.md 7.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Closing {
    /// The item that says so.
    pub(crate) item_id: String,
    /// Its number: what came before is taken back.
    pub(crate) work_seq: i64,
    /// How long the agent has to end its turn, in milliseconds.
    pub(crate) grace_ms: u64,
}

/// A process that was started, or was about to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Spawn {
    /// Its number.
    pub(crate) generation: i64,
    /// What it is walled in with.
    pub(crate) driver: Kind,
    /// Its name among containers.
    pub(crate) name: String,
    /// Tells two starts from each other.
    pub(crate) nonce: String,
    /// The process to kill, once it is known.
    pub(crate) process: Option<Identity>,
    /// The control group that all of it is in, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<Group>,
}

impl Session {
    /// Reads it. None when there is none.
    pub(crate) fn read(places: &Places) -> Option<Self> {
        read(places.folder(), SESSION)
    }

    /// Writes it, to the disk.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn write(&self, places: &Places) -> Result<(), mailbox::Error> {
        write(places.folder(), SESSION, self)
    }
}

impl Spawn {
    /// Reads it. None when there is none: then no process was begun.
    ///
    /// # Errors
    /// When it is there and cannot be read: the process that it names may run.
    pub(crate) fn read(places: &Places) -> Result<Option<Self>, mailbox::Error> {
        let unreadable =
            |why: &dyn std::fmt::Display| mailbox::Error::Io(std::io::Error::other(format!("{SPAWN}: {why}")));
        let text = fsafe::folder(places.folder()).and_then(|folder| fsafe::read(folder, &[SPAWN], MAX_BYTES));
        match text {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(&error)),
            Err(mailbox::Error::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// One that is about to be started, as it is known before anything is.
    pub(crate) fn of(places: &Places, generation: i64, driver: Kind) -> Self {
        let folder = places.folder().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let short: String = folder.chars().take(12).collect();
        Self {
            generation,
            driver,
            name: format!("logseq-{short}-{generation}"),
            nonce: uuid::Uuid::new_v4().to_string(),
            process: None,
            group: None,
        }
    }

    /// Writes it, to the disk.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn write(&self, places: &Places) -> Result<(), mailbox::Error> {
        write(places.folder(), SPAWN, self)
    }
}

fn read<T: DeserializeOwned>(folder: &Path, name: &str) -> Option<T> {
    let text = fsafe::read(fsafe::folder(folder).ok()?, &[name], MAX_BYTES).ok()?;
    serde_json::from_slice(&text).ok()
}

fn write(folder: &Path, name: &str, value: &impl Serialize) -> Result<(), mailbox::Error> {
    let text = serde_json::to_vec(value).map_err(|error| mailbox::Error::Config(error.to_string()))?;
    fsafe::replace(fsafe::folder(folder)?, name, &text)
}

/// What stands in `in/mailbox.json`, as far as the runner reads it without opening the mailbox.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Named {
    mailbox_id: String,
    session_id: String,
}

/// The id of a session's mailbox, as its folder names it.
pub(crate) fn mailbox_id(places: &Places) -> Option<String> {
    read::<Named>(&places.inside(), MAILBOX).map(|named| named.mailbox_id)
}

/// Ids of the sessions whose folders lie in a state directory.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn sessions(state: &Path) -> std::io::Result<Vec<String>> {
    let folders = match std::fs::read_dir(state.join("sessions")) {
        Ok(folders) => folders,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    // As many as the runner has made.
    for folder in folders.flatten() {
        let named: Option<Named> = read(&folder.path().join("in"), MAILBOX);
        // A folder that lies where another session's belongs was put there by hand.
        found.extend(named.map(|named| named.session_id).filter(|id| Places::of(state, id).folder() == folder.path()));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailbox::FileHost;
    use mailbox::host::Settings;

    #[test]
    fn what_is_written_is_read_and_sessions_are_found_by_their_folders() {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().canonicalize().unwrap();
        assert_eq!(sessions(&root).unwrap(), Vec::<String>::new());
        for id in ["s2", "s1"] {
            FileHost::create(&root, id, Settings::default(), 0).unwrap();
        }
        std::fs::create_dir(root.join("sessions/odd")).unwrap();
        assert_eq!(sessions(&root).unwrap(), ["s1", "s2"]);
        let places = Places::of(&root, "s1");
        assert_eq!((Session::read(&places), Spawn::read(&places).unwrap()), (None, None));
        let known = Session { session_id: "s1".into(), lease: 3, open: Some(Value::Null), ..Session::default() };
        known.write(&places).unwrap();
        assert_eq!(Session::read(&places).unwrap(), Session { open: None, ..known });
    }

    #[test]
    fn what_is_written_of_a_process_and_cannot_be_read_is_not_nothing() {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().canonicalize().unwrap();
        let places = Places::of(&root, "s1");
        assert_eq!(Spawn::read(&places).unwrap(), None, "without a folder nothing was begun");
        FileHost::create(&root, "s1", Settings::default(), 0).unwrap();
        let spawn = Spawn::of(&places, 3, Kind::Plain);
        spawn.write(&places).unwrap();
        assert_eq!(Spawn::read(&places).unwrap(), Some(spawn));
        std::fs::write(places.folder().join(SPAWN), "{").unwrap();
        assert!(Spawn::read(&places).is_err());
    }
}
