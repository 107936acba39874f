//! `entity/pull`: which entities a range of the log touched, and how they are now (sync.md 7.6).
//!
//! Reads only. What the answer costs is bounded before it is begun (rows, bytes of their texts) and while it is made
//! (names, work, bytes sent); beyond the bounds the client is told to take the snapshot. Nothing is remembered for the next.

mod identity;
mod named;
mod write;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datascript::Keyword;
use protocol::ResetReason;
use protocol::limits::{CHANGES_STEPS, ENTITY_PULL_ROWS, ENTITY_PULL_TX_BYTES};
use transit::ReadError;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::store::log::{self, LogRange};
use database::local::Sql;
use identity::Identity;
use named::Named;
use write::Head;

/// The id by which clients know a graph.
#[derive(Clone, Copy, Debug)]
pub struct GraphName<'a>(pub &'a str);

/// What an `entity/pull` came to.
#[derive(Debug)]
pub struct EntityPull {
    /// The answer.
    pub answer: EntityAnswer,
    /// An attribute of which a value was left out, because it refers to what no client can name (D-46). For the log.
    pub left_out: Option<Keyword>,
    /// What went wrong inside, for the log. The answer takes it into account.
    pub failure: Option<Error>,
    /// What it took beside its message: bytes of log rows that were read, and steps of looking at stored facts. One of either
    /// costs about as much as a byte of the message.
    pub work: u64,
}

/// The answer to an `entity/pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityAnswer {
    /// `graph-changes`: the pieces that were handed over are the message.
    Changes,
    /// `reset`. Pieces that were handed over mean nothing.
    Reset(ResetReason),
    /// `error`, `graph not ready`: an upload is under way (D-48).
    NotReady,
}

/// Why no change set can be made.
enum Stop {
    /// It passes a bound.
    TooMuch,
    /// A log row cannot be read: it will never be, so that only the snapshot helps.
    Unreadable(Error),
    /// The graph cannot be read.
    Failed(Error),
}

impl<S: Sql + 'static> Graph<S> {
    /// Answers `entity/pull`: hands the message over to `piece`, in order, in pieces of some hundred kilobytes.
    ///
    /// `schema_version` is what the snapshot descriptor tells (D-44); without it only the snapshot's own answer is left.
    ///
    /// # Errors
    /// The graph cannot be read.
    pub fn entity_pull(
        &mut self,
        since: i64,
        graph: GraphName<'_>,
        schema_version: Option<&str>,
        piece: &mut dyn FnMut(&str),
    ) -> Result<EntityPull> {
        let answer = |answer| EntityPull { answer, left_out: None, failure: None, work: 0 };
        if self.meta()?.uploading {
            return Ok(answer(EntityAnswer::NotReady));
        }
        let reset = |reason| answer(EntityAnswer::Reset(reason));
        let t = self.meta()?.t;
        let range = match self.judge_range(since, t)? {
            Ok(range) => range,
            Err(reason) => return Ok(reset(reason)),
        };
        let Some(schema_version) = schema_version else { return Ok(reset(ResetReason::SnapshotRequired)) };
        let head = Head { graph, schema_version, t_before: since, t };
        let mut steps = 0;
        let written = match self.names_since(since, t) {
            Ok(identities) => self.write_entities(&head, &identities, piece, &mut steps),
            Err(stop) => Err(stop),
        };
        let work = range.bytes.unsigned_abs().saturating_add(steps);
        let pulled = match written {
            Ok(left_out) => Ok(EntityPull { left_out, ..answer(EntityAnswer::Changes) }),
            Err(Stop::TooMuch) => Ok(reset(ResetReason::SnapshotRequired)),
            Err(Stop::Unreadable(failure)) => {
                Ok(EntityPull { failure: Some(failure), ..reset(ResetReason::SnapshotRequired) })
            }
            Err(Stop::Failed(error)) => Err(error),
        };
        pulled.map(|pulled| EntityPull { work, ..pulled })
    }

    /// Judges a range by its size, before anything of it is read.
    fn judge_range(&self, since: i64, t: i64) -> Result<std::result::Result<LogRange, ResetReason>> {
        if since > t {
            return Ok(Err(ResetReason::CursorAhead));
        }
        let range = log::range(&*self.sql, since)?;
        // Counters are distinct, so that this tells every gap.
        let complete = range.rows == t - since && (range.rows == 0 || range.last == t);
        Ok(if !complete {
            Err(ResetReason::CursorExpired)
        } else if range.rows > ENTITY_PULL_ROWS || range.bytes > ENTITY_PULL_TX_BYTES {
            Err(ResetReason::SnapshotRequired)
        } else {
            Ok(range)
        })
    }

    fn names_since(&self, since: i64, t: i64) -> Result<BTreeSet<Identity>, Stop> {
        let mut named = Named::default();
        let mut stopped = None;
        log::read(&*self.sql, since, t, &mut |_, tx, _| match named.read(tx) {
            Ok(()) => ControlFlow::Continue(()),
            Err(stop) => {
                stopped = Some(stop);
                ControlFlow::Break(())
            }
        })
        .map_err(Error::from)?;
        match stopped {
            Some(stop) => Err(stop),
            None => named.into_identities(),
        }
    }

    fn write_entities(
        &mut self,
        head: &Head<'_>,
        identities: &BTreeSet<Identity>,
        piece: &mut dyn FnMut(&str),
        steps: &mut u64,
    ) -> Result<Option<Keyword>, Stop> {
        if identities.is_empty() {
            return write::write(None, head, identities, piece);
        }
        let open = self.open()?;
        let db = open.conn.db().clone();
        let mut scope = open.facts.scope(&[]);
        let before = db.nodes().work().done();
        db.nodes().work().allow(CHANGES_STEPS);
        let written = write::write(Some((&db, &mut scope)), head, identities, piece);
        db.nodes().work().allow_all();
        *steps = db.nodes().work().done().saturating_sub(before);
        written
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<datascript::Error> for Stop {
    fn from(error: datascript::Error) -> Self {
        match error {
            datascript::Error::TooMuchWork => Self::TooMuch,
            other => Self::Failed(other.into()),
        }
    }
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(Error::Corrupt(format!("log row: {error}")))
    }
}
