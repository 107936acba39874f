//! Where things lie (docs/spec/session-mailbox.md 4.2).

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The folders of one session, in a state directory that was resolved once: no part of it is a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    folder: PathBuf,
}

impl Places {
    /// The folders of a session below `<state>/sessions`.
    pub fn of(state: &Path, session: &str) -> Self {
        Self { folder: state.join("sessions").join(name_of(session)) }
    }

    /// The folder that holds the others.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the host writes and the agent's side only reads.
    pub fn inside(&self) -> PathBuf {
        self.folder.join("in")
    }

    /// What the agent's side writes.
    pub fn outside(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// The agent's working tree.
    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// The agent's own state.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// What the host wrote for the agent's side.
    pub fn inbound(&self) -> PathBuf {
        self.inside().join(INBOUND)
    }

    /// What the agent's side wrote.
    pub fn outbound(&self) -> PathBuf {
        self.outside().join(OUTBOUND)
    }
}

/// The host's database.
pub const INBOUND: &str = "inbound.db";
/// The database of the agent's side.
pub const OUTBOUND: &str = "outbound.db";
/// What is touched to wake the other side.
pub const DOORBELL: &str = "doorbell";
/// What the agent's side touches as a sign of life.
pub const HEARTBEAT: &str = "heartbeat";
/// Names the mailbox, in `in/`.
pub const IDENTITY: &str = "mailbox.json";
/// Attachments.
pub const FILES: &str = "files";

/// Conversations that the agent's side has laid out for the host, in `out/`.
pub const TRANSCRIPTS: &str = "transcripts";

/// The folder's name of a session: a hash, because ids are other people's texts.
pub fn name_of(session: &str) -> String {
    let digest = Sha256::digest(session.as_bytes());
    let half: Vec<u8> = digest.iter().copied().take(16).collect();
    base16ct::lower::encode_string(&half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sessions_folder_is_a_hash_of_any_id() {
        for id in ["s1", "../../etc", "a/b", "", "\0", "é".repeat(1000).as_str()] {
            let name = name_of(id);
            assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        }
        assert_ne!(name_of("a"), name_of("b"));
        // `printf s1 | sha256sum | cut -c-32`
        assert_eq!(name_of("s1"), "e8bc163c82eee18733288c7d4ac636db");
    }
}
