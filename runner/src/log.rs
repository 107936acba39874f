//! The log: lines on standard error, and of a runner that works also as JSON in `log/runner.jsonl` (docs/spec/session-mailbox.md 8.4). Standard output
//! has the line that says that the runner is ready, and results.

use std::fmt::Display;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::program::append_log;

/// The longest file, in bytes, and how many there are.
const MAX_BYTES: u64 = 8 << 20;
const FILES: u32 = 8;
/// The file of this process, once one was named.
static KEPT: OnceLock<Mutex<Kept>> = OnceLock::new();

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything, each heartbeat too.
    Debug,
    /// What is worth knowing.
    Info,
    /// What went wrong.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// By its name in the configuration.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// The log of a runner. Secrets are never given to it.
#[derive(Clone, Copy, Debug)]
pub struct Log(pub Level);

impl Log {
    /// Writes a line of a level that is asked for.
    pub fn write(self, level: Level, text: impl Display) {
        if level < self.0 {
            return;
        }
        eprintln!("[local-runner-daemon] {text}");
        if let Some(kept) = KEPT.get() {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let ts = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            let line = serde_json::json!({"ts": ts, "level": level.name(), "message": text.to_string()});
            // A full disk takes the log, not the runner.
            let _ = kept.lock().unwrap_or_else(PoisonError::into_inner).write(&line.to_string());
        }
    }

    /// From now on what is written also goes to a file of this folder. The first one that is named counts.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn keep(folder: &Path) -> std::io::Result<()> {
        let kept = Kept::open(folder.join("runner.jsonl"), MAX_BYTES)?;
        // A process is one runner.
        let _ = KEPT.set(Mutex::new(kept));
        Ok(())
    }

    /// What is worth knowing.
    pub fn info(self, text: impl Display) {
        self.write(Level::Info, text);
    }

    /// What went wrong.
    pub fn warn(self, text: impl Display) {
        self.write(Level::Warn, text);
    }
}

/// A file that is followed by another one when it is long.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    most: u64,
    file: File,
    size: u64,
}

impl Kept {
    fn open(path: PathBuf, most: u64) -> std::io::Result<Self> {
        let file = append_log(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, most, file, size })
    }

    fn write(&mut self, line: &str) -> std::io::Result<()> {
        if self.size > 0 && self.size.saturating_add(line.len() as u64) >= self.most {
            let named = |number: u32| self.path.with_extension(format!("jsonl.{number}"));
            // The oldest goes; one that is not there yet is no error.
            for number in (1..FILES - 1).rev() {
                let _ = std::fs::rename(named(number), named(number + 1));
            }
            std::fs::rename(&self.path, named(1))?;
            *self = Self::open(self.path.clone(), self.most)?;
        }
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.size = self.size.saturating_add(line.len() as u64 + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_long_log_is_followed_by_another_one_and_the_oldest_goes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log/runner.jsonl");
        let mut kept = Kept::open(path.clone(), 20).unwrap();
        for number in 0..30 {
            kept.write(&format!("{{\"n\":{number:02}}}")).unwrap();
        }
        // Two lines fit into a file.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"n\":28}\n{\"n\":29}\n");
        assert_eq!(std::fs::read_to_string(path.with_extension("jsonl.7")).unwrap(), "{\"n\":14}\n{\"n\":15}\n");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 8);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Whoever comes next goes on with the last one.
        Kept::open(path.clone(), 20).unwrap().write("{}").unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "{}\n");
    }
}
