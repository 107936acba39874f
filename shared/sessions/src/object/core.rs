//! What an object remembers of its session, and how a change of it is stored.

use std::rc::Rc;

use database::local::{Sql, SqlError};

use super::viewers::stored_frame;
use crate::acp::Turns;
use crate::event::{Draft, Event, Pieces, Place, Redactor, next_ts};
use crate::legacy::Progress;
use crate::mailbox::desk::Desk;
use crate::mailbox::store::MailboxRows;
use crate::session::store::{EventLog, Limits, Loaded, Order, Outbox, Rows};
use crate::session::{Effect, Job, State, Status};
use crate::task::{Task, TaskSecrets};
use crate::webhook::{Notice, Topic};

/// Text of running turns is written with every event as long as it is no longer than this; a longer one is written now and then
/// (B24): after a crash some of its end may be missing.
const SMALL_TEXT_BYTES: usize = 16 << 10;
/// Times alone are not written more often than this, in milliseconds.
const TIMES_MS: i64 = 10_000;

/// Everything known about a session.
pub(crate) struct Core {
    /// Where it stands.
    pub(crate) state: State,
    /// What is to be done.
    pub(crate) task: Task,
    /// Credentials that came with it.
    pub(crate) secrets: TaskSecrets,
    /// What agents have said in running turns.
    pub(crate) turns: Turns,
    /// The last frame of the event stream that was taken in.
    pub(crate) last_event_id: Option<String>,
    /// How far a stream of the older dialect was taken in.
    pub(crate) progress: Progress,
    /// The snapshot that is known.
    pub(crate) checkpoint: Option<serde_json::Value>,
    /// The log.
    pub(crate) log: EventLog,
    /// Takes secrets out of what is shown.
    pub(crate) redactor: Redactor,
    /// Texts that are being shown in pieces.
    pub(crate) pieces: Pieces,
    /// An order that is being accepted: its row is written with the change that it makes.
    pub(crate) incoming: Option<(u64, Order)>,
    /// A push that a runner carries out, and that somebody waits for.
    pub(crate) push: Option<super::mailbox::AwaitedPush>,
    /// Rows that differ from what is stored.
    pub(crate) dirty: Dirty,
    saved_at: i64,
}

/// Which rows have changed beside the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one row")]
pub(crate) struct Dirty {
    /// The task.
    pub(crate) task: bool,
    /// The snapshot.
    pub(crate) checkpoint: bool,
    /// The texts of turns, and how far the stream was taken in, whatever their size.
    pub(crate) texts: bool,
    /// How far the stream was taken in.
    pub(crate) stream: bool,
}

/// An event that viewers are shown.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    /// It is in the log too.
    Stored(Rc<str>),
    /// It is not.
    Passing(Rc<str>),
}

/// What is written beside the state.
pub(crate) struct Commit<'a> {
    /// The session's own database.
    pub(crate) sql: &'a dyn Sql,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
    /// The longest event, in bytes.
    pub(crate) max_event_bytes: usize,
    /// How much of the log is kept.
    pub(crate) limits: Limits,
    /// New ids.
    pub(crate) uuid: &'a dyn Fn() -> String,
    /// How the text of running turns lies in storage.
    pub(crate) seal: &'a dyn Fn(&str) -> String,
    /// Further rows of the same transaction.
    pub(crate) also: &'a dyn Fn() -> Result<(), SqlError>,
}

impl Core {
    /// A session as it was found.
    pub(crate) fn new(loaded: Loaded, secrets: TaskSecrets, redactor: Redactor) -> Self {
        Self {
            state: loaded.state,
            task: loaded.task,
            secrets,
            turns: loaded.turns,
            last_event_id: loaded.last_event_id,
            progress: loaded.progress,
            checkpoint: loaded.checkpoint,
            log: loaded.log,
            redactor,
            pieces: Pieces::default(),
            incoming: None,
            push: None,
            dirty: Dirty::default(),
            saved_at: 0,
        }
    }

