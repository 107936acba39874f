//! Programs that the runner starts: where they lie, where their output goes, how they ended.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::failure::Failure;

/// The first file called `program` in the folders of the path.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// How a process ended, in words.
pub(crate) fn how(ended: std::io::Result<ExitStatus>) -> String {
    ended.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// A log that only its owner reads, begun anew.
pub(crate) fn log_file(path: &Path) -> Result<File, Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::other(folder.display(), error))?;
    }
    let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path);
    file.map_err(|error| Failure::other(path.display(), error))
}

/// A log that only its owner reads, to be written on.
pub(crate) fn append_log(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    File::options().create(true).append(true).mode(0o600).open(path)
}

/// Writes a file that is there whole or not at all, for its owner alone.
pub(crate) fn write_once(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("new");
    let mut file = std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(temporary, path)
}
