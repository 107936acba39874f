//! The rows of the three trees (sync.md 9.3), and their copies for exports and uploads.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::rc::Rc;

use datascript::{Addr, Conn, Row, Storage, StorageError, Writes};

use super::discard::{self, Table};
use super::statements::Statements;
use database::Param;
use database::local::{Sql, SqlError};

static UPSERT: Statements =
    Statements::new("INSERT OR REPLACE INTO kvs (addr, content, addresses) VALUES ", "(?,?,?)", "", 3);
static STAGE: Statements =
    Statements::new("INSERT OR REPLACE INTO upload_rows (addr, content, addresses) VALUES ", "(?,?,?)", "", 3);
static GET: Statements = Statements::new("SELECT addr, content, addresses FROM kvs WHERE addr IN (", "?", ")", 1);
static GET_STAGED: Statements =
    Statements::new("SELECT addr, content, addresses FROM upload_rows WHERE addr IN (", "?", ")", 1);
static DELETE: Statements = Statements::new("DELETE FROM kvs WHERE addr IN (", "?", ")", 1);
static UNSTAGE: Statements = Statements::new("DELETE FROM upload_rows WHERE addr IN (", "?", ")", 1);
static SAVE: Statements = Statements::new(
    "INSERT INTO saved_rows (addr, overwritten, content, addresses) SELECT addr, ?, content, addresses FROM kvs \
     WHERE NOT EXISTS (SELECT 1 FROM saved_rows WHERE saved_rows.addr = kvs.addr AND overwritten > ?) AND addr IN (",
    "?",
    ")",
    1,
);

/// Writes rows over what their addresses held, in the order of the table: neighbours share pages.
pub(crate) fn put(sql: &impl Sql, rows: &[Row]) -> Result<(), SqlError> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    // Stable: of two rows with one address the later one stays.
    sorted.sort_by_key(|row| row.addr);
    put_all(sql, &UPSERT, &sorted)
}

/// Writes what a connection has to store; `before` is called with each part, before its rows go over others. To be called
/// within a transaction.
pub(crate) fn write_out(
    sql: &impl Sql,
    conn: &mut Conn,
    before: &mut dyn FnMut(&Writes) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    let mut refused = None;
    let outcome = conn.write_out(&mut |writes| {
        let written = before(&writes).and_then(|()| put(sql, &writes.rows)).and_then(|()| delete(sql, &writes.deleted));
        written.map_err(|error| {
            let text = error.to_string();
            refused = Some(error);
            StorageError(text).into()
        })
    });
    outcome.map_err(|error| refused.unwrap_or_else(|| SqlError::Other(error.to_string())))
}

/// Keeps rows of an upload apart until it has ended, in the order in which they came.
pub(crate) fn stage(sql: &impl Sql, rows: &[Row]) -> Result<(), SqlError> {
    let rows: Vec<&Row> = rows.iter().collect();
    put_all(sql, &STAGE, &rows)
}

fn put_all(sql: &impl Sql, statements: &Statements, rows: &[&Row]) -> Result<(), SqlError> {
    let mut params = Vec::with_capacity(3 * rows.len().min(statements.capacity(0)));
    for part in rows.chunks(statements.capacity(0)) {
        params.clear();
        for row in part {
            params.push(Param::Int(i64::from(row.addr)));
            params.push(Param::Text(&row.content));
            params.push(Param::opt(row.addresses.as_deref()));
        }
        sql.execute(statements.text(part.len()), &params)?;
    }
    Ok(())
}

/// Moves the staged rows of an upload over the live ones.
pub(crate) fn merge_staged(sql: &impl Sql) -> Result<(), SqlError> {
    sql.execute(
        "INSERT OR REPLACE INTO kvs (addr, content, addresses) SELECT addr, content, addresses FROM upload_rows",
        &[],
    )?;
    drop_staged(sql)
}

/// Forgets the staged rows of an upload, however many there are. To be called within a transaction.
pub(crate) fn drop_staged(sql: &impl Sql) -> Result<(), SqlError> {
    discard::discard(sql, Table::UploadRows)
}

/// Forgets the staged rows of an upload beyond an address.
pub(crate) fn drop_staged_after(sql: &impl Sql, addr: i64) -> Result<(), SqlError> {
    sql.execute("DELETE FROM upload_rows WHERE addr > ?", &[Param::Int(addr)])
}

/// Deletes rows (garbage of the trees, datascript.md 6.4).
pub(crate) fn delete(sql: &impl Sql, addrs: &[Addr]) -> Result<(), SqlError> {
    delete_all(sql, &DELETE, addrs)
}

/// Forgets staged rows by their addresses.
pub(crate) fn unstage(sql: &impl Sql, addrs: &[Addr]) -> Result<(), SqlError> {
    delete_all(sql, &UNSTAGE, addrs)
}

fn delete_all(sql: &impl Sql, statements: &Statements, addrs: &[Addr]) -> Result<(), SqlError> {
    for part in addrs.chunks(statements.capacity(0)) {
        let params: Vec<_> = part.iter().map(|&addr| Param::Int(i64::from(addr))).collect();
        sql.execute(statements.text(part.len()), &params)?;
    }
    Ok(())
}