    /// Stores what has changed since `before` and what the effects say, in one transaction. What viewers are shown and the work that
    /// begins come back; when storing fails, nothing has changed but this value, which is to be read anew.
    pub(crate) fn commit(
        &mut self,
        before: &State,
        effects: Vec<Effect>,
        commit: &Commit<'_>,
    ) -> Result<(Vec<Shown>, Vec<Job>), SqlError> {
        let mut shown = Vec::new();
        let mut jobs = Vec::new();
        let mut stores = Vec::new();
        let mut at_desk = Vec::new();
        for effect in effects {
            match effect {
                Effect::Start(job) => jobs.push(job),
                Effect::ClearTexts => {
                    self.turns.clear();
                    self.dirty.texts = true;
                }
                Effect::Desk(effect) => at_desk.push(effect),
                other => stores.push(other),
            }
        }
        let rows = Rows(commit.sql);
        let has_events = stores.iter().any(|effect| matches!(effect, Effect::Append(_) | Effect::Announce(_)));
        let is_new = |desk: &&Desk| !at_desk.is_empty() || before.desk.as_ref() != Some(*desk);
        let desk = self.state.desk.as_ref().filter(is_new).cloned();
        let saves_texts = self.dirty.texts
            // A runner does not say again what was taken in.
            || desk.is_some()
            || self.turns.is_due(commit.now)
            || (has_events && self.turns.kept_bytes() <= SMALL_TEXT_BYTES);
        let saves_state = self.is_changed(before, commit.now);
        let is_quiet = !saves_state
            && !saves_texts
            && desk.is_none()
            && stores.iter().all(|effect| matches!(effect, Effect::Show(_)));
        let nothing_else = self.dirty == Dirty { stream: self.dirty.stream, ..Dirty::default() };
        if is_quiet && nothing_else {
            // Only passing events: nothing is written.
            for effect in &stores {
                if let Effect::Show(draft) = effect {
                    shown.push(self.passing(draft.clone(), commit));
                }
            }
            (commit.also)()?;
            return Ok((shown, jobs));
        }
        let log = self.log;
        let stored = commit.sql.transaction(&mut || {
            shown.clear();
            self.log = log;
            for effect in &stores {
                self.store(effect, &rows, commit, &mut shown)?;
            }
            if saves_state {
                rows.put_json("state", &self.state)?;
            }
            if let Some(desk) = &desk {
                let rows = MailboxRows(&commit.sql);
                rows.create()?;
                rows.put_desk(desk, &at_desk)?;
            }
            if self.dirty.task {
                rows.put_json("task", &self.task)?;
            }
            if self.dirty.checkpoint {
                match &self.checkpoint {
                    Some(checkpoint) => rows.put_json("checkpoint", checkpoint)?,
                    None => rows.remove("checkpoint")?,
                }
            }
            if saves_texts {
                rows.put_turns(&self.turns, commit.seal)?;
            }
            if saves_texts || has_events || self.dirty.stream {
                rows.put_json("progress", &self.progress)?;
                match &self.last_event_id {
                    Some(id) => rows.put("last-event-id", id)?,
                    None => rows.remove("last-event-id")?,
                }
            }
            self.log.trim(&rows.0, &commit.limits)?;
            (commit.also)()
        });
        stored?;
        self.dirty = Dirty::default();
        if saves_state {
            self.saved_at = commit.now;
        }
        if saves_texts {
            self.turns.saved(commit.now);
        }
        Ok((shown, jobs))
    }

    /// Whether the state is to be written: times alone are not, unless they are old.
    fn is_changed(&self, before: &State, now: i64) -> bool {
        if self.state == *before {
            return false;
        }
        if now.saturating_sub(self.saved_at) >= TIMES_MS {
            return true;
        }
        let mut same = self.state.clone();
        same.active_at = before.active_at;
        // It has a row of its own.
        same.desk.clone_from(&before.desk);
        if let (Some(lease), Some(old)) = (&mut same.transcript.lease, &before.transcript.lease) {
            lease.expires = old.expires;
        }
        if let (Some(turn), Some(old)) = (&mut same.turn, &before.turn)
            && turn.phase == old.phase
        {
            turn.until = old.until;
        }
        same != *before
    }

