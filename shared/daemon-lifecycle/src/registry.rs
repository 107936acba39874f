//! The data directories that a user started daemons in (docs/spec/daemon.md 4.5): a hint for `list`, and nothing else. It is
//! one file with one path a line. Nothing depends on it: what cannot be written or read is left out.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::files;

/// The largest file that is read, in bytes.
const LIMIT: usize = 1 << 20;

/// The registry.
#[derive(Clone, Debug)]
pub struct Registry {
    path: PathBuf,
}

impl Registry {
    /// The user's registry: `$XDG_STATE_HOME/logseq-sync/dirs`. `None` without a home.
    pub fn of_user() -> Option<Self> {
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let home = || std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = state.or_else(|| Some(home()?.join(".local/state")))?;
        Some(Self::at(state.join("logseq-sync/dirs")))
    }

    /// The registry in a file.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// The directories, each once, in the order in which they came.
    pub fn read(&self) -> Vec<PathBuf> {
        let bytes = files::read(&self.path, LIMIT).unwrap_or_default();
        let mut found: Vec<PathBuf> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        // Bounded by the largest file that is read.
        for line in bytes.split(|byte| *byte == b'\n') {
            let path = Path::new(OsStr::from_bytes(line));
            if path.is_absolute() && seen.insert(line) {
                found.push(path.to_owned());
            }
        }
        found
    }

    /// Adds a directory, unless it is there already.
    ///
    /// # Errors
    ///
    /// What the system refuses. A path with a line end in it is left out.
    pub fn add(&self, directory: &Path) -> io::Result<()> {
        let bytes = directory.as_os_str().as_bytes();
        if bytes.contains(&b'\n') || self.read().iter().any(|found| found == directory) {
            return Ok(());
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut line = bytes.to_vec();
        line.push(b'\n');
        self.with_lock(libc::F_RDLCK, |mut file| file.write_all(&line))
    }

    /// Removes directories that `is_dead` says are. What is added meanwhile stays. While somebody else rewrites the file,
    /// nothing is done.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn prune(&self, is_dead: impl Fn(&Path) -> bool) -> io::Result<()> {
        if !self.read().iter().any(|path| is_dead(path)) {
            return Ok(());
        }
        self.with_lock(libc::F_WRLCK, |_| {
            // Read under the lock: nobody appends now.
            let mut content = Vec::new();
            for path in self.read().iter().filter(|path| !is_dead(path)) {
                content.extend(path.as_os_str().as_bytes());
                content.push(b'\n');
            }
            files::write(&self.path, &content)
        })
    }

    /// Does something while a lock of the file is held: appending shares it, rewriting has it alone. The kernel frees it with
    /// its process, so that nothing has to be repaired. After a second without it nothing is done: this is a hint.
    fn with_lock(&self, kind: libc::c_int, act: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        for _ in 0..100 {
            let mut options = OpenOptions::new();
            let options = options.read(true).append(true).create(true).mode(0o600);
            let file = options.custom_flags(libc::O_NOFOLLOW).open(&self.path)?;
            let lock = libc::flock {
                l_type: i16::try_from(kind).unwrap_or_default(),
                l_whence: 0,
                l_start: 0,
                l_len: 0,
                l_pid: 0,
            };
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    // Held for the time of a few system calls.
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            let locked = file.metadata()?;
            // It may have been rewritten between opening and locking it.
            if std::fs::metadata(&self.path)
                .is_ok_and(|found| (found.dev(), found.ino()) == (locked.dev(), locked.ino()))
            {
                return act(&file);
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (tempfile::TempDir, Registry) {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::at(folder.path().join("logseq-sync/dirs"));
        (folder, registry)
    }

    /// Facts 17 and 33: a start adds a line, twice the same adds none; what is no path is ignored.
    #[test]
    fn a_directory_stands_in_it_once() {
        let (_folder, registry) = registry();
        assert!(registry.read().is_empty());
        for path in ["/a", "/b", "/a"] {
            registry.add(Path::new(path)).unwrap();
        }
        registry.add(Path::new("/with\nline")).unwrap();
        assert_eq!(std::fs::read_to_string(&registry.path).unwrap(), "/a\n/b\n");
        std::fs::write(&registry.path, "/a\nrelative\n\n\u{0}\n/b\n/a").unwrap();
        assert_eq!(registry.read(), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }

    /// Facts 32 and 34: dead lines go, lines that come meanwhile stay, and a lock whose process is gone blocks nobody.
    #[test]
    fn no_line_is_lost_between_appending_and_rewriting() {
        let (_folder, registry) = registry();
        registry.add(Path::new("/dead/first")).unwrap();
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let registry = &registry;
                threads.spawn(move || {
                    for number in 0..25 {
                        registry.add(Path::new(&format!("/{thread}/{number}"))).unwrap();
                        registry.add(Path::new(&format!("/dead/{thread}/{number}"))).unwrap();
                        let _ = registry.prune(|path| path.starts_with("/dead"));
                    }
                });
            }
        });
        registry.prune(|path| path.starts_with("/dead")).unwrap();
        let mut found = registry.read();
        found.sort();
        assert_eq!(found.len(), 100);
        assert!(found.iter().all(|path| !path.starts_with("/dead")));
    }

    #[test]
    fn reading_needs_no_lock() {
        let (_folder, registry) = registry();
        registry.add(Path::new("/a")).unwrap();
        registry
            .with_lock(libc::F_WRLCK, |_| {
                assert_eq!(registry.read().len(), 1);
                Ok(())
            })
            .unwrap();
    }
}
