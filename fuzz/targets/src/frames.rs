//! Snapshots: a byte, then what it announces. Its two high bits: 0 or 1, a stream of frames, compressed or not, as it is;
//! 2, the payload of one frame; 3, rows in lines, their fields separated by tabs. The others: the size of the pieces in
//! which the stream arrives.

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use datascript::{Index, Pattern, Row};
use flate2::read::GzDecoder;
use graph::snapshot::{Encoding, FrameError, FrameReader, FrameWriter};
use graph::{Answer, Graph, Options};
use protocol::query::UploadQuery;
use protocol::{TxBatch, TxEntry};
use transit::Value;

use crate::Trace;

/// Pieces of frames.
pub(crate) const DICTIONARY: &[&str] = &[
    "\0\0\0\u{1}",
    "\0\0\0\u{2}[]",
    "\0\0\0\u{10}",
    "[[0,\"",
    "[[1,\"",
    "[1000001,\"",
    "\",null]",
    "]]",
    "null",
    "\"[]\"",
    "\n",
    "\t",
    "\"[1000001]\"",
    "[1000002,1000003]",
    "[1000001]",
    "\\\"",
    "\"~^x\"",
    "\"~~x\"",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    "1000001",
    "[\"^ \",\"~:keys\",[",
    "[\"^ \",\"~:level\",1,\"~:keys\",[",
    "\"~:level\"",
    "\"~:eavt\"",
    "\"~:aevt\"",
    "\"~:avet\"",
    "\"~:max-eid\"",
    "\"~:max-tx\"",
    "\"~:schema\"",
    "\"~:max-addr\"",
    "\"~:count\"",
    "\"~:shift\"",
    "\"~:a\"",
    "\"~:db/valueType\"",
    "\"~:db.type/ref\"",
    "[1,\"~:a\",1,536870913]",
    "[1,\"~:a\",1,-536870913]",
    "1\t[[[1,\"~:a\",1,536870913]]]\n",
    "0",
    "-1",
    "2147483647",
    "4294967296",
];

/// The most datoms that are read from an uploaded graph: far more than an input has, unless its nodes refer to each
/// other in a circle.
const MOST_DATOMS: usize = 100_000;

/// Frames give the same rows in whatever pieces they arrive, when read by a simpler reader, and when written again. An
/// uploaded graph opens or says that it is corrupt, and is downloaded as it was uploaded.
pub fn frames(data: &[u8]) -> Trace {
    let Some((&first, rest)) = data.split_first() else { return Trace::default() };
    let size = usize::from(first & 0x3f);
    match first >> 6 {
        2 => stream(&[&u32::try_from(rest.len()).unwrap_or(u32::MAX).to_be_bytes(), rest].concat(), size),
        3 => stream(&lines(rest), size),
        _ => stream(rest, size),
    }
}

/// A frame of the rows in lines.
fn lines(text: &[u8]) -> Vec<u8> {
    let mut writer = FrameWriter::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut fields = line.split('\t');
        let addr = fields.next().and_then(|addr| addr.parse().ok()).unwrap_or_default();
        let content = fields.next().unwrap_or_default();
        writer.row(addr, content, fields.next());
    }
    writer.finish()
}

fn stream(stream: &[u8], size: usize) -> Trace {
    let whole = read(stream, stream.len());
    assert_eq!(whole, read(stream, size), "in pieces of {size}");
    let trace = match &whole {
        Ok(rows) => {
            assert_eq!(Some(rows), plainly(stream).as_ref(), "read plainly");
            let mut writer = FrameWriter::new();
            for row in rows {
                writer.row(i64::from(row.addr), &row.content, row.addresses.as_deref());
            }
            let written = writer.finish();
            assert_eq!(read(&written, written.len()).as_ref(), Ok(rows), "written again");
            Trace::default().amount(rows.len())
        }
        Err(error) => Trace::default().step(1 + *error as u64),
    };
    upload(stream, size, trace)
}

type Rows = Vec<Row>;

/// Reads frames with the server's reader.
fn read(stream: &[u8], size: usize) -> Result<Rows, FrameError> {
    let mut reader = FrameReader::new();
    let mut rows = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        let mut piece = piece;
        while let Some(row) = reader.next_row(&mut piece)? {
            rows.push(row);
        }
    }
    reader.end()?;
    Ok(rows)
}

