//! One session of this machine, on a thread of its own: what the worker wants goes into its mailbox, a process is there while something is to
//! be done, and what that says goes to the worker (docs/spec/session-mailbox.md 4).

mod calls;
mod closing;
mod credentials;
mod items;
mod keeping;
mod locked;
mod logins;
mod process;
mod sending;
mod skills;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mailbox::crashes::Crashes;
use mailbox::delivery::Chain;
use mailbox::host::{HostMailbox as _, Notice, Settings as HostSettings};
use mailbox::liveness::{Clocks, Watch};
use mailbox::message::{Control, Lane, Message, Millis};
use mailbox::{Error, FileHost, Places};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::driver::Driver;
use super::line::{Line, Reply};
use super::process::Process;
use super::records::{self, Spawn};
use super::wire::{Ack, Claim, Item, Turn};
use crate::log::Log;
use crate::settings::Current;
use calls::Calls;
pub(crate) use calls::{Caller, calls};
use locked::Locked;
pub(crate) use sending::shown;

/// How often everything is looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// How often a session is looked at in which nothing goes on: without a process nobody but the worker, whose orders come at once, can change
/// anything there, and each look opens its files.
const REST: Duration = Duration::from_secs(10);
/// How often the agent's side is told that somebody is here.
const BELL: Duration = Duration::from_mins(1);
/// How often is cleaned up.
const PRUNE: Duration = Duration::from_mins(10);

/// How long it may take until the agent's file can be read at the start.
const CLAIM: Duration = Duration::from_secs(10);
/// Outputs that are counted when nobody may send them any more.
const UNSENT: usize = 1_000;
/// Between two tries to tell the worker why a mailbox is given up, in milliseconds.
const FAREWELL_MS: Millis = 5_000;

/// What all sessions of a runner share.
pub(crate) struct Station {
    /// What is set.
    pub(crate) settings: Arc<Current>,
    /// What agents are walled in with.
    pub(crate) driver: Driver,
    /// The state directory, without links.
    pub(crate) state: PathBuf,
    /// The folder of the shim and of skills.
    pub(crate) share: PathBuf,
    /// The way to the worker.
    pub(crate) line: Line,
    /// Where what is asked over it runs.
    pub(crate) handle: tokio::runtime::Handle,
    /// Where acknowledgements go.
    pub(crate) acks: UnboundedSender<Ack>,
    /// The log.
    pub(crate) log: Log,
}

impl Station {
    fn host_settings(&self) -> HostSettings {
        HostSettings { max_bytes: self.settings.get().mailbox.max_bytes, ..HostSettings::default() }
    }
}

/// What a session is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// The worker wants something.
    Item(Item),
    /// The agent's side has rung.
    Wake,
    /// Somebody else has the session.
    Lost,
    /// The runner ends. The process is left alone, or ended with everything.
    End {
        /// Whether it is ended.
        kill: bool,
    },
}

/// What a session shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The lease under which it works.
    pub(crate) lease: i64,
    /// A turn runs, or may: the worker's run and attempt.
    pub(crate) turn: Option<(u64, u64)>,
    /// Something is unfinished.
    pub(crate) is_active: bool,
    /// Nothing is left to be done: its thread has ended.
    pub(crate) is_over: bool,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Something goes on, or is to be tried again.
    Work,
    /// Nothing does.
    Rest,
    /// Nothing ever will.
    Over,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Taken {
    /// It is in the mailbox, or will never be: the worker is told.
    Settled(Result<(), String>),
    /// Not now: it is not acknowledged, and comes again.
    Later,
    /// It waited for the network, and something came that does not wait: it is taken in after that.
    BrokenOff,
}

/// A session.
pub(crate) struct Session {
    station: Arc<Station>,
    host: FileHost,
    known: records::Session,
    chain: Chain,
    /// A generation that the worker knows of.
    above: i64,
    process: Option<Process>,
    watch: Option<Watch>,
    crashes: Crashes,
    /// Nothing counts any more that is done here.
    is_fenced: bool,
    closing: closing::Progress,
    keeping: keeping::Keeping,
    /// Skills that nothing is behind, as they were reported.
    missing_skills: Vec<String>,
    /// What git has asked up to this place was answered.
    answered: i64,
    /// The first unsent report waits until the worker has this much of the order.
    notes_after: Option<i64>,
    again_at: Option<Millis>,
    is_unproven: bool,
    /// The process was killed for being stuck.
    was_killed: bool,
    /// A lock that is in the way.
    locked: Locked,
    /// Why the mailbox is given up, until the worker knows.
    farewell: Option<Notice>,
    calls: Calls,
    rung: Option<Instant>,
    pruned: Instant,
    begun: Instant,
    status: Arc<Mutex<Status>>,
}

