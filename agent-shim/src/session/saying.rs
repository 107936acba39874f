//! What is said to the host: gathered for a moment, then stored in one commit (docs/spec/session-mailbox.md 4.8).

use std::time::{Duration, Instant};

use mailbox::agent::{AgentMailbox as _, Step};
use mailbox::message::{Message, NewOutput};
use mailbox::{Error, fsafe, places};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Session;
use crate::failure::Failure;
use crate::{chunks, log};

/// How long what was said waits for more of it.
const GATHER: Duration = Duration::from_millis(50);
/// So much is gathered at most, in bytes.
const GATHERED: usize = 1 << 20;
/// How long somebody may keep this process from storing something. A query of the host's takes 10 s at most, and one attempt waits 5 s.
const LOCKED: Duration = Duration::from_secs(30);

/// After so many milliseconds without a word of an agent that is not read on it is said that it is not stuck.
const SILENT_MS: i64 = 60_000;

impl Session {
    /// Gathers an output.
    pub(super) fn tell(&mut self, kind: &str, content: &Value, about: Option<&Message>) {
        let told = self.turn.as_ref().and_then(|turn| turn.messages.iter().find(|message| message.trigger));
        let about = about.or(told);
        self.pending.push(NewOutput {
            kind: kind.to_owned(),
            content: content.to_string(),
            attempt: about.map_or(1, Message::attempt),
            in_reply_to: about.map(|message| message.id.clone()),
            target: about.and_then(|message| message.origin.clone()),
            for_runner: false,
        });
    }

    /// Gathers a message of the agent's. What is cut off of it is kept in a file beside.
    pub(super) fn tell_update(&mut self, envelope: Value) {
        let (envelope, cut) = chunks::fit(envelope);
        self.tell("update", &json!({"envelope": envelope}), None);
        for text in cut {
            match self.keep_file(&text) {
                Ok(file) => self.tell("file", &file, None),
                Err(error) => log::line("warn", "file", &error.to_string()),
            }
        }
    }

    fn keep_file(&self, text: &str) -> Result<Value, Failure> {
        let hash = base16ct::lower::encode_string(&Sha256::digest(text.as_bytes()));
        let folder = fsafe::make_folder(self.mailbox.outside(), places::FILES)?;
        let folder = fsafe::make_folder(&folder, &hash)?;
        let name = "output.txt";
        if !fsafe::exists(&folder, name)? {
            fsafe::create(&folder, name, text.as_bytes())?;
        }
        Ok(json!({"name": name, "sha256": hash, "size": text.len()}))
    }

    /// Sees to it that what was gathered is stored soon.
    pub(super) fn flush_soon(&mut self) -> Result<(), Failure> {
        let gathered: usize = self.pending.iter().map(|output| output.content.len()).sum();
        if gathered >= GATHERED {
            return self.flush();
        }
        if self.flush_at.is_none() && (!self.pending.is_empty() || self.chunks.is_waiting()) {
            self.flush_at = Some(self.awake.now() + GATHER);
        }
        Ok(())
    }

    /// Stores what was gathered.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.commit(Step { state: Some(self.state.clone()), ..Step::default() })
    }

    /// Stores a step, behind what was gathered before it.
    pub(super) fn commit(&mut self, mut step: Step) -> Result<(), Failure> {
        for one in self.chunks.flush() {
            self.tell_update(one);
        }
        let mut outputs = self.pending.clone();
        outputs.append(&mut step.outputs);
        step.outputs = outputs;
        step.state.get_or_insert_with(|| self.state.clone());
        self.store(&step)?;
        self.pending.clear();
        self.flush_at = None;
        self.look_for_room()
    }

    /// Stores a step, once nobody's reading is in its way.
    fn store(&mut self, step: &Step) -> Result<(), Failure> {
        let deadline = Instant::now() + LOCKED;
        // Bounded by the deadline; each attempt waits.
        loop {
            match self.mailbox.commit(step, log::now()) {
                Err(Error::Busy) if Instant::now() < deadline => {
                    log::line("warn", "lock_held", "somebody reads for long");
                }
                stored => return Ok(stored.map(drop)?),
            }
        }
    }

    /// Reads the agent on only while the host takes what it says.
    fn look_for_room(&mut self) -> Result<(), Failure> {
        let backlog = self.mailbox.backlog();
        if self.has_room && backlog.is_full() {
            self.has_room = false;
            log::line("warn", "output_backlog", "the agent is read on when the host has taken what it said");
            self.tell("state", &json!({"phase": self.state.phase.as_str(), "notice": "output_backlog"}), None);
            return self.flush_soon();
        }
        if !self.has_room && backlog.has_room() {
            self.has_room = true;
            if let Some(agent) = &mut self.agent {
                agent.go_on();
            }
        }
        Ok(())
    }

    /// Removes what the host has taken, and looks whether that makes room.
    pub(super) fn clean_up(&mut self) -> Result<(), Failure> {
        // What was gathered names files that no stored output names yet.
        if !self.pending.is_empty() {
            self.flush()?;
        }
        match self.mailbox.prune(log::now()) {
            Err(error) if !error.is_passing() => return Err(error.into()),
            _ => {}
        }
        self.look_for_room()?;
        let is_silent = self.state.progress_at.is_none_or(|at| log::now().saturating_sub(at) >= SILENT_MS);
        if !self.has_room && self.turn.is_some() && is_silent {
            // It is this process that does not read on: the agent is not stuck.
            self.state.progress_at = Some(log::now());
            self.tell_state()?;
        }
        Ok(())
    }

    /// Stores what this process is doing.
    pub(super) fn tell_state(&mut self) -> Result<(), Failure> {
        self.flush()
    }
}
