//! `GET …/checksum/diagnostics`: what the checksum is made of, in pieces (sync.md 5.3).

use std::fmt::Write;
use std::rc::{Rc, Weak};

use protocol::limits;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::rules::checksum::Checksum;
use crate::rules::checksum::blocks::{self, Place};
use database::local::Sql;

/// Text of one piece, in bytes. Each piece begins where the one before it ended.
const PIECE_BYTES: usize = 1 << 20;

/// Work of one piece, in steps of [`datascript::Work`]: about a thousand blocks, some milliseconds. Other graphs have their
/// turn between two pieces.
const PIECE_STEPS: u64 = 50_000;

/// Diagnostics under way.
#[derive(Debug)]
#[must_use = "diagnostics without their end are no JSON"]
pub struct Diagnostics {
    /// Lives as long as these diagnostics. The graph holds a weak reference, by which it sees whether they still run.
    handle: Rc<()>,
    /// As it was at the start.
    is_e2ee: bool,
    /// The checksum of what was shown.
    sum: Checksum,
    /// The last entity that was looked at.
    last: Option<Place>,
    /// Whether a block was written.
    has_blocks: bool,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    New,
    Blocks,
    Ended,
}

impl Diagnostics {
    /// Whether all of them were written.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }
}

/// The diagnostics of a graph that run: there is one at a time.
#[derive(Debug)]
pub(crate) struct RunningDiagnostics {
    /// Gone once they were dropped.
    handle: Weak<()>,
    /// When they were read last, in milliseconds.
    read_ms: i64,
}

impl RunningDiagnostics {
    fn is_over(&self, now_ms: i64) -> bool {
        self.handle.strong_count() == 0 || now_ms.saturating_sub(self.read_ms) > limits::EXPORT_IDLE_MS
    }
}

impl<S: Sql + 'static> Graph<S> {
    /// Starts diagnostics: a full recompute of the checksum, block by block.
    ///
    /// # Errors
    /// [`Error::TooManyExports`] while others run that were read within the last minute.
    pub fn diagnostics(&mut self) -> Result<Diagnostics> {
        let is_e2ee = blocks::is_e2ee(self.db()?)?;
        let now_ms = self.clock.now_ms();
        if self.diagnosing.as_ref().is_some_and(|running| !running.is_over(now_ms)) {
            return Err(Error::TooManyExports);
        }
        let handle = Rc::new(());
        self.diagnosing = Some(RunningDiagnostics { handle: Rc::downgrade(&handle), read_ms: now_ms });
        let sum = Checksum::default();
        Ok(Diagnostics { handle, is_e2ee, sum, last: None, has_blocks: false, state: State::New })
    }

    /// Appends the next piece to `out`. False: there was no more. Blocks are shown as they are when their piece is made, and
    /// the checksum at the end is that of the blocks shown: where the graph changed in between, of no state that it was in.
    ///
    /// # Errors
    /// [`Error::Stalled`] when they were not read for so long that others have begun.
    pub fn diagnostics_piece(&mut self, diagnostics: &mut Diagnostics, out: &mut String) -> Result<bool> {
        if diagnostics.state == State::Ended {
            return Ok(false);
        }
        let now_ms = self.clock.now_ms();
        let is_this =
            |running: &&mut RunningDiagnostics| Weak::as_ptr(&running.handle) == Rc::as_ptr(&diagnostics.handle);
        self.diagnosing.as_mut().filter(is_this).ok_or(Error::Stalled)?.read_ms = now_ms;
        let Diagnostics { is_e2ee, sum, last, has_blocks, state, .. } = diagnostics;
        let start = out.len();
        if *state == State::New {
            begin(out, *is_e2ee);
        }
        let mut ended = true;
        let mut came_to = last.clone();
        let db = self.db()?;
        let work = db.nodes().work();
        let begun = work.done();
        // Ends with the piece.
        blocks::visit(db, *is_e2ee, last.as_ref(), |visited| {
            let is_repeated = came_to.as_ref().is_some_and(|last| last.uuid == visited.place.uuid);
            if let Some(block) = visited.block.as_ref().filter(|_| !is_repeated) {
                if std::mem::replace(has_blocks, true) {
                    out.push(',');
                }
                block.write_json(out);
            }
            *sum = sum.plus(visited.sum, 1);
            came_to = Some(visited.place.clone());
            ended = out.len() - start < PIECE_BYTES && work.done() - begun < PIECE_STEPS;
            ended
        })?;
        *last = came_to;
        *state = State::Blocks;
        if ended {
            // Writing to a string does not fail.
            let _ = write!(out, r#"],"checksum":"{sum}"}}"#);
            *state = State::Ended;
            self.diagnosing = None;
        } else if out.len() == start {
            // A piece is never empty, and space between blocks says nothing.
            out.push('\n');
        }
        Ok(true)
    }
}

fn begin(out: &mut String, is_e2ee: bool) {
    let attrs = blocks::attr_names(is_e2ee).join("\",\"");
    // Writing to a string does not fail.
    let _ = write!(out, r#"{{"e2ee?":{is_e2ee},"attrs":["{attrs}"],"blocks":["#);
}

impl From<crate::rules::Error> for crate::Error {
    fn from(error: crate::rules::Error) -> Self {
        match error {
            crate::rules::Error::Db(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
