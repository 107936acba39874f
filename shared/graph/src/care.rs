//! What operators do with a graph as a whole: look at all of it, correct its checksum, and free rows that nothing reaches
//! (self-host.md 7.2). No client waits for any of this.

use std::rc::Rc;

use database::local::{Sql, SqlError};
use datascript::verify::Verify;
use datascript::{Attrs, StorageError};
use transit::Limits;

use crate::error::Result;
use crate::graph::{Graph, Position};
use crate::repair::PIECE_LEAVES;
use crate::rules;
use crate::store::{kvs, log, meta};

/// Rows that are freed in one transaction.
const FREED_ROWS: usize = 1_000;

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

/// What became of rows that nothing reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// All rows, before.
    pub rows: u64,
    /// Those that went, or would.
    pub deleted: u64,
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

    /// Deletes the rows that no root reaches, some at a time; each part is a transaction of its own, so that whoever ends the
    /// process in between loses nothing. Facts and checksum stay, which is made sure of first and last.
    ///
    /// # Errors
    /// [`crate::Error::NotReady`] while an upload runs; [`crate::Error::Corrupt`] where rows cannot be used: then nothing is
    /// known to be unreachable.
    pub fn free_rows(&mut self, apply: bool) -> Result<Freed> {
        if apply {
            self.checkpoint()?;
        }
        let before = self.checksum_of_rows()?;
        let mut reached = std::collections::BTreeSet::from([0, 1]);
        self.verify(&mut |addr| {
            reached.insert(i64::from(addr));
        })?;
        let mut unreached = Vec::new();
        let mut rows = 0;
        kvs::addresses(&*self.sql, &mut |addr| {
            rows += 1;
            if !reached.contains(&addr) {
                unreached.extend(u32::try_from(addr));
            }
        })?;
        if apply {
            for part in unreached.chunks(FREED_ROWS) {
                self.sql.transaction(&mut || kvs::delete(&*self.sql, part))?;
            }
            self.forget();
            if self.checksum_of_rows()? != before {
                return Err(SqlError::Other("the facts are other ones than before".into()).into());
            }
        }
        Ok(Freed { rows, deleted: unreached.len() as u64 })
    }

    fn checksum_of_rows(&mut self) -> Result<String> {
        Ok(rules::checksum::full(self.db()?)?.to_string())
    }
}
