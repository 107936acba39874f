//! Sending a graph out while it is written to (sync.md 10.2, 10.3, D-08).
//!
//! Rows go out by ascending address in chunks of about a megabyte. What the snapshot shows is the state at its start:
//! before a commit overwrites or deletes a row that an export has not reached, it saves the old one in a table of its
//! own, and rows created later have addresses beyond the end fixed at the start. While no export runs a commit pays
//! nothing.
//!
//! Saved rows belong to no export. Each carries the number of the commit that overwrote it, each export the number of the
//! last commit before it began: of the rows saved for an address it takes the first one of a later commit, or else the
//! live one. So a commit saves a row once, however many exports wait for it, and not at all where an earlier commit has
//! saved it for all of them.

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;

use datascript::Writes;
use flate2::Compression;
use flate2::write::GzEncoder;
use protocol::limits;

use super::frame_writer::FrameWriter;
use crate::error::{Error, Result};
use crate::store::kvs::{self, StoredRow};
use database::local::{Sql, SqlError};

/// How the bytes of an export are packed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Frames as they are.
    Identity,
    /// One gzip stream over all frames, at the fastest level.
    Gzip,
}

/// A handle to an export. Dropping it ends the export; the graph then saves no more rows for it.
#[derive(Debug)]
pub struct Export {
    fate: Rc<Fate>,
    rows: i64,
}

/// What a handle and the graph share.
#[derive(Debug)]
struct Fate {
    state: Cell<State>,
    /// What the stream ends with that breaks off.
    unfinished: RefCell<Vec<u8>>,
}

/// What became of an export.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// All of it went out.
    Complete,
    /// The graph was wiped under it, or could not be read.
    Replaced,
    /// Nobody read it for too long.
    Stalled,
}

impl Export {
    /// Rows of the snapshot: `x-snapshot-row-count`.
    pub const fn row_count(&self) -> i64 {
        self.rows
    }

    /// After an error: what is to be sent before the stream breaks off. A platform may end a stream that broke off like one
    /// that is complete; so it ends within a frame, with a length that no bytes follow, and compressed without a trailer.
    /// No reader takes that for the end of a snapshot.
    pub fn unfinished(&self) -> Vec<u8> {
        self.fate.unfinished.take()
    }
}

/// Bytes of rows in the first frame, so that a reader has something at once. Each further one is twice as long, up to the usual length.
const FIRST_FRAME_BYTES: usize = 64 << 10;

/// The length of a frame that does not come.
const UNFINISHED: [u8; 4] = 2_u32.to_be_bytes();

/// An export as the graph keeps it: its memory and saved rows are freed when it ends, even while its handle exists.
#[derive(Debug)]
struct Running {
    fate: Rc<Fate>,
    /// The last commit that it shows.
    begun: i64,
    /// Rows up to this address went out.
    cursor: i64,
    /// Greatest address at the start.
    end: i64,
    gzip: Option<GzEncoder<Vec<u8>>>,
    /// Bytes of the next frame, while that is shorter than usual.
    frame_bytes: usize,
    /// All rows went out.
    done: bool,
    /// When it was last read, in milliseconds.
    read_at: i64,
}

impl Running {
    /// Whether nobody reads it any more.
    fn is_over(&self, now_ms: i64) -> bool {
        Rc::strong_count(&self.fate) == 1 || now_ms.saturating_sub(self.read_at) > limits::EXPORT_IDLE_MS
    }

    /// Ends the export. Where all of its bytes were read it counts as complete, even if it was dropped or replaced.
    fn end(mut self, state: State) {
        let is_out = self.done && self.gzip.is_none();
        let state = if is_out { State::Complete } else { state };
        self.fate.state.set(state);
        if state != State::Complete {
            self.fate.unfinished.replace(match &mut self.gzip {
                None => UNFINISHED.to_vec(),
                Some(gzip) => {
                    // Writing to memory does not fail.
                    let _ = gzip.write_all(&UNFINISHED).and_then(|()| gzip.flush());
                    std::mem::take(gzip.get_mut())
                }
            });
        }
    }

    /// Whether it has yet to send the row at `addr`.
    const fn awaits(&self, addr: i64) -> bool {
        addr > self.cursor && addr <= self.end
    }

