//! Counts of what was done.

use std::fmt;
use std::ops::AddAssign;

/// Counts over graphs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Graphs played to their end.
    pub graphs: u64,
    /// Batches sent.
    pub batches: u64,
    /// Entries that were accepted.
    pub accepted: u64,
    /// Entries that were refused.
    pub refused: u64,
    /// Times a graph was opened again, apart from the checks.
    pub reopened: u64,
    /// Uploads of a graph into a fresh one.
    pub uploads: u64,
    /// Checks by the independent reader.
    pub read: u64,
    /// Rows of the log that npm datascript replayed.
    pub told: u64,
    /// Facts at the end.
    pub datoms: u64,
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.graphs += other.graphs;
        self.batches += other.batches;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.reopened += other.reopened;
        self.uploads += other.uploads;
        self.read += other.read;
        self.told += other.told;
        self.datoms += other.datoms;
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { graphs, batches, accepted, refused, reopened, uploads, read, told, datoms } = self;
        write!(
            f,
            "{graphs} graphs: {batches} batches, {accepted} entries accepted, {refused} refused, {reopened} reopenings, \
             {uploads} uploads, {read} looks of the reader, {told} rows of the log replayed, {datoms} datoms"
        )
    }
}
