//! What a runner says first, before anything is started: what lies here, and what the worker counts of it (docs/spec/session-mailbox.md 7.3).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use http::Method;
use mailbox::host::{HostMailbox as _, Settings as HostSettings};
use mailbox::{Error, FileHost, Places};
use serde_json::{Value, json};

use super::line::{PATIENCE, Reply};
use super::process::Process;
use super::session::{self, Caller, Order, Session, Station};
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

/// A session that is open, and the way to it.
pub(super) struct Opened {
    /// The session.
    pub(super) session: Session,
    /// How it is told something.
    pub(super) caller: Caller,
    /// Where it hears that.
    pub(super) orders: Receiver<Order>,
}

impl Opened {
    /// Opens the mailbox of a session, or makes one.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(super) fn new(station: &Arc<Station>, id: &str, lease: i64) -> Result<Self, Error> {
        let (tell, orders) = channel();
        let (caller, calls) = session::calls(tell);
        Ok(Self { session: Session::open(station, id, lease, calls)?, caller, orders })
    }

    fn claimed(station: &Arc<Station>, id: &str) -> Result<(Self, Claim), Error> {
        let mut opened = Self::new(station, id, 0)?;
        let claim = opened.session.claim()?;
        Ok((opened, claim))
    }
}

/// What the worker is to hear of a session that could not be opened: its id, and the report.
pub(super) struct Farewell {
    session: String,
    notice: Value,
}

/// How often it is tried to tell.
const FAREWELL_TRIES: u32 = 8;

/// The sessions of this machine.
#[derive(Default)]
struct Found {
    opened: BTreeMap<String, (Opened, Claim)>,
    farewells: Vec<Farewell>,
}

impl Runner<'_> {
    /// The sessions that lie here. One whose files do not belong together is moved aside: the worker begins it anew. One that cannot be opened now
    /// stays where it is, without its process, and holds up no other.
    async fn open_all(&mut self) -> Result<Found, Failure> {
        let station = Arc::clone(&self.station);
        self.lingering.retain(|_, thread| !thread.is_finished());
        let busy: BTreeSet<String> = self.lingering.keys().cloned().collect();
        let found = tokio::task::spawn_blocking(move || {
            let ids =
                records::sessions(&station.state).map_err(|error| Failure::other(station.state.display(), error))?;
            let mut found = Found::default();
            // As many as the runner has made.
            for id in ids.into_iter().filter(|id| !busy.contains(id)) {
                let places = Places::of(&station.state, &id);
                if records::Session::read(&places).is_some_and(|known| known.closed_at.is_some()) && is_silent(&places)
                {
                    continue;
                }
                if let Some(claimed) = open_one(&station, &id, &places, &mut found.farewells)? {
                    found.opened.insert(id, claimed);
                }
                if found.opened.len() == MAX_SESSIONS {
                    break;
                }
            }
            Ok(found)
        });
        found.await.map_err(|error| Failure::other("opening the sessions", error))?
    }

    /// Says what is here, and hears what counts of it.
    pub(super) async fn attach(&mut self) -> Result<Heard, Failure> {
        let Found { opened: mut sessions, farewells } = self.open_all().await?;
        self.farewells.extend(farewells);
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
            let Some((mut opened, _)) = sessions.remove(&verdicted.session_id) else { continue };
            if verdicted.verdict == Verdict::Keep {
                opened.session.keep(verdicted.accepted_seq, verdicted.generation);
                self.start(verdicted.session_id, opened)?;
            } else {
                self.drop_copy(opened.session, verdicted.verdict).await;
            }
        }
        // Of what the worker says nothing it knows nothing.
        for (opened, _) in std::mem::take(&mut sessions).into_values() {
            self.drop_copy(opened.session, Verdict::Gone).await;
        }
        self.say_farewell();
        Ok(Heard::Attached)
    }

    /// Tells the worker of what could not be opened, beside everything else.
    fn say_farewell(&mut self) {
        for Farewell { session, notice } in std::mem::take(&mut self.farewells) {
            let station = Arc::clone(&self.station);
            tokio::spawn(async move {
                let path = format!("/sessions/{}/notices", web::url::encode(&session));
                for attempt in 0..FAREWELL_TRIES {
                    match station.line.ask(Method::POST, &path, Some(&notice), PATIENCE).await {
                        Reply::Later(_) => tokio::time::sleep(Duration::from_secs(1 << attempt)).await,
                        // Whoever does not want it does not know the session any more.
                        Reply::Done(_) | Reply::Refused(..) => return,
                    }
                }
                station.log.warn(format_args!("session {session}: the worker was not told: {notice}"));
            });
        }
    }

    async fn drop_copy(&mut self, session: Session, verdict: Verdict) {
        self.log.warn(format_args!("a session is moved aside: {verdict:?}"));
        let id = session.id().to_owned();
        match tokio::task::spawn_blocking(|| session.set_aside()).await {
            Ok(Ok(Some(0))) => {}
            Ok(Ok(Some(unsent))) => {
                let notice = session::shown(&session::discarded(unsent), 0);
                self.farewells.push(Farewell { session: id, notice });
            }
            Ok(Ok(None)) => self.log.warn("its process cannot be ended: it stays where it is"),
            Ok(Err(error)) => self.log.warn(format_args!("it cannot be moved: {error}")),
            Err(error) => self.log.warn(error),
        }
    }
}

