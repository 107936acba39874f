//! What a daemon is exclusive for: a data directory, or one graph of it, and where its files lie
//! (docs/spec/daemon.md 2.1, 4.1, 4.2).

use std::io;
use std::path::{Path, PathBuf};

use crate::names;

/// A data directory, or one graph of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    directory: PathBuf,
    graph: Option<String>,
    encoded: Option<String>,
}

/// A name that no graph may have.
#[derive(Debug, thiserror::Error)]
#[error("no graph may be named {0:?}")]
pub struct BadName(pub String);

impl Scope {
    /// The scope of a directory, or of one graph of it. Whatever leads to the same directory is the same scope: links,
    /// relative paths, a slash at the end. A directory that does not exist yet keeps the path it was given, made absolute.
    ///
    /// # Errors
    ///
    /// [`BadName`].
    pub fn new(directory: &Path, graph: Option<&str>) -> Result<Self, BadName> {
        let encoded = match graph {
            Some(name) => Some(names::encode(name).ok_or_else(|| BadName(name.to_owned()))?),
            None => None,
        };
        let directory = canonical(directory);
        Ok(Self { directory, graph: graph.map(|name| names::bare(name).to_owned()), encoded })
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The graph, without Logseq's prefix.
    pub fn graph(&self) -> Option<&str> {
        self.graph.as_deref()
    }

    /// Where this scope's own files lie: the data directory, or the graph's in it.
    pub fn folder(&self) -> PathBuf {
        match &self.encoded {
            Some(encoded) => self.directory.join("graphs").join(encoded),
            None => self.directory.clone(),
        }
    }

    /// The scope of the whole directory.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self { directory: self.directory.clone(), graph: None, encoded: None }
    }

    /// The file that is locked.
    pub fn lock(&self) -> PathBuf {
        self.folder().join(".daemon.lock")
    }

    /// The metadata.
    pub fn record(&self) -> PathBuf {
        self.folder().join("daemon.json")
    }

    /// The token of the daemon's own routes.
    pub fn token(&self) -> PathBuf {
        self.folder().join("daemon.token")
    }

    /// The socket of the daemon's own routes.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("sync.sock")
    }

    /// The folder of the daemon's log files.
    pub fn logs(&self) -> PathBuf {
        self.folder().join("logs")
    }

    /// The name in output: the graph's, or the directory's path.
    pub fn name(&self) -> String {
        self.graph.clone().unwrap_or_else(|| self.directory.to_string_lossy().into_owned())
    }

    /// The scopes of all graphs that the directory has a folder for, in order.
    ///
    /// # Errors
    ///
    /// When the folder of graphs cannot be read; one that does not exist is empty.
    pub fn graphs(&self) -> io::Result<Vec<Self>> {
        let entries = match std::fs::read_dir(self.directory.join("graphs")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // Bounded by the number of the directory's graphs.
        let mut scopes: Vec<Self> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !names::is_other(name))
            .filter_map(|name| {
                let graph = names::decode(&name)?;
                (names::encode(&graph).as_ref() == Some(&name)).then(|| Self {
                    directory: self.directory.clone(),
                    graph: Some(graph),
                    encoded: Some(name),
                })
            })
            .collect();
        scopes.sort_by(|left, right| left.encoded.cmp(&right.encoded));
        Ok(scopes)
    }
}

/// The path without links; of one that does not exist, its nearest folder that does, and the rest.
fn canonical(path: &Path) -> PathBuf {
    if let Ok(canonical) = path.canonicalize() {
        return canonical;
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent(), absolute.file_name()) {
        // Bounded by the path's length: each parent is shorter.
        (Some(parent), Some(name)) => canonical(parent).join(name),
        _ => absolute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts 1 and 2: one folder for a graph, with and without the prefix, under its encoded name; an old folder with the
    /// prefix stays where it is.
    #[test]
    fn a_graphs_files_lie_under_its_canonical_name() {
        let root = tempfile::tempdir().unwrap();
        let old = root.path().join("graphs/logseq_db_x");
        std::fs::create_dir_all(&old).unwrap();
        let scope = Scope::new(root.path(), Some("x")).unwrap();
        assert_eq!(Scope::new(root.path(), Some("logseq_db_x")).unwrap(), scope);
        let folder = root.path().canonicalize().unwrap().join("graphs");
        assert_eq!(scope.lock(), folder.join("x/.daemon.lock"));
        assert!(old.exists());
        let odd = Scope::new(root.path(), Some("foo/bar~")).unwrap();
        assert_eq!(odd.record(), folder.join("foo~2Fbar~7E/daemon.json"));
        assert!(Scope::new(root.path(), Some("..")).is_err());
    }

    #[test]
    fn every_spelling_of_a_directory_is_the_same_scope() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("real");
        let link = root.path().join("link");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let scope = Scope::new(&real, None).unwrap();
        for spelling in [link.join(""), real.join("../link/."), real.join("")] {
            assert_eq!(Scope::new(&spelling, None).unwrap(), scope, "{}", spelling.display());
        }
        let absent = Scope::new(&link.join("a/b"), None).unwrap();
        assert_eq!(absent.directory(), scope.directory().join("a/b"));
    }

    #[test]
    fn folders_that_are_no_graphs_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b", "a~2Fb", "backup", "Unlinked graphs", "logseq_local_x", "logseq_db_p", "x++y", "bad~zz"] {
            std::fs::create_dir_all(root.path().join("graphs").join(name)).unwrap();
        }
        let graphs = Scope::new(root.path(), None).unwrap().graphs().unwrap();
        let names: Vec<&str> = graphs.iter().filter_map(Scope::graph).collect();
        assert_eq!(names, ["a/b", "b"]);
    }
}
