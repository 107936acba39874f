//! How large a graph is and how far it has come, read beside whoever has it open.

use std::path::Path;

use database::local_sqlite::Rusqlite;
use graph::Position;

use super::quarantine::beside;
use super::{DataDir, asset_folder, graph_folder};

/// What the disk says of a graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Counter and checksum; none where nothing is stored, or it cannot be read.
    pub(crate) position: Option<Position>,
    /// Bytes of its database with its log.
    pub(crate) bytes: u64,
    /// Bytes of its assets.
    pub(crate) assets: u64,
}

/// Reads them; costs a look at each of its assets.
pub(crate) fn figures(data: &DataDir, graph_id: &str) -> Figures {
    let path = data.graph(&graph_folder(graph_id)).join("db.sqlite");
    let bytes = [path.clone(), beside(&path, "-wal")].iter().map(|path| length(path)).sum();
    Figures { position: position(&path), bytes, assets: folder_bytes(&asset_folder(data, graph_id)) }
}

fn position(path: &Path) -> Option<Position> {
    if !path.is_file() {
        return None;
    }
    graph::stored_position(&Rusqlite::snapshot(path).ok()?).ok()
}

fn length(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |meta| meta.len())
}

/// Bytes of the files in a folder, without those in folders below.
pub(crate) fn folder_bytes(folder: &Path) -> u64 {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file).map(|meta| meta.len()).sum()
}

/// Bytes of all graphs' databases, and of all assets.
pub(crate) fn totals(data: &DataDir) -> (u64, u64) {
    let below = |folder: &Path| -> u64 {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        entries.map(|entry| folder_bytes(&entry.path())).sum()
    };
    (below(&data.graph("")), below(&data.assets()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_figures_whether_it_is_open_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert_eq!(figures(&data, "g"), Figures::default());
        let hold = crate::daemon::Hold::of_test(folder.path());
        let opened = crate::store::open_graph(&data.graph("g"), &hold).unwrap();
        assert!(figures(&data, "g").position.is_none(), "nothing is stored yet");
        let mut graph = graph::Graph::new(opened.sql, || 0, graph::Options::DEFAULT);
        graph.position().unwrap();
        let open = figures(&data, "g");
        assert_eq!(open.position.as_ref().map(|position| position.t), Some(0));
        drop(graph);
        let closed = figures(&data, "g");
        assert_eq!(closed.position, open.position);
        std::fs::create_dir_all(data.assets().join("g")).unwrap();
        std::fs::write(data.assets().join("g/a.png"), "12345").unwrap();
        assert_eq!((figures(&data, "g").assets, totals(&data).1), (5, 5));
        assert!(totals(&data).0 >= closed.bytes);
    }
}
