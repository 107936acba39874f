//! Who may do what: the status that each kind of caller gets on every route.
//!
//! Two tests go through it: the suite over the wire (`access.rs`), and the one of `shared/sync-http` over a platform in memory,
//! which also sees to it that every route of the route table has a row.

/// The callers, in the order of the columns. `spare` is one more member, whom nobody acts as.
pub(crate) const CALLERS: [Caller; 7] = [
    Caller::User("owner"),
    Caller::User("manager"),
    Caller::User("member"),
    Caller::User("removed"),
    Caller::User("stranger"),
    Caller::Nobody,
    Caller::Operator,
];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody with a token, by what they are to the graph.
    User(&'static str),
    /// Somebody without credentials.
    Nobody,
    /// Whoever knows the admin token.
    Operator,
}

/// Method, path, statuses by caller, body. `UPGRADE` is a GET that asks for a WebSocket. In paths, `:graph-id` is the
/// graph, `:member-id` the spare member, `:owner-email` the owner's address.
pub(crate) type Row = (&'static str, &'static str, [u16; 7], &'static str);

#[rustfmt::skip]
pub(crate) const ROWS: [Row; 31] = [
    // method   path                                           owner man. mem. rem. str. nob. op.   body
    ("GET",     "/health",                                    [200, 200, 200, 200, 200, 200, 200], ""),
    ("GET",     "/graphs",                                    [200, 200, 200, 200, 200, 401, 401], ""),
    ("POST",    "/graphs",                                    [200, 200, 200, 200, 200, 401, 401], r#"{"graph-name":"n","graph-e2ee?":false}"#),
    ("DELETE",  "/graphs/:graph-id",                          [200, 200, 403, 403, 403, 401, 401], ""),
    ("GET",     "/graphs/:graph-id/access",                   [200, 200, 200, 403, 403, 401, 401], ""),
    ("GET",     "/graphs/:graph-id/members",                  [200, 200, 200, 403, 403, 401, 401], ""),
    ("POST",    "/graphs/:graph-id/members",                  [200, 200, 403, 403, 403, 401, 401], r#"{"user-id":"x"}"#),
    ("PUT",     "/graphs/:graph-id/members/:member-id",       [200, 200, 403, 403, 403, 401, 401], r#"{"role":"manager"}"#),
    ("DELETE",  "/graphs/:graph-id/members/:member-id",       [200, 200, 403, 403, 403, 401, 401], ""),
    ("GET",     "/e2ee/user-keys",                            [200, 200, 200, 200, 200, 401, 401], ""),
    ("POST",    "/e2ee/user-keys",                            [200, 200, 200, 200, 200, 401, 401], r#"{"public-key":"a","encrypted-private-key":"b"}"#),
    ("GET",     "/e2ee/user-public-key?email=:owner-email",   [200, 200, 200, 200, 200, 401, 401], ""),
    ("GET",     "/e2ee/graphs/:graph-id/aes-key",             [200, 200, 200, 403, 403, 401, 401], ""),
    ("POST",    "/e2ee/graphs/:graph-id/aes-key",             [200, 200, 200, 403, 403, 401, 401], r#"{"encrypted-aes-key":"k"}"#),
    ("POST",    "/e2ee/graphs/:graph-id/grant-access",        [200, 200, 403, 403, 403, 401, 401], r#"{"target-user-email+encrypted-aes-key-coll":[]}"#),
    ("DELETE",  "/admin/graphs/:graph-id",                    [401, 401, 401, 401, 401, 401, 200], ""),
    ("GET",     "/sync/:graph-id/health",                     [200, 200, 200, 403, 403, 401, 200], ""),
    ("GET",     "/sync/:graph-id/pull",                       [200, 200, 200, 403, 403, 401, 200], ""),
    ("GET",     "/sync/:graph-id/checksum/diagnostics",       [200, 200, 200, 403, 403, 401, 200], ""),
    ("GET",     "/sync/:graph-id/snapshot/download",          [200, 200, 200, 403, 403, 401, 200], ""),
    ("GET",     "/sync/:graph-id/snapshot/stream",            [200, 200, 200, 403, 403, 401, 200], ""),
    // An empty upload with reset is refused after everything else.
    ("POST",    "/sync/:graph-id/snapshot/upload",            [400, 400, 400, 403, 403, 401, 400], ""),
    ("POST",    "/sync/:graph-id/tx/batch",                   [200, 200, 200, 403, 403, 401, 200], r#"{"t-before":0,"txs":[]}"#),
    // D-05
    ("DELETE",  "/sync/:graph-id/admin/reset",                [403, 403, 403, 403, 403, 401, 200], ""),
    ("UPGRADE", "/sync/:graph-id",                            [101, 101, 101, 403, 403, 401, 101], ""),
    ("UPGRADE", "/sync/:graph-id/any/tail",                   [101, 101, 101, 403, 403, 401, 101], ""),
    ("GET",     "/assets/:graph-id/a.png",                    [200, 200, 200, 403, 403, 401, 200], ""),
    ("HEAD",    "/assets/:graph-id/a.png",                    [200, 200, 200, 403, 403, 401, 200], ""),
    ("PUT",     "/assets/:graph-id/a.png",                    [200, 200, 200, 403, 403, 401, 200], "x"),
    ("DELETE",  "/assets/:graph-id/a.png",                    [200, 200, 200, 403, 403, 401, 200], ""),
    ("POST",    "/assets/:graph-id/a.png",                    [405, 405, 405, 403, 403, 401, 405], "x"),
];
