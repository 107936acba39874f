//! What the worker wants of a session: into its mailbox first, then the worker is told so (docs/spec/session-mailbox.md 7.4).

use mailbox::gate::{self, Role, Verdict};
use mailbox::host::{HostMailbox as _, TakeBack};
use mailbox::message::NewMessage;
use mailbox::tools::{self, Tools};
use mailbox::{Error, FileHost};
use serde_json::Value;

use super::super::records::{Closing, Prompt, Session as Record};
use super::super::wire::{Ack, Item};
use super::{Session, Taken, closing, now};

/// How long a session that leaves has to end its turn, in milliseconds.
const LEAVE_MS: u64 = 2_000;
/// The longest that a canceled one has.
const LONGEST_GRACE_MS: i64 = 60_000;

/// It is in the mailbox.
const STORED: Taken = Taken::Settled(Ok(()));

fn refused(why: &str) -> Taken {
    Taken::Settled(Err(why.to_owned()))
}

impl Session {
    /// Takes an item in, and says so. What cannot be taken in now is not acknowledged, and comes again.
    pub(super) fn on_item(&mut self, item: &Item) -> Taken {
        let taken = self.take(item).unwrap_or_else(|error| {
            self.locked.see(&error, std::time::Instant::now());
            let log = &self.station.log;
            log.warn(format_args!("session {}: {} is not taken in: {error}", item.session_id, item.kind));
            Taken::Later
        });
        if let Taken::Settled(stored) = &taken {
            // Nobody hears it when the runner ends.
            let _ = self.station.acks.send(Ack::of(item, stored.clone()));
        }
        taken
    }

    fn take(&mut self, item: &Item) -> Result<Taken, Error> {
        if self.farewell.is_some() {
            // Another mailbox takes it in.
            return Ok(Taken::Later);
        }
        if item.lease > self.known.lease && !self.begin_anew(item.lease)? {
            return Ok(Taken::Later);
        }
        if item.lease < self.known.lease || self.is_fenced {
            return Ok(Taken::Later);
        }
        let before = self.known.clone();
        let stored = match self.store(item) {
            Ok(Taken::Settled(stored)) => stored,
            Ok(unsettled) => return Ok(unsettled),
            Err(error @ Error::Conflict) => Err(error.code().to_owned()),
            Err(error) if error.is_full() || matches!(error, Error::Hostile(_)) => {
                // What it was to change is not stored, and counts no more.
                self.known = before;
                self.report(error.code(), &error.to_string());
                Err(error.code().to_owned())
            }
            Err(error) => return Err(error),
        };
        self.known.work_seq = self.known.work_seq.max(item.work_seq);
        match (self.write_known(), &stored) {
            // A refusal is one, whether or not its number could be stored.
            (Err(error), Err(_)) => {
                self.station.log.warn(format_args!("session {}: {error}", item.session_id));
            }
            (written, _) => written?,
        }
        Ok(Taken::Settled(stored))
    }

    /// Writes what is known of the session; on a full disk with what is kept free for it.
    pub(super) fn write_known(&self) -> Result<(), Error> {
        mailbox::space::with_reserve(self.host.inside(), || self.known.write(self.host.places()))
    }

    fn store(&mut self, item: &Item) -> Result<Taken, Error> {
        match item.kind.as_str() {
            "session.open" => self.offer_tools(item).and_then(|()| self.store_open(item)),
            "prompt" => self.offer_tools(item).and_then(|()| self.store_prompt(item)),
            "permission.answer" => self.insert(item, item.body.to_string(), true),
            "push" if self.known.open.is_none() => Ok(refused("session-not-open")),
            "push" => self.insert(item, item.body.to_string(), false),
            "withdraw" => {
                if let Some(prompt) = item.text("item-id") {
                    self.host.take_back(TakeBack::One(prompt), now())?;
                }
                Ok(STORED)
            }
            "interrupt" => {
                self.host.interrupt(item.number("through-work-seq").unwrap_or_default())?;
                Ok(STORED)
            }
            "session.cancel" | "session.close" => {
                let asked = item.number("grace-ms").map(|ms| ms.clamp(0, LONGEST_GRACE_MS).unsigned_abs());
                let work_seq = item.work_seq;
                self.known.closing =
                    Some(Closing { item_id: item.item_id.clone(), work_seq, grace_ms: asked.unwrap_or(LEAVE_MS) });
                self.closing = closing::Progress::default();
                Ok(STORED)
            }
            _ => Ok(refused("not supported")),
        }
    }

