//! What the agent's side and the runner itself have to say, in its order, and each of it once (docs/spec/session-mailbox.md 4.8, 7.6).

use std::sync::Arc;

use http::Method;
use mailbox::delivery::{Event, Relay, Sent, deliver};
use mailbox::host::{HostMailbox as _, Reading};
use mailbox::{Error, fsafe, places};
use serde_json::{Value, json};

use super::super::line::{PATIENCE, Reply};
use super::super::wire;
use super::{Session, Station, now};

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
/// Codes of reports that stand for events: they are sent under the lease.
const EVENTS: [&str; 4] = ["open.failed", "permission.void", "message.failed", "closed"];

/// The way of a session's events to the worker.
struct Way<'a> {
    station: &'a Arc<Station>,
    path: String,
    mailbox_id: &'a str,
    lease: i64,
    outside: std::os::fd::BorrowedFd<'a>,
    /// Why nothing counts any more that is done here.
    lost: Option<String>,
}

impl Way<'_> {
    fn ask(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.station.handle.block_on(self.station.line.ask(method, path, Some(body), PATIENCE))
    }

    /// Stores the file that an event names. None when it is there; else why not, and whether another try would help.
    fn store_file(&self, event: &Event) -> Option<(String, bool)> {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let text = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let (name, hash) = (text("name"), text("sha256"));
        let content = match fsafe::read(self.outside, &[places::FILES, hash, name], FILE_BYTES) {
            Ok(content) => content,
            Err(error) => return Some((format!("the file cannot be read: {error}"), false)),
        };
        let path = format!("{}/files/{hash}", self.path);
        match self.station.handle.block_on(self.station.line.put(&path, content)) {
            Reply::Done(_) => None,
            Reply::Later(why) => Some((why, true)),
            Reply::Refused(status, text, _) => Some((format!("{status}: {text}"), false)),
        }
    }
}

impl Relay for Way<'_> {
    fn send(&mut self, events: &[Event]) -> Sent {
        let (mut shown, mut size, mut refused) = (Vec::new(), 0, None);
        // Bounded by a batch.
        for event in events {
            if event.kind == "file" {
                match self.store_file(event) {
                    None => {}
                    Some((why, true)) if shown.is_empty() => return Sent::Failed(why),
                    Some((_, true)) => break,
                    Some((why, false)) => {
                        refused = Some((event.seq, why));
                        break;
                    }
                }
            }
            let one = wire::event(event);
            size += one.to_string().len() + 1;
            if size > BATCH_BYTES && !shown.is_empty() {
                break;
            }
            shown.push(one);
        }
        let prev = events.first().map_or(0, |event| event.prev);
        if shown.is_empty() {
            return Sent::Accepted { seq: prev, rejected: refused };
        }
        let body = json!({"mailbox-id": self.mailbox_id, "lease": self.lease, "events": shown});
        match self.ask(Method::POST, &format!("{}/events", self.path), &body) {
            Reply::Done(answer) => {
                let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64);
                let Some(seq) = number(&answer, "accepted-seq") else {
                    return Sent::Failed("an answer without accepted-seq".to_owned());
                };
                let rejected = answer.get("rejected").and_then(|rejected| {
                    let error = rejected.get("error").and_then(Value::as_str).unwrap_or("refused");
                    Some((number(rejected, "seq")?, error.to_owned()))
                });
                Sent::Accepted { seq, rejected: rejected.or(refused) }
            }
            Reply::Later(why) => Sent::Failed(why),
            Reply::Refused(status, text, body) => {
                let accepted = body.get("accepted-seq").and_then(Value::as_i64);
                if let ("sequence gap", Some(accepted)) = (text.as_str(), accepted) {
                    return Sent::Gap(accepted);
                }
                let why = format!("{status}: {text}");
                if LOST.contains(&text.as_str()) {
                    self.lost = Some(why.clone());
                }
                Sent::Failed(why)
            }
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
                lost: None,
            };
            let delivered = match deliver(&mut self.host, &mut way, &mut self.chain, now()) {
                // The process is in the middle of it; or gone, and then it is rolled back first.
                Err(error) if error.is_passing() => return Ok(false),
                delivered => delivered?,
            };
            let lost = way.lost.take();
            if self.chain.generation != generation {
                self.known.generation = self.chain.generation;
                self.known.write(self.host.places())?;
            }
            if let Some(why) = lost {
                self.fence(&why);
                return Ok(false);
            }
            self.answer_git(&delivered.for_runner)?;
            self.take_laid_out(&delivered.for_runner)?;
            self.again_at = delivered.again_at;
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
            let unsent = self.host.outputs(self.chain.accepted, 1_000, 1 << 20)?;
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
        let path = format!("{}/notices", self.path());
        for note in notes {
            let data: Value = serde_json::from_str(&note.data).unwrap_or_default();
            let message = data.get("message").and_then(Value::as_str).unwrap_or(&note.code);
            let message: String = message.chars().take(MESSAGE_CHARS).collect();
            let mut body = json!({"id": note.id, "code": note.code, "message": message});
            if EVENTS.contains(&note.code.as_str())
                && let Some(members) = body.as_object_mut()
            {
                members.insert("lease".to_owned(), json!(self.known.lease));
                members.insert("data".to_owned(), wire::report_data(data));
            }
            match self.station.handle.block_on(self.station.line.ask(Method::POST, &path, Some(&body), PATIENCE)) {
                Reply::Done(_) => self.host.noted(&note.id, now())?,
                Reply::Later(why) => {
                    self.station.log.warn(format_args!("a report is not sent ({why}); again"));
                    self.again_at = Some(now().saturating_add(1_000));
                    return Ok(false);
                }
                // Nobody wants it any more.
                Reply::Refused(status, text, _) => {
                    self.station.log.warn(format_args!("the report {} is refused: {status}: {text}", note.code));
                    self.host.noted(&note.id, now())?;
                }
            }
        }
        self.notes_after = None;
        Ok(true)
    }
}
