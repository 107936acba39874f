//! What lies on the disk: the data directory, the index, the files of graphs, assets.

mod asset_name;
mod assets;
mod data_dir;
mod format;
mod graph_file;
mod graph_name;
mod index;
mod link_secret;

pub(crate) use asset_name::{META, asset_file, asset_folder};
pub(crate) use assets::Assets;
pub(crate) use data_dir::{DataDir, DataDirError, LAST_BACKUP};
pub(crate) use format::{FormatError, check_format};
pub(crate) use graph_file::{open_graph, remove_graph};
pub(crate) use graph_name::{graph_folder, hex};
pub(crate) use index::{Index, IndexError, IndexThread};
pub(crate) use link_secret::link_secret;
