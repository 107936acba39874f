//! A server for one graph of a data directory (docs/spec/daemon.md 4.1): others serve the other graphs at the same time, and share the index
//! with it. What concerns another graph, or the directory as a whole, is theirs.

use std::path::Path;

use daemon_lifecycle::Scope;
use http::{Method, Request};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::start::StartError;
use crate::store::{DataDir, graph_folder};

/// The graph of such a server, by the name of its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OneGraph(String);

impl OneGraph {
    /// The graph of a scope, where it has one; a server of the whole directory has made it. Before the lock is taken: nothing is changed.
    ///
    /// # Errors
    /// There is no such graph.
    pub(super) fn find(data: &DataDir, scope: &Scope) -> Result<Option<Self>, StartError> {
        let Some(id) = scope.graph() else { return Ok(None) };
        let folder = graph_folder(&web::url::encode(id));
        // An id may be longer than a folder's name, which then is another one than that of the lock.
        let is_there = data.format().is_file()
            && scope.folder().file_name().is_some_and(|name| name == &*folder)
            && knows(&data.index(), id).map_err(std::io::Error::other)?;
        if is_there { Ok(Some(Self(folder))) } else { Err(StartError::UnknownGraph(id.to_owned())) }
    }

    /// Whether a folder is this graph's.
    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.0 == folder
    }

    /// Whether a request may be answered here: it is about this graph, or about nothing that another server has. Graphs are neither made
    /// nor deleted here: their lock is this server's own.
    pub(super) fn answers<B>(&self, request: &Request<B>) -> bool {
        if request.method() == Method::OPTIONS {
            // Answered before anything is looked for.
            return true;
        }
        let mut segments = request.uri().path().split('/').skip(1);
        let is_own = |id: Option<&str>| id.is_some_and(|id| self.is_in(&graph_folder(id)));
        match segments.next() {
            Some("graphs") => match segments.next() {
                // `GET /graphs` lists, by the index alone.
                None => request.method() != Method::POST,
                id => is_own(id) && (segments.next().is_some() || request.method() != Method::DELETE),
            },
            Some("sync" | "assets") => is_own(segments.next()),
            Some("e2ee") => match segments.next() {
                Some("graphs") => is_own(segments.next()),
                _ => true,
            },
            Some("admin") => false,
            _ => true,
        }
    }
}

/// Whether the index has a graph of this id.
fn knows(index: &Path, id: &str) -> Result<bool, rusqlite::Error> {
    if !index.is_file() {
        return Ok(false);
    }
    let connection = Connection::open_with_flags(index, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found = connection.query_row("SELECT 1 FROM graphs WHERE graph_id = ?", [id], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_another_graph_is_not_answered() {
        let graph = OneGraph("a~2Fb".into());
        let answers =
            |method: &str, path: &str| graph.answers(&Request::builder().method(method).uri(path).body(()).unwrap());
        for (method, path) in [
            ("GET", "/health"),
            ("GET", "/graphs"),
            ("GET", "/graphs/a%2Fb/access"),
            ("POST", "/graphs/a%2fb/members"),
            ("DELETE", "/graphs/a%2Fb/members/u"),
            ("GET", "/sync/a%2Fb"),
            ("POST", "/sync/logseq_db_a%2Fb/tx/batch?x=1"),
            ("PUT", "/assets/a%2Fb/x.png"),
            ("POST", "/e2ee/user-keys"),
            ("GET", "/e2ee/graphs/a%2Fb/aes-key"),
            ("GET", "/status.json"),
            ("OPTIONS", "/sync/c/pull"),
        ] {
            assert!(answers(method, path), "{method} {path}");
        }
        for (method, path) in [
            ("POST", "/graphs"),
            ("DELETE", "/graphs/a%2Fb"),
            ("GET", "/graphs/c/access"),
            ("GET", "/graphs/"),
            ("GET", "/sync/c/pull"),
            ("GET", "/sync/a%2Fb%2F"),
            ("GET", "/sync//a%2Fb"),
            ("GET", "/assets/c/x.png"),
            ("GET", "/e2ee/graphs/c/aes-key"),
            ("DELETE", "/admin/graphs/a%2Fb"),
        ] {
            assert!(!answers(method, path), "{method} {path}");
        }
    }
}
