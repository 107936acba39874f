//! The server: one graph over one database. The database survives when the graph object is dropped.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use datascript::{Db, Row, Value};
use graph::faults::{self, Point};
use graph::rules::checksum;
use graph::snapshot::FrameWriter;
use graph::sockets::{Effect, Frame, Message};
use graph::{Graph, Options};
use protocol::query::UploadQuery;
use serde_json::Value as Json;

use crate::base::{self, Base};
use crate::{Result, ensure, fail, state};

pub(crate) type SimGraph = Graph<Rc<Rusqlite>>;

/// Points of a batch or of a checkpoint at which the server may die.
pub(crate) const POINTS: [Point; 7] = [
    Point::CommitBeforeStorage,
    Point::CommitInsideStorage,
    Point::CommitAfterStorage,
    Point::CheckpointBeforeStorage,
    Point::CheckpointInsideStorage,
    Point::CheckpointAfterStorage,
    Point::BatchBeforeBroadcast,
];

pub(crate) struct Server {
    sql: Rc<Rusqlite>,
    pub(crate) graph: SimGraph,
    clock: Rc<Cell<i64>>,
    options: Options,
    /// The database that the log gives when it is applied to the base.
    pub(crate) shadow: Db,
    /// The log as it was at the last check; it may only grow.
    log: Vec<String>,
    /// Times it died, by chance or at a fault point.
    pub(crate) deaths: u32,
}

/// What a sender gets, and what everyone else hears.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply {
        reply: Json,
        changed: Option<i64>,
    },
    /// The server died.
    Died,
}

impl Server {
    /// A server whose cache and journal are so large: small ones load, evict and checkpoint all the time.
    pub(crate) fn new(base: Base, cache_bytes: usize, journal_datoms: usize) -> Result<Self> {
        let sql = Rc::new(Rusqlite::in_memory().map_err(fail)?);
        let clock = Rc::new(Cell::new(1_755_000_000_000));
        let options = Options { cache_bytes, journal_datoms, frame_bytes: 10_000, ..Options::DEFAULT };
        let graph = open(&sql, &clock, options);
        let mut server = Self { sql, graph, clock, options, shadow: base::db(base)?, log: Vec::new(), deaths: 0 };
        if base == Base::Logseq {
            server.upload(&base::rows()?)?;
        }
        Ok(server)
    }

    fn upload(&mut self, rows: &[Row]) -> Result<()> {
        let mut frame = FrameWriter::new();
        let mut rows: Vec<&Row> = rows.iter().collect();
        rows.sort_by_key(|row| row.addr);
        for row in rows {
            frame.row(i64::from(row.addr), &row.content, row.addresses.as_deref());
        }
        let checksum = checksum::full(&self.shadow).map_err(fail)?.to_string();
        let query = UploadQuery::new(Some("true"), Some("true"), Some(&checksum));
        let mut upload = self.graph.begin_upload(&query, "client", false, true).map_err(fail)?;
        self.graph.close_for_upload(&mut upload).map_err(fail)?;
        for piece in frame.finish().chunks(50_000) {
            self.graph.feed_upload(&mut upload, piece).map_err(fail)?;
        }
        let uploaded = self.graph.finish_upload(&mut upload).map_err(fail)?;
        ensure!(uploaded.opened, "the upload did not open the graph");
        Ok(())
    }

    /// Dies and comes back.
    pub(crate) fn restart(&mut self) -> Result<()> {
        faults::disarm();
        self.deaths += 1;
        self.graph = open(&self.sql, &self.clock, self.options);
        self.check()
    }

