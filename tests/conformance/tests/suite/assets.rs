//! Assets (sync.md 6).

use conformance::people::pages_that_may_ask;
use conformance::{Server, TestGraph, tokens, tx};
use serde_json::json;

super::cases![
    bytes_come_back_with_their_headers,
    types_follow_the_extension,
    paths_are_parsed_at_the_last_dot,
    methods_are_limited,
    access_is_checked,
    limits_depend_on_encryption,
    deleting_twice_is_fine,
    file_names_are_escaped,
    signed_links_open_one_object_for_a_while,
    served_files_cannot_run_scripts,
    parts_of_files_are_sent,
    files_that_the_client_has_are_not_sent,
    one_file_has_one_key,
    long_metadata_is_refused,
    a_file_of_a_deleted_graph_is_gone,
];

fn put(graph: &TestGraph, file: &str, headers: &[(&str, &str)], body: &[u8]) {
    let path = format!("/assets/{}/{file}", graph.id);
    graph.owner.send("PUT", &path, headers, Some(body)).expect(200, &json!({ "ok": true }));
}

fn bytes_come_back_with_their_headers(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let file = format!("{}.bin", tx::id());
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    put(
        &graph,
        &file,
        &[("content-type", "application/x-thing"), ("x-amz-meta-checksum", "abc"), ("x-amz-meta-type", "lie")],
        &bytes,
    );
    let answer = graph.owner.get(&format!("/assets/{}/{file}", graph.id));
    answer.status(200);
    assert_eq!(answer.bytes, bytes);
    for (name, value) in [
        ("content-type", "application/x-thing"),
        ("content-length", "100000"),
        ("x-asset-size", "100000"),
        ("x-asset-type", "bin"),
        ("content-disposition", format!("inline; filename=\"{file}\"").as_str()),
        ("access-control-allow-origin", pages_that_may_ask()),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    put(&graph, &file, &[], b"replaced");
    let again = graph.owner.get(&format!("/assets/{}/{file}", graph.id));
    assert_eq!(
        (again.bytes.as_slice(), again.header("content-type")),
        (b"replaced".as_slice(), "application/octet-stream")
    );
}

fn types_follow_the_extension(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    for (extension, expected) in [
        ("png", "image/png"),
        ("JPG", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("gif", "image/gif"),
        ("webp", "image/webp"),
        ("bmp", "image/bmp"),
        ("svg", "image/svg+xml"),
        ("ico", "image/x-icon"),
        ("pdf", "application/pdf"),
        ("txt", "text/markdown"),
    ] {
        let file = format!("{}.{extension}", tx::id());
        put(&graph, &file, &[("content-type", "text/markdown")], b"x");
        let answer = graph.owner.get(&format!("/assets/{}/{file}", graph.id));
        assert_eq!((answer.header("content-type"), answer.header("x-asset-type")), (expected, extension));
    }
}

fn paths_are_parsed_at_the_last_dot(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    for bad in ["", "/", "/noextension", "/.hidden", "/trailing."] {
        graph.owner.get(&format!("/assets/{}{bad}", graph.id)).error(400, "invalid asset path");
    }
    server.person("a").get("/assets//x.png").error(400, "invalid asset path");
    server.anonymous().get("/assets/only-a-graph").error(400, "invalid asset path");
    let nested = "folder/a.b.tar.gz";
    put(&graph, nested, &[], b"deep");
    let answer = graph.owner.get(&format!("/assets/{}/{nested}", graph.id));
    assert_eq!((answer.bytes.as_slice(), answer.header("x-asset-type")), (b"deep".as_slice(), "gz"));
    assert_eq!(answer.header("content-disposition"), "inline; filename=\"a.b.tar.gz\"");
    graph.owner.get(&format!("/assets/{}/{}.png", graph.id, tx::id())).error(404, "not found");
}

fn methods_are_limited(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let path = format!("/assets/{}/a.png", graph.id);
    for method in ["POST", "PATCH"] {
        graph.owner.send(method, &path, &[], None).error(405, "method not allowed");
    }
    assert_eq!(server.anonymous().send("OPTIONS", &path, &[], None).status, 204);
}

fn access_is_checked(server: &Server) {
    let (owner, member) = (server.person("owner"), server.person("member"));
    let graph = TestGraph::create(&owner);
    graph.invite(&member, "member");
    let path = format!("/assets/{}/a.txt", graph.id);
    put(&graph, "a.txt", &[], b"x");
    member.get(&path).status(200);
    for (method, body) in [("GET", None), ("PUT", Some(b"y".as_slice())), ("DELETE", None)] {
        server.person("stranger").send(method, &path, &[], body).error(403, "forbidden");
        server.anonymous().send(method, &path, &[], body).error(401, "unauthorized");
        let admin = [("x-db-sync-admin-token", server.admin_token.as_str())];
        server.anonymous().send(method, &path, &admin, body).status(200);
    }
}

fn limits_depend_on_encryption(server: &Server) {
    let owner = server.person("owner");
    let plain = TestGraph::create(&owner);
    let over = vec![7_u8; (100 << 20) + 1];
    let path = format!("/assets/{}/big.bin", plain.id);
    owner.send("PUT", &path, &[], Some(&over)).error(413, "asset too large");
    owner.get(&path).error(404, "not found");
    owner.send("PUT", &path, &[], Some(&over[..100 << 20])).status(200);
    assert_eq!(owner.get(&path).bytes.len(), 100 << 20);
    owner.post("/e2ee/user-keys", &json!({ "public-key": "p", "encrypted-private-key": "s" })).status(200);
    let made = owner.post("/graphs", &json!({ "graph-name": tx::id() })).status(200).json();
    let secret = format!("/assets/{}/big.bin", made["graph-id"].as_str().unwrap());
    owner.send("PUT", &secret, &[], Some(&over)).status(200);
    let over = vec![7_u8; (200 << 20) + 1];
    owner.send("PUT", &secret, &[], Some(&over)).error(413, "asset too large");
    owner.send("PUT", &secret, &[], Some(&over[..200 << 20])).status(200);
    owner.delete(&secret).status(200);
}

fn deleting_twice_is_fine(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let path = format!("/assets/{}/a.txt", graph.id);
    put(&graph, "a.txt", &[], b"x");
    for _ in 0..2 {
        graph.owner.delete(&path).expect(200, &json!({ "ok": true }));
        graph.owner.get(&path).error(404, "not found");
    }
}

fn file_names_are_escaped(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let file = "we%22ird%0d%0aname.txt";
    put(&graph, file, &[], b"x");
    let answer = graph.owner.get(&format!("/assets/{}/{file}", graph.id));
    let disposition = answer.status(200).header("content-disposition").to_owned();
    assert_eq!(disposition.matches('"').count(), 2, "{disposition}");
    graph.owner.get(&format!("/assets/{}/..%2f..%2fetc%2fpasswd.txt", graph.id)).error(404, "not found");
    let long = format!("{}.{}", tx::id(), "x".repeat(4000));
    let status = graph.owner.send("PUT", &format!("/assets/{}/{long}", graph.id), &[], Some(b"x")).status;
    assert!((200..500).contains(&status), "a long extension is an ordinary answer: {status}");
}

fn signed_links_open_one_object_for_a_while(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    put(&graph, "a.png", &[], b"x");
    put(&graph, "b.png", &[], b"y");
    let link = |file: &str, expires: i64, signed: &str| {
        let signature = hmac_hex(&server.asset_link_secret, signed);
        format!("/assets/{}/{file}?expires={expires}&signature={signature}", graph.id)
    };
    let soon = tokens::now() + 200;
    let text = |file: &str, expires: i64| format!("{}/{file}:{expires}", graph.id);
    let anyone = server.anonymous();
    let good = link("a.png", soon, &text("a.png", soon));
    assert_eq!(anyone.get(&good).status(200).bytes, b"x");
    assert_eq!(anyone.get(&good.replace("signature=", "signature=00")).status, 401);
    assert_eq!(anyone.get(&link("b.png", soon, &text("a.png", soon))).status, 401, "another object");
    let (past, far) = (tokens::now() - 1, tokens::now() + 4000);
    assert_eq!(anyone.get(&link("a.png", past, &text("a.png", past))).status, 401, "expired");
    assert_eq!(anyone.get(&link("a.png", far, &text("a.png", far))).status, 401, "too far ahead");
    assert_eq!(anyone.get(&link("a.png", soon + 1, &text("a.png", soon))).status, 401, "changed expiry");
    assert_eq!(anyone.send("PUT", &good, &[], Some(b"z")).status, 401, "reading only");
    assert_eq!(anyone.send("DELETE", &good, &[], None).status, 401, "reading only");
}

fn served_files_cannot_run_scripts(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    put(&graph, "x.svg", &[], b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>");
    let answer = graph.owner.get(&format!("/assets/{}/x.svg", graph.id));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").contains("sandbox"));
}

fn parts_of_files_are_sent(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let bytes: Vec<u8> = (0..100_000_u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
    put(&graph, "a.mp4", &[("content-type", "video/mp4")], &bytes);
    let path = format!("/assets/{}/a.mp4", graph.id);
    let whole = graph.owner.get(&path);
    assert_eq!(whole.status(200).header("accept-ranges"), "bytes");
    for (range, part, content_range) in [
        ("bytes=0-1", &bytes[..2], "bytes 0-1/100000"),
        ("bytes=50000-", &bytes[50_000..], "bytes 50000-99999/100000"),
        ("bytes=-7", &bytes[99_993..], "bytes 99993-99999/100000"),
    ] {
        let answer = graph.owner.send("GET", &path, &[("range", range)], None);
        assert_eq!(answer.status(206).bytes, part, "{range}");
        assert_eq!(answer.header("content-range"), content_range);
        assert_eq!(answer.header("content-length"), part.len().to_string());
        assert_eq!(answer.header("etag"), whole.header("etag"));
    }
    let several = graph.owner.send("GET", &path, &[("range", "bytes=0-1,5-6")], None);
    assert_eq!(several.status(200).bytes.len(), bytes.len());
    let beyond = graph.owner.send("GET", &path, &[("range", "bytes=100000-")], None);
    assert_eq!(beyond.status(416).header("content-range"), "bytes */100000");
    let head = graph.owner.send("HEAD", &path, &[], None);
    assert_eq!(head.status(200).bytes.len(), 0);
    for name in ["content-length", "etag", "content-type", "x-asset-size"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }
}

fn files_that_the_client_has_are_not_sent(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let path = format!("/assets/{}/a.txt", graph.id);
    put(&graph, "a.txt", &[], b"one");
    let etag = graph.owner.get(&path).header("etag").to_owned();
    let again = || graph.owner.send("GET", &path, &[("if-none-match", &etag)], None);
    assert_eq!(again().status(304).bytes.len(), 0);
    put(&graph, "a.txt", &[], b"two");
    assert_eq!(again().status(200).bytes, b"two");
}

fn one_file_has_one_key(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    put(&graph, "%E6%97%A5.txt", &[], b"x");
    for name in ["%e6%97%a5.txt", "%E6%97%A5%2Etxt", "%E6%97%A5.%74xt"] {
        assert_eq!(graph.owner.get(&format!("/assets/{}/{name}", graph.id)).status(200).bytes, b"x", "{name}");
    }
    graph.owner.get(&format!("/assets/{}/%ff.txt", graph.id)).error(400, "invalid asset path");
}

fn long_metadata_is_refused(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    let path = format!("/assets/{}/a.txt", graph.id);
    let checksum = "a".repeat(257);
    let long = [("x-amz-meta-checksum", checksum.as_str())];
    graph.owner.send("PUT", &path, &long, Some(b"x")).error(400, "invalid checksum");
    put(&graph, "a.txt", &[("x-amz-meta-checksum", &checksum[1..])], b"x");
}

fn a_file_of_a_deleted_graph_is_gone(server: &Server) {
    let graph = TestGraph::create(&server.person("owner"));
    put(&graph, "a.png", &[], b"x");
    let soon = tokens::now() + 200;
    let signature = hmac_hex(&server.asset_link_secret, &format!("{}/a.png:{soon}", graph.id));
    let link = format!("/assets/{}/a.png?expires={soon}&signature={signature}", graph.id);
    server.anonymous().get(&link).status(200);
    graph.owner.delete(&format!("/graphs/{}", graph.id)).status(200);
    server.anonymous().get(&link).error(404, "not found");
}

/// HMAC-SHA-256 in lower-case hex, from its definition, so that the suite does not share code with a server.
fn hmac_hex(secret: &str, text: &str) -> String {
    use rsa::sha2::{Digest as _, Sha256};
    let mut key = [0_u8; 64];
    key[..secret.len()].copy_from_slice(secret.as_bytes());
    let pad = |byte: u8| key.map(|k| k ^ byte);
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    format!("{outer:x}")
}
