//! What a daemon answers on its own routes (docs/spec/daemon.md 4.5, 4.7, 4.9). Pure: a server hands over what was asked,
//! sends what comes back, and does what it says.

use std::time::Duration;

use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use crate::record::{Record, Status};
use crate::{Build, Owner, names};

/// Within this time a client that was there counts as one that is.
pub const RECENT: Duration = Duration::from_secs(30);

/// A request to one of the daemon's own routes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The value of `graph` in the query, decoded.
    pub graph: Option<&'a str>,
    /// The header `host`. Of a request on the daemon's socket it does not matter.
    pub host: Option<&'a str>,
    /// Whether it came by TCP.
    pub tcp: bool,
    /// The token of the header `authorization: Bearer …`.
    pub token: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// What the daemon is at the moment.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its metadata.
    pub record: &'a Record,
    /// The token of its routes.
    pub token: &'a str,
    /// Its build.
    pub build: &'a Build,
    /// How many clients were there within [`RECENT`].
    pub clients: usize,
    /// Whether its lock is lost.
    pub lost: bool,
}

/// What is to be done after the answer was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// End the daemon.
    Shutdown,
    /// Have another owner from now on ([`crate::Holder::set_owner`]). This one before the answer: it may fail.
    SetOwner(Owner),
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
    /// What to do.
    pub act: Option<Act>,
}

/// Whether a path is one of the daemon's own routes.
pub fn is_route(path: &str) -> bool {
    methods(path).is_some()
}

/// Whether a request shows the daemon's own token: that of a route, which a program adds to these, has to.
pub fn is_trusted(shown: Option<&str>, own: &str) -> bool {
    shown.is_some_and(|token| token.as_bytes().ct_eq(own.as_bytes()).into())
}

fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/healthz" => Some("GET"),
        "/shutdown" | "/admin/owner" => Some("POST"),
        _ => None,
    }
}

/// Answers a request.
pub fn answer(request: &Request<'_>, standing: &Standing<'_>) -> Reply {
    let refuse = |status, code: &str| Reply { status, body: json!({ "error": code }), act: None };
    // A page in a browser reaches loopback by any name that it had resolved to it.
    if request.tcp && !request.host.is_some_and(is_loopback) {
        return refuse(403, "forbidden-host");
    }
    let Some(method) = methods(request.path) else {
        return refuse(404, "not-found");
    };
    if request.method != method {
        return refuse(405, "method-not-allowed");
    }
    let trusted = is_trusted(request.token, standing.token);
    // Only health may be asked without a token, and then says less.
    if !trusted && (request.path != "/healthz" || request.token.is_some()) {
        return refuse(401, "unauthorized");
    }
    if request.path == "/healthz" {
        return health(standing, trusted);
    }
    if let (Some(asked), Some(own)) = (request.graph, standing.record.graph.as_deref())
        && !names::same(asked, own)
    {
        return refuse(409, "repo-mismatch");
    }
    match request.path {
        "/shutdown" => Reply { status: 200, body: json!({ "ok": true }), act: Some(Act::Shutdown) },
        // A daemon that lost its lock changes nothing any more.
        _ if standing.lost => refuse(409, "repo-locked"),
        _ => match owner(request.body) {
            Some(_) if standing.record.owner != Owner::Unknown => refuse(409, "server-owned-by-other"),
            Some(owner) => Reply { status: 200, body: json!({ "ok": true }), act: Some(Act::SetOwner(owner)) },
            None => refuse(400, "validation-error"),
        },
    }
}

/// The owner that a body names. `unknown` is nobody who could take over.
fn owner(body: &[u8]) -> Option<Owner> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let owner = Owner::read(body.get("owner")?.as_str()?);
    (owner != Owner::Unknown).then_some(owner)
}

fn health(standing: &Standing<'_>, trusted: bool) -> Reply {
    let record = standing.record;
    let status = if record.status == Status::Ready && !standing.lost { 200 } else { 503 };
    let mut body = json!({ "status": record.status, "lock_id": record.lock_id });
    if let (true, Value::Object(members)) = (trusted, &mut body) {
        let (host, port) = record.public_address().unzip();
        let more = json!({
            "kind": record.kind, "data_dir": record.data_dir, "graph": record.graph, "pid": record.pid,
            "owner": record.owner, "revision": standing.build.revision, "version": standing.build.version,
            "host": host, "port": port, "listen": record.listen, "started_at": record.started_at,
            "clients": standing.clients, "lost": standing.lost,
        });
        if let Value::Object(more) = more {
            members.extend(more);
        }
    }
    Reply { status, body, act: None }
}

