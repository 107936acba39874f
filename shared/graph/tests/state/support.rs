//! A graph in memory, and shorthands.

use std::rc::Rc;

use database::Param;
use database::local::Sql;
use database::local_sqlite::Rusqlite;
use graph::snapshot::{FrameWriter, UploadError, Uploaded};
use graph::{Error, Graph, Options, Pull};
use protocol::query::UploadQuery;

pub(crate) type TestGraph = Graph<Rc<Rusqlite>>;

/// A fixed time for log rows.
pub(crate) const NOW: i64 = 1_755_000_000_000;

pub(crate) fn open(sql: &Rc<Rusqlite>) -> TestGraph {
    Graph::new(Rc::clone(sql), || NOW, Options::default())
}

pub(crate) fn new_graph() -> (TestGraph, Rc<Rusqlite>) {
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    (open(&sql), sql)
}

/// A whole pull as one text.
pub(crate) fn pull_text(graph: &mut TestGraph, since: i64) -> Result<String, Error> {
    let pull = graph.pull(since)?;
    pull_rest(graph, pull)
}

/// What is left of a pull as one text.
pub(crate) fn pull_rest(graph: &mut TestGraph, mut pull: Pull) -> Result<String, Error> {
    let mut out = String::new();
    while graph.pull_piece(&mut pull, &mut out)? {}
    Ok(out)
}

/// A row as tests write it.
pub(crate) type TestRow = (i64, String, Option<String>);

pub(crate) fn frame(rows: &[TestRow]) -> Vec<u8> {
    let mut writer = FrameWriter::new();
    for (addr, content, addresses) in rows {
        writer.row(*addr, content, addresses.as_deref());
    }
    writer.finish()
}

pub(crate) fn rows_of(sql: &Rusqlite) -> Vec<TestRow> {
    let mut rows = Vec::new();
    sql.query("SELECT addr, content, addresses FROM kvs ORDER BY addr", &[], &mut |row| {
        rows.push((row.int(0)?.unwrap(), row.text(1)?.unwrap().into_owned(), row.text(2)?.map(Into::into)));
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    rows
}

pub(crate) fn count(sql: &Rusqlite, table: &str) -> i64 {
    int(sql, &format!("SELECT count(*) FROM {table}"))
}

/// The number that a query gives.
pub(crate) fn int(sql: &Rusqlite, query: &str) -> i64 {
    let mut found = 0;
    sql.query(query, &[], &mut |row| {
        found = row.int(0)?.unwrap();
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    found
}

pub(crate) fn meta(sql: &Rusqlite, key: &str) -> Option<String> {
    let mut value = None;
    sql.query("SELECT value FROM sync_meta WHERE key = ?", &[Param::Text(key)], &mut |row| {
        value = row.text(0)?.map(Into::into);
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .unwrap();
    value
}

/// Whose uploads they are, where that says nothing.
pub(crate) const OWNER: &str = "user owner";

/// A whole upload request, as the HTTP layer drives it.
pub(crate) fn upload(
    graph: &mut TestGraph,
    query: (&str, &str, &str),
    gzip: bool,
    pieces: &[&[u8]],
) -> Result<Uploaded, UploadError> {
    upload_by(OWNER, graph, query, gzip, pieces)
}

/// The same by somebody.
pub(crate) fn upload_by(
    owner: &str,
    graph: &mut TestGraph,
    query: (&str, &str, &str),
    gzip: bool,
    pieces: &[&[u8]],
) -> Result<Uploaded, UploadError> {
    let query = UploadQuery::new(Some(query.0), Some(query.1), Some(query.2));
    let mut upload = graph.begin_upload(&query, owner, gzip, pieces.iter().any(|piece| !piece.is_empty()))?;
    if upload.closes_graph() {
        graph.close_for_upload(&mut upload)?;
    }
    for piece in pieces {
        graph.feed_upload(&mut upload, piece)?;
    }
    graph.finish_upload(&mut upload)
}

/// A graph without datoms, as a client would upload it.
pub(crate) fn empty_tree() -> Vec<TestRow> {
    let trees = ["eavt", "aevt", "avet"].map(|tree| format!(r#""~:{tree}-metadata",["^ ","~:count",0,"~:shift",0]"#));
    let root = format!(
        r#"["^ ","~:schema",["^ "],"~:max-eid",0,"~:max-tx",536870912,"~:eavt",1000001,"~:aevt",1000002,"~:avet",1000003,{},"~:max-addr",1000003,"~:branching-factor",32,"~:ref-type","~:strong"]"#,
        trees.join(",")
    );
    let leaf = r#"["^ ","~:keys",[]]"#;
    vec![
        (0, root, None),
        (1, "[]".into(), None),
        (1_000_001, leaf.into(), None),
        (1_000_002, leaf.into(), None),
        (1_000_003, leaf.into(), None),
    ]
}

/// Rows that statements have changed so far.
pub(crate) fn changes(sql: &Rusqlite) -> i64 {
    int(sql, "SELECT total_changes()")
}