    /// Falls idle: then its rows alone, without journal and log, are the graph. False: it died.
    pub(crate) fn rest(&mut self) -> Result<bool> {
        let outcome = self.graph.checkpoint();
        if faults::fired() {
            self.restart()?;
            return Ok(false);
        }
        outcome.map_err(fail)?;
        ensure!(self.graph.waits_for_checkpoint().is_none(), "something waits after a checkpoint");
        let mut rows = Vec::new();
        self.sql
            .query("SELECT addr, content, addresses FROM kvs", &[], &mut |row| {
                let addr = row.int(0)?.and_then(|addr| u32::try_from(addr).ok()).unwrap_or_default();
                let content = row.text(1)?.unwrap_or_default().into_owned();
                rows.push(Row { addr, content, addresses: row.text(2)?.map(std::borrow::Cow::into_owned) });
                Ok(ControlFlow::Continue(()))
            })
            .map_err(fail)?;
        if rows.is_empty() {
            return Ok(true);
        }
        let alone = state::facts(&base::open_rows(rows)?)?;
        match state::difference(&alone, &state::facts(&self.shadow)?) {
            Some(difference) => Err(format!("rows after a checkpoint, and log: {difference}")),
            None => Ok(true),
        }
    }

    /// Handles a message of a client and checks what it did.
    pub(crate) fn send(&mut self, message: &Json) -> Result<Answer> {
        self.clock.set(self.clock.get() + 17);
        let text = message.to_string();
        let before = self.stored()?;
        let reaction = self.graph.react(None, Message::parse(Frame::Text(&text)));
        if faults::fired() {
            faults::disarm();
            self.restart()?;
            return Ok(Answer::Died);
        }
        if let Some(failure) = reaction.failure {
            return Err(format!("the server failed: {failure}"));
        }
        let parse = |text: &str| serde_json::from_str::<Json>(text).map_err(fail);
        let (reply, others) = match reaction.effect {
            Effect::Reply(reply) => (parse(&reply)?, None),
            Effect::Pull(mut pull) => {
                let mut text = String::new();
                while self.graph.pull_piece(&mut pull, &mut text).map_err(fail)? {}
                (parse(&text)?, None)
            }
            Effect::ReplyAndTell { reply, others } => (parse(&reply)?, Some(parse(&others)?)),
            other => return Err(format!("unexpected effect {other:?}")),
        };
        let after = self.stored()?;
        let grew = after.t > before.t;
        ensure!(grew == others.is_some(), "told {others:?} when t went from {} to {}", before.t, after.t);
        if grew {
            self.check()?;
        } else {
            ensure!(before == after, "{reply} changed what is stored");
        }
        let told = reply.get("t").and_then(Json::as_i64);
        ensure!(told.is_none_or(|t| t == after.t), "{reply} but t is {}", after.t);
        let changed = others.as_ref().and_then(|others| others.get("t")).and_then(Json::as_i64);
        ensure!(!grew || changed == Some(after.t), "others heard {others:?}, t is {}", after.t);
        Ok(Answer::Reply { reply, changed })
    }

    /// Checks that rows, log, counter and checksum agree, that the log only grew, and that applying it to the base
    /// gives the same graph.
    pub(crate) fn check(&mut self) -> Result<()> {
        let position = self.graph.position().map_err(fail)?;
        let mut rows: Vec<(i64, String)> = Vec::new();
        self.sql
            .query("SELECT t, tx FROM tx_log ORDER BY t", &[], &mut |row| {
                rows.push((row.int(0)?.unwrap_or_default(), row.text(1)?.unwrap_or_default().into_owned()));
                Ok(ControlFlow::Continue(()))
            })
            .map_err(fail)?;
        ensure!(rows.len() >= self.log.len(), "{} of {} logged transactions are left", rows.len(), self.log.len());
        for (i, (t, tx)) in rows.into_iter().enumerate() {
            ensure!(usize::try_from(t) == Ok(i + 1), "log row {i} has t {t}");
            if let Some(known) = self.log.get(i) {
                ensure!(*known == tx, "log row {t} changed");
            } else {
                apply(&mut self.shadow, &tx).map_err(|error| format!("log row {t} does not replay: {error}"))?;
                self.log.push(tx);
            }
        }
        ensure!(usize::try_from(position.t) == Ok(self.log.len()), "t {} but {} rows", position.t, self.log.len());
        if let Some(stored) = &position.checksum {
            let ours = checksum::full(self.graph.db().map_err(fail)?).map_err(fail)?.to_string();
            ensure!(*stored == ours, "checksum {stored} stored, {ours} recomputed at t {}", position.t);
            let logged = checksum::full(&self.shadow).map_err(fail)?.to_string();
            ensure!(*stored == logged, "checksum {stored} stored, {logged} by the log at t {}", position.t);
        }
        Ok(())
    }

