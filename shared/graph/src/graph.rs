//! One graph: its storage, what is cached of it, and what runs over it.

use std::ops::ControlFlow;
use std::rc::Rc;

use datascript::{Attrs, Conn, Db, Nodes};
use protocol::pull::{LoggedTx, PullWriter};

use crate::Clock;
use crate::checkpoint::WritePolicy;
use crate::diagnostics::RunningDiagnostics;
use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::pipeline::{Names, Tally};
use crate::repair::Notice;
use crate::rules::{self, Facts};
use crate::snapshot::{Encoding, Export, RunningExports, RunningUpload};
use crate::store::kvs::Kvs;
use crate::store::meta::Meta;
use crate::store::{self, journal, kvs, log, meta};
use database::local::{Sql, SqlError};

/// Transactions of one piece of a pull, in bytes of their texts.
const PULL_BYTES: usize = 1 << 20;

/// Settings of a graph.
#[derive(Copy, Clone, Debug)]
pub struct Options {
    /// Memory for clean tree nodes, in bytes (datascript.md 13.3).
    pub cache_bytes: usize,
    /// Content of the rows of one export frame, in bytes (D-31).
    pub frame_bytes: usize,
    /// One pull over a WebSocket, in bytes (sync.md 7.5): it is one message, which the host holds as a whole.
    pub pull_message_bytes: usize,
    /// Whether a graph that nobody uploaded begins with the built-in data (sync.md 9.4, D-49).
    pub initial_data: bool,
    /// How transactions are made durable (datascript.md 13.5).
    pub writes: WritePolicy,
    /// Datoms that wait in the journal at most.
    pub journal_datoms: usize,
}

impl Options {
    /// Those of a server that has its memory to itself.
    pub const DEFAULT: Self = Self {
        cache_bytes: Nodes::DEFAULT_BUDGET,
        frame_bytes: 1 << 20,
        pull_message_bytes: 256 << 20,
        initial_data: false,
        writes: WritePolicy::Journal,
        journal_datoms: datascript::MAX_JOURNAL_DATOMS,
    };
}

impl Default for Options {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The server state of one graph over its database.
///
/// Synchronous throughout: one message is handled to its end before the next. Opens lazily and reads little: rows 0
/// and 1 and the journal for the first transaction, none of them for `hello` and `pull`. Whatever fails to be stored is forgotten and read
/// again, so that memory and storage agree after every outcome.
pub struct Graph<S> {
    pub(crate) sql: Rc<S>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) options: Options,
    /// Whether the tables are known to exist.
    tables: bool,
    /// Whether row 0 is known to exist.
    created: bool,
    pub(crate) meta: Option<Meta>,
    pub(crate) gate: Option<Gate>,
    open: Option<Open>,
    pub(crate) exports: RunningExports,
    /// The diagnostics that run.
    pub(crate) diagnosing: Option<RunningDiagnostics>,
    /// Grows when an upload or a reset takes the graph over.
    pub(crate) upload_epoch: u64,
    /// The request of an upload that brings rows.
    pub(crate) running: Option<RunningUpload>,
    /// Grows when the graph is wiped.
    pub(crate) generation: u64,
    /// What is to be logged.
    pub(crate) notice: Option<Notice>,
    /// What became of transactions since somebody asked.
    pub(crate) tally: Tally,
    /// Whether rows of tables that were replaced wait to be deleted, where that is known.
    pub(crate) discarded: Option<bool>,
    /// How many rows are stored, where they were counted since they last changed.
    pub(crate) counted: Option<i64>,
}

/// A graph whose database was opened.
pub(crate) struct Open {
    pub(crate) conn: Conn,
    /// What the rules remember of it.
    pub(crate) facts: Facts,
    /// Its attribute names.
    pub(crate) names: Names,
}

/// The counter and the checksum, as `hello` shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Transactions so far.
    pub t: i64,
    /// Absent until the first transaction or finished upload.
    pub checksum: Option<String>,
}

/// A pull under way (sync.md 5.1): the transactions up to the counter at its start.
#[derive(Debug)]
#[must_use = "a pull without its end is no JSON"]
pub struct Pull {
    last: i64,
    position: Position,
    writer: Option<PullWriter>,
    generation: u64,
    ended: bool,
    /// Bytes that may still be written.
    left: usize,
}

impl Pull {
    /// The counter after which it goes on.
    pub fn since(&self) -> i64 {
        self.last
    }

