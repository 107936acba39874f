//! Conversations of a session (docs/spec/transcripts.md 4.6, 4.7). What the shim lays out is taken into `spool/`, where no agent can change it,
//! and goes to the worker from there, for as long as a day; what the worker has and this machine does not is brought before the agent is opened.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use http::Method;
use mailbox::message::Output;
use mailbox::{Error, fsafe, places};
use serde_json::{Value, json};
use transcripts::limits::{ARCHIVE_BYTES, HYDRATE_PAUSES_MS};
use transcripts::{archive, sha256_hex};

use super::super::conversations::{Failed, Fetched};
use super::super::line::{PATIENCE, Reply};
use super::super::records::{Kept, Prompt};
use super::super::wire::Item;
use super::{Session, now};

/// The folder, beside `in/` and `out/`.
const SPOOL: &str = "spool";
/// Conversations that wait there.
const WAITING: usize = 8;
/// How long one waits at most.
const LONGEST: Duration = Duration::from_hours(24);
/// The longest pause between two tries, in milliseconds.
const LONGEST_PAUSE_MS: i64 = 60_000;
/// A token is replaced that holds for less than this.
const LEFT: Duration = Duration::from_secs(30);
/// Runs whose tokens are remembered.
const RUNS: usize = 8;
/// Conversations of ended turns that one look takes in: as many as the shim leaves.
const TAKEN_AT_ONCE: usize = 4;
/// The conversation that a session goes on with, in `in/files`.
const GIVEN: &str = "conversation.tar";
/// How a run ended, or that it goes on.
const STATUSES: [&str; 3] = ["completed", "failed", PART];
const PART: &str = "partial";

/// What is remembered of conversations while the runner lives.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// Tokens of runs, and until when they hold. They are never written down.
    tokens: BTreeMap<u64, (String, Instant)>,
    /// What was laid out up to this place has been looked at.
    taken: i64,
    /// The next try to send, and how many have failed.
    again_at: i64,
    failures: u32,
    /// Nothing waits.
    pub(super) is_sent: bool,
}

/// Something that waits in the spool: its run, its status, and its file.
struct Waiting {
    run: u64,
    status: &'static str,
    name: String,
    path: PathBuf,
}

fn other(why: impl Into<String>) -> Error {
    Error::Io(std::io::Error::other(why.into()))
}

impl Session {
    /// Remembers the token that came with a prompt.
    pub(super) fn learn_token(&mut self, run: u64, item: &Item) {
        let Some(token) = item.text("run-token") else { return };
        let holds = item.number("run-token-expires-in-ms").and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
        self.note_token(run, token.to_owned(), Duration::from_millis(holds));
    }

    fn note_token(&mut self, run: u64, token: String, holds: Duration) {
        let tokens = &mut self.keeping.tokens;
        tokens.insert(run, (token, Instant::now() + holds.min(LONGEST)));
        while tokens.len() > RUNS {
            tokens.pop_first();
        }
    }

    /// A token that counts no more is asked for anew.
    pub(super) fn forget_token(&mut self, run: u64) {
        self.keeping.tokens.remove(&run);
    }

    /// Remembers which runs this runner was given.
    pub(super) fn note_run(&mut self, prompt: &Prompt) {
        let runs = &mut self.known.runs;
        runs.retain(|known| known.item_id != prompt.item_id);
        runs.push(prompt.clone());
        let excess = runs.len().saturating_sub(RUNS);
        runs.drain(..excess);
    }

