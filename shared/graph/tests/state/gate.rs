//! Who is kept out: deleted graphs, removed users.

use std::cell::Cell;
use std::rc::Rc;

use database::local_sqlite::Rusqlite;
use graph::snapshot::{Encoding, UploadError};
use graph::sockets::{Effect, Frame, Message};
use graph::{Error, Graph, Options, REVOCATION_MS, REVOCATIONS};
use protocol::query::UploadQuery;

use super::support::{NOW, OWNER, TestGraph, count, empty_tree, frame, new_graph, open, upload};

const SUM: &str = "00112233445566aa";

/// Everything that reaches a graph, each with whether it was refused because the graph is deleted.
fn attempts(graph: &mut TestGraph) -> Vec<(&'static str, bool)> {
    #[expect(clippy::needless_pass_by_value, reason = "what was asked is asked here only")]
    fn refused<T>(outcome: Result<T, Error>) -> bool {
        matches!(outcome, Err(Error::Deleted))
    }
    let query = UploadQuery::new(Some("true"), Some("true"), Some(SUM));
    let batch = r#"{"type":"tx/batch","t-before":0,"txs":[{"tx":"[]"}]}"#;
    let mut say = |text| graph.react(None, Message::parse(Frame::Text(text))).failure;
    let (hello, pull, write) = (say(r#"{"type":"hello","client":"c"}"#), say(r#"{"type":"pull"}"#), say(batch));
    vec![
        ("hello", refused(hello.map_or(Ok(()), Err))),
        ("pull over a socket", refused(pull.map_or(Ok(()), Err))),
        ("write over a socket", refused(write.map_or(Ok(()), Err))),
        ("position", refused(graph.position())),
        ("readiness", refused(graph.is_uploading())),
        ("pull", refused(graph.pull(0))),
        ("download", refused(graph.begin_export(Encoding::Identity))),
        ("diagnostics", refused(graph.diagnostics())),
        ("database", refused(graph.db().map(|_| ()))),
        ("reset", refused(graph.reset())),
        ("upload", matches!(graph.begin_upload(&query, OWNER, false, true), Err(UploadError::Graph(Error::Deleted)))),
    ]
}

#[test]
fn a_deleted_graph_refuses_everything_for_ever() {
    let (mut graph, sql) = new_graph();
    upload(&mut graph, ("true", "true", SUM), false, &[&frame(&empty_tree())]).unwrap();
    assert!(attempts(&mut graph).iter().all(|(_, refused)| !refused));
    upload(&mut graph, ("true", "true", SUM), false, &[&frame(&empty_tree())]).unwrap();
    assert!(matches!(graph.erase(), Err(Error::NotDeleted)));
    graph.delete().unwrap();
    assert!(count(&sql, "kvs") > 0, "the rows go with a later step");
    for _ in 0..2 {
        let mut again = open(&sql);
        assert!(again.is_deleted().unwrap(), "across restarts");
        for graph in [&mut graph, &mut again] {
            for (what, refused) in attempts(graph) {
                assert!(refused, "{what}");
            }
        }
        again.delete().unwrap();
        graph.delete().unwrap();
        again.erase().unwrap();
        for table in ["kvs", "tx_log", "sync_meta", "saved_rows", "upload_rows", "revocations"] {
            assert_eq!(count(&sql, table), 0, "{table}");
        }
    }
}

#[test]
fn what_is_under_way_ends_with_the_graph() {
    for erased in [false, true] {
        let (mut graph, sql) = new_graph();
        upload(&mut graph, ("true", "true", SUM), false, &[&frame(&empty_tree())]).unwrap();
        let query = |reset| UploadQuery::new(Some(reset), Some("true"), Some(SUM));
        let mut closing = graph.begin_upload(&query("true"), OWNER, false, true).unwrap();
        let mut staged = graph.begin_upload(&query("false"), OWNER, false, true).unwrap();
        let mut export = graph.begin_export(Encoding::Identity).unwrap();
        let mut pull = graph.pull(0).unwrap();
        graph.delete().unwrap();
        if erased {
            graph.erase().unwrap();
        }
        let rows = frame(&empty_tree());
        assert!(graph.close_for_upload(&mut closing).is_err());
        assert!(graph.feed_upload(&mut closing, &rows).and_then(|()| graph.finish_upload(&mut closing)).is_err());
        assert!(graph.feed_upload(&mut staged, &rows).and_then(|()| graph.finish_upload(&mut staged)).is_err());
        assert!(graph.next_chunk(&mut export).is_err());
        assert!(graph.pull_piece(&mut pull, &mut String::new()).is_err());
        assert_eq!(count(&sql, "kvs") > 0, !erased, "nothing came back");
        assert_eq!(count(&sql, "upload_rows"), 0);
    }
}

#[test]
fn removals_are_remembered_across_restarts_uploads_and_resets() {
    let (mut graph, sql) = new_graph();
    graph.revoke("bob").unwrap();
    assert!(graph.revocation("bob").unwrap().is_some());
    assert!(graph.revocation("alice").unwrap().is_none());
    upload(&mut graph, ("true", "true", SUM), false, &[&frame(&empty_tree())]).unwrap();
    assert!(open(&sql).revocation("bob").unwrap().is_some());
    graph.reset().unwrap();
    assert!(graph.revocation("bob").unwrap().is_some());
    assert!(open(&sql).revocation("bob").unwrap().is_some());
    let known = graph.revocation("bob").unwrap().unwrap();
    graph.lift("bob", known).unwrap();
    assert!(graph.revocation("bob").unwrap().is_none());
    assert!(open(&sql).revocation("bob").unwrap().is_none());
}

#[test]
fn an_older_removal_lifted_leaves_the_newer_one() {
    let (mut graph, sql) = new_graph();
    graph.revoke("bob").unwrap();
    let first = graph.revocation("bob").unwrap().unwrap();
    graph.revoke("bob").unwrap();
    graph.lift("bob", first).unwrap();
    assert!(graph.revocation("bob").unwrap().is_some());
    assert!(open(&sql).revocation("bob").unwrap().is_some());
}

#[test]
fn removals_end_and_are_bounded() {
    let now = Rc::new(Cell::new(NOW));
    let sql = Rc::new(Rusqlite::in_memory().unwrap());
    let graph_at = || {
        let now = Rc::clone(&now);
        Graph::new(Rc::clone(&sql), move || now.get(), Options::default())
    };
    let mut graph = graph_at();
    graph.revoke("first").unwrap();
    now.set(NOW + REVOCATION_MS - 1);
    assert!(graph.revocation("first").unwrap().is_some());
    now.set(NOW + REVOCATION_MS);
    assert!(graph.revocation("first").unwrap().is_none());
    graph.revoke("next").unwrap();
    assert_eq!(count(&sql, "revocations"), 1, "what has ended is dropped");
    // Whoever removes users that never were members fills no disk.
    for n in 0..2 * REVOCATIONS {
        graph.revoke(&format!("nobody-{n}")).unwrap();
    }
    assert_eq!(usize::try_from(count(&sql, "revocations")).unwrap(), REVOCATIONS);
    for mut graph in [graph, graph_at()] {
        assert!(graph.revocation(&format!("nobody-{}", 2 * REVOCATIONS - 1)).unwrap().is_some(), "the latest is kept");
    }
}

#[test]
fn a_message_to_a_deleted_graph_gets_an_error() {
    let (mut graph, _) = new_graph();
    graph.delete().unwrap();
    let reaction = graph.react(None, Message::parse(Frame::Text(r#"{"type":"hello","client":"c"}"#)));
    assert!(matches!(reaction.effect, Effect::Reply(reply) if reply.contains("server error")));
}
