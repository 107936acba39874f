//! The index of a world, which can be made to fail, hang, lose its answers or be behind.

use std::cell::RefCell;

use database::sqlite::Sqlite;
use database::{Database, DbError, Param, ReadFrom, Row, Statement};
use index::migrations::MIGRATIONS;

/// What goes wrong with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done.
    Fails,
    /// It is done, and the answer gets lost.
    Loses,
    /// No answer ever comes.
    Hangs,
    /// The nearest copy has no rows yet; the primary copy does.
    Stale,
}

/// Done once.
type Work = Box<dyn FnOnce()>;

/// The index, and what goes wrong next.
pub(crate) struct TestIndex {
    inner: Sqlite,
    faults: RefCell<Vec<Planned>>,
    /// Done once, before a statement with that part in it.
    before: RefCell<Option<(&'static str, Work)>>,
}

/// What is going to go wrong.
struct Planned {
    /// A part of the statement.
    part: &'static str,
    fault: Fault,
    /// So many statements go well before.
    after: usize,
    /// How often.
    times: usize,
}

impl TestIndex {
    pub(crate) fn new() -> Self {
        Self { inner: Sqlite::in_memory(MIGRATIONS).unwrap(), faults: RefCell::default(), before: RefCell::default() }
    }

    /// The next `times` statements with that part in them go wrong.
    pub(crate) fn fault(&self, part: &'static str, fault: Fault, times: usize) {
        self.fault_after(part, 0, fault, times);
    }

    /// The same, after so many of them that go well.
    pub(crate) fn fault_after(&self, part: &'static str, after: usize, fault: Fault, times: usize) {
        self.faults.borrow_mut().push(Planned { part, fault, after, times });
    }

    /// Does something before the next statement with that part in it.
    pub(crate) fn before(&self, part: &'static str, work: Work) {
        *self.before.borrow_mut() = Some((part, work));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        self.faults.borrow_mut().clear();
    }

    fn take(&self, from: Option<ReadFrom>, sql: &str) -> Option<Fault> {
        let due = self.before.borrow_mut().take_if(|(part, _)| sql.contains(*part));
        if let Some((_, work)) = due {
            work();
        }
        let mut faults = self.faults.borrow_mut();
        let fits = |fault: Fault| fault != Fault::Stale || from == Some(ReadFrom::Nearest);
        let planned =
            faults.iter_mut().find(|planned| planned.times > 0 && fits(planned.fault) && sql.contains(planned.part))?;
        if planned.after > 0 {
            planned.after -= 1;
            return None;
        }
        planned.times -= 1;
        Some(planned.fault)
    }

    /// Does it, unless it is not to be done.
    async fn with_fault<T>(
        &self,
        fault: Option<Fault>,
        work: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        match fault {
            Some(Fault::Fails) => Err(DbError("the index is away".into())),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Loses) => {
                work.await?;
                Err(DbError("the answer got lost".into()))
            }
            Some(Fault::Stale) | None => work.await,
        }
    }
}

impl Database for TestIndex {
    async fn query(&self, from: ReadFrom, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let fault = self.take(Some(from), sql);
        if fault == Some(Fault::Stale) {
            return Ok(Vec::new());
        }
        self.with_fault(fault, self.inner.query(from, sql, params)).await
    }

    async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, DbError> {
        self.with_fault(self.take(None, sql), self.inner.execute(sql, params)).await
    }

    async fn batch(&self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DbError> {
        let fault = statements.iter().find_map(|(sql, _)| self.take(None, sql));
        self.with_fault(fault, self.inner.batch(statements)).await
    }
}