/// Opens one of the sessions that lie here. None for one that was moved aside, or stays shut for now.
fn open_one(
    station: &Arc<Station>,
    id: &str,
    places: &Places,
    farewells: &mut Vec<Farewell>,
) -> Result<Option<(Opened, Claim)>, Failure> {
    let error = match Opened::claimed(station, id) {
        Ok(claimed) => return Ok(Some(claimed)),
        Err(error) => error,
    };
    let (log, code) = (station.log, error.code());
    let report = session::notice(code, &error.to_string());
    let farewell = Farewell { session: id.to_owned(), notice: session::shown(&report, 0) };
    match &error {
        Error::Hostile(_) | Error::Mixed | Error::Newer(_) | Error::Corrupt(_) | Error::HotJournal => {
            log.warn(format_args!("session {id}: {code}: {error}; moved aside"));
            put_aside(station, id, places);
            farewells.push(farewell);
            Ok(None)
        }
        // What a process holds or hides goes with it.
        Error::Busy | Error::CannotOpen | Error::Io(_) if !error.is_full() => {
            log.warn(format_args!("session {id}: {code}: {error}; its process is ended"));
            let again = end_process(station, places).then(|| Opened::claimed(station, id));
            farewells.push(farewell);
            match again {
                Some(Ok(claimed)) => return Ok(Some(claimed)),
                Some(Err(error)) => log.warn(format_args!("session {id}: {}: {error}; left as it is", error.code())),
                None => log.warn(format_args!("session {id}: its process cannot be ended; left as it is")),
            }
            Ok(None)
        }
        // What does not belong to the session alone: nothing is given up for it.
        _ => Err(Failure::Mailbox(error)),
    }
}

/// Whether a session that was ended has nothing more to say.
pub(super) fn is_silent(places: &Places) -> bool {
    let host = FileHost::open(places.clone(), HostSettings::default(), session::now());
    host.and_then(|host| host.notes()).is_ok_and(|notes| notes.is_empty())
}

/// Ends what was last started for a session that cannot be opened. Whether it is gone.
fn end_process(station: &Station, places: &Places) -> bool {
    match records::Spawn::read(places) {
        Ok(None) => true,
        Ok(Some(spawn)) => {
            let mailbox_id = records::mailbox_id(places).unwrap_or_default();
            let mut process = Process::adopted(&spawn, &station.driver, places, &mailbox_id);
            process.kill();
            process.exit().is_some()
        }
        Err(error) => {
            station.log.warn(error);
            false
        }
    }
}

/// Moves the folder of a session aside that cannot be opened, unless something of it may run.
fn put_aside(station: &Station, id: &str, places: &Places) {
    let moved = end_process(station, places) && FileHost::set_aside(places, session::now()).is_ok();
    if !moved {
        station.log.warn(format_args!("session {id}: it cannot be moved aside"));
    }
}
