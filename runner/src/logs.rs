//! `logs`: the last lines of what a session's shim and agent have logged, and what comes after them (docs/spec/session-mailbox.md 8.1).

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailbox::{Places, fsafe, tools};

use crate::failure::Failure;
use crate::mask::Mask;
use crate::relay::register;
use crate::settings::Settings;

/// Bytes of a file that are read at once: of a longer one, its end.
const TAIL: u64 = 8 << 20;
/// Between two looks at logs that are followed.
const LOOK: Duration = Duration::from_millis(500);

/// The last lines of the logs of a session's shim and agent, and with `follow` what comes after them, until the process is ended.
///
/// # Errors
/// [`Failure::NoSession`].
pub(crate) fn show(settings: &Settings, session: &str, lines: usize, follow: bool) -> Result<(), Failure> {
    let state = settings.state_dir.canonicalize().map_err(|_| Failure::NoSession(session.to_owned()))?;
    let places = Places::of(&state, session);
    if !places.folder().is_dir() {
        return Err(Failure::NoSession(session.to_owned()));
    }
    let mut logs =
        [Log::new("shim", places.folder().join("log"), "shim.log"), Log::new("agent", places.outside(), "agent.log")];
    let mut last = Some(lines);
    // Ends with the process when it follows.
    loop {
        // Others may have been given out since.
        let mask = mask(settings, &state, &places);
        for log in &mut logs {
            let new = log.last(last);
            for line in &new {
                println!("{}: {}", log.name, mask.of(line));
            }
        }
        if !follow {
            return Ok(());
        }
        last = None;
        std::thread::sleep(LOOK);
    }
}

/// What is not to be shown: tokens, what agents get of this process's variables, and what the worker has given to this session's agent.
fn mask(settings: &Settings, state: &Path, places: &Places) -> Mask {
    let tables = &settings.tables;
    let names = tables.names().into_iter().filter_map(|name| tables.agent(&name)).flat_map(|agent| agent.env);
    let mut secrets: Vec<String> = names.filter_map(|name| std::env::var(name).ok()).collect();
    secrets.push(settings.token.clone());
    secrets.extend(register::stored(state).ok().flatten().map(|(token, _)| token));
    let offered = fsafe::folder(&places.inside()).ok().and_then(tools::read);
    secrets.extend(offered.map(|tools| tools.token));
    Mask::new(secrets)
}

/// A log, which is followed by another one of its name when it is long.
struct Log {
    name: &'static str,
    folder: PathBuf,
    file: &'static str,
    open: Option<File>,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

impl Log {
    fn new(name: &'static str, folder: PathBuf, file: &'static str) -> Self {
        Self { name, folder, file, open: None, begun: Vec::new() }
    }

    /// The agent wrote one of them: both are opened as if somebody hostile had laid them out.
    fn open(&self, file: &str) -> Option<File> {
        let folder = fsafe::folder(&self.folder).ok()?;
        fsafe::open(folder, &[file]).ok().map(|(file, _)| file)
    }

    /// So many of the last lines, the first time; after that those that came.
    fn last(&mut self, lines: Option<usize>) -> Vec<String> {
        let Some(lines) = lines else { return self.new_lines() };
        let mut last = Vec::new();
        if let Some(mut old) = self.open(&format!("{}.1", self.file)) {
            last.extend(split(&tail(&mut old)).0);
        }
        if let Some(mut file) = self.open(self.file) {
            let (whole, begun) = split(&tail(&mut file));
            last.extend(whole);
            (self.open, self.begun) = (Some(file), begun);
        }
        last.extend((!self.begun.is_empty()).then(|| String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into()));
        last.split_off(last.len().saturating_sub(lines))
    }

    fn new_lines(&mut self) -> Vec<String> {
        let mut new = self.read_on();
        let now = self.open(self.file);
        let number = |file: Option<&File>| file.and_then(|file| file.metadata().ok()).map(|found| found.ino());
        if now.is_some() && number(now.as_ref()) != number(self.open.as_ref()) {
            // It was moved away, or has just come. What it was written meanwhile is there now.
            new.extend(self.read_on());
            self.open = now;
            new.extend(self.read_on());
        }
        new
    }

    fn read_on(&mut self) -> Vec<String> {
        let Some(file) = &mut self.open else { return Vec::new() };
        let is_cut = file.metadata().is_ok_and(|found| file.stream_position().is_ok_and(|at| at > found.len()));
        if is_cut {
            // It was begun anew.
            let _ = file.rewind();
        }
        let mut bytes = std::mem::take(&mut self.begun);
        // What was read before an error counts.
        let _ = file.take(TAIL).read_to_end(&mut bytes);
        let (whole, begun) = split(&bytes);
        self.begun = begun;
        whole
    }
}

/// The end of a file, from a line's beginning on. Whoever reads on does it from there.
fn tail(file: &mut File) -> Vec<u8> {
    let length = file.metadata().map_or(0, |found| found.len());
    let from = length.saturating_sub(TAIL);
    let mut bytes = Vec::new();
    // What was read before an error counts.
    let _ = file.seek(SeekFrom::Start(from)).and_then(|_| file.take(TAIL).read_to_end(&mut bytes));
    if from > 0 {
        let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        bytes.drain(..line);
    }
    bytes
}

/// Whole lines, and the beginning of one that is not.
fn split(bytes: &[u8]) -> (Vec<String>, Vec<u8>) {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (whole, begun) = bytes.split_at(end);
    (String::from_utf8_lossy(whole).lines().map(str::to_owned).collect(), begun.to_vec())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn log(place: &Path) -> Log {
        Log::new("agent", place.to_owned(), "agent.log")
    }

    #[test]
    fn of_a_long_log_its_end_is_shown() {
        let place = tempfile::tempdir().unwrap();
        let mut file = File::create(place.path().join("agent.log")).unwrap();
        let line = format!("{}\n", "x".repeat(999));
        let many = usize::try_from(TAIL).unwrap() / line.len() + 100;
        file.write_all(line.repeat(many).as_bytes()).unwrap();
        file.write_all(b"the last one\nbegun").unwrap();
        assert_eq!(log(place.path()).last(Some(2)), ["the last one", "begun"]);
        let all = log(place.path()).last(Some(usize::MAX));
        assert!(all.len() > 8_000 && all.first().unwrap().len() == 999, "whole lines: {}", all.len());
    }

    #[test]
    fn the_last_lines_go_on_in_the_log_before() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("agent.log.1"), "one\ntwo\n").unwrap();
        std::fs::write(place.path().join("agent.log"), "three\n").unwrap();
        assert_eq!(log(place.path()).last(Some(2)), ["two", "three"]);
    }

    #[test]
    fn what_is_followed_goes_on_when_another_log_takes_its_place() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("agent.log");
        let mut followed = log(place.path());
        assert!(followed.last(Some(10)).is_empty() && followed.last(None).is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(followed.last(None), ["one"]);
        file.write_all(b"o\nthree\n").unwrap();
        std::fs::rename(&path, place.path().join("agent.log.1")).unwrap();
        std::fs::write(&path, "four\n").unwrap();
        assert_eq!(followed.last(None), ["two", "three", "four"]);
        assert!(followed.last(None).is_empty());
    }

    #[test]
    fn a_link_in_the_place_of_a_log_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.path().join("agent.log")).unwrap();
        assert!(log(place.path()).last(Some(10)).is_empty());
    }
}