    /// The body of an item that opens the agent's session, with the conversation laid out that it goes on with. A refusal: the session cannot be
    /// opened without it. None when fetching it was broken off.
    pub(super) fn with_conversation(&mut self, item: &Item) -> Result<Option<Result<Value, String>>, Error> {
        if let Some(open) = self.known.open.as_ref().filter(|_| self.known.opened_by.as_ref() == Some(&item.item_id)) {
            // It comes again, and is the same as before.
            return Ok(Some(Ok(open.clone())));
        }
        let mut body = item.body.clone();
        let token = body.as_object_mut().and_then(|members| {
            members.remove("tools");
            members.remove("run-token-expires-in-ms");
            members.remove("run-token")
        });
        let run = body.pointer("/resume/run").and_then(Value::as_u64);
        let (Some(run), Some(token)) = (run, token.as_ref().and_then(Value::as_str)) else { return Ok(Some(Ok(body))) };
        if self.known.kept.as_ref().is_some_and(|kept| kept.run >= run) {
            // The agent's home has it, or a later one.
            return Ok(Some(Ok(body)));
        }
        let Some(fetched) = self.fetch(token) else { return Ok(None) };
        match fetched {
            Ok(Some(fetched)) => self.lay_out_given(&mut body, &fetched)?,
            Ok(None) => self.warn("there is no conversation to go on with"),
            Err(Failed::Later(why)) if !self.station.settings.get().transcripts.continues => {
                self.warn(&why);
                return Ok(Some(Err("hydrate_failed".to_owned())));
            }
            Err(Failed::BrokenOff) => return Ok(None),
            Err(Failed::Later(why) | Failed::Token(why) | Failed::Refused(why)) => self.warn(&why),
        }
        Ok(Some(Ok(body)))
    }

    fn warn(&self, why: &str) {
        self.station.log.warn(format_args!("session {}: its conversation: {why}", self.known.session_id));
    }

    /// Fetches the conversation, with some tries. None when that was broken off.
    fn fetch(&self, token: &str) -> Option<Result<Option<Fetched>, Failed>> {
        let most = self.station.settings.get().transcripts.max_bytes;
        let once = || {
            let asked = self.station.line.fetch_conversation(&self.known.session_id, token, most);
            self.calls.wait(&self.station.handle, asked)
        };
        for pause in HYDRATE_PAUSES_MS {
            match once()? {
                Err(Failed::Later(_)) => {
                    let pause = Duration::from_millis(pause.into());
                    // Made where it is waited for: a timer belongs to its runtime.
                    self.calls.wait(&self.station.handle, async move { tokio::time::sleep(pause).await })?;
                }
                done => return Some(done),
            }
        }
        once()
    }

    fn lay_out_given(&mut self, body: &mut Value, fetched: &Fetched) -> Result<(), Error> {
        let most = self.station.settings.get().transcripts.max_bytes;
        let bundle = match archive::read(&fetched.archive, most) {
            Ok(bundle) => bundle,
            Err(error) => {
                self.warn(&error.to_string());
                return Ok(());
            }
        };
        let described = &bundle.manifest().described;
        if body.get("agent").and_then(Value::as_str) != Some(described.agent.as_str()) {
            // One agent does not read the files of another.
            return Ok(());
        }
        let folder = fsafe::make_folder(self.host.inside(), places::FILES)?;
        fsafe::replace(&folder, GIVEN, &fetched.archive)?;
        let resume = json!({
            "run": fetched.run,
            "epoch": fetched.epoch,
            "sha256": bundle.sha256(),
            "native-session-id": described.native_session_id,
            "file": GIVEN,
        });
        if let Some(members) = body.as_object_mut() {
            members.insert("resume".to_owned(), resume);
        }
        self.known.kept = Some(Kept { run: fetched.run, sha256: bundle.sha256() });
        Ok(())
    }

