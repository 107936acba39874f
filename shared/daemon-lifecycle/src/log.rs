//! The daemon's log files: one for each local date, the newest seven are kept (docs/spec/daemon.md 2.1).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How many files are kept.
const KEPT: usize = 7;

/// A log file, open for appending.
#[derive(Debug)]
pub struct Log {
    /// The file.
    pub file: File,
    /// Its path.
    pub path: PathBuf,
    /// Its length when it was opened.
    pub start: u64,
}

/// Opens today's file for appending, and removes those that are too old.
///
/// # Errors
///
/// What the system refuses.
pub fn open(folder: &Path) -> io::Result<Log> {
    let today = jiff::Zoned::now().strftime("%Y%m%d").to_string();
    open_for(folder, &today)
}

fn open_for(folder: &Path, date: &str) -> io::Result<Log> {
    let path = folder.join(format!("daemon-{date}.log"));
    let mut options = OpenOptions::new();
    let options = options.create(true).append(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(&path)?;
    let start = file.metadata()?.len();
    let names = fs::read_dir(folder)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in too_old(names.collect()) {
        let _ = fs::remove_file(folder.join(name));
    }
    Ok(Log { file, path, start })
}

/// The log files beyond those that are kept. Other files are none.
fn too_old(names: Vec<String>) -> Vec<String> {
    let date = |name: &str| {
        let date = name.strip_prefix("daemon-")?.strip_suffix(".log")?;
        (date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
    };
    let mut logs: Vec<String> = names.into_iter().filter(|name| date(name).is_some()).collect();
    logs.sort_unstable_by(|left, right| right.cmp(left));
    logs.split_off(KEPT.min(logs.len()))
}

/// The last 4 KiB of what was written since `start`, as text.
pub fn tail(path: &Path, start: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(4096))))?;
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Fact 16: files by date, at most seven of them.
    #[test]
    fn seven_files_are_kept_across_dates() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("other.log"), "").unwrap();
        fs::write(folder.path().join("daemon-x.log"), "").unwrap();
        for day in 1..=9 {
            let mut log = open_for(folder.path(), &format!("2026030{day}")).unwrap();
            log.file.write_all(b"line\n").unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 9);
        assert_eq!(names[0], "daemon-20260303.log");
        let again = open_for(folder.path(), "20260309").unwrap();
        assert_eq!((again.start, tail(&again.path, 0).as_str(), tail(&again.path, 5).as_str()), (5, "line\n", ""));
    }

    #[test]
    fn todays_file_is_named_by_the_local_date() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path()).unwrap();
        assert_eq!(log.path.file_name().unwrap().len(), "daemon-20260309.log".len());
    }

    #[test]
    fn the_tail_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l");
        fs::write(&path, "x".repeat(10_000)).unwrap();
        assert_eq!(tail(&path, 0).len(), 4096);
        assert_eq!(tail(&path, 9_990).len(), 10);
        assert_eq!(tail(&folder.path().join("absent"), 0), "");
    }
}