/// Reads frames by their lengths and with the general Transit reader.
fn plainly(mut stream: &[u8]) -> Option<Rows> {
    let mut rows = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk::<4>() {
        let (payload, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        stream = rest;
        for row in transit::read_slice(payload).ok()?.as_vector()? {
            let [addr, content, addresses] = row.as_vector()? else { return None };
            rows.push(Row {
                addr: u32::try_from(addr.as_int()?).ok()?,
                content: content.as_str()?.to_owned(),
                addresses: match addresses {
                    Value::Nil => None,
                    // An empty text counts as none.
                    Value::String(text) => Some(text.to_string()).filter(|text| !text.is_empty()),
                    _ => return None,
                },
            });
        }
    }
    stream.is_empty().then_some(rows)
}

fn plain<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("a small database in memory fails: {error}"))
}

/// Uploads a graph, opens it and downloads it, as clients do.
fn upload(stream: &[u8], size: usize, trace: Trace) -> Trace {
    let sql = Rc::new(plain(Rusqlite::in_memory()));
    let mut graph = Graph::new(Rc::clone(&sql), || 0, Options::default());
    let gzip = stream.starts_with(&[0x1f, 0x8b]);
    let query = UploadQuery::new(Some("true"), Some("true"), None);
    let Ok(mut upload) = graph.begin_upload(&query, "client", gzip, !stream.is_empty()) else {
        assert!(stream.is_empty());
        return trace;
    };
    plain(graph.close_for_upload(&mut upload));
    let mut pieces = stream.chunks(size.max(1));
    let fed = pieces.try_for_each(|piece| graph.feed_upload(&mut upload, piece));
    if fed.is_err() || graph.finish_upload(&mut upload).is_err() {
        assert!(plain(graph.is_uploading()), "open after half an upload");
        return trace.step(u64::from(fed.is_err()));
    }
    // Damaged indexes were built again, in other rows.
    let is_repaired = graph.take_notice().is_some();
    if !is_repaired {
        check_download(&mut graph, stream, gzip);
    }
    let trace = trace.step(u64::from(is_repaired));
    // A graph that was accepted can be read and written.
    let db = plain(graph.db());
    let trace = [Index::Eavt, Index::Aevt, Index::Avet].into_iter().fold(trace.step(3), |trace, index| {
        let mut seen = 0;
        for datom in db.datoms(index, &Pattern::ALL) {
            seen += 1;
            assert!(seen < MOST_DATOMS, "{index:?} does not end");
            plain(datom);
        }
        trace.amount(seen)
    });
    trace.step(write(&mut graph))
}

/// Writes to a graph with uploaded rows of any kind. The write succeeds or is refused, and what is stored agrees with
/// the answer.
fn write(graph: &mut Graph<Rc<Rusqlite>>) -> u64 {
    const TRANSACTIONS: [&str; 2] = [
        r#"[["~:db/add","x","~:block/title","y"],["~:db/retractEntity",1],["~:db/retractEntity",2]]"#,
        r#"[["~:db/add",3,"~:db/ident","~:user.property/x"],["~:db/add",3,"~:db/cardinality","~:db.cardinality/many"]]"#,
    ];
    let entry = |tx: &'static str| TxEntry { tx: tx.into(), tx_id: None, outliner_op: None };
    let batch = TxBatch { t_before: 0, txs: TRANSACTIONS.map(entry).to_vec(), client_revision: None };
    let outcome = plain(graph.tx_batch(batch));
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    let stored = plain(graph.position()).t;
    match outcome.answer {
        Answer::Ok { t, .. } => {
            assert_eq!(t, stored);
            1
        }
        Answer::Reject(_) => 2,
    }
}

/// The stream holds the rows of the upload, the last one of each address.
fn check_download(graph: &mut Graph<Rc<Rusqlite>>, stream: &[u8], gzip: bool) {
    let mut plain_stream = Vec::new();
    if gzip {
        plain(GzDecoder::new(stream).read_to_end(&mut plain_stream));
    } else {
        plain_stream.extend_from_slice(stream);
    }
    let by_addr =
        |rows: Rows| rows.into_iter().map(|row| (row.addr, (row.content, row.addresses))).collect::<BTreeMap<_, _>>();
    let Ok(sent) = read(&plain_stream, plain_stream.len()) else { panic!("taken, but no snapshot") };
    let mut export = plain(graph.begin_export(Encoding::Identity));
    let mut received = Vec::new();
    while let Some(chunk) = plain(graph.next_chunk(&mut export)) {
        received.extend_from_slice(&chunk);
    }
    plain(graph.end_export(export));
    let Ok(received) = read(&received, received.len()) else { panic!("what is sent cannot be read") };
    assert_eq!(by_addr(received), by_addr(sent), "downloaded and uploaded");
}