    fn store(
        &mut self,
        effect: &Effect,
        rows: &Rows<&dyn Sql>,
        commit: &Commit<'_>,
        shown: &mut Vec<Shown>,
    ) -> Result<(), SqlError> {
        match effect {
            Effect::Append(draft) => shown.push(self.append(draft.clone(), rows, commit)?.1),
            Effect::Announce(draft) => {
                let (event, frame) = self.append(draft.clone(), rows, commit)?;
                self.announce(&event, rows)?;
                shown.push(frame);
            }
            Effect::Show(draft) => shown.push(self.passing(draft.clone(), commit)),
            Effect::DropOrder(seq) => rows.drop_order(*seq)?,
            Effect::DropOrders => rows.drop_orders()?,
            Effect::PutApproval(approval) => rows.put_approval(approval)?,
            Effect::PublishingLost | Effect::ClearTexts | Effect::Desk(_) | Effect::Start(_) => {}
        }
        Ok(())
    }

    fn append(&mut self, draft: Draft, rows: &Rows<&dyn Sql>, commit: &Commit<'_>) -> Result<(Event, Shown), SqlError> {
        let cursor = self.log.next_cursor();
        let ts = next_ts(commit.now, self.log.last_ts());
        let event_id = (commit.uuid)();
        let place = Place { cursor: Some(cursor), event_id: &event_id, session_id: &self.state.id, ts };
        let event = Event::seal(draft, &place, &self.redactor, commit.max_event_bytes);
        let body = json(&event)?;
        self.log.append(&rows.0, &event.kind, ts, &body)?;
        let mut frame = String::new();
        stored_frame(&mut frame, cursor, &body);
        Ok((event, Shown::Stored(frame.into())))
    }

    /// Writes down that somebody is to be told of an event.
    fn announce(&self, event: &Event, rows: &Rows<&dyn Sql>) -> Result<(), SqlError> {
        let Some(topic) = Topic::of(&event.kind) else { return Ok(()) };
        let title = self.task.node_title().or(self.task.project_title()).unwrap_or_default();
        let clean = self.redactor.clean(title);
        let status = Status::after(&event.kind).unwrap_or(self.state.status);
        let notice = Notice::of(topic, event, clean.as_deref().unwrap_or(title), status);
        Outbox(rows.0).put_notice(&event.event_id, &notice)
    }

    fn passing(&self, draft: Draft, commit: &Commit<'_>) -> Shown {
        let event_id = (commit.uuid)();
        let place = Place { cursor: None, event_id: &event_id, session_id: &self.state.id, ts: commit.now };
        let event = Event::seal(draft, &place, &self.redactor, commit.max_event_bytes);
        Shown::Passing(passing_frame(&event).into())
    }

    /// The messages that are being written, as events.
    pub(crate) fn live(&self, max_event_bytes: usize) -> Vec<Event> {
        let seal = |message: crate::acp::LiveMessage| {
            let place = Place { cursor: None, event_id: &message.event_id, session_id: &self.state.id, ts: message.ts };
            Event::seal(message.draft, &place, &self.redactor, max_event_bytes)
        };
        self.turns.live().into_iter().map(seal).collect()
    }
}

/// An event that is not stored, as a frame.
pub(crate) fn passing_frame(event: &Event) -> String {
    let mut frame = String::new();
    // An event is plain data: it always has a text.
    let body = serde_json::to_string(event).unwrap_or_default();
    crate::sse::Frame { id: None, event: None, data: &body }.write(&mut frame);
    frame
}

fn json(event: &Event) -> Result<String, SqlError> {
    serde_json::to_string(event).map_err(|error| SqlError::Other(error.to_string()))
}
