//! The runner at work in transport `mailbox` (docs/spec/session-mailbox.md 7, 8): it calls the worker, never the other way around. First it
//! attaches, which says which of its sessions count; only then is anything started. From then on it asks for work, hands it to sessions
//! ([`session`]), each on a thread of its own, and acknowledges what they have stored.

mod attaching;
mod bells;
pub(crate) mod cgroup;
mod conversations;
pub(crate) mod driver;
mod line;
pub(crate) mod process;
pub(crate) mod records;
pub(crate) mod register;
mod session;
mod tidy;
mod wire;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::api::{Api, Refused};
use crate::daemon::Daemon;
use crate::failure::Failure;
use crate::http::Client;
use crate::log::{Level, Log};
use crate::settings::{Current, Settings};
use attaching::Heard;
use bells::Bells;
use driver::Driver;
use line::{Fate, Line, PATIENCE, POLL, Reply};
use register::Registered;
use session::{Caller, Order, Station, Status};
use wire::{Ack, Item, Work};

/// How long the worker is to wait for work, in milliseconds.
const WAIT_MS: u64 = 45_000;
/// The longest pause after a failure.
const LONGEST: Duration = Duration::from_mins(1);
/// How long acknowledgements of what was just given out are waited for, before more is asked for.
const SOON: Duration = Duration::from_secs(2);
/// How often leases are renewed while turns run.
const LEASES: Duration = Duration::from_secs(20);
/// How often sessions are looked at that have ended.
const TICK: Duration = Duration::from_secs(1);
/// How often is looked for what nobody needs any more.
const TIDY: Duration = Duration::from_hours(1);
/// A worker that answers at once with nothing is not asked more often than this.
const BREATH: Duration = Duration::from_millis(200);
/// How long sessions may take to end with the runner.
const END: Duration = Duration::from_secs(10);

/// How the work ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Worked {
    /// It was told to.
    Stopped,
    /// The worker offers no mailbox; why.
    NotOffered(String),
}

/// What is given to a runner.
pub(crate) struct Given<'a> {
    /// What is set.
    pub(crate) settings: &'a Settings,
    /// The same, as far as it is read again.
    pub(crate) current: Arc<Current>,
    /// Who holds the state folder.
    pub(crate) daemon: &'a Daemon,
    /// What agents are walled in with.
    pub(crate) driver: Driver,
    /// The id of the state folder.
    pub(crate) instance: String,
    /// Whether a worker that does not answer at the start ends the runner.
    pub(crate) fail_fast: bool,
    /// Pauses between the first tries to register; with `fail_fast` there are no others.
    pub(crate) pauses: &'a [Duration],
}

/// A session at work.
struct Slot {
    caller: Caller,
    status: Arc<Mutex<Status>>,
    thread: JoinHandle<()>,
}

impl Slot {
    fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A runner at work.
struct Runner<'a> {
    given: Given<'a>,
    log: Log,
    station: Arc<Station>,
    bells: Bells,
    slots: BTreeMap<String, Slot>,
    /// Sessions that were told to end, and whose threads have not: nobody else opens their mailboxes.
    lingering: BTreeMap<String, JoinHandle<()>>,
    /// What the worker is to hear of sessions that could not be opened, once it listens.
    farewells: Vec<attaching::Farewell>,
    acks: UnboundedReceiver<Ack>,
    fates: UnboundedReceiver<Fate>,
    process_id: String,
    is_ready: bool,
    /// Whether turns ran when that was last looked for.
    had_turns: bool,
}

/// Works until `stop`, or until something is wrong that trying again does not cure. What it started stays, unless the runner does not count any
/// more.
///
/// # Errors
/// [`Failure::Superseded`], [`Failure::Revoked`], and what keeps a runner from being registered.
pub(crate) async fn work(given: Given<'_>, stop: impl Future<Output = Result<(), Failure>>) -> Result<Worked, Failure> {
    let settings = given.settings;
    let log = Log(settings.log);
    let state =
        settings.state_dir.canonicalize().map_err(|error| Failure::other(settings.state_dir.display(), error))?;
    let share = register::share(settings, &state)?;
    let (tell_fate, fates) = unbounded_channel();
    let (tell_ack, acks) = unbounded_channel();
    let station = Arc::new(Station {
        settings: Arc::clone(&given.current),
        driver: given.driver.clone(),
        state,
        share,
        line: Line::new(settings, tell_fate),
        handle: tokio::runtime::Handle::current(),
        acks: tell_ack,
        log,
    });
    let bells = Bells::new(settings.mailbox.inotify, log);
    let process_id = uuid::Uuid::new_v4().to_string();
    let mut runner = Runner {
        given,
        log,
        station,
        bells,
        slots: BTreeMap::new(),
        lingering: BTreeMap::new(),
        farewells: Vec::new(),
        acks,
        fates,
        process_id,
        is_ready: false,
        had_turns: true,
    };
    runner.given.daemon.drains();
    let ended = tokio::select! {
        ended = runner.go_on() => ended,
        asked = stop => asked.map(|()| Worked::Stopped),
    };
    let leaving = runner.given.daemon.leaving().unwrap_or_default();
    let kill = leaving.kill_sessions || matches!(ended, Err(Failure::Superseded | Failure::Revoked));
    if matches!(ended, Ok(Worked::Stopped)) && runner.is_ready {
        let body = json!({"reason": if leaving.upgrade { "upgrade" } else { "stop" }});
        // Whoever does not hear it notices the silence.
        let _ = runner.station.line.ask(Method::POST, "/detach", Some(&body), Duration::from_secs(5)).await;
    }
    runner.end(kill).await;
    ended
}

