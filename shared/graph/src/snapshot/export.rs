//! Sending a graph out while it is written to (sync.md 10.2, 10.3, D-08).
//!
//! Rows go out by ascending address in chunks of about a megabyte. What the snapshot shows is the state at its start:
//! before a commit overwrites or deletes a row that the export has not reached, it saves the old one in a table of its
//! own, and rows created later have addresses beyond the end fixed at the start. While no export runs a commit pays
//! nothing.

use std::cell::Cell;
use std::io::Write;
use std::rc::{Rc, Weak};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::frame_writer::FrameWriter;
use crate::error::{Error, Result};
use crate::sql::{Sql, SqlError};
use crate::store::kvs::{self, StoredRow};

/// How the bytes of an export are packed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Frames as they are.
    Identity,
    /// One gzip stream over all frames, at the fastest level.
    Gzip,
}

/// A running export. Dropping it ends it; the graph then saves no more rows for it.
#[derive(Debug)]
pub struct Export {
    shared: Rc<Shared>,
    gzip: Option<GzEncoder<Vec<u8>>>,
    rows: i64,
    done: bool,
}

/// What the graph and the export both know.
#[derive(Debug)]
struct Shared {
    id: i64,
    /// Rows up to this address went out.
    cursor: Cell<i64>,
    /// Greatest address at the start.
    end: i64,
    /// Content of the rows of one frame, in bytes.
    frame_bytes: usize,
    /// Whether any row was saved.
    saved: Cell<bool>,
}

impl Export {
    /// Rows of the snapshot: `x-snapshot-row-count`.
    pub const fn row_count(&self) -> i64 {
        self.rows
    }

    /// The next piece of the stream, never empty; `None` at its end. Rows must have been saved for it all along.
    pub(crate) fn next(&mut self, sql: &impl Sql) -> Result<Option<Vec<u8>>> {
        loop {
            if self.done {
                let rest = self.gzip.take().map(GzEncoder::finish).transpose().map_err(packing)?;
                return Ok(rest.filter(|rest| !rest.is_empty()));
            }
            let (rows, complete) = self.shared.page(sql)?;
            self.done = complete;
            let mut frame = FrameWriter::new();
            for row in &rows {
                frame.row(row.addr, &row.content, row.addresses.as_deref());
                self.shared.cursor.set(row.addr);
            }
            if frame.rows() == 0 {
                continue;
            }
            let frame = frame.finish();
            let Some(gzip) = &mut self.gzip else { return Ok(Some(frame)) };
            gzip.write_all(&frame).map_err(packing)?;
            let packed = std::mem::take(gzip.get_mut());
            if !packed.is_empty() {
                return Ok(Some(packed));
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn packing(error: std::io::Error) -> Error {
    Error::Corrupt(error.to_string())
}

impl Shared {
    /// The next rows as they were at the start, and whether they are the last.
    fn page(&self, sql: &impl Sql) -> Result<(Vec<StoredRow>, bool), SqlError> {
        let after = self.cursor.get();
        let (mut live, mut complete) = kvs::page(sql, after, self.end, self.frame_bytes)?;
        if !self.saved.get() {
            return Ok((live, complete));
        }
        let (mut saved, saved_complete) = kvs::saved_page(sql, self.id, after, self.frame_bytes)?;
        // Each list says nothing about addresses beyond its last row, unless it is complete.
        let horizon = |rows: &[StoredRow], complete: bool| {
            if complete { i64::MAX } else { rows.last().map_or(after, |row| row.addr) }
        };
        let limit = horizon(&live, complete).min(horizon(&saved, saved_complete));
        live.retain(|row| row.addr <= limit && saved.binary_search_by_key(&row.addr, |saved| saved.addr).is_err());
        saved.retain(|row| row.addr <= limit);
        complete &= saved_complete;
        live.append(&mut saved);
        live.sort_unstable_by_key(|row| row.addr);
        Ok((live, complete))
    }
}

/// The exports that run over a graph.
#[derive(Debug, Default)]
pub(crate) struct RunningExports {
    running: Vec<Running>,
    last_id: i64,
}

#[derive(Debug)]
struct Running {
    id: i64,
    shared: Weak<Shared>,
}

impl RunningExports {
    pub(crate) fn begin(&mut self, sql: &impl Sql, encoding: Encoding, frame_bytes: usize) -> Result<Export> {
        self.last_id += 1;
        let id = self.last_id;
        let shared = Rc::new(Shared {
            id,
            cursor: Cell::new(-1),
            end: kvs::greatest_addr(sql)?.unwrap_or(-1),
            frame_bytes,
            saved: Cell::new(false),
        });
        let gzip = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let rows = kvs::count(sql)?;
        self.running.push(Running { id, shared: Rc::downgrade(&shared) });
        Ok(Export { shared, gzip, rows, done: false })
    }

    /// Whether rows are being saved for that export: it began here and the graph was not replaced since.
    pub(crate) fn covers(&self, export: &Export) -> bool {
        self.running.iter().any(|running| running.shared.as_ptr() == Rc::as_ptr(&export.shared))
    }

    /// Whether a commit has anything to do here.
    pub(crate) const fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Before rows at `addrs` are overwritten or deleted: saves what running exports have yet to send, and drops what
    /// was saved for those that ended.
    pub(crate) fn save(&mut self, sql: &impl Sql, addrs: &[i64]) -> Result<(), SqlError> {
        self.forget_ended(sql)?;
        for export in self.running.iter().filter_map(|running| running.shared.upgrade()) {
            let ahead: Vec<i64> =
                addrs.iter().copied().filter(|&addr| addr > export.cursor.get() && addr <= export.end).collect();
            if !ahead.is_empty() {
                kvs::save_for_export(sql, export.id, &ahead)?;
                export.saved.set(true);
            }
        }
        Ok(())
    }

    /// Drops what was saved for exports that ended.
    pub(crate) fn forget_ended(&mut self, sql: &impl Sql) -> Result<(), SqlError> {
        let ended = |running: &Running| running.shared.strong_count() == 0;
        for running in self.running.iter().filter(|running| ended(running)) {
            kvs::drop_saved(sql, running.id)?;
        }
        self.running.retain(|running| !ended(running));
        Ok(())
    }

    /// The graph is replaced: running exports end with an error. Their saved rows are the caller's to drop.
    pub(crate) fn replace(&mut self) {
        self.running.clear();
    }
}