    /// Whether all of it was written.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

impl<S: Sql + 'static> Graph<S> {
    /// A graph over a database that may be empty. Nothing is read yet.
    pub fn new(sql: S, clock: impl Clock + 'static, options: Options) -> Self {
        Self {
            sql: Rc::new(sql),
            clock: Box::new(clock),
            options,
            tables: false,
            created: false,
            meta: None,
            gate: None,
            open: None,
            exports: RunningExports::default(),
            diagnosing: None,
            upload_epoch: 0,
            running: None,
            generation: 0,
            notice: None,
            tally: Tally::default(),
            discarded: None,
            counted: None,
        }
    }

    /// The database.
    pub fn sql(&self) -> &S {
        &self.sql
    }

    /// What became of transactions since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// How many exports may run at a time from now on.
    pub fn limit_exports(&mut self, exports: usize) {
        self.exports.limit = exports;
    }

    /// Whether an upload closed the graph: the local half of readiness (sync.md 5). The other half is the index's flag.
    pub fn is_uploading(&mut self) -> Result<bool> {
        Ok(self.meta()?.uploading)
    }

    /// Whether the graph has rows that can be worked with, and no upload closes it: what the index's flag should say.
    pub fn is_open(&mut self) -> Result<bool> {
        Ok(!self.is_uploading()? && kvs::exists(&*self.sql, 0)?)
    }

    /// The number of stored rows, which is that of an export that begins now.
    pub fn row_count(&mut self) -> Result<i64> {
        self.require_undeleted()?;
        self.checkpoint()?;
        self.stored_rows()
    }

    /// The number of rows in `kvs`. Counting reads every page of the table, so whatever writes rows forgets the number and
    /// nothing else does.
    fn stored_rows(&mut self) -> Result<i64> {
        let rows = match self.counted {
            Some(rows) => rows,
            None => kvs::count(&*self.sql)?,
        };
        debug_assert!(
            kvs::count(&*self.sql).map_or(true, |now| now == rows),
            "rows were written, and their number was not forgotten"
        );
        self.counted = Some(rows);
        Ok(rows)
    }

    /// The counter and the checksum. A graph that was never written gets its first rows (sync.md 9.4); one that is
    /// being uploaded is left alone (D-06).
    pub fn position(&mut self) -> Result<Position> {
        self.settle_exports()?;
        self.create_if_empty()?;
        let meta = self.meta()?;
        Ok(Position { t: meta.t, checksum: meta.checksum.clone() })
    }

    /// Starts a pull of the transactions after `since`, of any length.
    pub fn pull(&mut self, since: i64) -> Result<Pull> {
        self.begin_pull(since, usize::MAX)
    }

    /// Starts a pull that is to be one message, of at most [`Options::pull_message_bytes`].
    pub fn pull_message(&mut self, since: i64) -> Result<Pull> {
        self.begin_pull(since, self.options.pull_message_bytes)
    }

    /// The longest pull that is one message, in bytes.
    pub fn pull_message_bytes(&self) -> usize {
        self.options.pull_message_bytes
    }

