//! The agent's home, as far as conversations need it (docs/spec/transcripts.md 4). The agent may have laid out anything there: what is read is
//! opened part by part, and a link, a pipe or a device is nobody's conversation.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use mailbox::{Error, fsafe};
use transcripts::places::Pattern;
use transcripts::target::{Entry, Target, TargetError};

/// Entries of folders that are looked at for one pattern.
const MAX_ENTRIES: usize = 20_000;

/// The files of this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local;

fn refused(error: &impl std::fmt::Display) -> TargetError {
    TargetError::Refused(error.to_string())
}

/// The folder and the name of a path.
fn parts(path: &str) -> Result<(&str, &str), TargetError> {
    path.rsplit_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(|| refused(&"not a path of a file"))
}

impl Target for Local {
    async fn stat(&self, path: &str) -> Result<Option<Entry>, TargetError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(Entry::File(found.len()))),
            Ok(_) => Ok(Some(Entry::Other)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    async fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, TargetError> {
        let (folder, name) = parts(path)?;
        let Ok(folder) = fsafe::folder(Path::new(folder)) else { return Ok(None) };
        match fsafe::read(folder, &[name], limit as u64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Io(error)) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(refused(&error)),
        }
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), TargetError> {
        let written = || {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        written().map_err(|error| refused(&error))
    }

    async fn make_folder(&self, path: &str) -> Result<(), TargetError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| refused(&error))
    }

    async fn set_mode(&self, path: &str, mode: u32) -> Result<(), TargetError> {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|error| refused(&error))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), TargetError> {
        let (folder, _) = parts(to)?;
        let renamed = || {
            std::fs::rename(from, to)?;
            std::fs::File::open(folder)?.sync_all()
        };
        renamed().map_err(|error| refused(&error))
    }

    async fn find(&self, home: &str, pattern: &Pattern, most: usize) -> Result<Vec<String>, TargetError> {
        let (mut found, mut seen) = (Vec::new(), 0);
        let mut folders = vec![(pattern.folder().to_owned(), pattern.depth())];
        // Bounded by MAX_ENTRIES, and in depth by the pattern.
        while let Some((folder, depth)) = folders.pop() {
            // One that is absent or closed has no conversation.
            let Ok(entries) = std::fs::read_dir(Path::new(home).join(&folder)) else { continue };
            for entry in entries.flatten() {
                seen += 1;
                if seen > MAX_ENTRIES {
                    return Err(refused(&"too many files to look through"));
                }
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && depth > 1 => folders.push((path, depth - 1)),
                    Ok(kind) if kind.is_file() && pattern.matches(&path) => found.push(path),
                    _ => {}
                }
                if found.len() > most {
                    return Err(refused(&"too many files of one conversation"));
                }
            }
        }
        Ok(found)
    }

    async fn pause(&self, ms: u32) {
        std::thread::sleep(Duration::from_millis(ms.into()));
    }
}

#[cfg(test)]
mod tests {
    use pollster::block_on;
    use transcripts::Bundle;
    use transcripts::bundle::Described;
    use transcripts::capture::capture;
    use transcripts::hydrate::{Hydrated, Mark, hydrate};
    use transcripts::places::Places;

    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn a_conversation_is_read_and_written_as_it_was() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let home = one.path().to_str().unwrap();
        for day in ["01", "02"] {
            std::fs::create_dir_all(one.path().join(format!(".codex/sessions/2026/11/{day}"))).unwrap();
        }
        std::fs::write(one.path().join(".codex/sessions/2026/11/02/rollout-x-s.jsonl"), b"{}\n\xff\r\n").unwrap();
        std::fs::write(one.path().join(".codex/sessions/2026/11/02/rollout-x-other.jsonl"), b"{}\n").unwrap();
        std::os::unix::fs::symlink("/etc/hostname", one.path().join(".codex/sessions/2026/11/01/a-s.jsonl")).unwrap();
        let patterns = Places::default().of("codex", "s", "/w");
        let members = block_on(capture(&Local, home, &patterns, LIMIT)).unwrap();
        assert_eq!(members.len(), 1, "what is a link is nobody's conversation");
        let bundle = Bundle::new(Described::default(), members, LIMIT).unwrap();
        let mark = Mark { session: "s".into(), epoch: 0, run_seq: 1 };
        let target = two.path().to_str().unwrap();
        assert_eq!(block_on(hydrate(&Local, target, &mark, &bundle)), Ok(Hydrated::Written));
        let path = two.path().join(".codex/sessions/2026/11/02/rollout-x-s.jsonl");
        assert_eq!(std::fs::read(&path).unwrap(), b"{}\n\xff\r\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(block_on(hydrate(&Local, target, &mark, &bundle)), Ok(Hydrated::Kept));
    }

    #[test]
    fn traps_are_not_opened_and_long_files_not_read() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        std::fs::write(at("long"), "12345").unwrap();
        assert_eq!(block_on(Local.stat(&at("pipe"))), Ok(Some(Entry::Other)));
        assert!(block_on(Local.read(&at("pipe"), 10)).is_err());
        assert!(block_on(Local.read(&at("long"), 4)).is_err());
        assert_eq!(block_on(Local.read(&at("absent"), 4)), Ok(None));
        assert_eq!(block_on(Local.read(&at("no/such/folder"), 4)), Ok(None));
    }
}
