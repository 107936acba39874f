//! What operators do with a graph as a whole: look at all of it, correct its checksum, and free rows that nothing reaches
//! (self-host.md 7.2). No client waits for any of this.

use std::rc::Rc;

use database::local::Sql;
use datascript::verify::Verify;
use datascript::{Attrs, StorageError};
use transit::Limits;

use crate::error::{Error, Result};
use crate::graph::{Graph, Position};
use crate::repair::PIECE_LEAVES;
use crate::rules;
use crate::store::{kvs, log, meta};

/// Rows that are freed in one transaction at most (self-host.md 7.2).
pub const FREED_ROWS: usize = 1_000;

/// What is wrong with a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Rows that no reader can use, and why.
    Rows(String),
    /// Indexes that can be read and do not agree. They are built again when a server opens the graph.
    Indexes,
    /// The stored checksum is not that of the rows.
    Checksum,
    /// A transaction is missing in the log after this counter.
    LogGap {
        /// The last one before the gap.
        after: i64,
    },
    /// The log does not end where the counter stands.
    LogEnd {
        /// The last row.
        last: i64,
        /// The counter.
        t: i64,
    },
}

impl Finding {
    /// A name for machines.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Rows(_) => "rows",
            Self::Indexes => "indexes",
            Self::Checksum => "checksum",
            Self::LogGap { .. } => "log-gap",
            Self::LogEnd { .. } => "log-end",
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(why) => write!(f, "rows that cannot be used: {why}"),
            Self::Indexes => f.write_str("the indexes do not agree"),
            Self::Checksum => f.write_str("the stored checksum is not that of the rows"),
            Self::LogGap { after } => write!(f, "the log has a gap after {after}"),
            Self::LogEnd { last, t } => write!(f, "the log ends at {last}, and the counter is {t}"),
        }
    }
}

/// What a look at a whole graph has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Counter and stored checksum.
    pub position: Position,
    /// The checksum of the rows; none where they cannot be read.
    pub recomputed: Option<String>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The files of the assets that the graph names; none where its rows cannot be read.
    pub assets: Vec<String>,
}

/// Counter and checksum as they are stored, read over a connection that writes nothing.
///
/// # Errors
/// [`Error::Sql`] where the tables are missing.
pub fn stored_position(sql: &impl Sql) -> Result<Position> {
    let meta = meta::load(sql)?;
    Ok(Position { t: meta.t, checksum: meta.checksum })
}

/// Between two of these all rows of a graph were replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    generation: u64,
    upload: u64,
}

/// What a look at all rows has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Counter and stored checksum.
    pub position: Position,
    /// The checksum of the rows.
    pub recomputed: String,
    /// How many rows there are.
    pub rows: u64,
    /// The addresses of those that no root reaches, in order.
    pub unreached: Vec<u32>,
}

impl Survey {
    /// Whether the stored checksum is that of the rows, or none is stored.
    pub fn is_consistent(&self) -> bool {
        self.position.checksum.as_ref().is_none_or(|stored| *stored == self.recomputed)
    }

    /// Whether the facts are still those of an earlier survey, as far as can be told of a graph that clients went on writing.
    pub fn follows(&self, earlier: &Self) -> bool {
        if self.position == earlier.position {
            self.recomputed == earlier.recomputed
        } else {
            self.is_consistent() || !earlier.is_consistent()
        }
    }
}

