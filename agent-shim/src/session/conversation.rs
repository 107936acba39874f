//! Conversations come and go with their session (docs/spec/transcripts.md 4.6, 4.7): one that was held elsewhere is written to where the agent
//! looks for it, and what it has written itself is laid out for the runner, when a turn has ended and now and then while one runs.

use std::time::Duration;

use mailbox::agent::{AgentMailbox as _, Step};
use mailbox::message::{Message, NewOutput};
use mailbox::{fsafe, places};
use pollster::block_on;
use serde_json::{Value, json};
use transcripts::bundle::Described;
use transcripts::capture::{capture, capture_now};
use transcripts::hydrate::{Mark, hydrate};
use transcripts::limits::{ARCHIVE_BYTES, DEFAULT_BYTES};
use transcripts::places::Places as Patterns;
use transcripts::{Bundle, Status, archive, integrity, sha256_hex};

use super::Session;
use crate::failure::Failure;
use crate::local::Local;
use crate::outputs::is_id;
use crate::{log, prompt};

/// The one of a turn that goes on.
const PART_NAME: &str = "part.tar";
/// Conversations of ended turns that wait for the runner: a later one goes on from an earlier one, so that the last is worth the most.
const WAITING: usize = 4;

/// In what is stored of the session: the agent does not know the conversation, and the next prompt tells it the end of that.
const UNTOLD: &str = "untold";
/// In what is stored of the session: how often the conversation was begun anew, as the worker counts it.
const NUMBER: &str = "conversation";

/// What is laid out.
struct Captured {
    bundle: Bundle,
    status: &'static str,
}

impl Session {
    /// Bytes of a conversation.
    fn longest(&self) -> usize {
        let set = self.config.transcript.as_ref().and_then(|set| usize::try_from(set.max_bytes).ok());
        set.unwrap_or(DEFAULT_BYTES)
    }

    /// The conversation was begun anew since the agent was last told something: it forgets what it has.
    pub(super) fn forget_before(&mut self, number: u64) -> Result<(), Failure> {
        let known = self.mailbox.value(NUMBER)?.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        if number <= known {
            return Ok(());
        }
        self.end_agent();
        let mut values = self.forgotten();
        values.push((NUMBER.to_owned(), Some(number.to_string())));
        self.commit(Step { values, ..Step::default() })
    }

    /// No conversation goes on, and there is none to be told of.
    pub(super) fn forgotten(&self) -> Vec<(String, Option<String>)> {
        vec![(self.continuation(), None), Self::note_untold(false)]
    }

    /// The agent does not know the conversation, or needs no telling.
    pub(super) fn note_untold(is_untold: bool) -> (String, Option<String>) {
        (UNTOLD.to_owned(), is_untold.then(|| "1".to_owned()))
    }

    /// Whether the next prompt tells the agent the end of the conversation.
    pub(super) fn is_untold(&self) -> Result<bool, Failure> {
        Ok(self.mailbox.value(UNTOLD)?.is_some())
    }

    /// A conversation that came from elsewhere goes before the one that is remembered here. One that cannot be written is not gone on with:
    /// whoever asked is told so by a session of the agent that loaded nothing.
    pub(super) fn take_given(&mut self, message: &Message) -> Result<(), Failure> {
        let body: Value =
            message.content.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let Some(resume) = body.get("resume").filter(|resume| resume.is_object()) else { return Ok(()) };
        let given = match resume.get("file").and_then(Value::as_str) {
            Some(name) => match self.write_given(resume, name) {
                Ok(id) => Some(id),
                Err(why) => {
                    log::line("warn", "transcript-not-written", &why);
                    None
                }
            },
            // It lies here already, or nobody could bring it.
            None => match resume.get("native-session-id").and_then(Value::as_str) {
                Some(id) if is_id(id) => Some(id.to_owned()),
                _ => self.mailbox.value(&self.continuation())?,
            },
        };
        let values = vec![Self::note_untold(given.is_none()), (self.continuation(), given)];
        self.commit(Step { values, ..Step::default() })
    }

