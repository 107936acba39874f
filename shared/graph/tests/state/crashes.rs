//! Death at every fault point of a batch (design: invariant 1).

use graph::faults::{self, Point};
use graph::sockets::{Effect, Frame, Message};
use serde_json::json;

use super::client::{apply, assert_consistent, block, entry, everything, lookup, page, title};
use super::support::{new_graph, open};

#[test]
fn storage_agrees_with_itself_after_a_crash_anywhere() {
    let points = [
        Point::CommitBeforeStorage,
        Point::CommitInsideStorage,
        Point::CommitAfterStorage,
        Point::BatchBeforeBroadcast,
    ];
    for point in points {
        // Small batches write the tail row, large ones flush.
        for blocks in [1, 40] {
            let (mut graph, sql) = new_graph();
            apply(&mut graph, &[entry("create-page", None, &page(1))]);
            apply(&mut graph, &[entry("insert-blocks", None, &block(2, &lookup(1), &lookup(1)))]);
            let before = everything(&sql);
            let items: Vec<_> = (3..3 + blocks).flat_map(|n| block(n, &lookup(2), &lookup(1))).collect();
            let entries = [entry("insert-blocks", None, &items), entry("save-block", None, &[title(2, "second")])];
            let message = json!({ "type": "tx/batch", "t-before": 2, "txs": entries }).to_string();
            faults::arm(point, 0);
            let reaction = graph.react(None, Message::parse(Frame::Text(&message)));
            assert!(faults::fired(), "{}", point.name());
            assert!(matches!(reaction.failure, Some(graph::Error::Fault(_))));
            assert!(matches!(reaction.effect, Effect::Reply(reply) if reply.contains("server error")));
            drop(graph);

            let mut graph = open(&sql);
            let stored = matches!(point, Point::CommitAfterStorage | Point::BatchBeforeBroadcast);
            assert_eq!(everything(&sql) != before, stored, "{}", point.name());
            assert_eq!(graph.position().unwrap().t, if stored { 4 } else { 2 });
            assert_consistent(&mut graph, &sql);
            // The client that got no answer tries again: it is stale, or it is taken.
            let reaction = graph.react(None, Message::parse(Frame::Text(&message)));
            let expected = if stored { "stale" } else { "tx/batch/ok" };
            let (Effect::Reply(reply) | Effect::ReplyAndTell { reply, .. }) = reaction.effect else { panic!() };
            assert!(reply.contains(expected), "{}: {reply}", point.name());
            assert_consistent(&mut graph, &sql);
        }
    }
}

#[test]
fn the_same_object_goes_on_after_a_fault() {
    let (mut graph, sql) = new_graph();
    apply(&mut graph, &[entry("create-page", None, &page(1))]);
    for point in [Point::CommitBeforeStorage, Point::CommitInsideStorage, Point::CommitAfterStorage] {
        let t = graph.position().unwrap().t;
        let entries = [entry("save-block", None, &[json!(["~:db/add", lookup(1), "~:block/title", point.name()])])];
        let message = json!({ "type": "tx/batch", "t-before": t, "txs": entries }).to_string();
        faults::arm(point, 0);
        assert!(graph.react(None, Message::parse(Frame::Text(&message))).failure.is_some());
        assert_consistent(&mut graph, &sql);
    }
}