/// Shows the address of each row, in order.
pub(crate) fn addresses(sql: &impl Sql, show: &mut dyn FnMut(i64)) -> Result<(), SqlError> {
    sql.query("SELECT addr FROM kvs ORDER BY addr", &[], &mut |row| {
        show(row.int(0)?.unwrap_or_default());
        Ok(ControlFlow::Continue(()))
    })
}

/// Number of rows.
pub(crate) fn count(sql: &impl Sql) -> Result<i64, SqlError> {
    one_int(sql, "SELECT count(*) FROM kvs").map(Option::unwrap_or_default)
}

/// The greatest address in use.
pub(crate) fn greatest_addr(sql: &impl Sql) -> Result<Option<i64>, SqlError> {
    one_int(sql, "SELECT max(addr) FROM kvs")
}

/// The greatest address of a staged row.
fn greatest_staged_addr(sql: &impl Sql) -> Result<Option<i64>, SqlError> {
    one_int(sql, "SELECT max(addr) FROM upload_rows")
}

fn one_int(sql: &impl Sql, statement: &str) -> Result<Option<i64>, SqlError> {
    let mut found = None;
    sql.query(statement, &[], &mut |row| {
        found = row.int(0)?;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// Whether a row exists.
pub(crate) fn exists(sql: &impl Sql, addr: i64) -> Result<bool, SqlError> {
    let mut found = false;
    sql.query("SELECT 1 FROM kvs WHERE addr = ?", &[Param::Int(addr)], &mut |_| {
        found = true;
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// One row.
pub(crate) fn get(sql: &impl Sql, addr: Addr) -> Result<Option<Row>, SqlError> {
    get_from(sql, "SELECT content, addresses FROM kvs WHERE addr = ?", addr)
}

fn get_from(sql: &impl Sql, statement: &str, addr: Addr) -> Result<Option<Row>, SqlError> {
    let mut found = None;
    sql.query(statement, &[Param::Int(i64::from(addr))], &mut |row| {
        let content = row.text(0)?.map(Cow::into_owned).unwrap_or_default();
        found = Some(Row { addr, content, addresses: row.text(1)?.map(Cow::into_owned) });
        Ok(ControlFlow::Break(()))
    })?;
    Ok(found)
}

/// The rows at some addresses, in any order.
fn get_all(sql: &impl Sql, statements: &Statements, addrs: &[Addr]) -> Result<Vec<Row>, SqlError> {
    let mut found = Vec::with_capacity(addrs.len());
    for part in addrs.chunks(statements.capacity(0)) {
        let params: Vec<_> = part.iter().map(|&addr| Param::Int(i64::from(addr))).collect();
        sql.query(statements.text(part.len()), &params, &mut |row| {
            // Asked for by numbers of 32 bits.
            let addr = row.int(0)?.and_then(|addr| Addr::try_from(addr).ok()).unwrap_or_default();
            let content = row.text(1)?.map(Cow::into_owned).unwrap_or_default();
            found.push(Row { addr, content, addresses: row.text(2)?.map(Cow::into_owned) });
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(found)
}

/// Saves the stored rows at some addresses, which commit number `commit` is about to overwrite, unless they were saved by
/// one after `begun`.
pub(crate) fn save_rows(sql: &impl Sql, commit: i64, begun: i64, addrs: &[i64]) -> Result<(), SqlError> {
    for part in addrs.chunks(SAVE.capacity(2)) {
        let params: Vec<_> = [commit, begun].iter().chain(part).map(|&number| Param::Int(number)).collect();
        sql.execute(SAVE.text(part.len()), &params)?;
    }
    Ok(())
}

/// Forgets all saved rows.
pub(crate) fn drop_saved(sql: &impl Sql) -> Result<(), SqlError> {
    sql.execute("DELETE FROM saved_rows", &[])
}

/// Forgets the rows that commits up to `commit` overwrote.
pub(crate) fn drop_saved_until(sql: &impl Sql, commit: i64) -> Result<(), SqlError> {
    sql.execute("DELETE FROM saved_rows WHERE overwritten <= ?", &[Param::Int(commit)])
}

/// Of the rows overwritten by commits after `begun` and up to `last`, forgets all but the first of each address.
pub(crate) fn drop_saved_again(sql: &impl Sql, begun: i64, last: i64) -> Result<(), SqlError> {
    sql.execute(
        "DELETE FROM saved_rows WHERE overwritten > ?1 AND overwritten <= ?2 AND EXISTS (SELECT 1 FROM saved_rows AS earlier \
         WHERE earlier.addr = saved_rows.addr AND earlier.overwritten > ?1 AND earlier.overwritten < saved_rows.overwritten)",
        &[Param::Int(begun), Param::Int(last)],
    )
}

/// A stored row as an export carries it.
#[derive(Debug)]
pub(crate) struct StoredRow {
    pub(crate) addr: i64,
    pub(crate) content: String,
    pub(crate) addresses: Option<String>,
}

/// The same while it is read, its texts where the database has them.
pub(crate) struct SeenRow<'r> {
    pub(crate) addr: i64,
    pub(crate) content: Cow<'r, str>,
    pub(crate) addresses: Option<Cow<'r, str>>,
}

impl SeenRow<'_> {
    fn into_stored(self) -> StoredRow {
        StoredRow {
            addr: self.addr,
            content: self.content.into_owned(),
            addresses: self.addresses.map(Cow::into_owned),
        }
    }
}

/// Shows the rows with `after < addr <= last` in order, until they pass `budget` bytes; returns whether there were no more.
pub(crate) fn show_page(
    sql: &impl Sql,
    after: i64,
    last: i64,
    budget: usize,
    show: &mut dyn FnMut(SeenRow<'_>),
) -> Result<bool, SqlError> {
    read_page(
        sql,
        "SELECT addr, content, addresses FROM kvs WHERE addr > ? AND addr <= ? ORDER BY addr",
        &[Param::Int(after), Param::Int(last)],
        budget,
        show,
    )
}

/// [`show_page`], all of it at once. The flag tells whether there were no more.
pub(crate) fn page(sql: &impl Sql, after: i64, last: i64, budget: usize) -> Result<(Vec<StoredRow>, bool), SqlError> {
    let mut rows = Vec::new();
    let complete = show_page(sql, after, last, budget, &mut |row| rows.push(row.into_stored()))?;
    Ok((rows, complete))
}

/// [`page`] over the rows as they were after commit `begun`, as far as later ones have overwritten them.
pub(crate) fn saved_page(
    sql: &impl Sql,
    begun: i64,
    after: i64,
    last: i64,
    budget: usize,
) -> Result<(Vec<StoredRow>, bool), SqlError> {
    let mut rows = Vec::new();
    let complete = read_page(
        sql,
        // With `min` SQLite takes the other columns from the row that has the least.
        "SELECT addr, content, addresses, min(overwritten) FROM saved_rows \
         WHERE addr > ? AND addr <= ? AND overwritten > ? GROUP BY addr ORDER BY addr",
        &[Param::Int(after), Param::Int(last), Param::Int(begun)],
        budget,
        &mut |row| rows.push(row.into_stored()),
    )?;
    Ok((rows, complete))
}

fn read_page(
    sql: &impl Sql,
    statement: &str,
    params: &[Param<'_>],
    budget: usize,
    show: &mut dyn FnMut(SeenRow<'_>),
) -> Result<bool, SqlError> {
    let (mut bytes, mut complete) = (0_usize, true);
    sql.query(statement, params, &mut |row| {
        if bytes >= budget {
            complete = false;
            return Ok(ControlFlow::Break(()));
        }
        let addr = row.int(0)?.unwrap_or_default();
        let content = row.text(1)?.unwrap_or_default();
        let addresses = row.text(2)?;
        bytes = bytes.saturating_add(content.len()).saturating_add(addresses.as_deref().map_or(0, str::len));
        show(SeenRow { addr, content, addresses });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(complete)
}

/// The rows as the engine reads them.
#[derive(Debug)]
pub(crate) struct Kvs<S>(pub(crate) Rc<S>);

impl<S: Sql> Storage for Kvs<S> {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        get(&*self.0, addr).map_err(|error| StorageError(error.to_string()))
    }

    fn load_all(&self, addrs: &[Addr]) -> Result<Vec<Row>, StorageError> {
        get_all(&*self.0, &GET, addrs).map_err(|error| StorageError(error.to_string()))
    }
}

/// The rows as they will be once an upload has ended well.
#[derive(Debug)]
pub(crate) struct Uploaded<S> {
    pub(crate) sql: Rc<S>,
    /// Whether the rows that there are stay, under those of the upload.
    pub(crate) over_live: bool,
}

impl<S: Sql> Uploaded<S> {
    /// The greatest address; `None` where there is no row at all.
    pub(crate) fn greatest_addr(&self) -> Result<Option<i64>, SqlError> {
        let staged = greatest_staged_addr(&*self.sql)?;
        if self.over_live { Ok(staged.max(greatest_addr(&*self.sql)?)) } else { Ok(staged) }
    }
}

impl<S: Sql> Storage for Uploaded<S> {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        const STAGED: &str = "SELECT content, addresses FROM upload_rows WHERE addr = ?";
        let failed = |error: SqlError| StorageError(error.to_string());
        match get_from(&*self.sql, STAGED, addr).map_err(failed)? {
            None if self.over_live => get(&*self.sql, addr).map_err(failed),
            row => Ok(row),
        }
    }

    fn load_all(&self, addrs: &[Addr]) -> Result<Vec<Row>, StorageError> {
        if self.over_live {
            addrs.iter().filter_map(|addr| self.load(*addr).transpose()).collect()
        } else {
            get_all(&*self.sql, &GET_STAGED, addrs).map_err(|error| StorageError(error.to_string()))
        }
    }
}
