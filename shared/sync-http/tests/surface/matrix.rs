//! Who may do what: every route for every kind of caller.

use sync_http::route::{GRAPH_ROUTES, INDEX_ROUTES};

use crate::world::{ADMIN, World};

#[path = "../../../../tests/conformance/tests/suite/access_table.rs"]
mod access_table;
use access_table::{CALLERS, Caller, ROWS};

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

fn caller(caller: Caller) -> Option<&'static str> {
    match caller {
        Caller::User(user) => Some(user),
        Caller::Nobody => None,
        Caller::Operator => Some(ADMIN),
    }
}

#[test]
fn every_route_answers_every_caller_as_the_table_says() {
    for (method, pattern, expected, body) in ROWS {
        for (who, status) in CALLERS.into_iter().zip(expected) {
            let (world, graph) = world();
            let path = pattern
                .replace(":graph-id", &graph)
                .replace(":member-id", "spare")
                .replace(":owner-email", "owner@example.test");
            let is_upgrade = method == "UPGRADE";
            let mut request = crate::world::request(caller(who), if is_upgrade { "GET" } else { method }, &path, body);
            if is_upgrade {
                request.headers_mut().insert("upgrade", "websocket".parse().unwrap());
            }
            let answer = world.send(request);
            assert_eq!(answer.status, status, "{who:?} {method} {pattern}: {}", answer.text());
            match status {
                401 => assert_eq!(answer.refusal().1, "unauthorized"),
                403 => assert_eq!(answer.refusal().1, "forbidden"),
                _ => {}
            }
        }
    }
}

/// A route that is added needs a row, in which somebody has thought about who may use it.
#[test]
fn every_route_has_a_row() {
    let rows = ROWS.map(|(method, path, ..)| (method, path.split('?').next().unwrap()));
    let index = INDEX_ROUTES.iter().map(|(method, path, _)| (method.as_str(), (*path).to_owned()));
    let graph = GRAPH_ROUTES.iter().map(|(method, path, _)| (method.as_str(), format!("/sync/:graph-id{path}")));
    let routes: Vec<(&str, String)> = index.chain(graph).collect();
    for (method, path) in &routes {
        assert!(rows.contains(&(method, path.as_str())), "no row for {method} {path}");
    }
    // What the tables of routes do not list.
    let others = ["/health", "/assets/:graph-id/a.png", "/sync/:graph-id", "/sync/:graph-id/any/tail"];
    for (method, path) in rows {
        let is_route = routes.iter().any(|(wanted, route)| *wanted == method && route == path);
        assert!(is_route || others.contains(&path), "a row without a route: {method} {path}");
    }
}
