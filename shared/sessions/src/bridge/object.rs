//! A bridge and its object: what happens is decided, stored and done, one after the other.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use database::local::{Sql as _, SqlError};
use futures_channel::oneshot;
use futures_util::future::AbortHandle;
use pg_sync::bridge::{self, Action, Context, Event, NotJoined, Source, Stored, decide, next_alarm};
use pg_sync::store::{Store, create_tables, has_tables};
use web::{Event as Line, Level};

use super::Platform;
use crate::pg_sync::Resolved;
use crate::settings::Settings;

/// Where an object has one bridge, that is its number.
const NUMBER: u64 = 0;
/// An alarm that is set already is left where it is when it is at most so much too early, in milliseconds: setting it anew costs
/// as much as one that finds nothing to do.
const EARLY_MS: i64 = 30_000;
/// When an object whose database fails is asked again, in milliseconds.
const AGAIN_MS: i64 = 60_000;

/// Hears whether a subscription is there.
pub(super) type Joining = oneshot::Sender<Result<(), NotJoined>>;

/// A bridge and its object.
pub struct Bridge<P: Platform> {
    pub(super) platform: P,
    pub(super) settings: Rc<Settings>,
    pub(super) store: Store<Rc<P::Sql>>,
    known: RefCell<Known>,
    /// Whoever waits for the moment from which nothing is missed, by subscription. As many as there are requests.
    pub(super) joining: RefCell<HashMap<String, Vec<Joining>>>,
    /// Whoever waits for the next change.
    pub(super) readers: RefCell<Vec<oneshot::Sender<()>>>,
    /// How many read the log as a stream and wait for more.
    pub(super) streams: Cell<usize>,
    /// The request that is under way.
    pub(super) asking: RefCell<Option<AbortHandle>>,
    /// The connection as it was read last: as long as the bridge believes it.
    pub(super) resolved: RefCell<Option<Rc<Resolved>>>,
    alarm: Cell<Option<i64>>,
    /// What the index was told.
    pub(super) told: RefCell<Told>,
    pub(super) me: Weak<Self>,
}

/// What the index knows of the bridge, as far as the object knows that.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// An earlier life may have told it all. That a bridge is active is told again with its next write, which comes every ten minutes at least: an object
    /// that sleeps between two requests would tell the same each minute.
    #[default]
    Earlier,
    /// It has to be told.
    Nothing,
    /// What the bridge does, and the name under which it is read.
    This(&'static str, Option<String>),
}

/// What is known about the bridge.
enum Known {
    /// Nobody has looked.
    Nothing,
    /// There is none.
    Absent,
    /// This.
    Present(Box<bridge::Bridge>),
}