    /// Takes in what the shim has laid out. Nothing of it is believed but its bytes: whose run it is, this runner knows itself.
    pub(super) fn take_laid_out(&mut self, outputs: &[Output]) -> Result<(), Error> {
        let new = outputs.iter().filter(|one| one.kind == "transcript" && one.seq > self.keeping.taken);
        let new: Vec<&Output> = new.collect();
        let Some(last) = new.iter().map(|one| one.seq).max() else { return Ok(()) };
        let read = |output: &&Output| serde_json::from_str::<Value>(&output.content).unwrap_or_default();
        let is_part = |content: &Value| content.get("status").and_then(Value::as_str) == Some(PART);
        let all: Vec<(&Output, Value)> = new.iter().map(|output| (*output, read(output))).collect();
        let (parts, whole): (Vec<_>, Vec<_>) = all.iter().partition(|(_, content)| is_part(content));
        let whole = whole.into_iter().rev().take(TAKEN_AT_ONCE).rev();
        for (output, content) in whole.chain(parts.into_iter().next_back()) {
            if let Some(why) = content.get("error").and_then(Value::as_str) {
                self.report("transcript_failed", why);
            } else if let Err(why) = self.take_one(output, content) {
                self.warn(&why.to_string());
            }
        }
        let outcomes: Vec<_> = new.iter().map(|one| (one.id.clone(), mailbox::host::Outcome::Delivered)).collect();
        mailbox::host::HostMailbox::record(&mut self.host, &outcomes, now())?;
        self.keeping.taken = last;
        Ok(())
    }

    fn take_one(&self, output: &Output, content: &Value) -> Result<(), Error> {
        let text = |name: &str| content.get(name).and_then(Value::as_str).unwrap_or_default();
        let prompt = self.known.runs.iter().find(|prompt| Some(&prompt.item_id) == output.in_reply_to.as_ref());
        let prompt = prompt.ok_or_else(|| other("it is of no run that is known"))?;
        let status = STATUSES.into_iter().find(|status| *status == text("status"));
        let status = status.ok_or_else(|| other("an unknown status"))?;
        let most = self.station.settings.get().transcripts.max_bytes;
        let limit = most.saturating_add(ARCHIVE_BYTES) as u64;
        let bytes = fsafe::read(self.host.outside(), &[places::TRANSCRIPTS, text("file")], limit)?;
        if sha256_hex(&bytes) != text("sha256") {
            return Err(other("a later one took its place"));
        }
        let bundle = archive::read(&bytes, most).map_err(|error| other(error.to_string()))?;
        let agent = self.known.open.as_ref().and_then(|open| open.get("agent")?.as_str());
        if agent != Some(bundle.manifest().described.agent.as_str()) {
            return Err(other("it is of another agent"));
        }
        let bundle = bundle.with_run(&format!("run-{}", prompt.run), prompt.attempt);
        let bytes = archive::write(&bundle).map_err(|error| other(error.to_string()))?;
        let spool = self.spool()?;
        fsafe::replace(&spool, &format!("{}.{status}", prompt.run), &bytes)?;
        if status != PART {
            // The whole has come.
            drop_file(&self.spool_path().join(format!("{}.{PART}", prompt.run)))?;
        }
        let waiting = self.waiting()?;
        for old in waiting.iter().take(waiting.len().saturating_sub(WAITING)) {
            drop_file(&old.path)?;
        }
        Ok(())
    }

    fn spool_path(&self) -> PathBuf {
        self.host.places().folder().join(SPOOL)
    }

    fn spool(&self) -> Result<OwnedFd, Error> {
        fsafe::make_folder(fsafe::folder(self.host.places().folder())?, SPOOL)
    }

