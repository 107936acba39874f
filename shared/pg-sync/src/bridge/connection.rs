//! What becomes of a bridge when its connection is another one (pg-sync.md 4.8).

use super::decide::Decide;
use super::{Connection, ConnectionFault, Mode, NotJoined, State};
use crate::body::GapReason;
use crate::ring::Log;

impl<L: Log> Decide<'_, L> {
    pub(super) fn connection_read(&mut self, epoch: u64, seen: Result<Connection, ConnectionFault>) {
        // Nobody waits for it any more, or it was touched since.
        if epoch != self.bridge.memory.epoch || self.bridge.memory.reading.take().is_none() {
            return;
        }
        let connection = match seen {
            Ok(connection) => connection,
            Err(ConnectionFault::Unavailable) => {
                return self.failed("the connection could not be read".to_owned(), None);
            }
            Err(ConnectionFault::Unusable(reason)) => {
                if matches!(self.bridge.stored.state, State::Probing { .. }) {
                    return self.remove(&NotJoined::Unusable(reason));
                }
                return self.block(reason, None, None);
            }
        };
        self.bridge.memory.connection = Some((connection, self.now));
        let stored = &mut self.bridge.stored;
        stored.interval_ms = match connection.mode {
            Mode::Interval(pause) => Some(pause),
            Mode::Live => None,
        };
        let before = stored.connection_revision.replace(connection.revision);
        if before.is_none_or(|before| before == connection.revision) || matches!(stored.state, State::Probing { .. }) {
            return;
        }
        // The old cursor means nothing there: no request is made with it.
        stored.failures = super::state::Failures::default();
        self.open_gap(GapReason::ConnectionChanged);
        self.bridge.stored.state = State::Resync { next_at: self.now };
    }

    pub(super) fn connection_touched(&mut self) {
        let memory = &mut self.bridge.memory;
        memory.connection = None;
        memory.next_poll_at = self.now;
        memory.has_read_again = false;
        if memory.reading.take().is_some() || memory.asking.is_some() {
            self.give_up_request();
        }
        if matches!(self.bridge.stored.state, State::Blocked { .. }) {
            self.resume();
        }
    }
}
