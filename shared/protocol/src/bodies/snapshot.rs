//! Snapshot descriptor and upload answer (sync.md 10.2, 10.4).

use super::Body;
use serde::Serialize;

/// Answer of `GET …/snapshot/download`: where the stream is, and what it will hold. How the stream is packed its own
/// headers say (D-59).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotDescriptor {
    ok: bool,
    key: String,
    url: String,
    schema_version: String,
    t: i64,
    row_count: i64,
}

impl SnapshotDescriptor {
    /// The descriptor of a graph's stream below `origin`, as its clients see it; `t` and `row_count` are those of now.
    pub fn new(origin: &str, graph_id: &str, schema_version: &str, t: i64, row_count: i64) -> Self {
        Self {
            ok: true,
            key: format!("stream/{graph_id}.snapshot"),
            url: format!("{origin}/sync/{graph_id}/snapshot/stream"),
            schema_version: schema_version.to_owned(),
            t,
            row_count,
        }
    }
}

impl Body for SnapshotDescriptor {}

/// Answer of `POST …/snapshot/upload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotUploaded {
    ok: bool,
    count: u64,
}

impl SnapshotUploaded {
    /// The answer for a request of that many rows.
    pub fn new(count: u64) -> Self {
        Self { ok: true, count }
    }
}

impl Body for SnapshotUploaded {}