impl<P: Platform> Bridge<P> {
    /// An object that knows nothing yet.
    pub fn new(platform: P, settings: Rc<Settings>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            store: Store::new(platform.sql(), NUMBER),
            platform,
            settings,
            known: RefCell::new(Known::Nothing),
            joining: RefCell::default(),
            readers: RefCell::default(),
            streams: Cell::default(),
            asking: RefCell::default(),
            resolved: RefCell::default(),
            alarm: Cell::default(),
            told: RefCell::default(),
            me: Weak::clone(me),
        })
    }

    /// Reads the bridge, unless that was done. Whether there is one.
    pub(super) fn load(&self) -> Result<bool, SqlError> {
        if matches!(&*self.known.borrow(), Known::Nothing) {
            let found = if has_tables(&self.platform.sql())? { self.store.open()? } else { None };
            *self.known.borrow_mut() = found.map_or(Known::Absent, |found| Known::Present(Box::new(found)));
        }
        Ok(matches!(&*self.known.borrow(), Known::Present(_)))
    }

    /// Makes the bridge, unless there is one.
    pub(super) fn create(&self, source: Source) -> Result<(), SqlError> {
        if self.load()? {
            return Ok(());
        }
        create_tables(&self.platform.sql())?;
        self.store.create(&Stored::new(source, self.platform.now_ms()))?;
        *self.known.borrow_mut() = Known::Nothing;
        self.load()?;
        Ok(())
    }

    /// Looks at the bridge; none when there is none.
    pub(super) fn look<R>(&self, look: impl FnOnce(&bridge::Bridge) -> R) -> Option<R> {
        match &*self.known.borrow() {
            Known::Present(bridge) => Some(look(bridge)),
            Known::Nothing | Known::Absent => None,
        }
    }

    /// Something happens to the bridge. What follows is stored before it is done.
    ///
    /// # Errors
    /// When it cannot be stored: the bridge is read anew then, and goes on from there.
    pub(super) fn happens(&self, event: Event) -> Result<(), SqlError> {
        let decided = self.load().and_then(|_| self.decided(event));
        match decided {
            Ok((actions, has_written)) => {
                if has_written {
                    self.tells();
                }
                for action in actions {
                    self.act(action);
                }
                self.settle();
                Ok(())
            }
            Err(error) => {
                self.forget();
                self.wake_at(self.platform.now_ms().saturating_add(AGAIN_MS));
                Err(error)
            }
        }
    }

    /// What is to be done, and whether the bridge itself was written.
    fn decided(&self, event: Event) -> Result<(Vec<Action>, bool), SqlError> {
        let mut known = self.known.borrow_mut();
        let Known::Present(bridge) = &mut *known else { return Ok((Vec::new(), false)) };
        let (dice, _) = self.platform.random_uuid().as_u64_pair();
        let dice = u32::try_from(dice >> 32).unwrap_or_default();
        let context = Context { now: self.platform.now_ms(), dice, max_wakes: self.settings.pg_sync.max_wakes };
        let has_seq = bridge.stored().ring.last_seq;
        let decision = decide(bridge, &self.store, event, &context)?;
        self.store.store(bridge, &decision.commit)?;
        if bridge.stored().ring.last_seq > has_seq {
            for reader in self.readers.take() {
                // Whoever has waited enough is gone.
                let _ = reader.send(());
            }
        }
        Ok((decision.actions, decision.commit.bridge))
    }

    /// What is known in memory may be ahead of what is stored.
    fn forget(&self) {
        self.abort();
        *self.known.borrow_mut() = Known::Nothing;
    }

    pub(super) fn abort(&self) {
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
    }

    /// Everything of the bridge is deleted, its alarm first.
    pub(super) fn remove(&self) {
        self.abort();
        // Whoever waits for changes hears that there will be none.
        drop(self.readers.take());
        self.alarm.set(None);
        self.platform.clear_alarm();
        let source_id = self.look(|bridge| bridge.stored().source.id.clone());
        match self.platform.sql().delete_all() {
            Ok(()) => *self.known.borrow_mut() = Known::Absent,
            Err(error) => {
                self.warn("agents/bridge-not-removed", &error.to_string());
                self.forget();
                self.wake_at(self.platform.now_ms().saturating_add(AGAIN_MS));
                return;
            }
        }
        self.told.take();
        if let Some(source_id) = source_id {
            self.tell_removed(source_id);
        }
    }

    /// Sets the alarm, and tells the index what is new.
    fn settle(&self) {
        let now = self.platform.now_ms();
        let seen = self.look(|bridge| {
            let source_ref = bridge.stored().reader.as_ref().map(|reader| reader.source_ref.clone());
            (next_alarm(bridge, now), bridge.stored().state, source_ref)
        });
        let Some((next, state, source_ref)) = seen else { return };
        self.wake_at(next);
        let word = match state {
            bridge::State::Probing { .. } => return,
            bridge::State::Blocked { .. } => "blocked",
            bridge::State::Idle { .. } => "idle",
            _ => "active",
        };
        let telling = Told::This(word, source_ref.clone());
        let is_known = match &*self.told.borrow() {
            // One that does anything else wakes rarely.
            Told::Earlier => word == "active",
            told => *told == telling,
        };
        if !is_known {
            self.told.replace(telling);
            self.tell_state(word, source_ref);
        }
    }

    /// The index is told, unless this life has told it the same before.
    pub(super) fn tells(&self) {
        if *self.told.borrow() == Told::Earlier {
            self.told.replace(Told::Nothing);
        }
    }

    fn wake_at(&self, next: i64) {
        let is_set = self.alarm.get().is_some_and(|set| set <= next && set.saturating_add(EARLY_MS) >= next);
        if !is_set {
            self.alarm.set(Some(next));
            self.platform.set_alarm(next);
        }
    }

    /// The alarm of the object went off. Nothing that fails leaves here: a platform gives up an alarm that fails again and again.
    pub fn alarm(&self) {
        self.alarm.set(None);
        if let Err(error) = self.happens(Event::Due) {
            self.warn("agents/bridge-failed", &error.to_string());
        }
    }

    pub(super) fn warn(&self, name: &'static str, text: &str) {
        self.platform.report(&Line::new(Level::Warning, name).with_error(text));
    }
}
