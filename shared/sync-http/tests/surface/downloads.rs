//! Downloads: what is told of them before, and how they break off (sync.md 10.2, 10.3, 5.1).

use std::io::Read;
use std::rc::Rc;

use database::local::Sql as _;
use graph::snapshot::FrameReader;
use serde_json::{Value, json};

use crate::world::{TestAnswer, TestBody, TestGraph, World, request};

fn batch(world: &World, graph: &str, items: &Value) {
    let t = world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "")["t"].clone();
    let body = json!({ "t-before": t, "txs": [{ "tx": items.to_string(), "outliner-op": "save-block" }] });
    let answer = world.ok("owner", "POST", &format!("/sync/{graph}/tx/batch"), &body.to_string());
    assert_eq!(answer["type"], "tx/batch/ok");
}

fn uuid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// Pages whose titles take that many bytes.
fn fill(world: &World, graph: &str, pages: usize, bytes: usize) {
    for n in 1..=pages {
        let name = format!("page {n}");
        batch(
            world,
            graph,
            &json!([
                ["~:db/add", uuid(n), "~:block/uuid", format!("~u{}", uuid(n))],
                ["~:db/add", uuid(n), "~:block/name", name],
                // Nothing that compresses away.
                ["~:db/add", uuid(n), "~:block/title", noise(n, bytes)],
            ]),
        );
    }
}

fn noise(seed: usize, bytes: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 40) % 26).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

fn begin(world: &World, path: &str, accepts: &str) -> http::Response<TestAnswer> {
    let mut request = request(Some("owner"), "GET", path, "");
    request.headers_mut().insert("accept-encoding", accepts.parse().unwrap());
    pollster::block_on(sync_http::handle(world, &world.service, request))
}

/// Breaks what is under way on a graph, given its id.
type Break = fn(&World, &TestGraph, &str);

/// What breaks what is under way.
const BREAKING: [(&str, Break); 4] = [
    ("a deletion", |world, _, graph| {
        world.ok("owner", "DELETE", &format!("/graphs/{graph}"), "");
    }),
    ("a reset", |world, _, graph| {
        let answer = world.call(Some(crate::world::ADMIN), "DELETE", &format!("/sync/{graph}/admin/reset"), "");
        assert_eq!(answer.status, 200);
    }),
    ("an upload", |world, _, graph| {
        let empty = world.create("owner", "empty");
        let rows = world.call(Some("owner"), "GET", &format!("/sync/{empty}/snapshot/stream"), "").bytes;
        let mut upload =
            request(Some("owner"), "POST", &format!("/sync/{graph}/snapshot/upload?reset=true&finished=true"), "");
        *upload.body_mut() = TestBody::chunks([rows]);
        assert_eq!(world.send(upload).status, 200);
    }),
    ("an error of the database", |_, object, _| {
        for table in ["kvs", "tx_log"] {
            let graph = object.graph.borrow();
            graph.sql().execute(&format!("ALTER TABLE {table} RENAME TO {table}_away"), &[]).unwrap();
        }
    }),
];

/// Reads so many pieces of a body, lets something happen, and reads on: what came, and whether it ended with an error.
fn read_through(body: &mut TestAnswer, pieces: usize, happens: impl FnOnce()) -> (Vec<u8>, bool) {
    let mut sent = Vec::new();
    for _ in 0..pieces {
        sent.extend(body.next_piece().unwrap().unwrap());
    }
    happens();
    loop {
        match body.next_piece() {
            Ok(Some(piece)) => sent.extend(piece),
            Ok(None) => return (sent, false),
            Err(_) => return (sent, true),
        }
    }
}

#[test]
fn a_download_that_breaks_off_looks_like_none_that_is_complete() {
    for (what, breaking) in BREAKING {
        for gzip in [false, true] {
            for chunks in [0, 1, 2] {
                let world = World::with(&[("DB_SYNC_SNAPSHOT_STREAM_GZIP", "true")]);
                let graph = world.create("owner", "g");
                fill(&world, &graph, 14, 300_000);
                let path = format!("/sync/{graph}/snapshot/stream");
                let response = begin(&world, &path, if gzip { "gzip" } else { "identity" });
                assert_eq!(response.headers().contains_key("content-encoding"), gzip);
                let mut body = response.into_body();
                let breaks = || breaking(&world, &world.graph(&graph), &graph);
                let (sent, broken) = read_through(&mut body, chunks, breaks);
                assert!(broken && body.next_piece().is_err(), "{what}: an error");
                let mut plain = sent.clone();
                if gzip {
                    plain.clear();
                    assert!(
                        flate2::read::GzDecoder::new(&sent[..]).read_to_end(&mut plain).is_err(),
                        "{what}: no trailer"
                    );
                }
                let (mut reader, mut rest) = (FrameReader::new(), &plain[..]);
                while reader.next_row(&mut rest).unwrap().is_some() {}
                assert!(reader.end().is_err(), "{what}, {chunks} chunks, gzip {gzip}: an end within a frame");
            }
        }
    }
}