    /// Milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn begin_pull(&mut self, since: i64, left: usize) -> Result<Pull> {
        let position = self.position()?;
        // Nothing lies beyond the counter, and a number that no database takes for an integer must not reach it.
        Ok(Pull {
            last: since.min(position.t),
            position,
            writer: None,
            generation: self.generation,
            ended: false,
            left,
        })
    }

    /// Appends the next piece of a pull, about a megabyte, to `out`. False: there was no more.
    ///
    /// # Errors
    /// [`Error::Replaced`] when the graph was wiped in between, [`Error::PullTooLong`] when it would pass its length.
    pub fn pull_piece(&mut self, pull: &mut Pull, out: &mut String) -> Result<bool> {
        if pull.ended {
            return Ok(false);
        }
        if pull.generation != self.generation {
            return Err(Error::Replaced);
        }
        let before = out.len();
        let mut writer = pull.writer.take().unwrap_or_else(|| PullWriter::begin(out, pull.position.t));
        let (mut bytes, mut more) = (0, false);
        log::read(&*self.sql, pull.last, pull.position.t, &mut |t, tx, outliner_op| {
            if bytes >= PULL_BYTES {
                more = true;
                return ControlFlow::Break(());
            }
            bytes += tx.len();
            pull.last = t;
            writer.row(out, &LoggedTx { t, tx, outliner_op });
            ControlFlow::Continue(())
        })?;
        if more {
            pull.writer = Some(writer);
        } else {
            pull.ended = true;
            writer.end(out, pull.position.checksum.as_deref());
        }
        let written = out.len().saturating_sub(before);
        pull.left = pull.left.checked_sub(written).ok_or(Error::PullTooLong)?;
        Ok(true)
    }

    /// Starts sending the rows (sync.md 10.3), all of which are written first.
    ///
    /// # Errors
    /// [`Error::NotReady`] while an upload runs, [`Error::TooManyExports`] while as many run as may.
    pub fn begin_export(&mut self, encoding: Encoding) -> Result<Export> {
        if self.is_uploading()? {
            return Err(Error::NotReady);
        }
        if self.options.initial_data {
            self.create_if_empty()?;
        }
        self.checkpoint()?;
        let rows = self.stored_rows()?;
        self.exports.begin(&*self.sql, rows, encoding, self.clock.now_ms())
    }

    /// The next bytes of an export, about a megabyte; `None` at its end.
    ///
    /// # Errors
    /// [`Error::Replaced`] when the graph was wiped under it, or the export is another graph's; [`Error::Stalled`] when
    /// it was not read for too long: the stream must break off.
    pub fn next_chunk(&mut self, export: &mut Export) -> Result<Option<Vec<u8>>> {
        self.exports.next(&*self.sql, export, self.options.frame_bytes, self.clock.now_ms())
    }

    /// Ends an export, complete or not.
    #[expect(clippy::needless_pass_by_value, reason = "nothing can be read from it afterwards")]
    pub fn end_export(&mut self, export: Export) -> Result<()> {
        Ok(self.exports.forget(&*self.sql, &export)?)
    }

    /// Removes everything the graph stores (sync.md 5.5) but who was removed lately. The adapter closes the sockets.
    ///
    /// # Errors
    /// [`Error::Deleted`]: a graph that was deleted does not begin anew.
    pub fn reset(&mut self) -> Result<()> {
        self.require_undeleted()?;
        self.forget();
        self.replaced();
        self.upload_epoch += 1;
        self.running = None;
        let kept = std::mem::take(self.gate()?);
        let wiped = self.sql.delete_all();
        self.forget_tables();
        wiped?;
        self.keep_revocations(&kept)
    }

    /// The current database value.
    ///
    /// # Errors
    /// [`Error::NotReady`] while an upload runs.
    pub fn db(&mut self) -> Result<&Db> {
        Ok(self.open()?.conn.db())
    }

    /// The schema version that the graph says it has, `:logseq.kv/schema-version`, as text (D-44); none when it says nothing
    /// that a version can be.
    ///
    /// # Errors
    /// [`Error::NotReady`] while an upload runs.
    pub fn schema_version(&mut self) -> Result<Option<String>> {
        rules::schema_version(self.db()?).map_err(|error| Error::Corrupt(error.to_string()))
    }

    /// Ends exports that nobody reads any more: with every commit, download, `hello` and pull.
    pub(crate) fn settle_exports(&mut self) -> Result<()> {
        Ok(self.exports.settle(&*self.sql, self.clock.now_ms())?)
    }

    /// To be called before the first statement of every operation.
    pub(crate) fn ensure_tables(&mut self) -> Result<()> {
        if !self.tables {
            store::ensure(&*self.sql)?;
            self.tables = true;
        }
        Ok(())
    }

    /// The values of `sync_meta`. Every operation on the graph begins here, and ends here once it is deleted.
    pub(crate) fn meta(&mut self) -> Result<&mut Meta> {
        self.require_undeleted()?;
        let mut loaded = match self.meta.take() {
            Some(meta) => meta,
            None => meta::load(&*self.sql)?,
        };
        if self.settle_upload(&loaded)? {
            loaded = meta::load(&*self.sql)?;
        }
        Ok(self.meta.insert(loaded))
    }

    /// The open database.
    pub(crate) fn open(&mut self) -> Result<&mut Open> {
        if self.meta()?.uploading {
            return Err(Error::NotReady);
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.open_anew()?,
        };
        Ok(self.open.insert(open))
    }

    /// The open database, and the exports for which rows are saved before its own go over them.
    pub(crate) fn open_with_exports(&mut self) -> Result<(&mut Open, &mut RunningExports)> {
        self.open()?;
        self.open.as_mut().map(|open| (open, &mut self.exports)).ok_or(Error::NotReady)
    }

    /// The open database for a batch: opened again if too many attribute names came up since it was opened. All that was
    /// done before is stored now, and nothing has to be applied again; during a batch what is open stays open.
    pub(crate) fn open_for_batch(&mut self) -> Result<&mut Open> {
        if self.open.as_ref().is_some_and(|open| open.names.are_too_many(open.conn.db().attrs())) {
            self.checkpoint()?;
            self.open = None;
        }
        self.open()
    }

    fn open_anew(&mut self) -> Result<Open> {
        self.verify_once()?;
        let mut conn = self.connect()?;
        if self.options.initial_data && self.is_unused(conn.db())? {
            let local_uuid = rules::local_uuid([keyed::random(), keyed::random()]);
            let items = rules::initial_data(self.clock.now_ms(), local_uuid);
            let items = items.map_err(|error| Error::Corrupt(error.to_string()))?;
            conn.install(datascript::with(conn.db(), &items)?);
        }
        if conn.has_writes() {
            let t = self.meta()?.t;
            self.counted = None;
            self.sql.transaction(&mut || {
                kvs::write_out(&*self.sql, &mut conn, &mut |_| Ok(()))?;
                meta::advance(&*self.sql, t, None)
            })?;
        }
        self.created = true;
        let names = Names::new(conn.db().attrs());
        Ok(Open { conn, facts: Facts::default(), names })
    }

    /// Whether nothing was ever done with the graph, as opened: an older server may have left its five empty rows.
    fn is_unused(&mut self, db: &Db) -> Result<bool> {
        let meta = self.meta()?;
        let untouched = db.count() == 0 && meta.t == 0 && meta.checksum.is_none() && !meta.uploading;
        Ok(untouched && log::range(&*self.sql, -1)?.rows == 0)
    }

    /// A connection to the rows and the journal as they are now.
    pub(crate) fn connect(&self) -> Result<Conn> {
        let attrs = Attrs::new(rules::attrs::PRESET);
        let storage = Rc::new(Kvs(Rc::clone(&self.sql)));
        let nodes = Rc::new(Nodes::new(Some(storage), Rc::clone(&attrs), self.options.cache_bytes));
        let greatest = kvs::greatest_addr(&*self.sql)?.max(Some(self.exports.greatest_end()));
        let greatest = greatest.and_then(|addr| u32::try_from(addr).ok()).unwrap_or(0);
        let mut conn = Conn::open(nodes, rules::static_schema(attrs), greatest)?;
        if self.options.writes == WritePolicy::Journal {
            conn = conn.journaled(self.options.journal_datoms);
        }
        let journaled = meta::load(&*self.sql)?.journaled;
        if !journaled.is_checkpointed() {
            // As many rows, and as long, as a journal may have.
            for txs in journal::read(&*self.sql, journaled.checkpoint)? {
                conn.replay_journal(txs)?;
            }
        }
        Ok(conn)
    }

    /// Opens, and thereby creates, a graph without row 0.
    fn create_if_empty(&mut self) -> Result<()> {
        if self.created || self.meta()?.uploading {
            return Ok(());
        }
        let plants = self.options.initial_data;
        let meta = self.meta()?;
        let may_lack_data = plants && meta.t == 0 && meta.checksum.is_none();
        if !may_lack_data && kvs::exists(&*self.sql, 0)? {
            self.created = true;
            // Many graphs are greeted, and have nothing to do for long.
            self.sql.was_opened();
            return Ok(());
        }
        self.open().map(|_| ())
    }

    /// The tables are gone, and what was known of them.
    pub(crate) fn forget_tables(&mut self) {
        self.forget();
        self.gate = None;
        self.discarded = None;
        self.tables = false;
    }

    /// Drops everything cached of the graph; the next access reads storage.
    pub(crate) fn forget(&mut self) {
        self.open = None;
        self.meta = None;
        self.created = false;
        self.counted = None;
    }

    /// The rows are no longer those that exports and pulls began to read.
    pub(crate) fn replaced(&mut self) {
        self.exports.replace();
        self.generation += 1;
    }
}

impl From<datascript::Error> for Error {
    fn from(error: datascript::Error) -> Self {
        match error {
            datascript::Error::Storage(error) => Self::Sql(SqlError::from_message(error.to_string())),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