/// The time of day, in milliseconds since 1970.
pub(crate) fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A random number, for pauses that are not all alike.
fn jitter() -> u16 {
    let (first, second) = uuid::Uuid::new_v4().as_u64_pair();
    u16::try_from((first ^ second) % 1001).unwrap_or_default()
}

impl Session {
    /// Opens the mailbox of a session, or makes one. Nothing is started before [`Session::run`].
    ///
    /// # Errors
    /// What the mailbox reports, and a process of which cannot be told whether it runs.
    pub(crate) fn open(station: &Arc<Station>, session_id: &str, lease: i64, calls: Calls) -> Result<Self, Error> {
        let places = Places::of(&station.state, session_id);
        let known = records::Session::read(&places);
        let host = FileHost::create(&station.state, session_id, station.host_settings(), now())?;
        let known = known.unwrap_or_else(|| records::Session {
            session_id: session_id.to_owned(),
            lease,
            ..records::Session::default()
        });
        known.write(&places)?;
        let process = open_process(station, &host, &host.control()?)?;
        Ok(Self {
            station: Arc::clone(station),
            chain: Chain { generation: known.generation, ..Chain::default() },
            host,
            known,
            above: 0,
            process,
            watch: None,
            crashes: Crashes::default(),
            is_fenced: false,
            closing: closing::Progress::default(),
            keeping: keeping::Keeping::default(),
            missing_skills: Vec::new(),
            answered: 0,
            notes_after: None,
            again_at: None,
            is_unproven: false,
            was_killed: false,
            locked: Locked::default(),
            farewell: None,
            calls,
            rung: None,
            pruned: Instant::now(),
            begun: Instant::now(),
            status: Arc::default(),
        })
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.known.session_id
    }

    /// What it shows of itself.
    pub(crate) fn status(&self) -> Arc<Mutex<Status>> {
        Arc::clone(&self.status)
    }

    /// Its folder's bell.
    pub(crate) fn bell(&self) -> PathBuf {
        self.host.places().outside().join(mailbox::places::DOORBELL)
    }

    /// What it has, for the worker to compare.
    ///
    /// # Errors
    /// What the mailbox reports.
    pub(crate) fn claim(&mut self) -> Result<Claim, Error> {
        let control = self.host.control()?;
        let deadline = Instant::now() + CLAIM;
        // Bounded by the deadline: a process that lives may be in the middle of writing.
        let seen = loop {
            match self.host.seen(&[]) {
                Err(error) if error.is_passing() && Instant::now() < deadline => {
                    self.recover_if_gone()?;
                    std::thread::sleep(Duration::from_millis(20));
                }
                seen => break seen?,
            }
        };
        let unfinished = self.host.unfinished()?;
        let turn = self.known.prompt.as_ref().filter(|prompt| unfinished.iter().any(|one| one.id == prompt.item_id));
        let stored = unfinished.iter().filter_map(|message| message.work_seq).max().unwrap_or_default();
        Ok(Claim {
            session_id: self.known.session_id.clone(),
            mailbox_id: self.host.mailbox_id().to_owned(),
            lease: self.known.lease,
            work_seq: self.known.work_seq.max(stored),
            out_seq: seen.as_ref().map_or(0, |seen| seen.last_seq),
            generation: control.generation.max(seen.map_or(0, |seen| seen.last_generation)),
            turn: turn.map(|prompt| Turn { message_id: prompt.item_id.clone(), attempt: prompt.attempt }),
        })
    }

    /// The worker counts on this copy, and has its outputs up to a place.
    pub(crate) fn keep(&mut self, accepted: i64, generation: i64) {
        self.chain.accepted = accepted;
        self.above = generation;
    }

