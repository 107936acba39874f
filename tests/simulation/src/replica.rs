//! A copy of a graph that is made of its log alone: what harnesses over real servers compare those with.

use datascript::Db;
use graph::rules::checksum;
use graph::snapshot::FrameReader;

use crate::base::{self, Base};
use crate::{Result, ensure, fail, server, state};

/// The copy of a graph that began empty.
#[derive(Debug)]
pub struct Replica(Db);

impl Replica {
    /// Before the first transaction.
    ///
    /// # Errors
    /// None is known.
    pub fn empty() -> Result<Self> {
        Ok(Self(base::db(Base::Empty)?))
    }

    /// Applies the next transaction of the log.
    ///
    /// # Errors
    /// It is no transaction, or does not fit the copy.
    pub fn apply(&mut self, tx: &str) -> Result<()> {
        server::apply(&mut self.0, tx)
    }

    /// The checksum, made of the whole copy.
    ///
    /// # Errors
    /// The copy is no graph.
    pub fn checksum(&self) -> Result<String> {
        Ok(checksum::full(&self.0).map_err(fail)?.to_string())
    }

    /// Makes sure that a snapshot, as a server streams it, holds the same facts.
    ///
    /// # Errors
    /// It does not, or is none.
    pub fn compare(&self, mut snapshot: &[u8]) -> Result<()> {
        let (mut reader, mut rows) = (FrameReader::new(), Vec::new());
        while let Some(row) = reader.next_row(&mut snapshot).map_err(fail)? {
            rows.push(row);
        }
        reader.end().map_err(fail)?;
        let difference = state::difference(&state::facts(&self.0)?, &state::facts(&base::open_rows(rows)?)?);
        ensure!(difference.is_none(), "log and snapshot: {}", difference.unwrap_or_default());
        Ok(())
    }
}