    /// The graph as the log makes it is the graph in memory, and that in the rows.
    pub(crate) fn check_facts(&mut self) -> Result<Vec<String>> {
        let logged = state::facts(&self.shadow)?;
        let live = state::facts(self.graph.db().map_err(fail)?)?;
        if let Some(difference) = state::difference(&live, &logged) {
            return Err(format!("server and log: {difference}"));
        }
        let mut again = open(&self.sql, &self.clock, self.options);
        let stored = state::facts(again.db().map_err(fail)?)?;
        if let Some(difference) = state::difference(&live, &stored) {
            return Err(format!("memory and rows: {difference}"));
        }
        Ok(live)
    }

    /// State that a refused entry must not change. The tail row is not part of it, as a transaction without effect may
    /// write it (datascript.md 10.2); its datoms are compared elsewhere.
    fn stored(&self) -> Result<Stored> {
        // Of the last transaction in the journal, or else of the last checkpoint.
        const LAST: &str = "SELECT checksum, seq FROM journal WHERE seq > coalesce((SELECT CAST(value AS INTEGER) \
                            FROM sync_meta WHERE key = 'journal-seq'), 0) \
                            UNION ALL SELECT value, 0 FROM sync_meta WHERE key = 'checksum' ORDER BY 2 DESC LIMIT 1";
        let int = |sql: &str| {
            let mut found = 0;
            let params: &[Param<'_>] = &[];
            self.sql.query(sql, params, &mut |row| {
                found = row.int(0)?.unwrap_or_default();
                Ok(ControlFlow::Break(()))
            })?;
            Ok::<_, database::local::SqlError>(found)
        };
        let mut checksum = None;
        let tables = int("SELECT count(*) FROM sqlite_master WHERE name = 'sync_meta'").map_err(fail)?;
        if tables == 0 {
            return Ok(Stored::default());
        }
        self.sql
            .query(LAST, &[], &mut |row| {
                checksum = row.text(0)?.map(std::borrow::Cow::into_owned);
                Ok(ControlFlow::Break(()))
            })
            .map_err(fail)?;
        Ok(Stored {
            t: int("SELECT coalesce(max(t), 0) FROM tx_log").map_err(fail)?,
            rows: int("SELECT count(*) FROM kvs WHERE addr > 1").map_err(fail)?,
            bytes: int("SELECT coalesce(sum(length(content)), 0) FROM kvs WHERE addr <> 1").map_err(fail)?,
            checksum,
        })
    }
}

#[derive(Debug, Default)]
struct Stored {
    t: i64,
    rows: i64,
    bytes: i64,
    checksum: Option<String>,
}

impl PartialEq for Stored {
    fn eq(&self, other: &Self) -> bool {
        // The first access creates an empty graph.
        let created = self.rows == 0 && other.rows == 3;
        self.t == other.t
            && self.checksum == other.checksum
            && (created || (self.rows == other.rows && self.bytes == other.bytes))
    }
}

/// Applies a logged transaction to a copy.
pub(crate) fn apply(db: &mut Db, tx: &str) -> Result<()> {
    let items = transit::read_str(tx).map_err(fail)?;
    let report = datascript::with(db, items.as_seq().map_or(&[] as &[Value], |items| items)).map_err(fail)?;
    *db = report.db_after;
    Ok(())
}

fn open(sql: &Rc<Rusqlite>, clock: &Rc<Cell<i64>>, options: Options) -> SimGraph {
    let clock = Rc::clone(clock);
    Graph::new(Rc::clone(sql), move || clock.get(), options)
}
