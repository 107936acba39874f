//! Assets while R2 fails.

use std::io::Write as _;

use conformance::{Answer, Client, Server, TestGraph, raw, tx};
use faults::{Order, Platform};
use serde_json::json;

super::cases![
    a_failed_put_stores_nothing_and_can_be_repeated,
    failures_of_get_and_delete_can_be_repeated,
    a_multipart_put_that_fails_is_given_up_whole,
    a_deletion_leaves_no_asset_behind,
    a_put_that_outlives_its_graph_leaves_nothing,
];

const PART_BYTES: usize = 8 << 20;

fn asset(graph: &TestGraph) -> String {
    format!("/assets/{}/{}.png", graph.id, tx::id())
}

/// Puts a body without telling its length.
fn put_chunked(client: &Client, path: &str, body: &[u8]) -> Answer {
    let mut stream = raw::connect(client);
    stream.write_all(raw::head(client, "PUT", path, &["transfer-encoding: chunked"]).as_bytes()).unwrap();
    for chunk in body.chunks(1 << 20) {
        // A server that refuses the body may stop reading it.
        let mut send = || {
            write!(stream, "{:x}\r\n", chunk.len())?;
            stream.write_all(chunk)?;
            stream.write_all(b"\r\n")
        };
        if send().is_err() {
            break;
        }
    }
    let _closed = stream.write_all(b"0\r\n\r\n");
    raw::receive(&mut stream)
}

fn a_failed_put_stores_nothing_and_can_be_repeated(server: &Server) {
    let platform = Platform::of(server);
    let graph = TestGraph::create(&server.person("owner"));
    let path = asset(&graph);
    platform.order(&Order::fail("r2", "^put "));
    let failed = graph.owner.send("PUT", &path, &[], Some(b"picture")).status;
    assert!(failed >= 500, "{failed}");
    graph.owner.get(&path).status(404);
    graph.owner.send("PUT", &path, &[], Some(b"picture")).status(200);
    assert_eq!(graph.owner.get(&path).bytes, b"picture");
    // The asset was stored and the answer lost: sending it again is harmless.
    platform.order(&Order::fail("r2", "^put ").after());
    assert!(graph.owner.send("PUT", &path, &[], Some(b"another")).status >= 500);
    graph.owner.send("PUT", &path, &[], Some(b"another")).status(200);
    assert_eq!(graph.owner.get(&path).bytes, b"another");
}

fn failures_of_get_and_delete_can_be_repeated(server: &Server) {
    let platform = Platform::of(server);
    let graph = TestGraph::create(&server.person("owner"));
    let path = asset(&graph);
    graph.owner.send("PUT", &path, &[], Some(b"picture")).status(200);
    platform.order(&Order::fail("r2", "^get "));
    assert!(graph.owner.get(&path).status >= 500);
    assert_eq!(graph.owner.get(&path).bytes, b"picture");
    for order in [Order::fail("r2", "^delete "), Order::fail("r2", "^delete ").after()] {
        platform.order(&order);
        let status = graph.owner.delete(&path).status;
        assert!(status == 200 || status >= 500, "{status}");
        graph.owner.delete(&path).status(200);
        graph.owner.get(&path).status(404);
        graph.owner.send("PUT", &path, &[], Some(b"picture")).status(200);
    }
}

fn a_multipart_put_that_fails_is_given_up_whole(server: &Server) {
    let platform = Platform::of(server);
    let graph = TestGraph::create(&server.person("owner"));
    let body: Vec<u8> = (0..2 * PART_BYTES + 1000).map(|i| u8::try_from(i % 251).unwrap()).collect();
    for (failing, aborts) in [("^begin ", 0), ("^part 1 ", 1), ("^part 2 ", 1), ("^part 3 ", 1), ("^complete ", 1)] {
        let path = asset(&graph);
        platform.clear();
        platform.order(&Order::fail("r2", failing));
        let status = put_chunked(&graph.owner, &path, &body).status;
        assert!(status >= 500, "{failing}: {status}");
        assert_eq!(platform.count("r2", "abort "), aborts, "{failing}");
        graph.owner.get(&path).status(404);
        put_chunked(&graph.owner, &path, &body).status(200);
        assert!(graph.owner.get(&path).bytes == body, "{failing}: what was put comes back");
    }
    // The upload still fails when the abort fails as well.
    platform.clear();
    platform.order(&Order::fail("r2", "^part 2 "));
    platform.order(&Order::fail("r2", "^abort ").saying("the abort failed"));
    let path = asset(&graph);
    assert!(put_chunked(&graph.owner, &path, &body).status >= 500);
    graph.owner.get(&path).status(404);
}

fn a_deletion_leaves_no_asset_behind(server: &Server) {
    let platform = Platform::of(server);
    let operator = [("x-db-sync-admin-token", server.admin_token.as_str())];
    for order in [Order::fail("r2", "^list "), Order::fail("r2", "^delete ")] {
        for times in [1, 20] {
            platform.clear();
            let graph = TestGraph::initial(&server.person("owner"));
            let path = asset(&graph);
            graph.owner.send("PUT", &path, &[], Some(b"picture")).status(200);
            platform.order(&order.clone().times(times));
            let graph_path = format!("/graphs/{}", graph.id);
            let mut answer = graph.owner.delete(&graph_path);
            if times > 1 {
                assert!(answer.status >= 500, "an asset has stayed: {} {}", answer.status, answer.json());
                platform.clear();
                answer = graph.owner.delete(&graph_path);
            }
            answer.expect(200, &json!({ "graph-id": graph.id, "deleted": true }));
            let left = server.anonymous().send("GET", &path, &operator, None).status;
            assert_eq!(left, 404, "nothing is left of it, even for the operator");
        }
    }
}

fn a_put_that_outlives_its_graph_leaves_nothing(server: &Server) {
    let platform = Platform::of(server);
    let graph = TestGraph::initial(&server.person("owner"));
    let path = asset(&graph);
    platform.order(&Order::wait("r2", "^put ", 1_500).times(1));
    std::thread::scope(|scope| {
        let putting = scope.spawn(|| graph.owner.send("PUT", &path, &[], Some(b"picture")).status);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !platform.is_done() {
            assert!(std::time::Instant::now() < until, "the put never came");
        }
        graph.owner.delete(&format!("/graphs/{}", graph.id)).status(200);
        putting.join().unwrap()
    });
    let operator = [("x-db-sync-admin-token", server.admin_token.as_str())];
    let left = server.anonymous().send("GET", &path, &operator, None).status;
    assert_eq!(left, 404, "nothing is left of it, even for the operator");
}
