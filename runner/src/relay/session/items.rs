//! What the worker wants of a session: into its mailbox first, then the worker is told so (docs/spec/session-mailbox.md 7.4).

use mailbox::gate::{self, Role, Verdict};
use mailbox::host::{HostMailbox as _, TakeBack};
use mailbox::message::NewMessage;
use mailbox::tools::{self, Tools};
use mailbox::{Error, FileHost};
use serde_json::Value;

use super::super::records::{Closing, Prompt, Session as Record};
use super::super::wire::{Ack, Item};
use super::{Session, closing, now};

/// How long a session that leaves has to end its turn, in milliseconds.
const LEAVE_MS: u64 = 2_000;
/// The longest that a canceled one has.
const LONGEST_GRACE_MS: i64 = 60_000;

/// What became of an item: it is in the mailbox, or will never be.
type Stored = Result<(), String>;

impl Session {
    /// Takes an item in, and says so. What cannot be taken in now is not acknowledged, and comes again.
    pub(super) fn on_item(&mut self, item: &Item) {
        match self.take(item) {
            Ok(Some(stored)) => {
                // Nobody hears it when the runner ends.
                let _ = self.station.acks.send(Ack::of(item, stored));
            }
            Ok(None) => {}
            Err(error) => {
                let log = &self.station.log;
                log.warn(format_args!("session {}: {} is not taken in: {error}", item.session_id, item.kind));
            }
        }
    }

    fn take(&mut self, item: &Item) -> Result<Option<Stored>, Error> {
        if item.lease > self.known.lease && !self.begin_anew(item.lease)? {
            return Ok(None);
        }
        if item.lease < self.known.lease || self.is_fenced {
            return Ok(None);
        }
        let stored = match self.store(item) {
            Ok(stored) => stored,
            Err(error @ Error::Conflict) => Err(error.code().to_owned()),
            Err(error @ (Error::Full | Error::Hostile(_))) => {
                self.report(error.code(), &error.to_string());
                Err(error.code().to_owned())
            }
            Err(error) => return Err(error),
        };
        self.known.work_seq = self.known.work_seq.max(item.work_seq);
        self.known.write(self.host.places())?;
        Ok(Some(stored))
    }

    fn store(&mut self, item: &Item) -> Result<Stored, Error> {
        match item.kind.as_str() {
            "session.open" => self.offer_tools(item).and_then(|()| self.store_open(item)),
            "prompt" => self.offer_tools(item).and_then(|()| self.store_prompt(item)),
            "permission.answer" => self.insert(item, item.body.to_string(), true),
            "push" if self.known.open.is_none() => Ok(Err("session-not-open".to_owned())),
            "push" => self.insert(item, item.body.to_string(), false),
            "withdraw" => {
                if let Some(prompt) = item.text("item-id") {
                    self.host.take_back(TakeBack::One(prompt), now())?;
                }
                Ok(Ok(()))
            }
            "interrupt" => {
                self.host.interrupt(item.number("through-work-seq").unwrap_or_default())?;
                Ok(Ok(()))
            }
            "session.cancel" | "session.close" => {
                let asked = item.number("grace-ms").map(|ms| ms.clamp(0, LONGEST_GRACE_MS).unsigned_abs());
                let work_seq = item.work_seq;
                self.known.closing =
                    Some(Closing { item_id: item.item_id.clone(), work_seq, grace_ms: asked.unwrap_or(LEAVE_MS) });
                self.closing = closing::Progress::default();
                Ok(Ok(()))
            }
            _ => Ok(Err("not supported".to_owned())),
        }
    }

    /// What the worker offers to the agent now lies beside the messages, for the shim that opens the agent next.
    fn offer_tools(&self, item: &Item) -> Result<(), Error> {
        tools::lay_out(self.host.inside(), Tools::of(&item.body).as_ref())
    }

    fn store_open(&mut self, item: &Item) -> Result<Stored, Error> {
        let task = item.body.get("task");
        let repository =
            task.and_then(|task| task.pointer("/project/repo-url").or_else(|| task.get("repo-url"))?.as_str());
        let settings = self.station.settings.get();
        let tables = &settings.tables;
        if !tables.allow.admits_repo(repository) {
            return Ok(Err("not allowed by the runner".to_owned()));
        }
        if item.text("agent").and_then(|name| tables.agent(name)).is_none() {
            return Ok(Err("agent-missing".to_owned()));
        }
        let body = match self.with_conversation(item)? {
            Ok(body) => body,
            Err(why) => return Ok(Err(why)),
        };
        (self.known.open, self.known.opened_by) = (Some(body.clone()), Some(item.item_id.clone()));
        (self.known.closing, self.known.closed_at) = (None, None);
        self.known.write(self.host.places())?;
        self.crashes.new_message();
        self.insert(item, body.to_string(), false)
    }

    fn store_prompt(&mut self, item: &Item) -> Result<Stored, Error> {
        if !self.station.settings.get().tables.allow.admits_user(item.text("by")) {
            return Ok(Err("not allowed by the runner".to_owned()));
        }
        let said = item.body.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
        match gate::judge(said, item.text("role").and_then(Role::read)) {
            Verdict::Pass => {}
            Verdict::Drop => return Ok(Err("command-not-for-agents".to_owned())),
            Verdict::Deny => return Ok(Err("permission-denied".to_owned())),
        }
        if self.known.open.is_none() {
            return Ok(Err("session-not-open".to_owned()));
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

    fn insert(&mut self, item: &Item, content: String, control: bool) -> Result<Stored, Error> {
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
        Ok(Ok(()))
    }

    /// Another lease: nothing counts that is here. It is moved aside, and another mailbox made. False while the process is not proven gone.
    fn begin_anew(&mut self, lease: i64) -> Result<bool, Error> {
        if !self.end_process() {
            return Ok(false);
        }
        let places = self.host.places().clone();
        let unsent = self.host.outputs(self.chain.accepted, 1_000, 1 << 20).unwrap_or_default().len();
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
            self.report(
                "output_discarded",
                &format!("{unsent} outputs were not sent before another holder had the session"),
            );
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
