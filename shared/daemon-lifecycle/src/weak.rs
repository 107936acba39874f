//! A lock by the existence of a file, for file systems whose kernel locks do not hold (docs/spec/daemon.md 4.2). It is weak:
//! two starters may both remove the file of a dead one. Who wants it says so at each start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::identity::{self, Claim, Here, Verdict};
use crate::{files, process};

/// What the file says about who holds it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    pid: u32,
    pid_start: u64,
    boot_id: String,
    pid_ns: u64,
    host: String,
}

/// The lock, held as long as this lives.
#[derive(Debug)]
pub(crate) struct WeakLock {
    path: PathBuf,
    content: Content,
}

impl WeakLock {
    /// Takes the lock. `None` when somebody has it.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub(crate) fn take(path: &Path, here: &Here) -> io::Result<Option<Self>> {
        let content = Content {
            pid: std::process::id(),
            pid_start: process::own_start()?,
            boot_id: here.boot_id.clone(),
            pid_ns: here.pid_ns,
            host: here.host.clone(),
        };
        // Twice: with the file of a dead holder removed.
        for _ in 0..2 {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
                Ok(mut file) => {
                    file.write_all(&serde_json::to_vec(&content)?)?;
                    file.sync_all()?;
                    return Ok(Some(Self { path: path.to_owned(), content }));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if !is_dead(read(path).as_ref(), here, path) {
                return Ok(None);
            }
            fs::remove_file(path)?;
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Option<Content> {
    serde_json::from_slice(&files::read(path, 4096).ok()?).ok()
}

/// Whether a holder is known to be gone. Of a content that cannot be read nothing is known.
fn is_dead(content: Option<&Content>, here: &Here, path: &Path) -> bool {
    let Some(content) = content else {
        return false;
    };
    if content.boot_id != here.boot_id {
        // This machine was started again since; of another machine nothing is known.
        return content.host == here.host;
    }
    let claim = Claim { start: Some(content.pid_start), boot_id: Some(&content.boot_id), pid_ns: Some(content.pid_ns) };
    identity::judge(&claim, here, &process::look(content.pid, path), true) == Verdict::Dead
}

impl Drop for WeakLock {
    fn drop(&mut self) {
        if read(&self.path).as_ref() == Some(&self.content) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_excludes_until_it_is_dropped_and_outlives_no_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".daemon.weak");
        let here = process::here().unwrap();
        let lock = WeakLock::take(&path, &here).unwrap().unwrap();
        assert!(WeakLock::take(&path, &here).unwrap().is_none());
        drop(lock);
        assert!(!path.exists());
        let restarted = Here { boot_id: "another".into(), ..here.clone() };
        std::mem::forget(WeakLock::take(&path, &here).unwrap().unwrap());
        assert!(WeakLock::take(&path, &Here { host: "another".into(), ..restarted.clone() }).unwrap().is_none());
        assert!(WeakLock::take(&path, &restarted).unwrap().is_some());
    }

    #[test]
    fn the_file_of_a_reused_pid_or_of_nobody_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".daemon.weak");
        let here = process::here().unwrap();
        let content = Content {
            pid: 1,
            pid_start: u64::MAX,
            boot_id: here.boot_id.clone(),
            pid_ns: here.pid_ns,
            host: String::new(),
        };
        fs::write(&path, serde_json::to_vec(&content).unwrap()).unwrap();
        assert!(WeakLock::take(&path, &here).unwrap().is_some());
        fs::write(&path, "half").unwrap();
        assert!(WeakLock::take(&path, &here).unwrap().is_none());
    }
}