#[test]
fn diagnostics_come_in_pieces_and_one_at_a_time() {
    let world = World::new();
    let graph = world.create("owner", "g");
    fill(&world, &graph, 14, 300_000);
    let path = format!("/sync/{graph}/checksum/diagnostics");
    let first = begin(&world, &path, "identity");
    let refused = world.call(Some("owner"), "GET", &path, "");
    assert_eq!(refused.refusal(), (503, "too many downloads".into()));
    assert_eq!(refused.header("retry-after"), Some("10"));
    let (mut body, mut text, mut pieces) = (first.into_body(), Vec::new(), 0);
    while let Some(piece) = body.next_piece().unwrap() {
        assert!(piece.len() < 2 << 20);
        text.extend(piece);
        pieces += 1;
    }
    assert!(pieces > 2);
    let shown: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(shown["blocks"].as_array().unwrap().len(), 14);
    assert_eq!(shown["checksum"], world.ok("owner", "GET", &format!("/sync/{graph}/pull"), "")["checksum"]);
    // What is given up makes room at once, what stalls after a minute.
    drop(begin(&world, &path, "identity"));
    let stalled = begin(&world, &path, "identity");
    world.time.advance(60_001);
    assert_eq!(world.call(Some("owner"), "GET", &path, "").status, 200);
    assert!(stalled.into_body().bytes().is_err(), "an error, not an end");
}

#[test]
fn a_pull_that_breaks_off_is_no_json() {
    for (what, breaking) in BREAKING {
        for pieces in [0, 1, 2, 3] {
            let world = World::new();
            let graph = world.create("owner", "g");
            fill(&world, &graph, 14, 400_000);
            let mut body = begin(&world, &format!("/sync/{graph}/pull?since=0"), "identity").into_body();
            let breaks = || breaking(&world, &world.graph(&graph), &graph);
            let (sent, broken) = read_through(&mut body, pieces, breaks);
            assert!(broken, "{what}, {pieces} pieces");
            assert!(serde_json::from_slice::<Value>(&sent).is_err(), "{what}, {pieces} pieces");
        }
    }
}

#[test]
fn the_descriptor_says_what_the_stream_will_hold() {
    let world = World::new();
    let body = r#"{"graph-name":"x","graph-e2ee?":false,"schema-version":"65"}"#;
    let graph = world.ok("owner", "POST", "/graphs", body)["graph-id"].as_str().unwrap().to_owned();
    fill(&world, &graph, 3, 10);
    let told = world.ok("owner", "GET", &format!("/sync/{graph}/snapshot/download"), "");
    let stream = world.call(Some("owner"), "GET", &format!("/sync/{graph}/snapshot/stream"), "");
    let rows: i64 = stream.header("x-snapshot-row-count").unwrap().parse().unwrap();
    assert_eq!(
        told,
        json!({
            "ok": true, "key": format!("stream/{graph}.snapshot"),
            "url": format!("http://sync.test/sync/{graph}/snapshot/stream"),
            "schema-version": "65", "t": 3, "row-count": rows,
        })
    );
    let (mut reader, mut rest, mut found) = (FrameReader::new(), &stream.bytes[..], 0);
    while reader.next_row(&mut rest).unwrap().is_some() {
        found += 1;
    }
    assert_eq!(rows, found);
}

#[test]
fn the_schema_version_is_the_graphs_own_where_the_index_has_none() {
    let world = World::new();
    let body = r#"{"graph-name":"x","graph-e2ee?":false}"#;
    let graph = world.ok("owner", "POST", "/graphs", body)["graph-id"].as_str().unwrap().to_owned();
    let path = format!("/sync/{graph}/snapshot/download");
    let missing = (409, "graph schema version is missing".to_owned());
    assert_eq!(world.call(Some("owner"), "GET", &path, "").refusal(), missing);
    let kv = |major: i64| {
        json!([
            ["~:db/add", "v", "~:db/ident", "~:logseq.kv/schema-version"],
            ["~:db/add", "v", "~:kv/value", ["^ ", "~:major", major, "~:minor", 33]],
        ])
    };
    batch(&world, &graph, &kv(65));
    assert_eq!(world.ok("owner", "GET", &path, "")["schema-version"], "65.33");
    // It does not change when the graph is migrated, here or after a restart.
    batch(&world, &graph, &kv(66));
    assert_eq!(world.ok("owner", "GET", &path, "")["schema-version"], "65.33");
    let restarted = Rc::new(world.graph(&graph).restart());
    world.graphs.borrow_mut().insert(graph.clone(), restarted);
    assert_eq!(world.ok("owner", "GET", &path, "")["schema-version"], "65.33");
    let listed = world.ok("owner", "GET", "/graphs", "");
    assert_eq!(listed["graphs"][0]["schema-version"], "65.33");
}

#[test]
fn a_stream_is_compressed_for_whoever_takes_it() {
    let world = World::with(&[("DB_SYNC_SNAPSHOT_STREAM_GZIP", "true")]);
    let graph = world.create("owner", "g");
    let path = format!("/sync/{graph}/snapshot/stream");
    for (accepts, packed) in [
        ("gzip", true),
        ("GZIP", true),
        ("br, gzip;q=0.5", true),
        ("deflate,gzip ; q=1", true),
        ("gzip;q=0", false),
        ("gzip;q=0.0, br", false),
        ("identity", false),
        ("br", false),
        ("notgzip", false),
        ("", false),
    ] {
        let response = begin(&world, &path, accepts);
        let said = response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        let bytes = response.into_body().bytes().unwrap();
        assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), packed, "{accepts:?}");
        assert_eq!(said.as_deref(), packed.then_some("gzip"), "{accepts:?}");
    }
    assert!(
        !world.call(Some("owner"), "GET", &path, "").headers.contains_key("content-encoding"),
        "nor without a word"
    );
    let never = World::new();
    let graph = never.create("owner", "g");
    assert!(
        !begin(&never, &format!("/sync/{graph}/snapshot/stream"), "gzip").headers().contains_key("content-encoding")
    );
}
