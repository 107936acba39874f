#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::unwrap_used)]
use graph::sql_rusqlite::Rusqlite;
use graph::{Graph, Options};
use protocol::query::UploadQuery;
use std::time::Instant;
fn main() {
    let bytes = std::fs::read("/work/shared/golden/server/bodies/graph-200k.frames.gz").unwrap();
    for _ in 0..5 {
        let mut graph = Graph::new(Rusqlite::in_memory().unwrap(), || 0, Options::default());
        let query = UploadQuery::new(Some("true"), Some("true"), None);
        let start = Instant::now();
        let mut upload = graph.begin_upload(&query, true, true).unwrap();
        graph.close_for_upload(&mut upload).unwrap();
        for piece in bytes.chunks(65536) {
            graph.feed_upload(&mut upload, piece).unwrap();
        }
        let mut ending = graph.store_rest(upload).unwrap();
        let fed = start.elapsed();
        let mut n = 0;
        let mut worst = std::time::Duration::ZERO;
        loop {
            let s = Instant::now();
            let more = graph.verify_piece(&mut ending).unwrap();
            worst = worst.max(s.elapsed());
            if !more {
                break;
            }
            n += 1;
        }
        let verified = start.elapsed();
        graph.finish_upload(ending).unwrap();
        println!(
            "fed {:?} verified +{:?} in {n} (worst {worst:?}) finished +{:?} notice {:?}",
            fed,
            verified - fed,
            start.elapsed() - verified,
            graph.take_notice().map(|n| n.to_string())
        );
    }
}
