//! Which handler a request goes to (sync.md 2.1). The tables are data, so that tests can walk over every route.

use http::Method;

/// The front worker's first decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// `/health`, any method.
    Health,
    /// Graphs, members, keys and the operator's deletion.
    Index,
    /// An agents route: the text is the path.
    Agents,
    /// An asset: what follows `/assets/`.
    Asset(&'a str),
    /// A preflight that no earlier rule has taken.
    Preflight,
    /// A graph: what follows `/sync/`.
    Graph(&'a str),
    /// Nothing.
    None,
}

/// The dispatch table, top to bottom.
pub fn target<'a>(method: &Method, path: &'a str) -> Target<'a> {
    if path == "/health" {
        Target::Health
    } else if path == "/graphs"
        || path.starts_with("/graphs/")
        || path.starts_with("/admin/graphs/")
        || path.starts_with("/e2ee")
    {
        Target::Index
    } else if ["/auth", "/sessions", "/runners", "/worker/", "/agents/", "/pg-sync/", "/pg-connections/", "/_electric/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
        || matches!(path, "/agents" | "/pg-connections")
    {
        Target::Agents
    } else if let Some(rest) = path.strip_prefix("/assets/") {
        Target::Asset(rest)
    } else if method == Method::OPTIONS {
        Target::Preflight
    } else if let Some(rest) = path.strip_prefix("/sync/") {
        Target::Graph(rest)
    } else {
        Target::None
    }
}

/// The pattern of the route that a request goes to, for logs: paths hold ids and names.
pub fn pattern(method: &Method, path: &str) -> &'static str {
    match target(method, path) {
        Target::Health => "/health",
        Target::Index => index_route(method, path).map_or("unmatched", |found| found.pattern),
        Target::Agents => "/:agents",
        Target::Asset(_) => "/assets/:graph-id/:file",
        Target::Preflight => "preflight",
        Target::Graph(rest) => {
            let (_, tail) = graph_path(rest);
            graph_route(method, tail).map_or("/sync/:graph-id", |(path, _)| path)
        }
        Target::None => "unmatched",
    }
}

/// A route of the index (sync.md 4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IndexRoute {
    /// The caller's graphs.
    ListGraphs,
    /// A new graph.
    CreateGraph,
    /// Deletion by a manager.
    DeleteGraph,
    /// Whether the caller has access.
    GraphAccess,
    /// A graph's members.
    ListMembers,
    /// A new member.
    AddMember,
    /// Another role for a member.
    ChangeRole,
    /// Removal of a member, or leaving.
    RemoveMember,
    /// The caller's RSA pair.
    UserKeys,
    /// Storing the caller's RSA pair.
    SetUserKeys,
    /// A user's public key, by e-mail address.
    PublicKey,
    /// The caller's copy of a graph's key.
    GraphKey,
    /// Storing the caller's copy of a graph's key.
    SetGraphKey,
    /// Storing members' copies of a graph's key.
    GrantAccess,
    /// Deletion by the operator.
    AdminDeleteGraph,
}

/// Methods and paths of the index; a segment that begins with a colon is a parameter.
pub const INDEX_ROUTES: &[(Method, &str, IndexRoute)] = &[
    (Method::GET, "/graphs", IndexRoute::ListGraphs),
    (Method::POST, "/graphs", IndexRoute::CreateGraph),
    (Method::DELETE, "/graphs/:graph-id", IndexRoute::DeleteGraph),
    (Method::GET, "/graphs/:graph-id/access", IndexRoute::GraphAccess),
    (Method::GET, "/graphs/:graph-id/members", IndexRoute::ListMembers),
    (Method::POST, "/graphs/:graph-id/members", IndexRoute::AddMember),
    (Method::PUT, "/graphs/:graph-id/members/:member-id", IndexRoute::ChangeRole),
    (Method::DELETE, "/graphs/:graph-id/members/:member-id", IndexRoute::RemoveMember),
    (Method::GET, "/e2ee/user-keys", IndexRoute::UserKeys),
    (Method::POST, "/e2ee/user-keys", IndexRoute::SetUserKeys),
    (Method::GET, "/e2ee/user-public-key", IndexRoute::PublicKey),
    (Method::GET, "/e2ee/graphs/:graph-id/aes-key", IndexRoute::GraphKey),
    (Method::POST, "/e2ee/graphs/:graph-id/aes-key", IndexRoute::SetGraphKey),
    (Method::POST, "/e2ee/graphs/:graph-id/grant-access", IndexRoute::GrantAccess),
    (Method::DELETE, "/admin/graphs/:graph-id", IndexRoute::AdminDeleteGraph),
];

