//! Paths that two parsers may read as different routes (dot segments, slashes and letters in every encoding), and
//! headers that only the front worker may set.

use attacks::{Bystander, raw};
use conformance::{Server, Socket, TestGraph, tx};

super::cases![members_reach_no_operation_that_is_not_theirs, headers_of_the_front_worker_are_ignored];

/// Operations that only the operator or the front worker may use, each with its former method.
const TARGETS: [(&str, &str); 4] = [
    ("DELETE", "admin/reset"),
    ("POST", "internal/revoke-access"),
    ("POST", "internal/delete"),
    ("DELETE", "internal/erase"),
];

/// Every way to write a tail that some parser reads as `path`.
fn disguises(path: &str) -> Vec<String> {
    let (first, rest) = path.split_once('/').unwrap();
    let mut tails = vec![
        format!("/{first}/{rest}/"),
        format!("/{first}/{rest}//"),
        format!("/{first}/{rest}/."),
        format!("/{first}/{rest}/x/.."),
        format!("/{first}/{rest};x=1"),
        format!("/{first}/{rest}%20"),
        format!("/{first}/{rest}%09"),
        format!("/{first}/{rest}%00"),
        format!("/{first}/{rest}%3Fx"),
        format!("/{first}/{rest}%23x"),
        format!("/{first}//{rest}"),
        format!("//{first}/{rest}"),
        format!("///{first}/{rest}"),
        format!("/{first}%2f{rest}"),
        format!("/{first}%2F{rest}"),
        format!("/{first}%252f{rest}"),
        format!("/{first}\\{rest}"),
        format!("\\{first}\\{rest}"),
        format!("/{first}%5c{rest}"),
        format!("/{first}%5C{rest}"),
        format!("/\\{first}/{rest}"),
        format!("/%{:02x}{}/{rest}", first.as_bytes()[0], &first[1..]),
        format!("/{}/{rest}", first.to_uppercase()),
        format!("/{first}/{}", rest.to_uppercase()),
        format!("/{first}\t/{rest}"),
        format!("/sync/x/{first}/{rest}"),
    ];
    for dot in [".", "%2e", "%2E"] {
        tails.push(format!("/{dot}/{first}/{rest}"));
        tails.push(format!("/{first}/{dot}/{rest}"));
        tails.push(format!("/{dot}\\{first}/{rest}"));
        for second in [".", "%2e", "%2E"] {
            let dots = format!("{dot}{second}");
            tails.push(format!("/x/{dots}/{first}/{rest}"));
            tails.push(format!("/x\\{dots}\\{first}/{rest}"));
            tails.push(format!("/{first}/x/{dots}/{rest}"));
            tails.push(format!("/pull/{dots}/{first}/{rest}"));
            tails.push(format!("/{first}/{rest}/x/{dots}"));
            tails.push(format!("/x%2f{dots}%2f{first}/{rest}"));
        }
    }
    tails
}

/// A graph with one page, a member, and an open socket of its owner.
fn shared(server: &Server) -> (TestGraph, conformance::Client, Socket) {
    let graph = TestGraph::initial(&server.person("owner"));
    let member = server.person("member");
    graph.invite(&member, "member");
    assert_eq!(graph.batch(0, &[tx::entry(&tx::page(&tx::id(), "Kept"), "create-page", &tx::id())]).json()["t"], 1);
    let socket = Socket::open(&graph.owner, &graph.id);
    (graph, member, socket)
}

fn untouched(graph: &TestGraph, socket: &mut Socket) {
    assert_eq!(graph.t(), 1, "the graph is what it was");
    socket.drain();
}

fn members_reach_no_operation_that_is_not_theirs(server: &Server) {
    let bystander = Bystander::watch(server);
    let (graph, member, mut socket) = shared(server);
    let query = format!("?user-id={}&operation=delete", graph.owner.user);
    for (method, path) in TARGETS {
        let plain = format!("/{path}");
        for tail in disguises(path).iter().chain([&plain]) {
            let target = format!("/sync/{}{tail}{query}", graph.id);
            for method in [method, "POST", "DELETE"] {
                let status = raw::status(&member, method, &target, &[]);
                // Targets that parsers have read as the path of another host, graph or route are refused as well.
                assert!(matches!(status, 400 | 401 | 403 | 404 | 405), "{method} {target}: {status}");
            }
        }
        untouched(&graph, &mut socket);
    }
    bystander.is_content();
}

fn headers_of_the_front_worker_are_ignored(server: &Server) {
    let (graph, member, mut socket) = shared(server);
    let revoke = format!("revoke {}", graph.owner.user);
    for operation in ["delete", "erase", "reset", revoke.as_str(), "restore x", ""] {
        for caller in ["operator", "user x", ""] {
            for name in ["x-db-sync-operation", "X-Db-Sync-Operation", "X-DB-SYNC-OPERATION"] {
                let headers = [(name, operation), ("x-db-sync-caller", caller), (name, operation)];
                let status = raw::status(&member, "GET", &format!("/sync/{}/pull", graph.id), &headers);
                assert_eq!(status, 200, "{headers:?}");
                let status = raw::status(&member, "DELETE", &format!("/sync/{}/admin/reset", graph.id), &headers);
                assert_eq!(status, 403, "{headers:?}");
                let refused = Socket::try_open_path(&member.anonymous(), &graph.path(""), &headers).unwrap_err();
                assert_eq!(refused.status, 401, "{headers:?}");
            }
        }
    }
    untouched(&graph, &mut socket);
}
