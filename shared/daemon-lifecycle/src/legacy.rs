//! Locks of Logseq's own client, which may have a graph of this directory open (docs/spec/daemon.md 4.9). They are read,
//! never changed.

use std::path::Path;

use serde_json::Value;

use crate::identity::{self, Seen};
use crate::{Scope, files, process};

/// The name of such a lock in a graph's folder.
pub const NAME: &str = "db-worker.lock";

/// A lock of Logseq's own client whose process lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Legacy {
    /// The graph.
    pub graph: String,
    /// What the lock says.
    pub content: Value,
}

/// The living locks of a scope: of its graph, or of all graphs of its directory.
pub fn living(scope: &Scope) -> Vec<Legacy> {
    let graphs = if scope.graph().is_some() { vec![scope.clone()] } else { scope.graphs().unwrap_or_default() };
    graphs.iter().filter_map(in_graph).collect()
}

fn in_graph(scope: &Scope) -> Option<Legacy> {
    let content: Value = serde_json::from_slice(&files::read(&scope.folder().join(NAME), 64 * 1024).ok()?).ok()?;
    let pid = u32::try_from(content.get("pid")?.as_u64()?).ok().filter(|pid| *pid > 0)?;
    let alive = match process::look(pid, Path::new("")) {
        Seen::Process(process) => !identity::is_dead(process.state),
        Seen::Gone => false,
    };
    alive.then(|| Legacy { graph: scope.name(), content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_whose_process_lives_counts() {
        let root = tempfile::tempdir().unwrap();
        let scope = Scope::new(root.path(), None).unwrap();
        for (graph, content) in [
            ("live", format!(r#"{{"repo":"logseq_db_live","pid":{},"lock-id":"x"}}"#, std::process::id())),
            ("dead", r#"{"repo":"dead","pid":2147483000}"#.to_owned()),
            ("odd", "{".to_owned()),
        ] {
            let folder = root.path().join("graphs").join(graph);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(NAME), content).unwrap();
        }
        let found = living(&scope);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].graph.as_str(), found[0].content["lock-id"].as_str()), ("live", Some("x")));
        assert!(living(&Scope::new(root.path(), Some("dead")).unwrap()).is_empty());
        assert!(root.path().join("graphs/dead").join(NAME).exists());
    }
}