    /// What the worker offers to the agent now lies beside the messages, for the shim that opens the agent next.
    fn offer_tools(&self, item: &Item) -> Result<(), Error> {
        tools::lay_out(self.host.inside(), Tools::of(&item.body).as_ref())
    }

    fn store_open(&mut self, item: &Item) -> Result<Taken, Error> {
        let task = item.body.get("task");
        let repository =
            task.and_then(|task| task.pointer("/project/repo-url").or_else(|| task.get("repo-url"))?.as_str());
        let settings = self.station.settings.get();
        let tables = &settings.tables;
        if !tables.allow.admits_repo(repository) {
            return Ok(refused("not allowed by the runner"));
        }
        if item.text("agent").and_then(|name| tables.agent(name)).is_none() {
            return Ok(refused("agent-missing"));
        }
        let body = match self.with_conversation(item)? {
            Some(Ok(body)) => body,
            Some(Err(why)) => return Ok(refused(&why)),
            None => return Ok(Taken::BrokenOff),
        };
        (self.known.open, self.known.opened_by) = (Some(body.clone()), Some(item.item_id.clone()));
        (self.known.closing, self.known.closed_at) = (None, None);
        self.known.write(self.host.places())?;
        self.crashes.new_message();
        self.insert(item, body.to_string(), false)
    }

    fn store_prompt(&mut self, item: &Item) -> Result<Taken, Error> {
        if !self.station.settings.get().tables.allow.admits_user(item.text("by")) {
            return Ok(refused("not allowed by the runner"));
        }
        let said = item.body.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
        match gate::judge(said, item.text("role").and_then(Role::read)) {
            Verdict::Pass => {}
            Verdict::Drop => return Ok(refused("command-not-for-agents")),
            Verdict::Deny => return Ok(refused("permission-denied")),
        }
        if self.known.open.is_none() {
            return Ok(refused("session-not-open"));
        }
        let mut body = item.body.clone();
        if let Some(members) = body.as_object_mut() {
            // A secret; the agent's side has no use for it.
            members.remove("run-token");
            members.remove("run-token-expires-in-ms");
            members.remove("tools");
        }
        let count = |name: &str| item.number(name).and_then(|number| number.try_into().ok()).unwrap_or(1);
        let prompt = Prompt { item_id: item.item_id.clone(), run: count("run"), attempt: count("attempt") };
        self.learn_token(prompt.run, item);
        self.note_run(&prompt);
        self.known.prompt = Some(prompt);
        self.known.write(self.host.places())?;
        self.crashes.new_message();
        self.insert(item, body.to_string(), false)
    }

    fn insert(&mut self, item: &Item, content: String, control: bool) -> Result<Taken, Error> {
        let at = now();
        let message = NewMessage {
            id: item.item_id.clone(),
            kind: item.kind.clone(),
            content,
            control,
            expires_at: item.expires_in_ms.map(|ms| at.saturating_add(ms)),
            work_seq: Some(item.work_seq),
            ..NewMessage::default()
        };
        self.host.insert(&message, at)?;
        Ok(STORED)
    }

    /// Another lease: nothing counts that is here. It is moved aside, and another mailbox made. False while the process is not proven gone.
    fn begin_anew(&mut self, lease: i64) -> Result<bool, Error> {
        if !self.end_process() {
            return Ok(false);
        }
        let places = self.host.places().clone();
        let unsent = self.host.unsent(super::UNSENT).unwrap_or_default();
        FileHost::set_aside(&places, now())?;
        let station = std::sync::Arc::clone(&self.station);
        let session_id = self.known.session_id.clone();
        self.host = FileHost::create(&station.state, &session_id, station.host_settings(), now())?;
        self.known = Record { session_id, lease, ..Record::default() };
        self.known.write(&places)?;
        self.chain = mailbox::delivery::Chain::default();
        (self.above, self.is_fenced, self.notes_after, self.again_at) = (0, false, None, None);
        self.crashes.finished();
        self.keeping = super::keeping::Keeping::default();
        self.answered = 0;
        self.rung = None;
        if unsent > 0 {
            let note = super::discarded(unsent);
            self.host.note(&note, now())?;
        }
        Ok(true)
    }

    /// Nothing counts any more that is done here. The files stay.
    pub(super) fn fence(&mut self, why: &str) {
        if !self.is_fenced {
            self.station.log.warn(format_args!("session {}: {why}", self.known.session_id));
            self.is_fenced = true;
        }
    }
}
