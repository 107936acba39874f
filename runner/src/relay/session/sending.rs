//! What the agent's side and the runner itself have to say, in its order, and each of it once (docs/spec/session-mailbox.md 4.8, 7.6).

use std::sync::Arc;

use http::Method;
use mailbox::delivery::{Event, Relay, Sent, TOMBSTONE, deliver};
use mailbox::host::{HostMailbox as _, Notice, Reading};
use mailbox::{Error, fsafe, places};
use serde_json::{Value, json};

use super::super::line::{PATIENCE, Reply};
use super::super::wire;
use super::{Calls, Session, Station, now};

/// Bytes of one request with events, without what stands around them.
const BATCH_BYTES: usize = (1 << 20) - 4_096;
/// Bytes of a file.
const FILE_BYTES: u64 = 25 << 20;
/// Characters of a report's message.
const MESSAGE_CHARS: usize = 2_000;
/// So many batches are sent before anything else is looked at.
const BATCHES: usize = 20;
/// Refusals after which nothing counts any more that is done here.
const LOST: [&str; 4] = ["not found", "lease lost", "mailbox unknown", "event conflict"];
/// The code of the report that the agent's side waits.
const BACKLOG: &str = "output_backlog";
/// Codes of reports that stand for events: they are sent under the lease.
const EVENTS: [&str; 4] = ["open.failed", "permission.void", "message.failed", "closed"];

/// The way of a session's events to the worker.
struct Way<'a> {
    station: &'a Arc<Station>,
    path: String,
    mailbox_id: &'a str,
    lease: i64,
    outside: std::os::fd::BorrowedFd<'a>,
    calls: &'a Calls,
    /// Events by which the agent's side says that it waits until something was fetched: generation and place.
    waits: Vec<(i64, i64)>,
    /// Why nothing counts any more that is done here.
    lost: Option<String>,
}

/// What came of a file that goes before its event.
enum Stored {
    /// It is there.
    Done,
    /// Not now.
    Later(String),
    /// It never will be.
    Refused(String),
    /// It was broken off.
    BrokenOff,
}

impl Way<'_> {
    /// Stores the file that an event names.
    fn store_file(&self, event: &Event) -> Stored {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, hash) = (text("name"), text("sha256"));
        let content = match fsafe::read(self.outside, &[places::FILES, hash, name], FILE_BYTES) {
            Ok(content) => content,
            Err(error) => return Stored::Refused(format!("the file cannot be read: {error}")),
        };
        let path = format!("{}/files/{hash}", self.path);
        match self.calls.wait(&self.station.handle, self.station.line.put(&path, content)) {
            None => Stored::BrokenOff,
            Some(Reply::Done(_)) => Stored::Done,
            Some(Reply::Later(why)) => Stored::Later(why),
            Some(Reply::Refused(status, text, _)) => Stored::Refused(format!("{status}: {text}")),
        }
    }

    /// Sends some events of which `first` is the first one.
    fn send_batch(&mut self, first: &Event, shown: &[Value], unsent: Option<(i64, String)>) -> Sent {
        let path = format!("{}/events", self.path);
        let body = json!({"mailbox-id": self.mailbox_id, "lease": self.lease, "events": shown});
        let asked = self.station.line.ask(Method::POST, &path, Some(&body), PATIENCE);
        match self.calls.wait(&self.station.handle, asked) {
            None => Sent::BrokenOff,
            Some(Reply::Done(answer)) => accepted(&answer, unsent),
            Some(Reply::Later(why)) => Sent::Failed(why),
            Some(Reply::Refused(status, text, body)) => {
                let has = body.get("accepted-seq").and_then(Value::as_i64);
                if let ("sequence gap", Some(has)) = (text.as_str(), has) {
                    return Sent::Gap(has);
                }
                let why = format!("{status}: {text}");
                if LOST.contains(&text.as_str()) {
                    self.lost = Some(why.clone());
                    return Sent::Failed(why);
                }
                match shown {
                    // Which of them it is, nobody says: the first one is tried alone.
                    [alone, _, ..] => self.send_batch(first, std::slice::from_ref(alone), None),
                    // Not even a place without content is taken: that is no matter of what it holds.
                    _ if first.kind == TOMBSTONE => Sent::Failed(why),
                    _ => Sent::Accepted { seq: first.prev, rejected: Some((first.seq, why)) },
                }
            }
        }
    }
}

fn accepted(answer: &Value, unsent: Option<(i64, String)>) -> Sent {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64);
    let Some(seq) = number(answer, "accepted-seq") else {
        return Sent::Failed("an answer without accepted-seq".to_owned());
    };
    let rejected = answer.get("rejected").and_then(|rejected| {
        let error = rejected.get("error").and_then(Value::as_str).unwrap_or("refused");
        Some((number(rejected, "seq")?, error.to_owned()))
    });
    Sent::Accepted { seq, rejected: rejected.or(unsent) }
}