    /// What waits, by its run.
    fn waiting(&self) -> Result<Vec<Waiting>, Error> {
        let entries = match std::fs::read_dir(self.spool_path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        // Bounded by WAITING: nobody else writes there.
        let mut waiting: Vec<Waiting> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (run, status) = name.split_once('.')?;
                let status = STATUSES.into_iter().find(|known| *known == status)?;
                Some(Waiting { run: run.parse().ok()?, status, path: entry.path(), name })
            })
            .collect();
        waiting.sort_by(|one, other| (one.run, &one.name).cmp(&(other.run, &other.name)));
        Ok(waiting)
    }

    /// Sends what waits. Whether nothing is left.
    pub(super) fn send_conversations(&mut self) -> Result<bool, Error> {
        let waiting = self.waiting()?;
        if waiting.is_empty() || self.keeping.again_at > now() {
            return Ok(waiting.is_empty());
        }
        for one in waiting {
            match self.send_one(&one) {
                Ok(()) => {
                    self.keeping.failures = 0;
                    drop_file(&one.path)?;
                }
                Err(Failed::BrokenOff) => return Ok(false),
                Err(Failed::Refused(why)) => {
                    self.report("transcript_refused", &format!("the conversation of run-{}: {why}", one.run));
                    drop_file(&one.path)?;
                }
                Err(Failed::Later(why) | Failed::Token(why)) => {
                    self.warn(&format!("run-{} waits: {why}", one.run));
                    let pause = 1_000_i64 << self.keeping.failures.min(6);
                    self.keeping.failures = self.keeping.failures.saturating_add(1);
                    self.keeping.again_at = now().saturating_add(pause.min(LONGEST_PAUSE_MS));
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn send_one(&mut self, one: &Waiting) -> Result<(), Failed> {
        let refused = |error: &dyn std::fmt::Display| Failed::Refused(error.to_string());
        let most = self.station.settings.get().transcripts.max_bytes;
        let limit = most.saturating_add(ARCHIVE_BYTES) as u64;
        let spool = self.spool().map_err(|error| refused(&error))?;
        let age = std::fs::symlink_metadata(&one.path).and_then(|found| found.modified());
        let age = age.ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
        if age > LONGEST {
            return Err(Failed::Refused("it could not be sent for a day".to_owned()));
        }
        let bytes = fsafe::read(&spool, &[&one.name], limit).map_err(|error| refused(&error))?;
        let bundle = archive::read(&bytes, most).map_err(|error| refused(&error))?;
        let token = self.token_of(one.run)?;
        let line = &self.station.line;
        let sent = line.keep_conversation(&self.known.session_id, one.run, &token, one.status, bytes);
        match self.calls.wait(&self.station.handle, sent).ok_or(Failed::BrokenOff)? {
            Ok(()) => {}
            Err(Failed::Token(why)) => {
                self.forget_token(one.run);
                return Err(Failed::Token(why));
            }
            Err(other) => return Err(other),
        }
        if one.status == "completed" && self.known.kept.as_ref().is_none_or(|kept| kept.run <= one.run) {
            self.known.kept = Some(Kept { run: one.run, sha256: bundle.sha256() });
            self.write_known().map_err(|error| Failed::Later(error.to_string()))?;
        }
        Ok(())
    }

    /// The token of a run: the one that came with it, or another one, for as long as the worker gives any.
    pub(super) fn token_of(&mut self, run: u64) -> Result<String, Failed> {
        if let Some((token, until)) = self.keeping.tokens.get(&run)
            && until.saturating_duration_since(Instant::now()) > LEFT
        {
            return Ok(token.clone());
        }
        let attempt = self.known.runs.iter().find(|known| known.run == run).map_or(1, |known| known.attempt);
        let wanted = json!({
            "session-id": self.known.session_id, "lease": self.known.lease, "run": run, "attempt": attempt, "want-run-token": true,
        });
        let body = json!({"sessions": [wanted]});
        let asked = self.station.line.ask(Method::POST, "/leases", Some(&body), PATIENCE);
        match self.calls.wait(&self.station.handle, asked).ok_or(Failed::BrokenOff)? {
            Reply::Done(answer) => {
                let token = answer.pointer("/sessions/0/run-token").and_then(Value::as_str);
                let token = token.ok_or_else(|| Failed::Refused("the worker gives no token for it".to_owned()))?;
                self.note_token(run, token.to_owned(), Duration::from_mins(10));
                Ok(token.to_owned())
            }
            Reply::Later(why) => Err(Failed::Later(why)),
            Reply::Refused(status, text, _) => Err(Failed::Refused(format!("{status}: {text}"))),
        }
    }
}

/// Removes a file, which may be gone.
fn drop_file(path: &std::path::Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
