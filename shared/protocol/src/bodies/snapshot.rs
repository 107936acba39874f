//! Snapshot descriptor and upload answer (sync.md 10.2, 10.4).

use super::Body;
use serde::Serialize;

/// Answer of `GET …/snapshot/download`: where the stream is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SnapshotDescriptor {
    ok: bool,
    key: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<&'static str>,
}

impl SnapshotDescriptor {
    /// The descriptor of a graph's stream below `origin`, as its clients see it.
    pub fn new(origin: &str, graph_id: &str, gzip: bool) -> Self {
        Self {
            ok: true,
            key: format!("stream/{graph_id}.snapshot"),
            url: format!("{origin}/sync/{graph_id}/snapshot/stream"),
            content_encoding: gzip.then_some("gzip"),
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
