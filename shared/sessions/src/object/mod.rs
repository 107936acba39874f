//! The object that owns a session and keeps it going (agents.md 3), over ports.
//!
//! Whatever happens goes through `Session::change`: the pure functions of [`crate::session::decide`] say what follows, one
//! transaction stores it, viewers are shown it, and only then work outside begins. What comes of that work happens in turn.

mod change;
mod core;
mod follow_up;
mod git_broker;
mod github;
mod jobs;
mod mailbox;
mod notify;
mod offer;
mod platform;
mod prompt;
mod provision;
mod publishing;
mod reader;
mod registry;
mod removal;
mod routes;
mod secrets;
mod telling;
mod terminal;
mod tools;
mod transcripts;
mod usage;
mod viewers;
mod watching;
mod workspace;

pub use platform::{Platform, Socket};
pub use routes::handle;
pub(crate) use routes::{CLAIMS, TOOL_CLAIMS, Told};
pub use terminal::{Inbox, MAX_FRAME_BYTES, MAX_TERMINALS, MAX_WAITING_BYTES};
pub use viewers::{MAX_QUEUE_BYTES, MAX_VIEWERS, MAX_VIEWERS_OF_USER};

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use futures_channel::oneshot;

use self::core::{Core, passing_frame};
use self::viewers::Viewers;
use crate::event::Event;
use crate::session::Times;
use crate::session::decide::Provisioned;
use crate::settings::Settings;

/// A session and its object.
pub struct Session<P: Platform> {
    platform: P,
    settings: Rc<Settings>,
    times: Times,
    /// Its id, when a request has told it.
    name: RefCell<Option<String>>,
    core: RefCell<Known>,
    viewers: Viewers,
    terminals: terminal::Terminals,
    reader: RefCell<Option<reader::Reader>>,
    readers: Cell<u64>,
    /// Whether the stream of a turn of the older dialect is being read.
    listening: Cell<bool>,
    /// The turn of the older dialect that is being asked about.
    following: Cell<Option<u64>>,
    /// The turn whose order is being carried out: what was read anew from storage does not begin it a second time.
    prompting: Cell<Option<u64>>,
    /// Whoever waits for a runtime, by the generation of the work.
    waiting: RefCell<HashMap<u64, Vec<oneshot::Sender<Provisioned>>>>,
    /// Whether a request is creating the session.
    is_creating: Cell<bool>,
    /// What the list of sessions is being told, and is to be told.
    telling: Cell<telling::Telling>,
    /// What operators were told of what the session waits for.
    told_wait: Cell<telling::ToldWait>,
    /// Whether the database of all sessions is being told what was used.
    is_telling_usage: Cell<bool>,
    /// Whether notifications are being sent.
    is_notifying: Cell<bool>,
    /// Whether the session is being removed right now.
    is_removing: Cell<bool>,
    alarm: Cell<Option<i64>>,
    access: registry::AccessMemory,
    /// One snapshot is stored at a time.
    writing: futures_util::lock::Mutex<()>,
    /// Whoever keeps the working tree and pauses its sandbox, and whoever pushes from it, does so alone.
    saving: futures_util::lock::Mutex<()>,
    /// Bridges are asked about one subscription after the other, in the order in which it was wanted.
    watching: futures_util::lock::Mutex<()>,
    /// Questions about the working tree that are asked at the same time.
    looks: web::Gate,
    /// Bytes that the agent said since the unfinished turn was kept, and whether it is being kept right now.
    heard: Cell<usize>,
    is_keeping_partial: Cell<bool>,
    /// Uploads that are read at the same time.
    uploads: web::Gate,
    me: Weak<Self>,
}

/// What is known about the session.
enum Known {
    /// Nobody has looked.
    Nothing,
    /// There is none.
    Absent,
    /// This.
    Present(Box<Core>),
}

/// A session is being created as long as this lives.
struct Creating<'a>(&'a Cell<bool>);

impl Drop for Creating<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<P: Platform> Session<P> {
    /// An object that knows nothing yet.
    pub fn new(platform: P, settings: Rc<Settings>) -> Rc<Self> {
        Rc::new_cyclic(|me| Self {
            platform,
            times: Times::of(&settings.session),
            settings,
            name: RefCell::default(),
            core: RefCell::new(Known::Nothing),
            viewers: Viewers::default(),
            terminals: terminal::Terminals::default(),
            reader: RefCell::default(),
            readers: Cell::default(),
            listening: Cell::default(),
            following: Cell::default(),
            prompting: Cell::default(),
            waiting: RefCell::default(),
            is_creating: Cell::default(),
            telling: Cell::default(),
            told_wait: Cell::default(),
            is_telling_usage: Cell::default(),
            is_notifying: Cell::default(),
            is_removing: Cell::default(),
            alarm: Cell::default(),
            access: registry::AccessMemory::default(),
            writing: futures_util::lock::Mutex::default(),
            saving: futures_util::lock::Mutex::default(),
            watching: futures_util::lock::Mutex::default(),
            heard: Cell::default(),
            is_keeping_partial: Cell::default(),
            looks: web::Gate::new(routes::LOOKS),
            uploads: web::Gate::new(routes::UPLOADS),
            me: Weak::clone(me),
        })
    }

    /// The platform.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    fn is_called(&self, name: &str) {
        if self.name.borrow().is_none() {
            *self.name.borrow_mut() = Some(name.to_owned());
        }
    }

    fn creating(&self) -> Creating<'_> {
        self.is_creating.set(true);
        Creating(&self.is_creating)
    }

    fn is_being_created(&self) -> bool {
        self.is_creating.get()
    }

    /// What was read is forgotten; the rows count.
    fn forget(&self) {
        *self.core.borrow_mut() = Known::Nothing;
    }

    fn next_reader(&self) -> u64 {
        self.readers.set(self.readers.get().wrapping_add(1));
        self.readers.get()
    }

    /// The messages that are being written.
    fn live_events(&self) -> Vec<Event> {
        self.look(|core| core.live(self.settings.session.max_event_bytes)).unwrap_or_default()
    }

    /// The same, as frames of a stream.
    fn live_frames(&self) -> String {
        self.live_events().iter().map(passing_frame).collect()
    }

    fn last_cursor(&self) -> u64 {
        self.look(|core| core.log.last_cursor()).unwrap_or_default()
    }
}
