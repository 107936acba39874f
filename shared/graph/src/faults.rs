//! Named points of the write path at which a test ends the world.
//!
//! With the feature `faults` a test [arms](arm) one point; the code that reaches it stops with [`Error::Fault`], and
//! the test then drops the graph and opens it anew from storage, as after a kill. Without the feature a point is
//! nothing at all.
//!
//! [`Error::Fault`]: crate::Error::Fault

use crate::error::Error;

/// A place where the process may die.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Point {
    /// A batch is applied in memory, nothing of it is stored.
    CommitBeforeStorage,
    /// Inside the storage transaction, after the row of the journal, or the nodes, and before the log.
    CommitInsideStorage,
    /// A batch is stored, and neither its sender nor other sockets have been told.
    CommitAfterStorage,
    /// The journal holds transactions whose nodes are about to be written.
    CheckpointBeforeStorage,
    /// Inside the transaction that writes them, after the nodes and before the mark of the checkpoint.
    CheckpointInsideStorage,
    /// The nodes are written.
    CheckpointAfterStorage,
    /// The answer of a batch is made, the broadcast is not.
    BatchBeforeBroadcast,
    /// The first rows of an upload that replaces the graph are stored.
    UploadAfterFirstRows,
    /// Rows of an upload are stored, more are to come.
    UploadBetweenRows,
    /// All rows of an upload are stored, the graph is not open yet.
    UploadBeforeOpening,
    /// Inside the transaction by which they take the place of the graph's, after they have.
    UploadInsideOpening,
    /// They have taken it, and nobody has been told.
    UploadAfterOpening,
    /// Some rows of what was replaced are deleted.
    SweepBetweenSteps,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 13] = [
        Self::CommitBeforeStorage,
        Self::CommitInsideStorage,
        Self::CommitAfterStorage,
        Self::CheckpointBeforeStorage,
        Self::CheckpointInsideStorage,
        Self::CheckpointAfterStorage,
        Self::BatchBeforeBroadcast,
        Self::UploadAfterFirstRows,
        Self::UploadBetweenRows,
        Self::UploadBeforeOpening,
        Self::UploadInsideOpening,
        Self::UploadAfterOpening,
        Self::SweepBetweenSteps,
    ];

    /// The name tests print.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CommitBeforeStorage => "commit: before storage",
            Self::CommitInsideStorage => "commit: inside storage",
            Self::CommitAfterStorage => "commit: after storage",
            Self::CheckpointBeforeStorage => "checkpoint: before storage",
            Self::CheckpointInsideStorage => "checkpoint: inside storage",
            Self::CheckpointAfterStorage => "checkpoint: after storage",
            Self::BatchBeforeBroadcast => "batch: before broadcast",
            Self::UploadAfterFirstRows => "upload: after the first rows",
            Self::UploadBetweenRows => "upload: between rows",
            Self::UploadBeforeOpening => "upload: before opening",
            Self::UploadInsideOpening => "upload: inside opening",
            Self::UploadAfterOpening => "upload: after opening",
            Self::SweepBetweenSteps => "sweep: between steps",
        }
    }
}

#[cfg(not(feature = "faults"))]
#[expect(clippy::unnecessary_wraps, reason = "the shape it has with the feature")]
#[inline]
pub(crate) const fn reach(_: Point) -> Result<(), Error> {
    Ok(())
}

#[cfg(feature = "faults")]
pub(crate) use armed::reach;
#[cfg(feature = "faults")]
pub use armed::{arm, disarm, fired};

#[cfg(feature = "faults")]
mod armed {
    use std::cell::Cell;

    use super::{Error, Point};

    thread_local! {
        static ARMED: Cell<Option<(Point, u32)>> = const { Cell::new(None) };
        static FIRED: Cell<bool> = const { Cell::new(false) };
    }

    /// Makes this thread die at `point`, after passing it `passes` times.
    pub fn arm(point: Point, passes: u32) {
        ARMED.set(Some((point, passes)));
        FIRED.set(false);
    }

    /// Lets this thread live, and forgets that it died.
    pub fn disarm() {
        ARMED.set(None);
        FIRED.set(false);
    }

    /// Whether the point armed last was reached; it then is no longer armed.
    pub fn fired() -> bool {
        FIRED.get()
    }

    pub(crate) fn reach(point: Point) -> Result<(), Error> {
        match ARMED.get() {
            Some((armed, 0)) if armed == point => {
                ARMED.set(None);
                FIRED.set(true);
                Err(Error::Fault(point.name()))
            }
            Some((armed, passes)) if armed == point => {
                ARMED.set(Some((armed, passes.saturating_sub(1))));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
