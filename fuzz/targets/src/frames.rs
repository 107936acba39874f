//! Snapshots: a byte with the size of the pieces in which they arrive, then a stream of frames, compressed or not.

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

use datascript::{Index, Pattern, Row};
use flate2::read::GzDecoder;
use graph::snapshot::{Encoding, FrameError, FrameReader, FrameWriter};
use graph::sql_rusqlite::Rusqlite;
use graph::{Graph, Options};
use protocol::query::UploadQuery;
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
    "\"[1000001]\"",
    "\"[1000002,1000003]\"",
    "\\\"",
    "\"~^x\"",
    "\"~~x\"",
    "\\u0000",
    "\\ud83d\\ude00",
    "\\ud800",
    "1000001",
    "[\\\"^ \\\",\\\"~:keys\\\",[",
    "[\\\"^ \\\",\\\"~:level\\\",1,\\\"~:keys\\\",[",
    "\\\"~:eavt\\\",",
    "\\\"~:aevt\\\",",
    "\\\"~:avet\\\",",
    "\\\"~:max-eid\\\",",
    "\\\"~:max-tx\\\",",
    "\\\"~:schema\\\",",
    "\\\"~:max-addr\\\",",
    "\\\"~:count\\\",",
    "\\\"~:shift\\\",",
];

/// So many datoms are looked at in an uploaded graph: far more than an input has, unless its nodes run in circles.
const MOST_DATOMS: usize = 100_000;

/// Frames mean the same in whatever pieces they arrive, the same as plainly read, and the same when written again. A
/// graph that is uploaded opens, or says that it is corrupt, and is downloaded as it was uploaded.
pub fn frames(data: &[u8]) -> Trace {
    let Some((&size, stream)) = data.split_first() else { return Trace::default() };
    let whole = read(stream, stream.len());
    assert_eq!(whole, read(stream, usize::from(size)), "in pieces of {size}");
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
    trace.step(upload(stream, usize::from(size)))
}

type Rows = Vec<Row>;

/// By the reader of the server.
fn read(stream: &[u8], size: usize) -> Result<Rows, FrameError> {
    let mut reader = FrameReader::new();
    let mut rows = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        reader.feed::<FrameError>(piece, |row| {
            rows.push(row);
            Ok(())
        })?;
    }
    reader.end()?;
    Ok(rows)
}

/// By lengths and the general Transit reader.
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
                    // An empty text is taken for none.
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

/// As a client uploads a graph, opens it, and downloads it.
fn upload(stream: &[u8], size: usize) -> u64 {
    let sql = Rc::new(plain(Rusqlite::in_memory()));
    let mut graph = Graph::new(Rc::clone(&sql), || 0, Options::default());
    let gzip = stream.starts_with(&[0x1f, 0x8b]);
    let query = UploadQuery::new(Some("true"), Some("true"), None);
    let Ok(mut upload) = graph.begin_upload(&query, gzip, !stream.is_empty()) else {
        assert!(stream.is_empty());
        return 0;
    };
    plain(graph.close_for_upload(&mut upload));
    for piece in stream.chunks(size.max(1)) {
        if graph.feed_upload(&mut upload, piece).is_err() {
            assert!(plain(graph.is_uploading()), "open after half an upload");
            return 1;
        }
    }
    if graph.end_upload(upload).is_err() {
        assert!(plain(graph.is_uploading()), "open after half an upload");
        return 2;
    }
    check_download(&mut graph, stream, gzip);
    let Ok(db) = graph.db() else { return 3 };
    let mut step = 4;
    for index in [Index::Eavt, Index::Aevt, Index::Avet] {
        for (datom, number) in db.datoms(index, &Pattern::ALL).zip(0..) {
            assert!(number < MOST_DATOMS, "{index:?} does not end");
            if datom.is_err() {
                step += 1;
                break;
            }
        }
    }
    step
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
