//! What lies on the disk: the data directory, the index, the files of graphs, assets.

mod asset_name;
mod assets;
mod data_dir;
mod draft;
mod figures;
mod format;
mod graph_file;
mod graph_name;
mod index;
mod link_secret;
mod quarantine;
mod salvage;

pub(crate) use asset_name::{META, asset_file, asset_folder};
pub(crate) use assets::Assets;
pub(crate) use data_dir::{DataDir, DataDirError, INDEX, LAST_BACKUP, PG_SYNC};
pub(crate) use figures::{Figures, figures, folder_bytes, totals};
pub(crate) use format::{FormatError, check_format};
pub(crate) use graph_file::{empty_log, graph_file, is_damaged, leave_log, open_graph, read_only, remove_graph};
pub(crate) use graph_name::{graph_folder, hex};
pub(crate) use index::{Index, IndexError, IndexThread};
pub(crate) use link_secret::link_secret;
pub(crate) use quarantine::{Quarantine, beside};
pub(crate) use salvage::{look, renew};
