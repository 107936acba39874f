//! Assets: headers, limits, links.

use crate::world::{Answer, LINK_SECRET, Stored, TestBody, World, request};

const MIB: usize = 1 << 20;

fn world() -> (World, String) {
    let world = World::new();
    let graph = world.create("owner", "g");
    (world, graph)
}

fn put(world: &World, path: &str, length: Option<u64>, chunks: impl IntoIterator<Item = Vec<u8>>) -> u16 {
    let mut put = request(Some("owner"), "PUT", path, "");
    if let Some(length) = length {
        put.headers_mut().insert("content-length", length.into());
    }
    put.headers_mut().insert("content-type", "text/html".parse().unwrap());
    put.headers_mut().insert("x-amz-meta-checksum", "abc".parse().unwrap());
    put.headers_mut().insert("x-amz-meta-type", "ignored".parse().unwrap());
    *put.body_mut() = TestBody::chunks(chunks);
    let answer = world.send(put);
    if answer.status == 413 {
        assert_eq!(answer.refusal().1, "asset too large");
    }
    answer.status
}

#[test]
fn stored_objects_come_back_with_their_headers() {
    let (world, graph) = world();
    assert_eq!(put(&world, &format!("/assets/{graph}/dir/a%22.png"), Some(4), [vec![1, 2], vec![3, 4]]), 200);
    let stored = world.assets.as_ref().unwrap().objects.borrow()[&format!("{graph}/dir/a%22.png")].clone();
    assert_eq!((stored.checksum.as_deref(), stored.extension.as_str()), (Some("abc"), "png"));
    let answer = world.call(Some("owner"), "GET", &format!("/assets/{graph}/dir/a%22.png"), "");
    assert_eq!(answer.bytes, [1, 2, 3, 4]);
    for (name, expected) in [
        ("content-type", "image/png"),
        ("content-disposition", "inline; filename=\"a%22.png\""),
        ("content-length", "4"),
        ("x-asset-size", "4"),
        ("x-asset-type", "png"),
        ("x-content-type-options", "nosniff"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(answer.header(name), Some(expected), "{name}");
    }
    assert!(answer.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!((answer.header("content-encoding"), answer.header("cache-control")), (None, None));
}

#[test]
fn stored_metadata_is_passed_on_when_it_says_something() {
    let (world, graph) = world();
    let store = |encoding: Option<&str>, control: Option<&str>, content_type: &str| {
        let stored = Stored {
            bytes: vec![1],
            content_type: content_type.into(),
            content_encoding: encoding.map(str::to_owned),
            cache_control: control.map(str::to_owned),
            checksum: None,
            extension: "bin".into(),
        };
        world.assets.as_ref().unwrap().objects.borrow_mut().insert(format!("{graph}/a.bin"), stored);
        world.call(Some("owner"), "GET", &format!("/assets/{graph}/a.bin"), "")
    };
    let answer = store(Some("gzip"), Some("private"), "x/y");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("cache-control"), Some("private"));
    assert_eq!(answer.header("content-type"), Some("x/y"));
    for (encoding, control) in [("null", ""), ("", "")] {
        let answer = store(Some(encoding), Some(control), "");
        assert_eq!((answer.header("content-encoding"), answer.header("cache-control")), (None, None));
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    }
    assert_eq!(store(None, None, "a\nb").status, 500, "what is no header value is no header");
}

#[test]
fn limits_hold_for_what_is_declared_and_for_what_comes() {
    let (world, graph) = world();
    let path = format!("/assets/{graph}/a.bin");
    let blocks = |count: usize| (0..count).map(|_| vec![0; MIB]);
    assert_eq!(put(&world, &path, Some((100 * MIB) as u64 + 1), [vec![1]]), 413);
    assert_eq!(put(&world, &path, None, blocks(100).chain([vec![0]])), 413);
    assert_eq!(put(&world, &path, Some(1), [vec![0; 2]]), 413, "a length that lies");
    assert!(world.assets.as_ref().unwrap().objects.borrow().is_empty(), "nothing is stored");
    assert_eq!(put(&world, &path, None, blocks(100)), 200);

    world.ok("owner", "POST", "/e2ee/user-keys", r#"{"public-key":"p","encrypted-private-key":"e"}"#);
    let secret = world.ok("owner", "POST", "/graphs", r#"{"graph-name":"s"}"#);
    let path = format!("/assets/{}/a.bin", secret["graph-id"].as_str().unwrap());
    assert_eq!(put(&world, &path, Some((200 * MIB) as u64), [vec![1]]), 200);
    assert_eq!(put(&world, &path, Some((200 * MIB) as u64 + 1), [vec![1]]), 413);
}

#[test]
fn links_open_one_object_for_reading() {
    let (world, graph) = world();
    for name in ["a.png", "b.png"] {
        assert_eq!(put(&world, &format!("/assets/{graph}/{name}"), Some(1), [vec![1]]), 200);
    }
    let secret = auth::Secret::new(LINK_SECRET).unwrap();
    let link = auth::asset_link::sign(&secret, &format!("{graph}/a.png"), world.time.now() / 1000);
    let call =
        |method: &str, name: &str| world.call(None, method, &format!("/assets/{graph}/{name}?{link}"), "").status;
    assert_eq!((call("GET", "a.png"), call("HEAD", "a.png")), (200, 200));
    assert_eq!((call("GET", "b.png"), call("HEAD", "b.png")), (401, 401));
    assert_eq!(call("PUT", "a.png"), 401);
    assert_eq!(call("DELETE", "a.png"), 401);
    world.time.advance(300_000);
    assert_eq!(call("GET", "a.png"), 401);
    let closed = World::with(&[("ASSET_LINK_SECRET", "")]);
    assert_eq!(closed.call(None, "GET", &format!("/assets/{graph}/a.png?{link}"), "").status, 401);
}

#[test]
fn paths_and_missing_stores() {
    let (world, graph) = world();
    for path in ["", "only", "/x.png", &format!("{graph}/noext"), &format!("{graph}/.png"), &format!("{graph}/x.")] {
        let answer = world.call(None, "GET", &format!("/assets/{path}"), "");
        assert_eq!(answer.refusal(), (400, "invalid asset path".into()), "{path}");
    }
    assert_eq!(world.call(Some("owner"), "GET", &format!("/assets/{graph}/x.png"), "").refusal().0, 404);
    assert_eq!(world.call(Some("owner"), "DELETE", &format!("/assets/{graph}/x.png"), "").status, 200);
    let (mut world, graph) = self::world();
    world.assets = None;
    let answer = world.call(Some("owner"), "GET", &format!("/assets/{graph}/x.png"), "");
    assert_eq!(answer.refusal(), (500, "missing assets bucket".into()));
}

/// A reading request with headers.
fn read(world: &World, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut read = request(Some("owner"), method, path, "");
    for (name, value) in headers {
        read.headers_mut().append(*name, value.parse().unwrap());
    }
    world.send(read)
}

#[test]
fn a_part_of_a_file_is_sent_on_its_own() {
    let (world, graph) = world();
    let path = format!("/assets/{graph}/a.mp4");
    assert_eq!(put(&world, &path, None, [(0..10).collect()]), 200);
    let whole = read(&world, "GET", &path, &[]);
    assert_eq!((whole.status, whole.bytes.len(), whole.header("accept-ranges")), (200, 10, Some("bytes")));
    let etag = whole.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    for (range, bytes, content_range) in [
        ("bytes=0-1", &[0, 1][..], "bytes 0-1/10"),
        ("bytes=8-", &[8, 9], "bytes 8-9/10"),
        ("bytes=-1", &[9], "bytes 9-9/10"),
        ("bytes=0-99", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "bytes 0-9/10"),
    ] {
        for more in [&[][..], &[("if-range", &*etag)], &[("if-none-match", "\"other\"")]] {
            let headers: Vec<_> = [("range", range)].iter().chain(more).copied().collect();
            let part = read(&world, "GET", &path, &headers);
            assert_eq!((part.status, &*part.bytes), (206, bytes), "{range} {more:?}");
            assert_eq!(part.header("content-range"), Some(content_range));
            assert_eq!(part.header("content-length"), Some(&*bytes.len().to_string()));
            for name in ["etag", "x-asset-size", "content-type", "content-disposition", "content-security-policy"] {
                assert_eq!(part.header(name), whole.header(name), "{name}");
            }
        }
    }
    for headers in [
        &[("range", "bytes=0-1,4-5")][..],
        &[("range", "bytes=5-1")],
        &[("range", "rows=0-1")],
        &[("range", "bytes=0-1"), ("if-range", "\"other\"")],
    ] {
        let answer = read(&world, "GET", &path, headers);
        assert_eq!((answer.status, answer.bytes.len()), (200, 10), "{headers:?}");
        assert_eq!(answer.header("content-range"), None);
    }
    let beyond = read(&world, "GET", &path, &[("range", "bytes=10-")]);
    assert_eq!(beyond.refusal(), (416, "range not satisfiable".into()));
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    assert_eq!(read(&world, "GET", &format!("/assets/{graph}/b.mp4"), &[("range", "bytes=0-")]).status, 404);
}

#[test]
fn a_file_that_the_client_has_is_not_sent_again() {
    let (world, graph) = world();
    let path = format!("/assets/{graph}/a.png");
    assert_eq!(put(&world, &path, None, [vec![1, 2, 3]]), 200);
    let etag = read(&world, "HEAD", &path, &[]).header("etag").unwrap().to_owned();
    for (method, tags) in [("GET", &*etag), ("HEAD", &etag), ("GET", "*"), ("GET", &format!("\"x\", W/{etag}"))] {
        let answer = read(&world, method, &path, &[("if-none-match", tags), ("range", "bytes=0-0")]);
        assert_eq!((answer.status, answer.bytes.len(), answer.header("etag")), (304, 0, Some(&*etag)), "{tags}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!((answer.header("content-type"), answer.header("content-length")), (None, None));
    }
    assert_eq!(put(&world, &path, None, [vec![3, 2, 1]]), 200);
    let changed = read(&world, "GET", &path, &[("if-none-match", &etag)]);
    assert_eq!((changed.status, &*changed.bytes), (200, &[3, 2, 1][..]));
}

#[test]
fn a_look_at_a_file_says_what_reading_it_says() {
    let (world, graph) = world();
    let path = format!("/assets/{graph}/a.png");
    assert_eq!(put(&world, &path, None, [vec![1, 2, 3]]), 200);
    let get = read(&world, "GET", &path, &[]);
    for headers in [&[][..], &[("range", "bytes=0-0")]] {
        let head = read(&world, "HEAD", &path, headers);
        assert_eq!((head.status, head.bytes.len()), (200, 0));
        assert_eq!(head.headers, get.headers);
    }
    assert_eq!(read(&world, "HEAD", &format!("/assets/{graph}/b.png"), &[]).status, 404);
    assert_eq!(world.call(Some("eve"), "HEAD", &path, "").status, 403);
}

#[test]
fn a_file_that_is_replaced_while_it_is_looked_at_is_sent_whole() {
    for bytes in [vec![9; 5], vec![9; 20]] {
        let (world, graph) = world();
        let (path, key) = (format!("/assets/{graph}/a.bin"), format!("{graph}/a.bin"));
        assert_eq!(put(&world, &path, None, [(0..10).collect()]), 200);
        let replaced = bytes.clone();
        *world.store().meanwhile.borrow_mut() =
            Some(Box::new(move |objects| objects.get_mut(&key).unwrap().bytes = replaced));
        let answer = read(&world, "GET", &path, &[("range", "bytes=6-8")]);
        assert_eq!((answer.status, answer.bytes), (200, bytes));
    }
}

#[test]
fn one_file_has_one_key_however_its_path_is_written() {
    let (world, graph) = world();
    let paths =
        ["日 1.txt", "%E6%97%A5%201.txt", "%e6%97%a5%20%31%2Etxt"].map(|name| format!("/assets/{graph}/{name}"));
    for path in &paths[1..] {
        assert_eq!(put(&world, path, None, [path.clone().into_bytes()]), 200);
        for other in &paths[1..] {
            assert_eq!(read(&world, "GET", other, &[]).text(), *path);
        }
    }
    assert_eq!(world.store().keys(), [format!("{graph}/%E6%97%A5%201.txt")]);
    let raw = paths[0].replace(' ', "%20");
    assert_eq!(read(&world, "GET", &raw, &[]).text(), paths[2]);
    assert_eq!(read(&world, "DELETE", &raw, &[]).status, 200);
    assert!(world.store().keys().is_empty());
    for path in [
        format!("/assets/{graph}/%zz.txt"),
        format!("/assets/{graph}/%ff.txt"),
        format!("/assets/{graph}/%2e%2e/x.txt"),
    ] {
        assert_eq!(read(&world, "GET", &path, &[]).refusal(), (400, "invalid asset path".into()), "{path}");
    }
    // The graph in a path is the one whose members may.
    let other = world.create("eve", "h");
    let escaped = |graph: &str| graph.replacen('0', "%30", 1);
    assert_eq!(put(&world, &format!("/assets/{}/x.txt", escaped(&other)), None, [vec![1]]), 403);
    assert_eq!(put(&world, &format!("/assets/{}/x.txt", escaped(&graph)), None, [vec![1]]), 200);
    assert_eq!(world.store().keys(), [format!("{graph}/x.txt")]);
}

#[test]
fn what_is_stored_beside_a_file_is_short() {
    let (world, graph) = world();
    for (name, refused) in [("x-amz-meta-checksum", "invalid checksum"), ("content-type", "invalid content type")] {
        for length in [256, 257] {
            let path = format!("/assets/{graph}/{name}-{length}.bin");
            let answer = read(&world, "PUT", &path, &[(name, &"a".repeat(length))]);
            let expected = if length == 256 { (200, String::new()) } else { (400, refused.into()) };
            assert_eq!(answer.refusal(), expected, "{name} {length}");
        }
    }
    assert_eq!(world.store().keys().len(), 2);
}
