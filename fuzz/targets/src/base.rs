//! Graphs to start from: the recorded bases of the reference.

use std::path::Path;
use std::rc::Rc;

use datascript::{Addr, Attrs, Conn, Datom, Db, Nodes, Row, Schema, Storage, StorageError};
use graph::rules::attrs::PRESET;
use transit::Value;

/// The rows of a database that was not stored yet.
struct NoRows;

impl Storage for NoRows {
    fn load(&self, _: Addr) -> Result<Option<Row>, StorageError> {
        Ok(None)
    }
}

/// A base of `bases.jsonl` by name, in memory.
pub(crate) fn load(name: &str) -> Db {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/golden/bases.jsonl");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let text_of = |line: &serde_json::Value, key: &str| line.get(key)?.as_str().map(str::to_owned);
    let Some(line) = { lines }.find(|line| text_of(line, "base").as_deref() == Some(name)) else {
        panic!("no base {name}")
    };
    let field = |key: &str| text_of(&line, key).and_then(|text| transit::read_str(&text).ok()).unwrap_or_default();
    let attrs = Attrs::new(PRESET);
    let datoms = field("datoms");
    let datoms = datoms.as_seq().unwrap_or_default().iter().filter_map(|datom| read(&attrs, datom)).collect();
    let schema = Schema::from_value(Rc::clone(&attrs), &field("schema"));
    Db::from_datoms(Rc::new(Nodes::new(Some(Rc::new(NoRows)), attrs, usize::MAX)), schema, datoms)
}

fn read(attrs: &Attrs, datom: &Value) -> Option<Datom> {
    let [e, a, v, tx] = datom.as_vector()? else { return None };
    let number = |value: &Value| value.as_int().and_then(|number| u32::try_from(number).ok());
    Some(Datom { e: number(e)?, a: attrs.intern(a.as_keyword()?), v: v.clone(), tx: number(tx)?, added: true })
}

/// The rows that a client would upload for a database.
pub(crate) fn rows(db: Db) -> Vec<Row> {
    match Conn::create(db).take_writes() {
        Ok(writes) => writes.rows,
        Err(error) => panic!("a base cannot be stored: {error}"),
    }
}