/// A matched route of the index; the parameters are still encoded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IndexMatch<'a> {
    /// The route.
    pub route: IndexRoute,
    /// Its pattern, for logs.
    pub pattern: &'static str,
    /// The graph named in the path.
    pub graph_id: Option<&'a str>,
    /// The member named in the path.
    pub member_id: Option<&'a str>,
}

/// The index route of a method and path. Matching is exact: a trailing slash is another path.
pub fn index_route<'a>(method: &Method, path: &'a str) -> Option<IndexMatch<'a>> {
    INDEX_ROUTES.iter().filter(|(wanted, ..)| wanted == method).find_map(|(_, pattern, route)| {
        let mut found = IndexMatch { route: *route, pattern, graph_id: None, member_id: None };
        let mut segments = path.split('/');
        for wanted in pattern.split('/') {
            let segment = segments.next()?;
            match wanted {
                ":graph-id" if !segment.is_empty() => found.graph_id = Some(segment),
                ":member-id" if !segment.is_empty() => found.member_id = Some(segment),
                _ if segment == wanted => {}
                _ => return None,
            }
        }
        segments.next().is_none().then_some(found)
    })
}

/// A route inside a graph (sync.md 5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GraphRoute {
    /// Whether the graph answers.
    Health,
    /// Transactions after a `t`.
    Pull,
    /// What the checksum is made of.
    Diagnostics,
    /// Where the snapshot is.
    SnapshotDescriptor,
    /// The snapshot.
    SnapshotStream,
    /// Part of a snapshot to store.
    SnapshotUpload,
    /// Transactions to apply.
    TxBatch,
    /// Wiping the graph; for the operator.
    Reset,
}

/// Methods and paths inside a graph. What a client wrote is compared with these and never goes any further: the graph is
/// sent the path from here, so that no two parsers can read two routes in one text.
pub const GRAPH_ROUTES: &[(Method, &str, GraphRoute)] = &[
    (Method::GET, "/health", GraphRoute::Health),
    (Method::GET, "/pull", GraphRoute::Pull),
    (Method::GET, "/checksum/diagnostics", GraphRoute::Diagnostics),
    (Method::GET, "/snapshot/download", GraphRoute::SnapshotDescriptor),
    (Method::GET, "/snapshot/stream", GraphRoute::SnapshotStream),
    (Method::POST, "/snapshot/upload", GraphRoute::SnapshotUpload),
    (Method::POST, "/tx/batch", GraphRoute::TxBatch),
    (Method::DELETE, RESET, GraphRoute::Reset),
];

/// The path that wipes a graph. Clients reach it with the admin token only (D-05).
pub const RESET: &str = "/admin/reset";