impl Runner<'_> {
    async fn go_on(&mut self) -> Result<Worked, Failure> {
        // Each turn is another registration, or another attach.
        loop {
            if let Some(worked) = self.registered().await? {
                return Ok(worked);
            }
            match self.attach().await? {
                Heard::Attached => {}
                Heard::Unknown => continue,
                Heard::NotOffered(why) => return Ok(Worked::NotOffered(why)),
            }
            if !self.is_ready {
                self.is_ready = true;
                self.given.daemon.ready(&self.given.settings.runner_id, "mailbox")?;
            }
            let why = self.serve().await?;
            self.log.warn(format_args!("attaching again: {why}"));
            self.end(false).await;
        }
    }

    fn state(&self) -> &std::path::Path {
        &self.station.state
    }

    /// Sees to it that there is a token, and replaces an old one.
    async fn registered(&mut self) -> Result<Option<Worked>, Failure> {
        self.station.line.set_attach(None);
        // What was said of the registration before concerns this one no more.
        while self.fates.try_recv().is_ok() {}
        if let Some((token, age)) = register::stored(self.state())? {
            self.station.line.set_token(&token);
            if age < register::AGE {
                return Ok(None);
            }
            self.rotate().await?;
            return Ok(None);
        }
        let client = Client::new();
        let api = Api { client: &client, settings: self.given.settings };
        let mut pauses = self.given.pauses.iter().copied();
        loop {
            match register::register(&api, &self.given.instance, &self.given.driver).await {
                Ok(Registered::Token(token)) => {
                    register::store(self.state(), &token)?;
                    self.station.line.set_token(&token);
                    self.log.info(format_args!("registered {}", self.given.settings.runner_id));
                    return Ok(None);
                }
                Ok(Registered::NotOffered(why)) => return Ok(Some(Worked::NotOffered(why))),
                Err(Refused::ForGood(failure)) => return Err(failure),
                Err(Refused::Later(why)) => {
                    let pause = pauses.next();
                    if pause.is_none() && self.given.fail_fast && !self.is_ready {
                        return Err(Failure::Unreachable(why));
                    }
                    let pause = pause.unwrap_or(LONGEST);
                    self.log.warn(format_args!("not registered ({why}); again in {} s", pause.as_secs()));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Gets a new token. The old one counts until the new one is first used, which is after it was stored.
    async fn rotate(&self) -> Result<(), Failure> {
        if let Reply::Done(answer) = self.station.line.ask(Method::POST, "/token", Some(&json!({})), PATIENCE).await
            && let Some(token) = answer.get("runner-token").and_then(Value::as_str)
        {
            register::store(self.state(), token)?;
            self.station.line.set_token(token);
        }
        Ok(())
    }

    fn start(&mut self, id: String, opened: attaching::Opened) -> Result<(), Failure> {
        let attaching::Opened { session, caller, orders } = opened;
        let (status, bell) = (session.status(), session.bell());
        self.bells.watch(bell, caller.orders());
        let thread = std::thread::Builder::new().name("session".into()).spawn(move || session.run(&orders));
        let thread = thread.map_err(|error| Failure::other("a thread", error))?;
        self.slots.insert(id, Slot { caller, status, thread });
        Ok(())
    }

    /// Whether a thread still has the mailbox of a session that was told to end.
    fn lingers(&mut self, id: &str) -> bool {
        self.lingering.retain(|_, thread| !thread.is_finished());
        self.lingering.contains_key(id)
    }

    /// Asks for work until the runner has to attach again. Why.
    async fn serve(&mut self) -> Result<String, Failure> {
        let station = Arc::clone(&self.station);
        let mut leases = tokio::time::interval(LEASES);
        let mut ticks = tokio::time::interval(TICK);
        let mut tidying = tokio::time::interval(TIDY);
        let mut tokens = tokio::time::interval_at(tokio::time::Instant::now() + register::AGE, register::AGE);
        let (mut waiting, mut pause) = (Vec::new(), Duration::ZERO);
        loop {
            let active = self.active();
            let asked = poll(&station, std::mem::take(&mut waiting), active, pause);
            tokio::pin!(asked);
            let reply = loop {
                tokio::select! {
                    reply = &mut asked => break reply,
                    Some(fate) = self.fates.recv() => {
                        self.on_fate(fate).await?;
                        return Ok("the token or the registration counts no more".to_owned());
                    }
                    Some(ack) = self.acks.recv() => {
                        let body = json!({"acks": [ack], "active-sessions": active});
                        let station = Arc::clone(&station);
                        // One that is lost is asked for again, as the item comes again.
                        tokio::spawn(async move { station.line.ask(Method::POST, "/acks", Some(&body), PATIENCE).await });
                    }
                    _ = leases.tick() => self.renew(),
                    _ = tidying.tick() => self.tidy(),
                    _ = tokens.tick() => self.rotate().await?,
                    _ = ticks.tick() => {
                        self.look_for_turns();
                        let over: Vec<String> =
                            self.slots.iter().filter(|(_, slot)| slot.thread.is_finished()).map(|(id, _)| id.clone()).collect();
                        for id in over {
                            let is_over = self.slots.remove(&id).is_some_and(|slot| slot.status().is_over);
                            if !is_over {
                                return Ok(format!("session {id} ended"));
                            }
                        }
                    }
                }
            };
            match reply {
                Ok(work) => {
                    pause = Duration::from_millis(work.poll_after_ms).min(LONGEST);
                    waiting = self.hand_out(work.items).await?;
                }
                Err(why) => {
                    pause = (pause * 2).clamp(Duration::from_secs(1), LONGEST);
                    self.log.warn(format_args!("no work ({why}); again in {} s", pause.as_secs()));
                }
            }
        }
    }

    /// Removes what nobody needs any more. Moved aside here, where no session is opened meanwhile; that is quick.
    fn tidy(&self) {
        let is_here = |id: &str| self.slots.contains_key(id) || self.lingering.contains_key(id);
        let keeps_work = self.given.settings.keep_work;
        match tidy::set_aside(self.state(), session::now(), keeps_work, &is_here) {
            Ok(folders) if folders.is_empty() => {}
            Ok(folders) => {
                let log = self.log;
                // Whatever is left when the runner ends is removed by the next one.
                tokio::task::spawn_blocking(move || {
                    for (folder, why) in tidy::remove(folders) {
                        log.warn(format_args!("{} cannot be removed: {why}", folder.display()));
                    }
                });
            }
            Err(error) => self.log.warn(format_args!("old folders: {error}")),
        }
    }

    /// Says so when somebody waits for the end of all turns, and none runs. One that was just taken in is shown a moment later, so that one look is
    /// not enough.
    fn look_for_turns(&mut self) {
        if self.given.daemon.leaving().is_none() {
            return;
        }
        let has = self.slots.values().any(|slot| slot.status().turn.is_some());
        if !has && !self.had_turns {
            self.given.daemon.drained();
        }
        self.had_turns = has;
    }

    fn active(&self) -> usize {
        self.slots.values().filter(|slot| slot.status().is_active).count()
    }

    /// Gives items to their sessions, and gathers what they acknowledge soon.
    async fn hand_out(&mut self, items: Vec<Item>) -> Result<Vec<Ack>, Failure> {
        let mut count = items.len();
        let mut acks = Vec::new();
        let begins = |item: &Item| matches!(item.kind.as_str(), "session.open" | "prompt" | "push");
        let (later, items): (Vec<Item>, Vec<Item>) =
            items.into_iter().partition(|item| self.given.daemon.leaving().is_some() && begins(item));
        // Not acknowledged: the next runner gets them.
        count = count.saturating_sub(later.len());
        // Bounded by what a poll asks for.
        for item in items {
            let id = item.session_id.clone();
            if self.slots.get(&id).is_none_or(|slot| slot.thread.is_finished()) {
                if !matches!(item.kind.as_str(), "session.open" | "prompt") {
                    // Nothing is here that it could be about.
                    acks.push(Ack::of(&item, Err("no such session".to_owned())));
                    continue;
                }
                if self.lingers(&id) {
                    // It comes again, and by then the thread before has ended.
                    count = count.saturating_sub(1);
                    continue;
                }
                let (station, session_id, lease) = (Arc::clone(&self.station), id.clone(), item.lease);
                let opened =
                    tokio::task::spawn_blocking(move || attaching::Opened::new(&station, &session_id, lease)).await;
                match opened.map_err(|error| Failure::other("a session", error))? {
                    Ok(opened) => self.start(id.clone(), opened)?,
                    Err(error) => {
                        self.log.warn(format_args!("session {id}: {}: {error}", error.code()));
                        acks.push(Ack::of(&item, Err(error.code().to_owned())));
                        continue;
                    }
                }
            }
            if let Some(slot) = self.slots.get(&id) {
                // One that ends meanwhile does not acknowledge it: it comes again.
                slot.caller.tell(Order::Item(item));
            }
        }
        let deadline = tokio::time::Instant::now() + SOON;
        while acks.len() < count {
            match tokio::time::timeout_at(deadline, self.acks.recv()).await {
                Ok(Some(ack)) => acks.push(ack),
                _ => break,
            }
        }
        Ok(acks)
    }

    /// Renews the leases of turns that run.
    fn renew(&self) {
        let turns = self.slots.iter().filter_map(|(id, slot)| {
            let status = slot.status();
            let (run, attempt) = status.turn?;
            Some((
                id.clone(),
                json!({"session-id": id, "lease": status.lease, "run": run, "attempt": attempt}),
                slot.caller.clone(),
            ))
        });
        let turns: Vec<_> = turns.collect();
        if turns.is_empty() {
            return;
        }
        let sessions: Vec<&Value> = turns.iter().map(|(_, turn, _)| turn).collect();
        let body = json!({"sessions": sessions, "active-sessions": self.active()});
        let station = Arc::clone(&self.station);
        tokio::spawn(async move {
            let reply = station.line.ask(Method::POST, "/leases", Some(&body), PATIENCE).await;
            let Reply::Done(answer) = reply else { return };
            let is_lost = |session: &&Value| session.get("state").and_then(Value::as_str) == Some("lost");
            let listed = answer.get("sessions").and_then(Value::as_array).into_iter().flatten();
            for session in listed.filter(is_lost) {
                let id = session.get("session-id").and_then(Value::as_str).unwrap_or_default();
                if let Some((.., caller)) = turns.iter().find(|(own, ..)| own == id) {
                    caller.tell(Order::Lost);
                }
            }
        });
    }

    async fn on_fate(&mut self, fate: Fate) -> Result<(), Failure> {
        match fate {
            Fate::Superseded => Err(Failure::Superseded),
            Fate::Revoked => {
                register::forget(self.state())?;
                Err(Failure::Revoked)
            }
            Fate::Unknown(why) => self.unknown(&why).await,
        }
    }

    /// The token does not count: the runner is registered again, after a moment.
    async fn unknown(&mut self, why: &str) -> Result<(), Failure> {
        self.log.warn(format_args!("the worker does not know this runner any more ({why})"));
        register::forget(self.state())?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Ends the threads of all sessions, and with `kill` their processes. Those that take longer keep their mailboxes.
    async fn end(&mut self, kill: bool) {
        let slots = std::mem::take(&mut self.slots);
        for slot in slots.values() {
            slot.caller.tell(Order::End { kill });
        }
        let deadline = Instant::now() + END;
        // Bounded by the deadline: a file of theirs may be locked.
        while slots.values().any(|slot| !slot.thread.is_finished()) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = slots.into_iter().filter(|(_, slot)| !slot.thread.is_finished());
        self.lingering.extend(left.map(|(id, slot)| (id, slot.thread)));
    }
}

async fn poll(station: &Station, acks: Vec<Ack>, active: usize, pause: Duration) -> Result<Work, String> {
    tokio::time::sleep(pause).await;
    let began = Instant::now();
    let body = json!({"acks": acks, "wait-ms": WAIT_MS, "max-items": 50, "active-sessions": active});
    match station.line.ask(Method::POST, "/poll", Some(&body), POLL).await {
        Reply::Done(answer) => {
            let work: Work = serde_json::from_value(answer).map_err(|error| error.to_string())?;
            if work.items.is_empty() && began.elapsed() < BREATH {
                tokio::time::sleep(BREATH).await;
            }
            station.log.write(Level::Debug, format_args!("{} items", work.items.len()));
            Ok(work)
        }
        Reply::Later(why) => Err(why),
        Reply::Refused(status, text, _) => Err(format!("{status}: {text}")),
    }
}
