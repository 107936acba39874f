//! Graphs to start from.

use std::cell::OnceCell;
use std::path::Path;
use std::rc::Rc;

use datascript::{Addr, Attrs, Conn, Datom, Db, Nodes, Row, Schema, Storage, StorageError, Value};
use graph::rules;

use crate::{Result, fail};

/// What a seed starts with.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing: the server creates the graph. Nothing is validated.
    Empty,
    /// A small graph as Logseq makes it, uploaded by a client. Everything is validated.
    Logseq,
}

/// A store without rows, for graphs that are yet to be written.
pub(crate) struct NoRows;

impl Storage for NoRows {
    fn load(&self, _: Addr) -> Result<Option<Row>, StorageError> {
        Ok(None)
    }
}

thread_local! {
    static LOGSEQ: OnceCell<Vec<Row>> = const { OnceCell::new() };
}

/// A fresh value of the base, in memory.
pub(crate) fn db(base: Base) -> Result<Db> {
    let attrs = Attrs::new(rules::attrs::PRESET);
    match base {
        Base::Empty => Ok(Db::empty(Nodes::in_memory(Rc::clone(&attrs)), rules::static_schema(attrs))),
        Base::Logseq => open_rows(rows()?),
    }
}

/// The rows of the Logseq base.
pub(crate) fn rows() -> Result<Vec<Row>> {
    LOGSEQ.with(|cell| {
        if let Some(rows) = cell.get() {
            return Ok(rows.clone());
        }
        let rows = load()?;
        Ok(cell.get_or_init(|| rows).clone())
    })
}

/// A database over rows in memory, as a client opens a downloaded graph.
pub(crate) fn open_rows(rows: Vec<Row>) -> Result<Db> {
    let attrs = Attrs::new(rules::attrs::PRESET);
    let stored = Rc::new(Rows(rows.into_iter().map(|row| (row.addr, row)).collect()));
    let nodes = Rc::new(Nodes::new(Some(stored), Rc::clone(&attrs), usize::MAX));
    let conn = Conn::open(nodes, rules::static_schema(attrs), 0).map_err(fail)?;
    Ok(conn.db().clone())
}

struct Rows(rustc_hash::FxHashMap<Addr, Row>);

impl Storage for Rows {
    fn load(&self, addr: Addr) -> Result<Option<Row>, StorageError> {
        Ok(self.0.get(&addr).cloned())
    }
}

fn load() -> Result<Vec<Row>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reference/golden/bases.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let base = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|line| line.get("base").and_then(serde_json::Value::as_str) == Some("logseq-tiny"))
        .ok_or("no base logseq-tiny")?;
    let field = |name: &str| {
        let text = base.get(name).and_then(serde_json::Value::as_str).ok_or("a field is missing")?;
        transit::read_str(text).map_err(fail)
    };
    let attrs = Attrs::new(rules::attrs::PRESET);
    let nodes = Rc::new(Nodes::new(Some(Rc::new(NoRows)), Rc::clone(&attrs), usize::MAX));
    let schema = Schema::from_value(Rc::clone(&attrs), &field("schema")?);
    let datoms = field("datoms")?;
    let datoms = datoms.as_seq().unwrap_or_default().iter().map(|datom| to_datom(&attrs, datom));
    let datoms = datoms.collect::<Option<Vec<_>>>().ok_or("a datom is none")?;
    let mut conn = Conn::create(Db::from_datoms(nodes, schema, datoms));
    Ok(conn.take_writes().map_err(fail)?.rows)
}

fn to_datom(attrs: &Attrs, datom: &Value) -> Option<Datom> {
    let [e, a, v, tx] = datom.as_seq()? else { return None };
    let id = |value: &Value| u32::try_from(value.as_int()?).ok();
    Some(Datom::new(id(e)?, attrs.intern(a.as_keyword()?), v.clone(), id(tx)?))
}