impl<S: Sql + 'static> Graph<S> {
    /// Counter and checksum as they are stored. Nothing is written, whatever is missing.
    pub fn stored_position(&mut self) -> Result<Position> {
        let meta = self.meta()?;
        Ok(Position { t: meta.t, checksum: meta.checksum.clone() })
    }

    /// Looks at everything that is stored. To be done with a copy: the look opens the graph, which repairs what it can.
    pub fn inspect(&mut self) -> Result<Inspection> {
        let position = self.stored_position()?;
        let mut findings = Vec::new();
        match self.verify(&mut |_| ()) {
            Ok(damage) if damage.any() => findings.push(Finding::Indexes),
            Ok(_) => {}
            Err(error @ datascript::Error::Storage(_)) => return Err(error.into()),
            Err(error) => findings.push(Finding::Rows(error.to_string())),
        }
        let (mut recomputed, mut assets) = (None, Vec::new());
        if findings.is_empty() && kvs::exists(&*self.sql, 0)? {
            let db = self.db()?;
            let sum = rules::checksum::full(db)?.to_string();
            rules::named_assets(db, |name| assets.push(name))?;
            if position.checksum.as_ref().is_some_and(|stored| *stored != sum) {
                findings.push(Finding::Checksum);
            }
            recomputed = Some(sum);
        }
        findings.extend(self.inspect_log(position.t)?);
        Ok(Inspection { position, recomputed, findings, assets })
    }

    fn inspect_log(&self, t: i64) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut last = 0;
        let mut gap = None;
        log::counters(&*self.sql, &mut |found| {
            if found != last + 1 {
                gap.get_or_insert(last);
            }
            last = found;
        })?;
        findings.extend(gap.map(|after| Finding::LogGap { after }));
        if last != t {
            findings.push(Finding::LogEnd { last, t });
        }
        Ok(findings)
    }

    /// Looks at all nodes; `reached` is shown the address of each.
    fn verify(&self, reached: &mut dyn FnMut(u32)) -> Result<datascript::verify::Damage, datascript::Error> {
        let greatest = kvs::greatest_addr(&*self.sql).map_err(|error| StorageError(error.to_string()))?;
        let Some(greatest) = greatest else { return Ok(datascript::verify::Damage::default()) };
        let rows = Rc::new(kvs::Kvs(Rc::clone(&self.sql)));
        let schema = rules::static_schema(Attrs::new(rules::attrs::PRESET));
        let mut verify = Verify::new(rows, schema, u64::try_from(greatest).unwrap_or(u64::MAX), Limits::STORED)?;
        while verify.step(PIECE_LEAVES)? {}
        verify.reached().for_each(reached);
        Ok(verify.damage())
    }

    /// Stores the checksum of the rows in the place of the one that is stored; gives both. None where they are equal, or none
    /// is stored.
    pub fn correct_checksum(&mut self, apply: bool) -> Result<Option<(String, String)>> {
        let position = self.position()?;
        let Some(stored) = position.checksum else { return Ok(None) };
        let sum = rules::checksum::full(self.db()?)?.to_string();
        if sum == stored {
            return Ok(None);
        }
        if apply {
            // The last row of the journal would have the old one.
            self.checkpoint()?;
            let sql = Rc::clone(&self.sql);
            sql.transaction(&mut || meta::advance(&*sql, position.t, Some(&sum)))?;
            self.forget();
        }
        Ok(Some((stored, sum)))
    }

    /// Whether an export or an upload uses the rows: until it has ended none of them are deleted.
    pub fn is_busy(&mut self) -> Result<bool> {
        if self.is_uploading()? {
            return Ok(true);
        }
        self.settle_exports()?;
        Ok(self.is_receiving() || self.exports.are_running())
    }

    /// Whether a request brings rows of an upload at this moment.
    pub fn is_receiving(&self) -> bool {
        self.running.is_some()
    }

    /// Makes a checkpoint, after which the rows alone are the graph: what [`Graph::survey`] finds in them then may be freed for as
    /// long as this epoch lasts.
    ///
    /// # Errors
    /// [`Error::NotReady`] while an upload runs, [`Error::Deleted`].
    pub fn begin_freeing(&mut self) -> Result<Epoch> {
        if self.is_uploading()? {
            return Err(Error::NotReady);
        }
        // Opening builds damaged indexes again.
        self.db()?;
        self.checkpoint()?;
        Ok(Epoch { generation: self.generation, upload: self.upload_epoch })
    }

    /// Looks at all stored rows, and writes nothing. To be asked of a graph over a connection of its own that sees one state: it
    /// takes as long as the graph is large.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where rows cannot be used: then nothing is known to be unreachable.
    pub fn survey(&self) -> Result<Survey> {
        let meta = meta::load(&*self.sql)?;
        let recomputed = self.full_checksum()?;
        let mut reached = std::collections::BTreeSet::from([0, 1]);
        let damage = self.verify(&mut |addr| {
            reached.insert(i64::from(addr));
        })?;
        if damage.any() {
            return Err(Error::Corrupt("the indexes do not agree".into()));
        }
        let (mut unreached, mut rows) = (Vec::new(), 0);
        kvs::addresses(&*self.sql, &mut |addr| {
            rows += 1;
            if !reached.contains(&addr) {
                unreached.extend(u32::try_from(addr));
            }
        })?;
        let position = Position { t: meta.t, checksum: meta.checksum };
        Ok(Survey { position, recomputed, rows, unreached })
    }

    /// Deletes rows that a survey of this epoch found unreachable, in one transaction. What is unreachable stays so, because new rows
    /// get addresses above all others, for as long as the graph stays open.
    ///
    /// # Errors
    /// [`Error::NotReady`] while the graph [is busy](Graph::is_busy), [`Error::Replaced`] where the rows are other ones by now.
    pub fn free(&mut self, epoch: Epoch, part: &[u32]) -> Result<()> {
        if self.is_busy()? {
            return Err(Error::NotReady);
        }
        if epoch != (Epoch { generation: self.generation, upload: self.upload_epoch }) {
            return Err(Error::Replaced);
        }
        self.counted = None;
        let sql = Rc::clone(&self.sql);
        Ok(sql.transaction(&mut || kvs::delete(&*sql, part))?)
    }
}
