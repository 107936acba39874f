//! A session is ended: its turn gets its time, then its process goes, then what is left is taken back, and the worker is told
//! (docs/spec/session-mailbox.md 7.4).

use std::time::{Duration, Instant};

use mailbox::Error;
use mailbox::host::{HostMailbox as _, Notice, TakeBack};
use mailbox::sweep::Process as Presence;
use mailbox::tools;
use serde_json::json;

use super::{Session, is_open, now};

/// How long a process may take to end that was asked to.
const GRACE: Duration = Duration::from_secs(30);
/// How long the last conversation has to get to the worker, who waits for 30 s itself.
const KEEP: Duration = Duration::from_secs(20);

/// How far it is. After a restart it begins again, which does no harm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    begun: Option<Instant>,
    is_taken_back: bool,
    stopped: Option<Instant>,
    is_asked: bool,
    gone: Option<Instant>,
}

impl Session {
    /// Ends the process of a session that is being ended: its turn has its time, then it is asked to stop, then killed. Each of these comes in
    /// its time, also when what the one before wanted could not be stored.
    pub(super) fn end_for_closing(&mut self) -> Result<(), Error> {
        let Some(closing) = self.known.closing.clone() else { return Ok(()) };
        if self.process.is_none() {
            return Ok(());
        }
        let begun = *self.closing.begun.get_or_insert_with(Instant::now);
        let mut done = Ok(());
        if !self.closing.is_taken_back {
            let before = TakeBack::Below { work_seq: closing.work_seq, process: Presence::MayLive };
            done = self.host.take_back(before, now()).map(drop);
            self.closing.is_taken_back = done.is_ok();
        }
        let is_over = begun.elapsed() >= Duration::from_millis(closing.grace_ms)
            || (done.is_ok() && self.host.control().and_then(|control| self.has_turn(&control)).is_ok_and(|has| !has));
        if !is_over && self.closing.stopped.is_none() {
            return done;
        }
        let stopped = *self.closing.stopped.get_or_insert_with(Instant::now);
        if stopped.elapsed() >= GRACE {
            self.end_process();
        } else if !self.closing.is_asked {
            let asked = self.host.ask_to_stop(now());
            self.closing.is_asked = asked.is_ok();
            return done.and(asked);
        }
        done
    }

    /// Takes back what is left of a session whose process is gone, and tells the worker that it is ended.
    pub(super) fn finish_closing(&mut self) -> Result<(), Error> {
        let Some(closing) = self.known.closing.clone() else { return Ok(()) };
        if self.process.is_some() || is_open(&self.host.control()?) {
            return Ok(());
        }
        // Whoever has the session next goes on with what is kept.
        if !self.keeping.is_sent && self.closing.gone.get_or_insert_with(Instant::now).elapsed() < KEEP {
            return Ok(());
        }
        self.host.take_back(TakeBack::Below { work_seq: closing.work_seq, process: Presence::Gone }, now())?;
        let id = format!("closed-{}", closing.item_id);
        let data = json!({"transcript": self.known.kept}).to_string();
        self.host.note(&Notice { id, code: "closed".to_owned(), data }, now())?;
        tools::lay_out(self.host.inside(), None)?;
        (self.known.closing, self.known.open, self.known.closed_at) = (None, None, Some(now()));
        self.write_known()
    }
}
