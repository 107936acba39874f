//! A file under construction: it gets its name when it is complete, and others see nothing of it before.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::data_dir::sync_folder;
use crate::host::random_uuid;

/// A file under construction, which goes unless it is given its name. Its own name is a random one: several processes may work in
/// the folder at once.
pub(super) struct Draft(Option<PathBuf>);

impl Draft {
    /// Makes an empty one in a folder.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn create(folder: &Path) -> std::io::Result<(Self, File)> {
        let path = folder.join(random_uuid().to_string());
        let file = File::options().create_new(true).write(true).mode(0o600).open(&path)?;
        Ok((Self(Some(path)), file))
    }

    /// Gives it its name, whatever had that before.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) async fn publish(mut self, path: &Path) -> std::io::Result<()> {
        if let Some(draft) = &self.0 {
            tokio::fs::rename(draft, path).await?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The next start empties the folder.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Makes a small file unless there is one: it is on the disk as a whole, or not there. Of several processes that do it at once one makes
/// it, so that what is read afterwards is the same for all.
///
/// # Errors
/// What the system refuses.
pub(super) fn make_once(tmp: &Path, path: &Path, content: &[u8]) -> std::io::Result<()> {
    make_once_after(tmp, path, content, &mut || {})
}

/// How often a draft is written before somebody who removes it has to be told.
const DRAFTS: usize = 5;

/// [`make_once`], which calls `written` with each draft that is about to get its name.
fn make_once_after(tmp: &Path, path: &Path, content: &[u8], written: &mut dyn FnMut()) -> std::io::Result<()> {
    let mut left = DRAFTS;
    // At most `DRAFTS` rounds.
    loop {
        left -= 1;
        let (draft, mut file) = Draft::create(tmp)?;
        file.write_all(content)?;
        file.sync_all()?;
        written();
        let Some(name) = &draft.0 else { return Ok(()) };
        // A link is not made over a file that is there. What stays of the draft goes with it.
        let named = match std::fs::hard_link(name, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            // Some file systems have no links.
            Err(_) => std::fs::rename(name, path),
            Ok(()) => Ok(()),
        };
        match named {
            // A server that starts in the same directory empties the folder of drafts.
            Err(error) if error.kind() == ErrorKind::NotFound && left > 0 => {}
            Err(error) => return Err(error),
            Ok(()) => return path.parent().map_or(Ok(()), sync_folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_published_goes() {
        let folder = tempfile::tempdir().unwrap();
        drop(Draft::create(folder.path()).unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn the_first_content_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        make_once(folder.path(), &path, b"one").unwrap();
        make_once(folder.path(), &path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn a_draft_that_another_server_removes_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let (tmp, path) = (folder.path().join("tmp"), folder.path().join("file"));
        std::fs::create_dir(&tmp).unwrap();
        let empty = |times: usize| {
            let mut drafts = 0;
            let tmp = tmp.clone();
            move || {
                drafts += 1;
                if drafts <= times {
                    tmp.read_dir().unwrap().for_each(|file| std::fs::remove_file(file.unwrap().path()).unwrap());
                }
            }
        };
        let refused = make_once_after(&tmp, &path, b"one", &mut empty(DRAFTS)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        make_once_after(&tmp, &path, b"one", &mut empty(DRAFTS - 1)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
    }
}
