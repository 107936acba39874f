//! What follows from what happens.

use std::collections::BTreeSet;

use super::{Action, Bridge, Commit, Decision, Event, NotJoined, State};
use crate::body::{EndReason, GapReason, Notice};
use crate::change::Change;
use crate::ring::Log;
use crate::rows::Incomparable;

/// How often `last_ok_at` is stored when nothing else is, in milliseconds. Old rows leave the log then, too.
const REMEMBER_MS: i64 = 600_000;

/// What a decision depends on besides the bridge.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Milliseconds since 1970.
    pub now: i64,
    /// Random bits, for pauses that are not the same for all.
    pub dice: u32,
    /// How many wakes an observer may have in an hour.
    pub max_wakes: u32,
}

/// A decision in the making.
pub(super) struct Decide<'a, L: Log> {
    pub(super) bridge: &'a mut Bridge,
    pub(super) log: &'a L,
    pub(super) now: i64,
    pub(super) dice: u32,
    pub(super) max_wakes: u32,
    /// Rows that are new with this decision.
    pub(super) added: Vec<Change>,
    pub(super) commit: Commit,
    pub(super) actions: Vec<Action>,
    pub(super) is_removed: bool,
}

/// Says what follows from an event. An error is one of the log; the bridge is dropped then and opened again.
pub fn decide<L: Log>(bridge: &mut Bridge, log: &L, event: Event, context: &Context) -> Result<Decision, L::Error> {
    let before = bridge.stored.clone();
    let Context { now, dice, max_wakes } = *context;
    let mut decide = Decide {
        bridge,
        log,
        now,
        dice,
        max_wakes,
        added: Vec::new(),
        commit: Commit::default(),
        actions: Vec::new(),
        is_removed: false,
    };
    decide.happened(event)?;
    decide.advance()?;
    if decide.is_removed {
        let actions =
            decide.actions.into_iter().filter(|action| matches!(action, Action::NotJoined { .. } | Action::Abort));
        return Ok(Decision { commit: Commit::default(), actions: actions.chain([Action::Remove]).collect() });
    }
    decide.remember(&before)?;
    let Decide { bridge, mut commit, added, actions, .. } = decide;
    commit.changes = added;
    commit.bridge = bridge.stored != before;
    Ok(Decision { commit, actions })
}