impl Relay for Way<'_> {
    fn send(&mut self, events: &[Event]) -> Sent {
        let (mut shown, mut size, mut refused) = (Vec::new(), 0, None);
        // Bounded by a batch.
        for event in events {
            if event.kind == "file" {
                match self.store_file(event) {
                    Stored::Done => {}
                    Stored::Later(why) if shown.is_empty() => return Sent::Failed(why),
                    Stored::BrokenOff => return Sent::BrokenOff,
                    Stored::Later(_) => break,
                    Stored::Refused(why) => {
                        refused = Some((event.seq, why));
                        break;
                    }
                }
            }
            if wire::says_backlog(event) {
                self.waits.push((event.generation, event.seq));
            }
            let one = wire::event(event);
            size += one.to_string().len() + 1;
            if size > BATCH_BYTES && !shown.is_empty() {
                break;
            }
            shown.push(one);
        }
        match events.first() {
            Some(first) if !shown.is_empty() => self.send_batch(first, &shown, refused),
            first => Sent::Accepted { seq: first.map_or(0, |event| event.prev), rejected: refused },
        }
    }
}

impl Session {
    fn path(&self) -> String {
        format!("/sessions/{}", web::url::encode(&self.known.session_id))
    }

    /// Sends what the worker does not have yet. Whether nothing of it waits for another try.
    pub(super) fn send_outputs(&mut self) -> Result<bool, Error> {
        if self.again_at.is_some_and(|at| at > now()) {
            return Ok(false);
        }
        self.again_at = None;
        for _ in 0..BATCHES {
            let generation = self.chain.generation;
            let mailbox_id = self.host.mailbox_id().to_owned();
            let outside = rustix::io::fcntl_dupfd_cloexec(self.host.outside(), 3)?;
            let mut way = Way {
                station: &self.station,
                path: self.path(),
                mailbox_id: &mailbox_id,
                lease: self.known.lease,
                outside: std::os::fd::AsFd::as_fd(&outside),
                calls: &self.calls,
                waits: Vec::new(),
                lost: None,
            };
            let delivered = deliver(&mut self.host, &mut way, &mut self.chain, now());
            let (lost, waits) = (way.lost.take(), std::mem::take(&mut way.waits));
            let delivered = match delivered {
                // The process is in the middle of it; or gone, and then it is rolled back first.
                Err(error) if self.is_passing(&error) => return Ok(false),
                delivered => delivered?,
            };
            if self.chain.generation != generation {
                self.known.generation = self.chain.generation;
                self.write_known()?;
            }
            if let Some(why) = lost {
                self.fence(&why);
                return Ok(false);
            }
            for (generation, seq) in waits {
                let id = format!("{BACKLOG}-{generation}-{seq}");
                let note = Notice {
                    id,
                    ..super::notice(BACKLOG, "the agent waits: too much of what it said was not sent yet")
                };
                self.host.note(&note, now())?;
            }
            self.answer_git(&delivered.for_runner)?;
            self.take_laid_out(&delivered.for_runner)?;
            self.again_at = delivered.again_at;
            if self.calls.is_called() {
                return Ok(false);
            }
            if delivered.sent == 0 || self.again_at.is_some() {
                return Ok(self.again_at.is_none());
            }
        }
        Ok(false)
    }

    /// Sends the runner's own reports: after everything that could be read when they were first seen. Whether none is left.
    pub(super) fn send_notes(&mut self) -> Result<bool, Error> {
        let notes = self.host.notes()?;
        if notes.is_empty() {
            self.notes_after = None;
            return Ok(true);
        }
        let after = if let Some(after) = self.notes_after {
            after
        } else {
            let unsent = match self.host.outputs(self.chain.accepted, 1_000, 1 << 20) {
                // The agent's side is in the middle of writing.
                Err(error) if self.is_passing(&error) => return Ok(false),
                unsent => unsent?,
            };
            let chained = unsent.iter().filter(|reading| match reading {
                Reading::Good(output) => output.prev.is_some(),
                Reading::Bad { .. } => true,
            });
            let after = chained.filter_map(Reading::seq).max().unwrap_or(self.chain.accepted);
            *self.notes_after.insert(after)
        };
        if self.chain.accepted < after {
            return Ok(false);
        }
        for note in notes {
            match self.post(&note) {
                Some(Reply::Done(_)) => self.host.noted(&note.id, now())?,
                Some(Reply::Later(why)) => {
                    self.station.log.warn(format_args!("a report is not sent ({why}); again"));
                    self.again_at = Some(now().saturating_add(1_000));
                    return Ok(false);
                }
                // Nobody wants it any more.
                Some(Reply::Refused(status, text, _)) => {
                    self.station.log.warn(format_args!("the report {} is refused: {status}: {text}", note.code));
                    self.host.noted(&note.id, now())?;
                }
                None => return Ok(false),
            }
        }
        self.notes_after = None;
        Ok(true)
    }

    /// Sends one report. None when that was broken off.
    pub(super) fn post(&self, note: &Notice) -> Option<Reply> {
        let path = format!("{}/notices", self.path());
        let body = shown(note, self.known.lease);
        self.calls.wait(&self.station.handle, self.station.line.ask(Method::POST, &path, Some(&body), PATIENCE))
    }
}

/// A report as the worker reads it; those that stand for events count under a lease.
pub(crate) fn shown(note: &Notice, lease: i64) -> Value {
    let data: Value = serde_json::from_str(&note.data).unwrap_or_default();
    let message = data.get("message").and_then(Value::as_str).unwrap_or(&note.code);
    let message: String = message.chars().take(MESSAGE_CHARS).collect();
    let mut body = json!({"id": note.id, "code": note.code, "message": message});
    if EVENTS.contains(&note.code.as_str())
        && let Some(members) = body.as_object_mut()
    {
        members.insert("lease".to_owned(), json!(lease));
        members.insert("data".to_owned(), wire::report_data(data));
    }
    body
}