    /// Its process is ended, and its folder moved aside. How many outputs lie there that were not sent; none while it is not proven gone.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn set_aside(mut self) -> Result<Option<usize>, Error> {
        if !self.end_process() {
            return Ok(None);
        }
        let unsent = self.host.unsent(UNSENT).unwrap_or_default();
        FileHost::set_aside(self.host.places(), now())?;
        Ok(Some(unsent))
    }

    /// Works until it is told to end, or nothing is left.
    pub(crate) fn run(mut self, orders: &Receiver<Order>) {
        let (mut looked, mut pace): (Option<Instant>, Duration) = (None, SWEEP);
        // Each turn waits for an order or a deadline.
        loop {
            let wait = looked.map_or(Duration::ZERO, |at| pace.saturating_sub(at.elapsed()));
            let first = match orders.recv_timeout(wait) {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let ControlFlow::Continue(is_bell) = self.take_in(first, orders) else { return };
            // Whoever rings has something to say; everything else is looked at in its time.
            let is_soon = is_bell && !self.is_fenced && looked.is_some_and(|at| at.elapsed() < SWEEP);
            if self.farewell.is_some() {
                looked = Some(Instant::now());
                if self.part() {
                    return;
                }
                continue;
            }
            let done = if is_soon {
                self.send_outputs().map(|_| Found::Work)
            } else {
                looked = Some(Instant::now());
                self.look()
            };
            if self.calls.is_called() {
                // What was broken off for it is gone on with right after it.
                looked = None;
            }
            pace = if matches!(done, Ok(Found::Rest)) { REST } else { SWEEP };
            if let Err(error) = &done {
                self.locked.see(error, Instant::now());
            }
            if !is_soon && self.locked.is_too_long(Instant::now()) {
                self.end_whoever_locks();
            }
            match done {
                Ok(Found::Over) => return,
                Ok(Found::Work | Found::Rest) => {}
                Err(error) => {
                    let log = self.station.log;
                    log.warn(format_args!("session {}: {}: {error}", self.known.session_id, error.code()));
                    if self.is_broken(&error) && self.give_up(&error) {
                        return;
                    }
                }
            }
        }
    }

    /// Does what the session is told: what does not wait first, the rest in its order. Whether nothing but bells came; a break is its end.
    fn take_in(&mut self, first: Option<Order>, orders: &Receiver<Order>) -> ControlFlow<(), bool> {
        let mut is_bell = first.is_some();
        let mut waiting: VecDeque<Order> = first.into_iter().collect();
        // Bounded by what was given out: the worker waits for acknowledgements.
        loop {
            self.calls.note();
            waiting.extend(orders.try_iter());
            waiting.make_contiguous().sort_by_key(|order| !order.goes_first());
            let Some(order) = waiting.pop_front() else { return ControlFlow::Continue(is_bell) };
            is_bell &= matches!(order, Order::Wake);
            match order {
                Order::Item(item) => {
                    if self.on_item(&item) == Taken::BrokenOff {
                        waiting.push_front(Order::Item(item));
                    }
                }
                Order::Wake => {}
                Order::Lost => self.fence("another holder has the session"),
                Order::End { kill } => {
                    if kill {
                        self.end_process();
                    }
                    return ControlFlow::Break(());
                }
            }
        }
    }

    /// Whether nothing can be done with the mailbox any more.
    fn is_broken(&self, error: &Error) -> bool {
        match error {
            Error::Hostile(_) | Error::Mixed | Error::Newer(_) => true,
            // A process that lives may be in the middle of writing.
            Error::Corrupt(_) => self.process.is_none(),
            _ => false,
        }
    }

    /// From now on nothing is done with the mailbox but to part with it.
    fn give_up(&mut self, error: &Error) -> bool {
        self.farewell.get_or_insert_with(|| notice(error.code(), &error.to_string()));
        self.again_at = None;
        self.part()
    }

    /// Ends the process, tells the worker why, and moves the mailbox aside: the worker begins another one when the runner attaches again. False
    /// while the process is not proven gone, or the worker does not answer: without it nothing can go on anyway.
    fn part(&mut self) -> bool {
        let Some(farewell) = self.farewell.clone() else { return false };
        if !self.end_process() || self.again_at.is_some_and(|at| at > now()) {
            return false;
        }
        if matches!(self.post(&farewell), None | Some(Reply::Later(_))) {
            self.again_at = Some(now().saturating_add(FAREWELL_MS));
            return false;
        }
        // What the agent's side has said cannot be read any more: nothing waits for it.
        self.notes_after = Some(self.chain.accepted);
        let said = self.send_notes().map(drop);
        let moved = FileHost::set_aside(self.host.places(), now());
        for wrong in [said, moved].into_iter().filter_map(Result::err) {
            self.station.log.warn(format_args!("session {}: {wrong}", self.known.session_id));
        }
        true
    }

    /// Ends the process that holds a lock for too long: with it the lock goes. A lock of somebody else's stays, and is met again.
    fn end_whoever_locks(&mut self) {
        self.locked = Locked::default();
        if self.process.is_none() {
            return;
        }
        self.end_process();
        self.was_killed = true;
        self.report(Error::Busy.code(), "the agent's process held a lock, and is ended");
        self.crashed();
    }

    /// Looks at everything once, does what follows, and shows what came of it.
    fn look(&mut self) -> Result<Found, Error> {
        let found = self.do_what_is_due()?;
        let unfinished = self.host.unfinished()?;
        self.show(&unfinished, found == Found::Over);
        Ok(if found == Found::Rest && !unfinished.is_empty() { Found::Work } else { found })
    }

    fn do_what_is_due(&mut self) -> Result<Found, Error> {
        self.ring();
        if self.is_fenced {
            return Ok(if self.end_process() { Found::Over } else { Found::Work });
        }
        if self.locked.is_met()
            && let Err(error) = self.host.interrupt(0)
        {
            // It changes nothing, and shows whether the lock is still there although nothing else is to be written.
            self.locked.see(&error, Instant::now());
        }
        let looked = self.look_after_process();
        // The end of a process waits neither for what it has locked or laid out, nor for the network.
        let ended = self.end_for_closing();
        let control = looked?;
        ended?;
        let is_sent = self.send_outputs()?;
        if self.calls.is_called() {
            return Ok(Found::Work);
        }
        self.keeping.is_sent = self.send_conversations()?;
        if self.calls.is_called() {
            return Ok(Found::Work);
        }
        if self.known.closing.is_some() {
            self.finish_closing()?;
        } else if self.known.closed_at.is_none() {
            self.start_if_due(&control)?;
        }
        let is_said = self.send_notes()?;
        if self.pruned.elapsed() >= PRUNE {
            self.pruned = Instant::now();
            self.host.prune(now())?;
        }
        if self.process.is_some() || !is_said {
            return Ok(Found::Work);
        }
        if self.known.closed_at.is_some() {
            return Ok(Found::Over);
        }
        let is_at_rest = is_sent && self.keeping.is_sent && self.known.closing.is_none() && !is_open(&control);
        Ok(if is_at_rest { Found::Rest } else { Found::Work })
    }

    fn ring(&mut self) {
        if self.rung.is_none_or(|at| at.elapsed() >= BELL) {
            self.rung = Some(Instant::now());
            // The next one may not fail: the shim waits for a day.
            let _ = self.host.ring();
        }
    }

    fn show(&mut self, unfinished: &[Message], is_over: bool) {
        let prompt = self.known.prompt.as_ref();
        let turn = prompt.filter(|prompt| unfinished.iter().any(|one| one.id == prompt.item_id));
        let status = Status {
            lease: self.known.lease,
            turn: turn.map(|prompt| (prompt.run, prompt.attempt)),
            is_active: !unfinished.is_empty() || self.process.is_some(),
            is_over,
        };
        *self.status.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = status;
    }

    /// Reports something of the runner's own. Whether that is stored.
    fn report(&mut self, code: &str, message: &str) -> bool {
        let noted = self.host.note(&notice(code, message), now());
        if let Err(error) = &noted {
            self.station.log.warn(format_args!("a report is lost ({code}): {error}"));
        }
        noted.is_ok()
    }

    fn clocks(&self) -> Clocks {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(boot.tv_nsec).unwrap_or_default();
        Clocks { monotonic: self.begun.elapsed(), boot: Duration::new(seconds, nanoseconds) }
    }

    /// Where the agent works on this machine.
    fn work(&self) -> Result<PathBuf, Error> {
        let settings = self.station.settings.get();
        let Some(folder) = &settings.workspace_dir else { return Ok(self.host.places().work()) };
        let name = mailbox::places::name_of(&self.known.session_id);
        let folder = Path::new(folder).join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder.canonicalize()?)
    }
}