/// Whether a `host` header names this machine by a name that no page can have.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        // The colons of a bare address of six: `[::1]`.
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record;

    fn record(graph: Option<&str>, owner: &str) -> Record {
        let text =
            json!({ "pid": 7, "lock_id": "l", "graph": graph, "owner": owner, "listen": ["http://127.0.0.1:8080"] });
        record::read(text.to_string().as_bytes()).record().unwrap().clone()
    }

    fn ask(record: &Record, request: Request<'_>) -> Reply {
        let build = Build { version: "1.0.0".into(), revision: "abc".into() };
        answer(&request, &Standing { record, token: "secret", build: &build, clients: 2, lost: false })
    }

    fn get<'a>() -> Request<'a> {
        Request { method: "GET", path: "/healthz", ..Request::default() }
    }

    fn post(path: &str) -> Request<'_> {
        Request { method: "POST", path, token: Some("secret"), ..Request::default() }
    }

    #[test]
    fn without_a_token_health_says_only_what_a_probe_needs() {
        let record = record(None, "cli");
        let bare = ask(&record, get());
        assert_eq!((bare.status, bare.body), (200, json!({ "status": "ready", "lock_id": "l" })));
        let full = ask(&record, Request { token: Some("secret"), ..get() });
        assert_eq!(
            (full.body["pid"].clone(), full.body["port"].clone(), full.body["clients"].clone()),
            (json!(7), json!(8080), json!(2))
        );
        assert_eq!(ask(&record, Request { token: Some("wrong"), ..get() }).status, 401);
    }

    /// Fact 35: ready is 200 and nothing else.
    #[test]
    fn a_daemon_that_starts_ends_or_lost_its_lock_is_alive_but_not_ready() {
        for status in [Status::Starting, Status::Stopping] {
            assert_eq!(ask(&Record { status, ..record(None, "cli") }, get()).status, 503);
        }
        let record = record(None, "cli");
        let build = Build { version: String::new(), revision: String::new() };
        let standing = Standing { record: &record, token: "secret", build: &build, clients: 0, lost: true };
        assert_eq!(answer(&get(), &standing).status, 503);
        let change = Request { body: br#"{"owner":"cli"}"#, ..post("/admin/owner") };
        let reply = answer(&change, &standing);
        assert_eq!((reply.status, reply.body["error"].clone()), (409, json!("repo-locked")));
    }

    #[test]
    fn everything_else_needs_the_token_the_method_and_a_loopback_host() {
        let record = record(None, "cli");
        assert_eq!(ask(&record, Request { token: None, ..post("/shutdown") }).status, 401);
        assert_eq!(ask(&record, Request { method: "GET", ..post("/shutdown") }).status, 405);
        assert_eq!(ask(&record, post("/elsewhere")).status, 404);
        for (host, status) in [
            (Some("127.0.0.1:99"), 200),
            (Some("localhost"), 200),
            (Some("[::1]:99"), 200),
            (Some("[::1]"), 200),
            (Some("evil.example:99"), 403),
            (Some("127.0.0.1.evil.example"), 403),
            (None, 403),
        ] {
            assert_eq!(ask(&record, Request { tcp: true, host, ..post("/shutdown") }).status, status, "{host:?}");
        }
    }

    /// Fact 13: the daemon of one graph refuses requests for another.
    #[test]
    fn another_graph_is_refused_and_both_spellings_are_the_same() {
        let record = record(Some("notes"), "cli");
        for (graph, status) in [("notes", 200), ("logseq_db_notes", 200), ("other", 409)] {
            let reply = ask(&record, Request { graph: Some(graph), ..post("/shutdown") });
            assert_eq!(reply.status, status, "{graph}");
        }
        assert_eq!(ask(&record, Request { graph: Some("other"), ..post("/shutdown") }).body["error"], "repo-mismatch");
    }

    /// Fact 41: only a daemon of nobody gets another owner.
    #[test]
    fn only_a_daemon_of_nobody_gets_an_owner() {
        let change = || Request { body: br#"{"owner":"cli"}"#, ..post("/admin/owner") };
        assert_eq!(ask(&record(None, "unknown"), change()).act, Some(Act::SetOwner(Owner::Cli)));
        assert_eq!(ask(&record(None, "desktop"), change()).status, 409);
        for body in [b"{}".as_slice(), b"", br#"{"owner":"pirate"}"#, br#"{"owner":1}"#] {
            assert_eq!(ask(&record(None, "unknown"), Request { body, ..change() }).status, 400);
        }
    }
}
