//! One watcher for the bells of all sessions (docs/spec/session-mailbox.md 4.9). Where there is none, sessions look by themselves.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mailbox::doorbell::Watcher;

use super::session::Order;
use crate::log::Log;

/// How long a session waits at most until its bell is watched.
const STEP: Duration = Duration::from_millis(100);

/// A session to be watched.
struct Watched {
    bell: PathBuf,
    orders: Sender<Order>,
}

/// The way to the watcher.
#[derive(Clone)]
pub(crate) struct Bells(Option<Sender<Watched>>);

impl Bells {
    /// Starts to watch.
    pub(crate) fn new(is_wanted: bool, log: Log) -> Self {
        let watcher = if is_wanted { Watcher::new() } else { return Self(None) };
        match watcher {
            Ok(watcher) => {
                let (told, heard) = channel();
                let thread = std::thread::Builder::new().name("bells".into());
                let started = thread.spawn(move || watch(watcher, &heard));
                Self(started.is_ok().then_some(told))
            }
            Err(error) => {
                log.warn(format_args!("inotify-limit: {error}; sessions look once a second"));
                Self(None)
            }
        }
    }

    /// Wakes a session when its bell rings.
    pub(crate) fn watch(&self, bell: PathBuf, orders: Sender<Order>) {
        if let Some(told) = &self.0 {
            // The watcher ends after all sessions.
            let _ = told.send(Watched { bell, orders });
        }
    }
}

fn watch(mut watcher: Watcher, heard: &Receiver<Watched>) {
    let mut sessions: std::collections::BTreeMap<usize, Sender<Order>> = std::collections::BTreeMap::new();
    let mut next = 0;
    // Ends with the runner, or when the system gives no more events.
    loop {
        for Watched { bell, orders } in heard.try_iter() {
            watcher.add(next, &bell);
            sessions.insert(next, orders);
            next += 1;
        }
        let Ok(rang) = watcher.wait(STEP) else { return };
        for number in rang {
            if sessions.get(&number).is_some_and(|orders| orders.send(Order::Wake).is_err()) {
                // The session has ended.
                watcher.remove(number);
                sessions.remove(&number);
            }
        }
    }
}
