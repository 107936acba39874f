//! The framed snapshot stream (sync.md 10.1).

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;

/// One stored row: address, content, addresses.
pub type Row = (i64, String, Option<String>);

/// Length-prefixed frame of these rows.
pub fn frame(rows: &[Row]) -> Vec<u8> {
    let escape = |text: &str| if text.starts_with(['~', '^', '`']) { format!("~{text}") } else { text.to_owned() };
    let rows: Vec<Value> = rows
        .iter()
        .map(|(addr, content, addresses)| serde_json::json!([addr, escape(content), addresses.as_deref().map(escape)]))
        .collect();
    raw_frame(Value::Array(rows).to_string().as_bytes())
}

/// Length-prefixed frame of any payload.
pub fn raw_frame(payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).expect("frame length").to_be_bytes().to_vec();
    out.extend_from_slice(payload);
    out
}

/// All rows of a stream, packed or not.
pub fn rows(stream: &[u8]) -> Vec<Row> {
    let unpacked = gunzip(stream);
    let mut rest = unpacked.as_slice();
    let mut out = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*head) as usize;
        let (payload, next) = tail.split_at_checked(length).expect("frame is whole");
        let unescape = |v: &Value| v.as_str().map(|s| s.strip_prefix('~').unwrap_or(s).to_owned());
        for row in serde_json::from_slice::<Vec<Value>>(payload).expect("frame is JSON") {
            out.push((row[0].as_i64().expect("address"), unescape(&row[1]).expect("content"), unescape(&row[2])));
        }
        rest = next;
    }
    assert!(rest.is_empty(), "stream ends inside a frame's length");
    out
}

/// Unpacks one layer of gzip, if there is any. A second layer would be an error of the server.
pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    const MAGIC: [u8; 2] = [0x1f, 0x8b];
    if !bytes.starts_with(&MAGIC) {
        return bytes.to_vec();
    }
    let mut plain = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut plain).expect("gzip is whole");
    assert!(!plain.starts_with(&MAGIC), "packed twice");
    plain
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Folder of the recorded vectors: `GOLDEN_DIR` (absolute, or relative to the repository's root) or the project's own copy.
pub fn golden_dir() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = root.join(std::env::var_os("GOLDEN_DIR").unwrap_or_else(|| "tests/reference/golden".into()));
    assert!(dir.is_dir(), "no golden vectors at {}", dir.display());
    dir
}

/// The standard initial graph (or its encrypted twin), unpacked.
pub fn initial_graph(e2ee: bool) -> Vec<u8> {
    let name = if e2ee { "base-e2ee.frames.gz" } else { "base.frames.gz" };
    gunzip(&std::fs::read(golden_dir().join("server/bodies").join(name)).expect("golden body"))
}
