//! What a runner says first, before anything is started: what lies here, and what the worker counts of it (docs/spec/session-mailbox.md 7.3).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use mailbox::{FileHost, Places};
use serde_json::json;

use super::line::{PATIENCE, Reply};
use super::process::Process;
use super::session::{self, Session, Station};
use super::wire::{Attached, Claim, Verdict};
use super::{LONGEST, Runner, records};
use crate::failure::Failure;

/// Sessions that one attach may list.
const MAX_SESSIONS: usize = 1_000;

/// What came of an attach.
pub(super) enum Heard {
    /// This process counts.
    Attached,
    /// The runner has to be registered again.
    Unknown,
    /// The worker offers no mailbox any more; why.
    NotOffered(String),
}

impl Runner<'_> {
    /// The sessions that lie here. One whose files do not belong together is moved aside: the worker begins it anew.
    async fn open_all(&self) -> Result<BTreeMap<String, (Session, Claim)>, Failure> {
        let station = Arc::clone(&self.station);
        let opened = tokio::task::spawn_blocking(move || {
            let ids =
                records::sessions(&station.state).map_err(|error| Failure::other(station.state.display(), error))?;
            let mut sessions = BTreeMap::new();
            // As many as the runner has made.
            for id in ids {
                let places = Places::of(&station.state, &id);
                if records::Session::read(&places).is_some_and(|known| known.closed_at.is_some()) && is_silent(&places)
                {
                    continue;
                }
                let claimed = Session::open(&station, &id, 0).and_then(|mut session| {
                    let claim = session.claim()?;
                    Ok((session, claim))
                });
                match claimed {
                    Ok(claimed) => {
                        sessions.insert(id, claimed);
                    }
                    Err(
                        error @ (mailbox::Error::Hostile(_)
                        | mailbox::Error::Mixed
                        | mailbox::Error::Newer(_)
                        | mailbox::Error::Corrupt(_)
                        | mailbox::Error::HotJournal),
                    ) => {
                        station.log.warn(format_args!("session {id}: {}: {error}; moved aside", error.code()));
                        put_aside(&station, &id, &places);
                    }
                    // What does not belong to the session alone: nothing is given up for it.
                    Err(error) => return Err(Failure::Mailbox(error)),
                }
                if sessions.len() == MAX_SESSIONS {
                    break;
                }
            }
            Ok(sessions)
        });
        opened.await.map_err(|error| Failure::other("opening the sessions", error))?
    }

    /// Says what is here, and hears what counts of it.
    pub(super) async fn attach(&mut self) -> Result<Heard, Failure> {
        let mut sessions = self.open_all().await?;
        let claims: Vec<_> = sessions.values().map(|(_, claim)| claim).collect();
        let body = json!({
            "instance-id": self.given.instance,
            "process-id": self.process_id,
            "protocol": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "max-sessions": self.given.settings.max_sessions,
            "sessions": claims,
        });
        let mut pause = Duration::from_secs(1);
        let answer = loop {
            match self.station.line.ask(Method::POST, "/attach", Some(&body), PATIENCE).await {
                Reply::Done(answer) => break answer,
                Reply::Refused(status, text, _) if text == "mailbox transport is off" => {
                    return Ok(Heard::NotOffered(format!("{status}: {text}")));
                }
                Reply::Refused(status, text, _) if status.as_u16() != 404 => {
                    return Err(Failure::Other(format!("the worker refuses to attach this runner: {status}: {text}")));
                }
                Reply::Refused(status, text, _) => {
                    self.unknown(&format!("{status}: {text}")).await?;
                    return Ok(Heard::Unknown);
                }
                Reply::Later(why) => {
                    if let Ok(fate) = self.fates.try_recv() {
                        return self.on_fate(fate).await.map(|()| Heard::Unknown);
                    }
                    if self.given.fail_fast && !self.is_ready {
                        return Err(Failure::Unreachable(why));
                    }
                    self.log.warn(format_args!("not attached ({why}); again in {} s", pause.as_secs()));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        };
        let attached: Attached =
            serde_json::from_value(answer).map_err(|error| Failure::other("the answer to the attach", error))?;
        self.station.line.set_attach(Some(attached.attach_id));
        for verdicted in attached.sessions {
            let Some((mut session, _)) = sessions.remove(&verdicted.session_id) else { continue };
            if verdicted.verdict == Verdict::Keep {
                session.keep(verdicted.accepted_seq, verdicted.generation);
                self.start(verdicted.session_id, session)?;
            } else {
                self.drop_copy(session, verdicted.verdict).await;
            }
        }
        // Of what the worker says nothing it knows nothing.
        for (session, _) in std::mem::take(&mut sessions).into_values() {
            self.drop_copy(session, Verdict::Gone).await;
        }
        Ok(Heard::Attached)
    }

    async fn drop_copy(&self, session: Session, verdict: Verdict) {
        self.log.warn(format_args!("a session is moved aside: {verdict:?}"));
        match tokio::task::spawn_blocking(|| session.set_aside()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => self.log.warn("its process cannot be ended: it stays where it is"),
            Ok(Err(error)) => self.log.warn(format_args!("it cannot be moved: {error}")),
            Err(error) => self.log.warn(error),
        }
    }
}

/// Whether a session that was ended has nothing more to say.
pub(super) fn is_silent(places: &Places) -> bool {
    use mailbox::host::{HostMailbox as _, Settings as HostSettings};
    let host = FileHost::open(places.clone(), HostSettings::default(), session::now());
    host.and_then(|host| host.notes()).is_ok_and(|notes| notes.is_empty())
}

/// Moves the folder of a session aside that cannot be opened, unless something of it may run.
fn put_aside(station: &Station, id: &str, places: &Places) {
    let spawn = records::Spawn::read(places);
    let ended = spawn.is_none_or(|spawn| {
        let mailbox_id = records::mailbox_id(places).unwrap_or_default();
        let mut process = Process::adopted(&spawn, &station.driver, places, &mailbox_id);
        process.kill();
        process.exit().is_some()
    });
    let moved = ended && FileHost::set_aside(places, session::now()).is_ok();
    if !moved {
        station.log.warn(format_args!("session {id}: it cannot be moved aside"));
    }
}
