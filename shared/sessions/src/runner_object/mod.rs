//! The object of one runner that calls us (session-mailbox.md 7.1), over ports.
//!
//! It knows who the runner is and which of its processes counts ([`crate::mailbox::runner`]), and holds the request that waits for work. What
//! a runner is to do, and what becomes of what it says, is each session's own business: the object asks the sessions and keeps nothing of it.

mod answers;
mod attach;
mod change;
mod identity;
mod notices;
mod platform;
mod poll;
mod register;
mod routes;
mod sessions;

pub use platform::Platform;
pub(crate) use register::Asked;
pub use routes::handle;
pub(crate) use routes::{ATTACH, DECLARED, KEY, ORIGIN, PRESENCE, RUNNER_ID, SECRET_HASH, presence_of};

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use futures_channel::oneshot;

use crate::mailbox::Minute;
use crate::mailbox::runner::{Runner, Times, Waiting};
use crate::settings::Settings;

/// A runner and its object.
pub struct RunnerObject<P: Platform> {
    platform: P,
    settings: Rc<Settings>,
    times: Times,
    known: RefCell<Known>,
    /// The request that waits for work.
    waiting: RefCell<Waiting>,
    /// Whoever is woken when something changes.
    sleepers: RefCell<Vec<oneshot::Sender<()>>>,
    /// Requests of the last minute, by kind. Lost with the object.
    minutes: RefCell<identity::Minutes<Minute>>,
    alarm: Cell<Option<i64>>,
    /// How many sessions the runner says it has.
    active: Cell<Option<i64>>,
    /// Whether sessions are being told that the runner is there, or not.
    is_telling: Cell<bool>,
    /// Where the next answer begins to ask sessions.
    turn: Cell<usize>,
    me: Weak<Self>,
}

/// What is known of the runner.
enum Known {
    /// Nobody has looked.
    Nothing,
    /// This, and what is stored of it. None when there is none.
    Read(Box<(Option<Runner>, Option<Runner>)>),
}

impl<P: Platform> RunnerObject<P> {
    /// An object that knows nothing yet.
    pub fn new(platform: P, settings: Rc<Settings>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            platform,
            times: Times { ttl_ms: settings.runtime.runner_ttl_ms },
            settings,
            known: RefCell::new(Known::Nothing),
            waiting: RefCell::default(),
            sleepers: RefCell::default(),
            minutes: RefCell::default(),
            alarm: Cell::default(),
            active: Cell::default(),
            is_telling: Cell::default(),
            turn: Cell::default(),
            me: Weak::clone(me),
        })
    }
}