/// Paths below a graph that are no socket's either (sync.md 2.3).
pub fn is_internal(tail: &str) -> bool {
    ["/semantic", "/internal"]
        .iter()
        .any(|prefix| tail.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The route inside a graph of a method and path, with the path as the table has it.
pub fn graph_route(method: &Method, path: &str) -> Option<(&'static str, GraphRoute)> {
    let found = GRAPH_ROUTES.iter().find(|(wanted, pattern, _)| wanted == method && *pattern == path);
    found.map(|(_, pattern, route)| (*pattern, *route))
}

/// Graph id and tail of what follows `/sync/` (sync.md 2.3, step 1). The id stays encoded; the tail begins with a
/// slash.
pub fn graph_path(rest: &str) -> (&str, &str) {
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dispatch_follows_the_table() {
        let options = Method::OPTIONS;
        let get = Method::GET;
        for (method, path, expected) in [
            (&get, "/health", Target::Health),
            (&options, "/health", Target::Health),
            (&get, "/health/", Target::None),
            (&get, "/graphs", Target::Index),
            (&get, "/graphsX", Target::None),
            (&get, "/graphs/", Target::Index),
            (&get, "/admin/graphs/x", Target::Index),
            (&get, "/admin/graphs", Target::None),
            (&get, "/e2eeX", Target::Index),
            (&options, "/sessions/x", Target::Agents),
            (&get, "/auth", Target::Agents),
            (&get, "/runners/1", Target::Agents),
            (&get, "/worker/transcript/snapshot", Target::Agents),
            (&get, "/worker", Target::None),
            (&get, "/agents/openapi.json", Target::Agents),
            (&get, "/agents", Target::Agents),
            (&get, "/agentsX", Target::None),
            (&get, "/pg-sync/s/changes", Target::Agents),
            (&get, "/pg-connections", Target::Agents),
            (&get, "/_electric/pg-sync/register", Target::Agents),
            (&get, "/pg-connections/main", Target::Agents),
            (&get, "/pg-connectionsX", Target::None),
            (&options, "/assets/a", Target::Asset("a")),
            (&options, "/sync/a", Target::Preflight),
            (&options, "/nope", Target::Preflight),
            (&get, "/sync/a/pull", Target::Graph("a/pull")),
            (&get, "/sync", Target::None),
            (&get, "/openapi.json", Target::None),
            (&get, "/api/v1/graphs", Target::None),
        ] {
            assert_eq!(target(method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn patterns_hold_no_values() {
        let get = Method::GET;
        for (path, expected) in [
            ("/health", "/health"),
            ("/graphs/secret/members", "/graphs/:graph-id/members"),
            ("/graphs/secret", "unmatched"),
            ("/assets/secret/a.png", "/assets/:graph-id/:file"),
            ("/sync/secret/pull", "/pull"),
            ("/sync/secret", "/sync/:graph-id"),
            ("/auth/secret", "/:agents"),
            ("/secret", "unmatched"),
        ] {
            assert_eq!(pattern(&get, path), expected, "{path}");
        }
        assert_eq!(pattern(&Method::OPTIONS, "/sync/secret"), "preflight");
    }

    #[test]
    fn index_paths_match_exactly() {
        let get = |path| index_route(&Method::GET, path);
        assert_eq!(get("/graphs").map(|found| found.route), Some(IndexRoute::ListGraphs));
        let members = get("/graphs/g/members").unwrap();
        assert_eq!((members.route, members.graph_id, members.member_id), (IndexRoute::ListMembers, Some("g"), None));
        let removal = index_route(&Method::DELETE, "/graphs/g/members/a%2Fb").unwrap();
        assert_eq!((removal.graph_id, removal.member_id), (Some("g"), Some("a%2Fb")));
        for path in ["/graphs/", "/graphs/g", "/graphs/g/", "/graphs//members", "/graphs/g/members/", "/e2ee", "/e2eeX"]
        {
            assert_eq!(get(path), None, "{path}");
        }
        for (method, path) in [
            (Method::PATCH, "/graphs"),
            (Method::PUT, "/graphs"),
            (Method::POST, "/graphs/g/access"),
            (Method::GET, "/admin/graphs/g"),
            (Method::DELETE, "/graphs/g/members/"),
        ] {
            assert_eq!(index_route(&method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn graph_paths_match_exactly_and_keep_no_prefix() {
        assert_eq!(graph_route(&Method::GET, "/pull"), Some(("/pull", GraphRoute::Pull)));
        for (method, path) in [
            (Method::POST, "/pull"),
            (Method::GET, "/tx/batch"),
            (Method::GET, "/admin/reset"),
            (Method::DELETE, "//admin/reset"),
            (Method::DELETE, "/sync/x/admin/reset"),
            (Method::DELETE, "/%2e/admin/reset"),
            (Method::DELETE, "/x/../admin/reset"),
            (Method::DELETE, "/admin\\reset"),
            (Method::DELETE, "/admin/reset/"),
            (Method::DELETE, "/Admin/reset"),
            (Method::POST, "/repair/blocks"),
            (Method::GET, "/"),
        ] {
            assert_eq!(graph_route(&method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn the_tail_begins_after_the_id() {
        for (rest, expected) in [
            ("g", ("g", "/")),
            ("g/", ("g", "/")),
            ("/g/pull", ("g", "/pull")),
            ("g/snapshot/download", ("g", "/snapshot/download")),
            ("", ("", "/")),
            ("/", ("", "/")),
            ("//g", ("", "/g")),
        ] {
            assert_eq!(graph_path(rest), expected, "{rest}");
        }
        for (tail, internal) in [
            ("/semantic", true),
            ("/semantic/pages", true),
            ("/internal/revoke-access", true),
            ("/semantics", false),
            ("/internally", false),
            ("/pull", false),
        ] {
            assert_eq!(is_internal(tail), internal, "{tail}");
        }
    }
}