impl<L: Log> Decide<'_, L> {
    fn happened(&mut self, event: Event) -> Result<(), L::Error> {
        if self.bridge.stored.cursor.as_ref().is_some_and(|cursor| !cursor.is_readable()) {
            // Nobody knows what came since it was stored.
            self.open_gap(GapReason::SourceLost);
            if !matches!(self.bridge.stored.state, State::Idle { .. } | State::Blocked { .. }) {
                self.bridge.stored.state = State::Resync { next_at: self.now };
            }
        }
        match event {
            Event::Due => {}
            Event::Retry => self.retry(),
            Event::Connection { epoch, seen } => self.connection_read(epoch, seen),
            Event::ConnectionTouched => self.connection_touched(),
            Event::Answered { epoch, answer } => self.answered(epoch, answer)?,
            Event::Subscribe { id, session, wake } => self.subscribe(id, session, wake),
            Event::Unsubscribe { id } => self.forget(&id),
            Event::Read { source_ref } => self.read(source_ref),
            Event::Sent { id, key, outcome } => self.sent(&id, &key, outcome)?,
        }
        Ok(())
    }

    /// Whatever is due is done, after every event.
    fn advance(&mut self) -> Result<(), L::Error> {
        self.end_observers();
        self.leave_waiting();
        if self.bridge.memory.reading.is_some_and(|until| until <= self.now) {
            self.bridge.memory.reading = None;
            self.failed("the connection could not be read".to_owned(), None);
        }
        if self.bridge.memory.asking.is_some_and(|until| until <= self.now) {
            self.give_up_request();
            self.failed("the service did not answer".to_owned(), None);
        }
        self.rest_if_unobserved();
        if self.is_removed {
            return Ok(());
        }
        self.deliver()?;
        self.poll();
        Ok(())
    }

    /// Observers whose callers have waited enough, or whose time is over.
    fn end_observers(&mut self) {
        let (now, last_seq) = (self.now, self.bridge.stored.ring.last_seq);
        let stored = &self.bridge.stored;
        // While rows are compared after a gap, what happens is told as their differences: not all that somebody new would wait for.
        let is_telling = stored.comparing.is_some() && stored.gap.is_some();
        let has_cursor = stored.cursor.is_some() && !is_telling;
        let mut is_early = false;
        let mut refused = Vec::new();
        for observer in self.bridge.observers.values_mut() {
            if observer.joining.is_some_and(|until| until <= now) {
                if has_cursor {
                    // It may hear of changes that are a little older, and misses nothing.
                    observer.join(self.bridge.stored.block.as_ref(), last_seq);
                    self.commit.observers.insert(observer.id.clone());
                    self.actions.push(Action::Joined { id: observer.id.clone() });
                    is_early = true;
                } else {
                    refused.push(observer.id.clone());
                }
            }
            if !observer.is_ending && observer.expires_at.is_some_and(|at| at <= now) {
                observer.end(EndReason::Expired, last_seq);
                self.commit.observers.insert(observer.id.clone());
            }
        }
        if is_early {
            // It waits for everything from the cursor on. What rows would show of that is not told again, so they are not looked at.
            self.give_up_comparing(Incomparable::Unavailable);
        }
        let why = match self.bridge.stored.state {
            State::Probing { .. } => NotJoined::NoAnswer,
            _ => NotJoined::Unavailable,
        };
        for id in refused {
            self.not_joined(&id, why.clone());
        }
    }

    pub(super) fn not_joined(&mut self, id: &str, why: NotJoined) {
        self.forget(id);
        self.actions.push(Action::NotJoined { id: id.to_owned(), why });
    }

    /// Removes an observer.
    pub(super) fn forget(&mut self, id: &str) {
        if self.bridge.observers.remove(id).is_some() {
            self.commit.observers.remove(id);
            self.commit.gone.insert(id.to_owned());
            self.bridge.memory.sending.remove(id);
        }
    }

    /// States whose time is over.
    fn leave_waiting(&mut self) {
        if self.bridge.stored.comparing.is_some_and(|until| until <= self.now) {
            self.give_up_comparing(Incomparable::Unavailable);
        }
        match self.bridge.stored.state {
            State::Probing { remove_at, .. } if remove_at <= self.now => self.remove(&NotJoined::NoAnswer),
            State::Backoff { until } | State::Blocked { retry_at: until } if until <= self.now => self.resume(),
            State::Idle { until } if until <= self.now => self.remove(&NotJoined::Unavailable),
            _ => {}
        }
    }

    /// The bridge ends; whoever waits is told why.
    pub(super) fn remove(&mut self, why: &NotJoined) {
        let waiting: BTreeSet<_> =
            self.bridge.observers.values().filter(|o| o.joining.is_some()).map(|o| o.id.clone()).collect();
        for id in waiting {
            self.not_joined(&id, why.clone());
        }
        self.give_up_request();
        self.is_removed = true;
    }

    fn rest_if_unobserved(&mut self) {
        if self.bridge.stored.reader.as_ref().is_some_and(|reader| reader.until <= self.now) {
            self.bridge.stored.reader = None;
        }
        let is_observed =
            self.bridge.stored.reader.is_some() || self.bridge.observers.values().any(|observer| !observer.is_ending);
        if is_observed || matches!(self.bridge.stored.state, State::Idle { .. } | State::Probing { .. }) {
            return;
        }
        self.give_up_request();
        self.bridge.memory.reading = None;
        self.bridge.stored.state = State::Idle { until: self.now.saturating_add(super::poll::IDLE_MS) };
    }

    /// What is under way does not count any more.
    pub(super) fn give_up_request(&mut self) {
        self.bridge.memory.epoch += 1;
        if self.bridge.memory.asking.take().is_some() {
            self.actions.push(Action::Abort);
        }
    }

    /// Tells all who observe.
    pub(super) fn tell_all(&mut self, notice: &Notice) {
        let last_seq = self.bridge.stored.ring.last_seq;
        for observer in self.bridge.observers.values_mut().filter(|observer| observer.is_active()) {
            observer.tell(notice.clone(), last_seq);
            self.commit.observers.insert(observer.id.clone());
        }
    }

    /// What is in memory only is stored with the next write, or when it was not for long.
    fn remember(&mut self, before: &super::Stored) -> Result<(), L::Error> {
        let Some(last_ok_at) = self.bridge.memory.last_ok_at else { return Ok(()) };
        let is_old =
            self.bridge.stored.last_ok_at.is_none_or(|stored| last_ok_at >= stored.saturating_add(REMEMBER_MS));
        let writes = !self.commit.is_empty() || !self.added.is_empty() || self.bridge.stored != *before;
        if is_old && self.added.is_empty() {
            self.commit.delete = self.bridge.stored.ring.trim(self.log, &[], self.now)?;
        }
        if is_old || writes {
            self.bridge.stored.last_ok_at = Some(last_ok_at);
        }
        Ok(())
    }
}
