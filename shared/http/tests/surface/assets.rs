//! Assets: headers, limits, links.

use crate::world::{LINK_SECRET, Stored, TestBody, World, request};

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
    assert_eq!(call("GET", "a.png"), 200);
    assert_eq!(call("GET", "b.png"), 401);
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
