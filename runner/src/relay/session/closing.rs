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
    stopped: Option<Instant>,
    gone: Option<Instant>,
}

impl Session {
    pub(super) fn go_on_closing(&mut self) -> Result<(), Error> {
        let Some(closing) = self.known.closing.clone() else { return Ok(()) };
        let control = self.host.control()?;
        if self.process.is_some() {
            let begun = if let Some(begun) = self.closing.begun {
                begun
            } else {
                let before = TakeBack::Below { work_seq: closing.work_seq, process: Presence::MayLive };
                self.host.take_back(before, now())?;
                *self.closing.begun.insert(Instant::now())
            };
            let is_over = begun.elapsed() >= Duration::from_millis(closing.grace_ms) || !self.has_turn(&control)?;
            match self.closing.stopped {
                None if is_over => {
                    self.host.ask_to_stop(now())?;
                    self.closing.stopped = Some(Instant::now());
                }
                Some(stopped) if stopped.elapsed() >= GRACE => {
                    self.end_process();
                }
                _ => {}
            }
            return Ok(());
        }
        if is_open(&control) {
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
        self.known.write(self.host.places())
    }
}
