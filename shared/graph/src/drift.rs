//! Where a checksum went wrong: the log of a graph replayed from nothing, and one logged transaction replayed (sync.md 16).

use std::ops::ControlFlow;
use std::rc::Rc;

use database::local::Sql;
use datascript::{Attrs, Datom, Db, Eid, Nodes, Report, TxId, Value};
use transit::Limits;

use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::rules::{self, Facts, checksum};
use crate::store::log;

/// Items of a transaction that are shown.
const SHOWN: usize = 8;

/// A log that was replayed from an empty database.
#[derive(Debug)]
pub struct Replayed {
    /// Rows of the log.
    pub rows: u64,
    /// The checksum that followed from one transaction after the other, up to the first mismatch.
    pub checksum: String,
    /// The checksum of what was replayed.
    pub recomputed: String,
    /// What ended it before the log did.
    pub stopped: Option<Stopped>,
    /// What was replayed.
    pub db: Db,
}

/// A row of the log at which a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Rows before it.
    pub index: u64,
    /// Its counter.
    pub t: i64,
    /// Its operation.
    pub outliner_op: Option<String>,
    /// The checksum before it.
    pub previous: String,
    /// How many items it has.
    pub items: usize,
    /// The first ones, as Transit.
    pub shown: Vec<String>,
    /// Why.
    pub why: Why,
}

/// Why a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// What followed from the transaction is not what the whole says.
    Differs {
        /// The former.
        incremental: String,
        /// The latter.
        recomputed: String,
    },
    /// The transaction cannot be applied: the log does not begin with an empty graph.
    Refused(String),
}

/// A database value without rows and without facts.
pub fn empty() -> Db {
    of_facts(|_| Vec::new())
}

/// A database value of facts that are told in names of attributes.
pub fn of_facts(facts: impl FnOnce(&Attrs) -> Vec<Datom>) -> Db {
    let attrs = Attrs::new(rules::attrs::PRESET);
    let nodes = Rc::new(Nodes::new(None, Rc::clone(&attrs), Nodes::DEFAULT_BUDGET));
    let datoms = facts(&attrs);
    Db::from_datoms(nodes, rules::static_schema(attrs), datoms)
}

/// A fact under the name of its attribute, without the colon.
pub fn fact(attrs: &Attrs, e: Eid, a: &str, v: Value, tx: TxId) -> Datom {
    Datom::new(e, attrs.intern_str(a), v, tx)
}

/// The checksum after a transaction, given the one before it; anything that is no checksum is made anew.
///
/// # Errors
/// Only when a database cannot be read.
pub fn follow(previous: &str, report: &Report) -> Result<String> {
    let mut facts = Facts::default();
    let mut scope = facts.scope(&report.tx_data);
    let changes = checksum::Changes::Datoms(&report.tx_data);
    let mut references = checksum::MAX_REFERENCES;
    let (before, after) = (&report.db_before, &report.db_after);
    Ok(match checksum::follow(Some(previous), before, after, changes, &mut scope, &mut references)? {
        checksum::Update::None => previous.to_owned(),
        checksum::Update::Sum(sum) => sum.to_string(),
        checksum::Update::Anew => checksum::full(after)?.to_string(),
    })
}

