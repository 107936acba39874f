//! Whether a data directory may be used (docs/spec/daemon.md 4.7): whoever can write it can make the daemon do anything.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use crate::{Error, Scope};

/// Mode bits of a file.
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;
const STICKY: u32 = 0o1000;

/// Makes the data directory where there is none, and checks who may write it. `given` is the path as somebody wrote it,
/// links included. What it returns are warnings.
///
/// # Errors
///
/// [`Error::Permissions`] and what the system refuses.
pub fn prepare(given: &Path) -> Result<Vec<String>, Error> {
    links_are_safe(given)?;
    make(given)?;
    let refuse = |problem: &str| Error::Permissions { path: given.to_owned(), problem: problem.to_owned() };
    let metadata = fs::metadata(given).map_err(|error| Error::io(given, error))?;
    if !metadata.is_dir() {
        return Err(refuse("not a directory"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refuse("it belongs to another user"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(refuse("others may write it"));
    }
    writable(given)?;
    let readable = metadata.mode() & OTHERS_READ != 0;
    Ok(if readable { vec![format!("{}: others may read it", given.display())] } else { Vec::new() })
}

/// Makes the folders of a scope, its data directory included.
///
/// # Errors
///
/// What the system refuses.
pub(crate) fn make_folders(scope: &Scope) -> Result<(), Error> {
    for folder in [scope.folder(), scope.logs()] {
        make(&folder)?;
    }
    Ok(())
}

fn make(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| Error::io(path, error))
}

fn writable(path: &Path) -> Result<(), Error> {
    rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| Error::io(path, error.into()))
}

/// Refuses a path that goes through a link which somebody else may exchange.
fn links_are_safe(given: &Path) -> Result<(), Error> {
    let absolute = std::path::absolute(given).map_err(|error| Error::io(given, error))?;
    let mut walked = PathBuf::new();
    // Bounded by the path's length.
    for component in absolute.components() {
        let parent = walked.clone();
        walked.push(component);
        if !matches!(component, Component::Normal(_)) {
            continue;
        }
        let Ok(metadata) = fs::symlink_metadata(&walked) else {
            return Ok(());
        };
        let parent_mode = fs::metadata(&parent).map_or(0, |metadata| metadata.mode());
        if metadata.is_symlink() && parent_mode & OTHERS_WRITE != 0 && parent_mode & STICKY == 0 {
            let problem = format!("{} is a link in a folder that others may write", walked.display());
            return Err(Error::Permissions { path: given.to_owned(), problem });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_is_made_for_its_owner_only() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        assert_eq!(prepare(&path).unwrap(), Vec::<String>::new());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        mode(&path, 0o755);
        assert_eq!(prepare(&path).unwrap().len(), 1);
    }

    #[test]
    fn what_others_may_write_is_refused() {
        let root = tempfile::tempdir().unwrap();
        mode(root.path(), 0o703);
        assert!(matches!(prepare(root.path()), Err(Error::Permissions { .. })));
        mode(root.path(), 0o700);
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(prepare(&file).is_err());
    }

    #[test]
    fn a_link_that_others_may_exchange_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let open = root.path().join("open");
        let data = root.path().join("data");
        fs::create_dir(&open).unwrap();
        fs::create_dir(&data).unwrap();
        mode(&data, 0o700);
        symlink(&data, open.join("link")).unwrap();
        for (bits, fine) in [(0o755, true), (0o777, false), (0o1777, true)] {
            mode(&open, bits);
            assert_eq!(prepare(&open.join("link")).is_ok(), fine, "{bits:o}");
        }
    }
}