    /// Writes a conversation. The agent's own name of it.
    fn write_given(&self, resume: &Value, name: &str) -> Result<String, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let inside = fsafe::folder(&self.places.inside).map_err(|error| text(&error))?;
        let most = self.longest();
        let limit = most.saturating_add(ARCHIVE_BYTES) as u64;
        let bytes = fsafe::read(inside, &[places::FILES, name], limit).map_err(|error| text(&error))?;
        let bundle = archive::read(&bytes, most).map_err(|error| text(&error))?;
        let described = &bundle.manifest().described;
        let cwd = self.cwd();
        if std::path::Path::new(&described.cwd) != cwd {
            return Err(format!("it was held in {}, and the agent works in {}", described.cwd, cwd.display()));
        }
        if !is_id(&described.native_session_id) {
            return Err("it has no name".to_owned());
        }
        let number = |name: &str| resume.get(name).and_then(Value::as_u64).unwrap_or_default();
        let mark = Mark { session: self.config.session_id.clone(), epoch: number("epoch"), run_seq: number("run") };
        let home = self.places.home.to_str().ok_or("the home's path is no text")?;
        block_on(hydrate(&Local, home, &mark, &bundle)).map_err(|error| text(&error))?;
        Ok(described.native_session_id.clone())
    }

    /// A turn has ended well: its conversation is laid out before the next one begins.
    pub(super) fn keep_whole(&mut self, messages: &[Message]) -> Result<(), Failure> {
        self.keep(messages, true)
    }

    /// A turn that goes on has its conversation laid out now and then, for its people only.
    pub(super) fn keep_part_on_time(&mut self) -> Result<(), Failure> {
        let Some(turn) = self.turn.as_ref().filter(|turn| turn.stopping.is_none()) else { return Ok(()) };
        let Some(set) = &self.config.transcript else { return Ok(()) };
        if self.awake.since(self.kept_at) < Duration::from_millis(set.part_ms) {
            return Ok(());
        }
        let messages = turn.messages.clone();
        self.kept_at = self.awake.now();
        self.keep(&messages, false)
    }

    fn keep(&mut self, messages: &[Message], is_whole: bool) -> Result<(), Failure> {
        let Some(set) = self.config.transcript.clone().filter(|_| self.can_load) else { return Ok(()) };
        let found = messages.iter().rev().find_map(|message| {
            let prompt = prompt::read(message).filter(|_| message.trigger)?;
            Some((message, prompt))
        });
        let (Some((message, prompt)), Some(session)) = (found, self.open.clone()) else { return Ok(()) };
        let captured = self.captured(&set.globs, &session, is_whole);
        let laid_out = captured.and_then(|captured| match captured {
            None => Ok(None),
            Some(captured) => self.lay_out(&captured, is_whole).map_err(|error| error.to_string()),
        });
        let content = match laid_out {
            Ok(Some(content)) => content,
            Err(why) if is_whole => json!({"error": why}),
            // What goes wrong while the turn goes on may be right at its end.
            Ok(None) | Err(_) => return Ok(()),
        };
        if let Some(why) = content.get("error").and_then(Value::as_str) {
            log::line("warn", "transcript-not-kept", why);
        }
        let output = NewOutput {
            kind: "transcript".to_owned(),
            content: content.to_string(),
            attempt: prompt.attempt,
            in_reply_to: Some(message.id.clone()),
            target: None,
            for_runner: true,
        };
        self.commit(Step { outputs: vec![output], ..Step::default() })
    }

    /// What the agent has written. Nothing when nobody knows where.
    fn captured(&self, globs: &str, session: &str, is_whole: bool) -> Result<Option<Captured>, String> {
        let patterns = Patterns::parse(globs).map_err(|error| error.to_string())?;
        let cwd = self.cwd().to_string_lossy().into_owned();
        let patterns = patterns.of(&self.config.agent.id, session, &cwd);
        let home = self.places.home.to_str().ok_or("the home's path is no text")?;
        if patterns.is_empty() {
            return Ok(None);
        }
        let most = self.longest();
        let members = if is_whole {
            block_on(capture(&Local, home, &patterns, most))
        } else {
            block_on(capture_now(&Local, home, &patterns, most))
        };
        let members = members.map_err(|error| error.to_string())?;
        if members.is_empty() {
            return Ok(None);
        }
        let described = Described {
            agent: self.config.agent.id.clone(),
            native_session_id: session.to_owned(),
            cwd,
            ..Described::default()
        };
        let bundle = Bundle::new(described, members, most).map_err(|error| error.to_string())?;
        let status = match integrity::check(&bundle) {
            _ if !is_whole => "partial",
            Ok(()) => Status::Completed.as_str(),
            // Nobody can go on from it.
            Err(_) => Status::Failed.as_str(),
        };
        Ok(Some(Captured { bundle, status }))
    }

    /// Puts it where the runner takes it from. Nothing when it lies there already.
    fn lay_out(&mut self, captured: &Captured, is_whole: bool) -> Result<Option<Value>, Failure> {
        let bytes = archive::write(&captured.bundle).map_err(|error| std::io::Error::other(error.to_string()))?;
        let digest = sha256_hex(&bytes);
        if !is_whole && self.kept_part.as_ref() == Some(&digest) {
            return Ok(None);
        }
        let folder = fsafe::make_folder(self.mailbox.outside(), places::TRANSCRIPTS)?;
        let name = if is_whole { format!("{digest}.tar") } else { PART_NAME.to_owned() };
        if is_whole {
            make_room(&self.places.outside.join(places::TRANSCRIPTS));
        } else {
            self.kept_part = Some(digest.clone());
        }
        fsafe::replace(&folder, &name, &bytes)?;
        Ok(Some(json!({"file": name, "sha256": digest, "size": bytes.len(), "status": captured.status})))
    }
}

/// Removes all but the newest conversations of ended turns.
fn make_room(folder: &std::path::Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    // As many as this process and those before it have left.
    let mut waiting: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name() != PART_NAME)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    waiting.sort();
    let excess = waiting.len().saturating_sub(WAITING - 1);
    for (_, path) in waiting.into_iter().take(excess) {
        // One that stays is removed the next time.
        let _ = std::fs::remove_file(path);
    }
}
