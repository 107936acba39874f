//! A mailbox in a folder, with both sides of it in this process.

use std::path::PathBuf;

use mailbox::agent::{NewAck, Step};
use mailbox::host::{Settings, Spawn, sweep};
use mailbox::message::{AckStatus, Message, Millis, NewMessage, NewOutput};
use mailbox::sweep::{Change, Process, Rules};
use mailbox::{AgentMailbox as _, FileAgent, FileHost, HostMailbox as _};

pub(crate) struct Scene {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) host: FileHost,
    pub(crate) now: Millis,
}

impl Scene {
    pub(crate) fn new() -> Self {
        // In memory where there is such a place: nothing here is about disks, and each commit waits for one.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let host = FileHost::create(folder.path(), "session", Settings::default(), 1_000).unwrap();
        Self { folder, host, now: 1_000 }
    }

    pub(crate) fn outside(&self) -> PathBuf {
        self.host.places().outside()
    }

    /// A process of a new generation.
    pub(crate) fn spawn(&mut self) -> FileAgent {
        let generation = self.host.begin(&Spawn { lease: 1, ..Spawn::default() }, self.now).unwrap();
        self.agent(generation)
    }

    pub(crate) fn agent(&self, generation: i64) -> FileAgent {
        let places = self.host.places();
        FileAgent::open(&places.inside(), &places.outside(), self.host.mailbox_id(), generation).unwrap()
    }

    pub(crate) fn prompt(&mut self, id: &str, work_seq: i64) {
        self.host.insert(&prompt(id, work_seq), self.now).unwrap();
    }

    pub(crate) fn sweep(&mut self, process: Process) -> Vec<(Message, Change)> {
        sweep(&mut self.host, process, Rules::default(), self.now, &mut || 0).unwrap()
    }

    pub(crate) fn inbound(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.host.places().inbound()).unwrap()
    }

    pub(crate) fn outbound(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.host.places().outbound()).unwrap()
    }

    /// One value of the host's file.
    pub(crate) fn told<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.inbound().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn status(&self, id: &str) -> String {
        self.inbound().query_row("SELECT status FROM messages_in WHERE id = ?1", [id], |row| row.get(0)).unwrap()
    }
}

pub(crate) fn prompt(id: &str, work_seq: i64) -> NewMessage {
    NewMessage {
        id: id.into(),
        kind: "prompt".into(),
        content: format!("{{\"text\":\"{id}\"}}"),
        work_seq: Some(work_seq),
        ..NewMessage::default()
    }
}

/// A step that says something about a message.
pub(crate) fn says(message: &Message, status: AckStatus) -> Step {
    Step { acks: vec![NewAck::of(message, status)], ..Step::default() }
}

pub(crate) fn output(content: &str) -> NewOutput {
    NewOutput { kind: "update".into(), content: content.into(), attempt: 1, ..NewOutput::default() }
}

/// Takes the next fresh message of the agent's side.
pub(crate) fn take(agent: &mut FileAgent, now: Millis) -> Message {
    let message = agent.look(now).unwrap().fresh.remove(0);
    agent.commit(&says(&message, AckStatus::Processing), now).unwrap();
    message
}