    /// The next piece of the stream, never empty; `None` at its end.
    fn next(&mut self, sql: &impl Sql, frame_bytes: usize, saved: bool) -> Result<Option<Vec<u8>>> {
        // Each round takes a page of rows, of which there are finitely many.
        loop {
            if self.done {
                let rest = self.gzip.take().map(GzEncoder::finish).transpose().map_err(packing)?;
                return Ok(rest.filter(|rest| !rest.is_empty()));
            }
            let bytes = self.frame_bytes.min(frame_bytes);
            self.frame_bytes = bytes.saturating_mul(2);
            let mut frame = FrameWriter::with_capacity(bytes);
            if saved {
                let (rows, complete) = self.page(sql, bytes)?;
                self.done = complete;
                for row in &rows {
                    frame.row(row.addr, &row.content, row.addresses.as_deref());
                    self.cursor = row.addr;
                }
            } else {
                let cursor = &mut self.cursor;
                self.done = kvs::show_page(sql, *cursor, self.end, bytes, &mut |row| {
                    frame.row(row.addr, &row.content, row.addresses.as_deref());
                    *cursor = row.addr;
                })?;
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

    /// The next rows as they were at the start, some of which may be saved ones, and whether they are the last.
    fn page(&self, sql: &impl Sql, frame_bytes: usize) -> Result<(Vec<StoredRow>, bool), SqlError> {
        let after = self.cursor;
        let (mut live, mut complete) = kvs::page(sql, after, self.end, frame_bytes)?;
        let (mut saved, saved_complete) = kvs::saved_page(sql, self.begun, after, self.end, frame_bytes)?;
        // A list that was cut short does not tell which addresses beyond its last row exist.
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

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn packing(error: std::io::Error) -> Error {
    Error::Corrupt(error.to_string())
}

/// The exports that run over a graph: at most [`limits::EXPORTS`].
#[derive(Debug)]
pub(crate) struct RunningExports {
    /// How many may run at a time.
    pub(crate) limit: usize,
    running: Vec<Running>,
    /// Commits under running exports so far.
    commits: i64,
    /// Whether there may be saved rows.
    saved: bool,
}

impl Default for RunningExports {
    fn default() -> Self {
        Self { limit: limits::EXPORTS, running: Vec::new(), commits: 0, saved: false }
    }
}

impl RunningExports {
    /// Whether any run.
    pub(crate) fn are_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Begins an export of the `rows` that are stored.
    pub(crate) fn begin(&mut self, sql: &impl Sql, rows: i64, encoding: Encoding, now_ms: i64) -> Result<Export> {
        self.settle(sql, now_ms)?;
        if self.running.len() >= self.limit {
            return Err(Error::TooManyExports);
        }
        let gzip = match encoding {
            Encoding::Identity => None,
            Encoding::Gzip => Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let fate = Rc::new(Fate { state: Cell::new(State::Running), unfinished: RefCell::default() });
        self.running.push(Running {
            fate: Rc::clone(&fate),
            begun: self.commits,
            cursor: -1,
            end: kvs::greatest_addr(sql)?.unwrap_or(-1),
            gzip,
            frame_bytes: FIRST_FRAME_BYTES,
            done: false,
            read_at: now_ms,
        });
        Ok(Export { fate, rows })
    }

    /// The next piece of an export, never empty; `None` at its end.
    pub(crate) fn next(
        &mut self,
        sql: &impl Sql,
        export: &Export,
        frame_bytes: usize,
        now_ms: i64,
    ) -> Result<Option<Vec<u8>>> {
        self.settle(sql, now_ms)?;
        let Some(at) = self.position(export) else {
            return match export.fate.state.get() {
                State::Complete => Ok(None),
                State::Stalled => Err(Error::Stalled),
                State::Replaced | State::Running => Err(Error::Replaced),
            };
        };
        let Some(running) = self.running.get_mut(at) else { return Err(Error::Replaced) };
        running.read_at = now_ms;
        match running.next(sql, frame_bytes, self.saved) {
            Ok(Some(piece)) => Ok(Some(piece)),
            Ok(None) => {
                // All rows are out: that saved ones could not be dropped is nothing to break the stream for.
                let _ = self.end(sql, at, State::Complete);
                Ok(None)
            }
            Err(error) => {
                // The first error is the one to report.
                let _ = self.end(sql, at, State::Replaced);
                Err(error)
            }
        }
    }

    /// Ends an export, complete or not.
    pub(crate) fn forget(&mut self, sql: &impl Sql, export: &Export) -> Result<(), SqlError> {
        match self.position(export) {
            Some(at) => self.end(sql, at, State::Complete),
            None => Ok(()),
        }
    }

    /// Ends what was dropped, and what nobody has read for [`limits::EXPORT_IDLE_MS`]. The stream of such an export breaks
    /// off when it is read again.
    pub(crate) fn settle(&mut self, sql: &impl Sql, now_ms: i64) -> Result<(), SqlError> {
        while let Some(at) = self.running.iter().position(|running| running.is_over(now_ms)) {
            self.end(sql, at, State::Stalled)?;
        }
        Ok(())
    }

    /// [`save`](Self::save) for all rows that are about to be written or deleted.
    pub(crate) fn save_before(&mut self, sql: &impl Sql, writes: &Writes) -> Result<(), SqlError> {
        let written = writes.rows.iter().map(|row| row.addr);
        self.save(sql, written.chain(writes.deleted.iter().copied()).map(i64::from))
    }

    /// Before rows at `addrs` are overwritten or deleted: saves those that an export has yet to send and that were not
    /// saved since it began. To be called within the transaction that overwrites them.
    fn save(&mut self, sql: &impl Sql, addrs: impl Iterator<Item = i64>) -> Result<(), SqlError> {
        if self.running.is_empty() {
            return Ok(());
        }
        self.commits += 1;
        // By the youngest export that awaits it: what was saved since that one began does for all of them.
        let mut awaited: Vec<(i64, i64)> = addrs
            .filter_map(|addr| {
                let awaiting = self.running.iter().filter(|running| running.awaits(addr));
                awaiting.map(|running| running.begun).max().map(|begun| (begun, addr))
            })
            .collect();
        awaited.sort_unstable();
        for group in awaited.chunk_by(|one, other| one.0 == other.0) {
            let Some(&(begun, _)) = group.first() else { continue };
            let addrs: Vec<i64> = group.iter().map(|&(_, addr)| addr).collect();
            self.saved = true;
            kvs::save_rows(sql, self.commits, begun, &addrs)?;
        }
        Ok(())
    }

    /// The greatest address that an export may still look at: no new row may get one below, or it would show.
    pub(crate) fn greatest_end(&self) -> i64 {
        self.running.iter().map(|running| running.end).max().unwrap_or(-1)
    }

    /// The graph is replaced: running exports end with an error. Their saved rows are the caller's to drop.
    pub(crate) fn replace(&mut self) {
        for running in self.running.drain(..) {
            running.end(State::Replaced);
        }
        self.saved = false;
    }

    fn position(&self, export: &Export) -> Option<usize> {
        self.running.iter().position(|running| Rc::ptr_eq(&running.fate, &export.fate))
    }

    /// Ends the export at a position and drops the rows that only it would have read.
    fn end(&mut self, sql: &impl Sql, at: usize, state: State) -> Result<(), SqlError> {
        let ended = self.running.swap_remove(at);
        let ended_begun = ended.begun;
        ended.end(state);
        if !self.saved {
            return Ok(());
        }
        let begun = || self.running.iter().map(|running| running.begun);
        let (older, younger) =
            (begun().filter(|&at| at <= ended_begun).max(), begun().filter(|&at| at > ended_begun).min());
        let outcome = match (older, younger) {
            (None, None) => {
                self.saved = false;
                kvs::drop_saved(sql)
            }
            // Another one sees the same state.
            (Some(older), _) if older == ended_begun => Ok(()),
            (None, Some(younger)) => kvs::drop_saved_until(sql, younger),
            (Some(older), younger) => kvs::drop_saved_again(sql, older, younger.unwrap_or(self.commits)),
        };
        // Rows that could not be deleted now are never read; the next deletion takes them along.
        self.saved |= outcome.is_err();
        outcome
    }
}
