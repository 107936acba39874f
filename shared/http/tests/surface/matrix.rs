//! Who may do what: every route for every kind of caller.

use sync_http::route::{GRAPH_ROUTES, GraphRoute, INDEX_ROUTES, IndexRoute};

use crate::world::{ADMIN, World};

/// The callers, in the order of the columns below.
const CALLERS: [Option<&str>; 7] =
    [Some("owner"), Some("manager"), Some("member"), Some("removed"), Some("stranger"), None, Some(ADMIN)];

/// A world with one graph that all of them stand in their relation to.
fn world() -> (World, String) {
    let world = World::new();
    for user in ["manager", "member", "removed", "stranger", "spare"] {
        world.ok(user, "GET", "/graphs", "");
    }
    let graph = world.create("owner", "g");
    for (user, role) in [("manager", "manager"), ("member", "member"), ("removed", "member"), ("spare", "member")] {
        let body = format!("{{\"user-id\":\"{user}\",\"role\":\"{role}\"}}");
        world.ok("owner", "POST", &format!("/graphs/{graph}/members"), &body);
    }
    // The removed member was there, and known to be.
    world.ok("removed", "GET", &format!("/sync/{graph}/health"), "");
    world.ok("owner", "DELETE", &format!("/graphs/{graph}/members/removed"), "");
    world.assets.as_ref().unwrap().objects.borrow_mut().insert(
        format!("{graph}/a.png"),
        crate::world::Stored {
            bytes: vec![1],
            content_type: "image/png".into(),
            content_encoding: None,
            cache_control: None,
            checksum: None,
            extension: "png".into(),
        },
    );
    (world, graph)
}

fn check(method: &str, path: &str, body: &str, expected: [u16; 7]) {
    for (caller, status) in CALLERS.into_iter().zip(expected) {
        let (world, graph) = world();
        let answer = world.call(caller, method, &path.replace(":graph-id", &graph), body);
        assert_eq!(answer.status, status, "{caller:?} {method} {path}: {}", answer.text());
        match status {
            401 => assert_eq!(answer.refusal().1, "unauthorized"),
            403 => assert_eq!(answer.refusal().1, "forbidden"),
            _ => {}
        }
    }
}

#[test]
fn index_routes() {
    for (method, pattern, route) in INDEX_ROUTES {
        let (path, body, expected) = match route {
            IndexRoute::ListGraphs | IndexRoute::UserKeys => (*pattern, "", [200, 200, 200, 200, 200, 401, 401]),
            IndexRoute::CreateGraph => {
                (*pattern, r#"{"graph-name":"n","graph-e2ee?":false}"#, [200, 200, 200, 200, 200, 401, 401])
            }
            IndexRoute::DeleteGraph => (*pattern, "", [200, 200, 403, 403, 403, 401, 401]),
            IndexRoute::GraphAccess | IndexRoute::ListMembers | IndexRoute::GraphKey => {
                (*pattern, "", [200, 200, 200, 403, 403, 401, 401])
            }
            IndexRoute::AddMember => (*pattern, r#"{"user-id":"x"}"#, [200, 200, 403, 403, 403, 401, 401]),
            IndexRoute::ChangeRole => {
                ("/graphs/:graph-id/members/spare", r#"{"role":"manager"}"#, [200, 200, 403, 403, 403, 401, 401])
            }
            IndexRoute::RemoveMember => ("/graphs/:graph-id/members/spare", "", [200, 200, 403, 403, 403, 401, 401]),
            IndexRoute::SetUserKeys => {
                (*pattern, r#"{"public-key":"a","encrypted-private-key":"b"}"#, [200, 200, 200, 200, 200, 401, 401])
            }
            IndexRoute::PublicKey => {
                ("/e2ee/user-public-key?email=owner@example.test", "", [200, 200, 200, 200, 200, 401, 401])
            }
            IndexRoute::SetGraphKey => (*pattern, r#"{"encrypted-aes-key":"k"}"#, [200, 200, 200, 403, 403, 401, 401]),
            IndexRoute::GrantAccess => {
                (*pattern, r#"{"target-user-email+encrypted-aes-key-coll":[]}"#, [200, 200, 403, 403, 403, 401, 401])
            }
            IndexRoute::AdminDeleteGraph => (*pattern, "", [401, 401, 401, 401, 401, 401, 200]),
        };
        check(method.as_str(), path, body, expected);
    }
}

#[test]
fn graph_routes() {
    for (method, pattern, route) in GRAPH_ROUTES {
        let (body, expected) = match route {
            GraphRoute::Health
            | GraphRoute::Pull
            | GraphRoute::Diagnostics
            | GraphRoute::SnapshotDescriptor
            | GraphRoute::SnapshotStream => ("", [200, 200, 200, 403, 403, 401, 200]),
            // An empty upload with reset is refused after everything else.
            GraphRoute::SnapshotUpload => ("", [400, 400, 400, 403, 403, 401, 400]),
            GraphRoute::TxBatch => (r#"{"t-before":0,"txs":[]}"#, [200, 200, 200, 403, 403, 401, 200]),
            // D-05
            GraphRoute::Reset => ("", [403, 403, 403, 403, 403, 401, 200]),
        };
        check(method.as_str(), &format!("/sync/:graph-id{pattern}"), body, expected);
    }
}

#[test]
fn assets() {
    for (method, status) in [("GET", 200), ("PUT", 200), ("DELETE", 200), ("POST", 405), ("HEAD", 200)] {
        check(method, "/assets/:graph-id/a.png", "x", [status, status, status, 403, 403, 401, status]);
    }
}

#[test]
fn sockets() {
    for (caller, status) in CALLERS.into_iter().zip([101, 101, 101, 403, 403, 401, 101]) {
        let (world, graph) = world();
        let mut request = crate::world::request(caller, "GET", &format!("/sync/{graph}/any/tail"), "");
        request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
        assert_eq!(world.send(request).status, status, "{caller:?}");
    }
}