impl<S: Sql + 'static> Graph<S> {
    /// Replays the log from an empty database, as far as each transaction's checksum is what the whole says; `progress` hears how
    /// many rows were replayed. Costs a pass over what was replayed for each row.
    ///
    /// # Errors
    /// The rows of the log cannot be read.
    pub fn replay_log(&mut self, progress: &mut dyn FnMut(u64)) -> Result<Replayed> {
        let t = self.stored_position()?.t;
        let rows = log::range(&*self.sql, -1)?.rows.unsigned_abs();
        let mut db = empty();
        let mut sum = checksum::full(&db)?.to_string();
        let (mut index, mut stopped, mut failed) = (0, None, None);
        log::read(&*self.sql, -1, t, &mut |t, tx, outliner_op| {
            match replay_row(&mut db, &sum, tx) {
                Ok(Step::Followed(next)) => {
                    sum = next;
                    index += 1;
                    progress(index);
                    return ControlFlow::Continue(());
                }
                Ok(Step::Stopped { items, shown, why }) => {
                    let (outliner_op, previous) = (outliner_op.map(str::to_owned), sum.clone());
                    stopped = Some(Stopped { index, t, outliner_op, previous, items, shown, why });
                }
                Err(error) => failed = Some(error),
            }
            ControlFlow::Break(())
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let recomputed = checksum::full(&db)?.to_string();
        Ok(Replayed { rows, checksum: sum, recomputed, stopped, db })
    }
}

enum Step {
    Followed(String),
    Stopped { items: usize, shown: Vec<String>, why: Why },
}

fn replay_row(db: &mut Db, sum: &str, tx: &str) -> Result<Step> {
    let value = transit::read_with(tx, Limits::STORED).map_err(|error| Error::Corrupt(error.to_string()))?;
    let all = value.as_seq().unwrap_or_default();
    let stopped = |why| {
        let shown = all.iter().take(SHOWN).map(transit::write_string).collect();
        Ok(Step::Stopped { items: all.len(), shown, why })
    };
    let report = match datascript::with_value(db, &value) {
        Ok(report) => report,
        Err(error @ datascript::Error::Storage(_)) => return Err(error.into()),
        Err(error) => return stopped(Why::Refused(error.to_string())),
    };
    let (incremental, recomputed) = (follow(sum, &report)?, checksum::full(&report.db_after)?.to_string());
    *db = report.db_after;
    if incremental == recomputed {
        Ok(Step::Followed(incremental))
    } else {
        stopped(Why::Differs { incremental, recomputed })
    }
}

#[cfg(test)]
mod tests {
    use database::local_sqlite::Rusqlite;

    use super::*;
    use crate::{Graph, Options};

    const PAGE: &str = r#"[["~:db/add","p","~:block/uuid","~u66b8d8f0-0000-4000-8000-000000000001"],["~:db/add","p","~:block/name","a"],["~:db/add","p","~:block/title","A"],["~:db/add","p","~:block/tags","~:logseq.class/Page"]]"#;

    fn logged(rows: &[&str]) -> Graph<Rusqlite> {
        let mut graph = Graph::new(Rusqlite::in_memory().unwrap(), || 0, Options::DEFAULT);
        graph.position().unwrap();
        for (t, tx) in (1..).zip(rows) {
            let sql = "INSERT INTO tx_log (t, tx, created_at, outliner_op) VALUES (?, ?, 0, 'insert-blocks')";
            graph.sql().connection().execute(sql, (t, tx)).unwrap();
        }
        graph
            .sql()
            .connection()
            .execute("INSERT OR REPLACE INTO sync_meta VALUES ('t', ?)", [rows.len().to_string()])
            .unwrap();
        graph.forget();
        graph
    }

    #[test]
    fn a_log_is_replayed_to_its_end() {
        let tagless = PAGE.replace(r#",["~:db/add","p","~:block/tags","~:logseq.class/Page"]"#, "");
        let mut heard = 0;
        let replayed = logged(&[&tagless, "[]"]).replay_log(&mut |rows| heard = rows).unwrap();
        assert_eq!((replayed.rows, heard, &replayed.stopped), (2, 2, &None));
        assert_eq!(replayed.checksum, replayed.recomputed);
        assert_ne!(replayed.checksum, checksum::full(&empty()).unwrap().to_string());
    }

    #[test]
    fn a_transaction_that_needs_what_is_not_in_the_log_ends_the_replay() {
        let replayed = logged(&["[]", PAGE]).replay_log(&mut |_| ()).unwrap();
        let stopped = replayed.stopped.unwrap();
        assert_eq!((stopped.index, stopped.t, stopped.items), (1, 2, 4));
        assert!(matches!(stopped.why, Why::Refused(_)), "{stopped:?}");
        assert!(stopped.shown[0].contains("block/uuid"));
    }

    #[test]
    fn a_wrong_checksum_stays_wrong_by_as_much() {
        let attrs_of = |attrs: &Attrs| vec![fact(attrs, 1, "block/uuid", Value::string("x"), 1)];
        let db = of_facts(attrs_of);
        let report = datascript::with(&db, &[]).unwrap();
        assert_eq!(follow("00000000deadbeef", &report).unwrap(), "00000000deadbeef");
        let anew = checksum::full(&db).unwrap().to_string();
        let tx = transit::read_str(r#"[["~:db/add",1,"~:block/title","t"]]"#).unwrap();
        let report = datascript::with_value(&db, &tx).unwrap();
        assert_ne!(follow(&anew, &report).unwrap(), follow("00000000deadbeef", &report).unwrap());
        assert_eq!(follow("no checksum", &report).unwrap(), checksum::full(&report.db_after).unwrap().to_string());
    }
}