/// What is reported of outputs that nobody may send any more.
pub(crate) fn discarded(unsent: usize) -> Notice {
    notice("output_discarded", &format!("{unsent} outputs were not sent before another holder had the session"))
}

/// A report of the runner's own.
pub(crate) fn notice(code: &str, message: &str) -> Notice {
    let data = json!({"message": message}).to_string();
    Notice { id: uuid::Uuid::new_v4().to_string(), code: code.to_owned(), data }
}

/// The process of a generation that is not settled: as it was written down, else as it would be known if it ran. None where none is open.
fn open_process(station: &Station, host: &FileHost, control: &Control) -> Result<Option<Process>, Error> {
    if !is_open(control) {
        return Ok(None);
    }
    let places = host.places();
    let written = Spawn::read(places)?.filter(|spawn| spawn.generation == control.generation);
    let spawn = written.unwrap_or_else(|| Spawn::of(places, control.generation, station.driver.kind()));
    Ok(Some(Process::adopted(&spawn, &station.driver, places, host.mailbox_id())))
}

/// Prompts, and what else is to be done in their lane, that are not final.
fn prompts(messages: &[Message]) -> impl Iterator<Item = &Message> {
    messages.iter().filter(|message| message.lane == Lane::Prompt)
}

/// Whether a process was begun and is not settled.
fn is_open(control: &Control) -> bool {
    control.spawned_at.is_some()
}
