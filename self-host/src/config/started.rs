//! Paths as whoever started the program meant them.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The folder that the program was started in. A daemon leaves it once its configuration is read, and reads the same
/// configuration again later.
static STARTED_IN: LazyLock<PathBuf> = LazyLock::new(|| std::env::current_dir().unwrap_or_default());

/// An absolute path; a relative one counts from where the program was started.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let joined = STARTED_IN.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}
