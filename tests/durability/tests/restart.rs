//! What was acknowledged is there after the server was killed.

use conformance::{Server, TestGraph, tx};
use serde_json::Value;

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let mut server = Server::own(None);
    let graph = TestGraph::initial(&server.person("owner"));
    let page = tx::id();
    assert_eq!(graph.batch(0, &[tx::entry(&tx::page(&page, "Kept"), "create-page", &tx::id())]).json()["t"], 1);
    // Small entries, which stay in the tail, and enough of them to flush it, between kills.
    for round in 0..4_i64 {
        for i in 0..=round * 3 {
            let t = graph.t();
            let block = tx::new_block(&tx::id(), &page, &page, &format!("a{i}V"), &format!("round {round}, block {i}"));
            assert_eq!(graph.batch(t, &[tx::entry(&block, "insert-blocks", &tx::id())]).json()["t"], t + 1);
        }
        let (log, rows, diagnostics) = (graph.pull(), graph.rows(), diagnostics(&graph));
        server.kill();
        server.restart();
        assert_eq!((graph.pull(), graph.rows()), (log, rows), "round {round}");
        assert_eq!(self::diagnostics(&graph), diagnostics, "round {round}");
        assert_eq!(diagnostics["checksum"], graph.pull()["checksum"], "round {round}");
    }
    server.stop();
}

fn diagnostics(graph: &TestGraph) -> Value {
    graph.owner.get(&graph.path("/checksum/diagnostics")).status(200).json()
}
