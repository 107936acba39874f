//! What a daemon says to whoever started it: lines of JSON on a pipe (docs/spec/daemon.md 4.5).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::record::{self, Reading, Record};

/// The variable with the number of the pipe's descriptor.
pub const VARIABLE: &str = "LOGSEQ_READY_FD";

/// The variable with the number of a descriptor that is closed when the desktop app ends.
pub const PARENT_VARIABLE: &str = "LOGSEQ_PARENT_FD";

/// The longest line: so much is written to a pipe as a whole.
pub const LINE: usize = 4096;

/// A line of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    /// It is still at work.
    Starting(String),
    /// It answers.
    Ready {
        /// Its metadata.
        record: Box<Record>,
        /// Processes without a lock that it ended.
        recovered: Vec<u32>,
    },
    /// It does not start.
    Error {
        /// Its code.
        code: String,
        /// Its message.
        message: String,
        /// What else it says.
        details: Map<String, Value>,
    },
}

/// Reads a line, without its end. `None` for one that is none of the three.
pub fn read(line: &[u8]) -> Option<Line> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match value.get("status")?.as_str()? {
        "starting" => Some(Line::Starting(text("step").unwrap_or_default())),
        "error" => {
            let mut details = value.as_object()?.clone();
            for own in ["status", "code", "message"] {
                details.remove(own);
            }
            Some(Line::Error { code: text("code")?, message: text("message").unwrap_or_default(), details })
        }
        "ready" => {
            let recovered = value.get("recovered_pids").and_then(Value::as_array);
            let recovered = recovered.into_iter().flatten().filter_map(|pid| u32::try_from(pid.as_u64()?).ok());
            let recovered = recovered.collect();
            match record::read(line) {
                Reading::Valid(mut record) => {
                    record.extra.remove("recovered_pids");
                    Some(Line::Ready { record, recovered })
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// A line with its end, at most [`LINE`] bytes long: what is too long loses its details, then its text.
pub fn write(line: &Line) -> Vec<u8> {
    let mut value = match line {
        Line::Starting(step) => json!({ "status": "starting", "step": cut(step) }),
        Line::Ready { record, recovered } => {
            let mut value = serde_json::to_value(record).unwrap_or_default();
            if let Value::Object(members) = &mut value {
                members.insert("status".to_owned(), "ready".into());
                members.insert("recovered_pids".to_owned(), json!(recovered));
            }
            value
        }
        Line::Error { code, message, details } => {
            let mut members = details.clone();
            members.insert("status".to_owned(), "error".into());
            members.insert("code".to_owned(), code.as_str().into());
            members.insert("message".to_owned(), message.as_str().into());
            Value::Object(members)
        }
    };
    if value.to_string().len() >= LINE {
        value = match line {
            Line::Error { code, message, .. } => json!({ "status": "error", "code": code, "message": cut(message) }),
            Line::Ready { record, recovered } => {
                // Paths and addresses may be long: the file says them. A path has at most 4096 bytes, which alone would be
                // too many, and so the few members that a starter needs remain.
                let recovered: Vec<u32> = recovered.iter().copied().take(100).collect();
                json!({
                    "status": "ready", "pid": record.pid, "pid_start": record.pid_start, "boot_id": record.boot_id,
                    "pid_ns": record.pid_ns, "lock_id": record.lock_id, "owner": record.owner,
                    "recovered_pids": recovered,
                })
            }
            Line::Starting(_) => value,
        };
    }
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// The beginning of a text, short enough for a line whatever its characters are written as.
fn cut(text: &str) -> String {
    // A character becomes at most six bytes in JSON.
    text.chars().take(500).collect()
}

/// The daemon's end of the pipe. Nothing that goes wrong here is an error: the starter may be gone.
#[derive(Debug)]
pub struct Reporter {
    pipe: Option<File>,
    told: Option<Instant>,
}

impl Reporter {
    /// A reporter on a pipe; without one it says nothing.
    pub fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(File::from), told: None }
    }

    /// Whether somebody may be listening.
    pub fn is_heard(&self) -> bool {
        self.pipe.is_some()
    }

    /// Tells that the daemon is still at work. Within a second after the last time nothing is said.
    pub fn starting(&mut self, step: &str) {
        if self.told.is_some_and(|told| told.elapsed() < Duration::from_secs(1)) {
            return;
        }
        self.told = Some(Instant::now());
        self.say(&Line::Starting(step.to_owned()));
    }

    /// Tells that the daemon answers, and closes the pipe.
    pub fn ready(&mut self, record: &Record, recovered: &[u32]) {
        self.say(&Line::Ready { record: Box::new(record.clone()), recovered: recovered.to_vec() });
        self.pipe = None;
    }

    /// Tells why the daemon does not start, and closes the pipe.
    pub fn error(&mut self, code: &str, message: &str, details: Map<String, Value>) {
        self.say(&Line::Error { code: code.to_owned(), message: message.to_owned(), details });
        self.pipe = None;
    }

    fn say(&mut self, line: &Line) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        let written = pipe.write_all(&write(line));
        if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.pipe = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record {
        record::read(br#"{"v":1,"pid":7,"pid_start":1,"boot_id":"b","pid_ns":2,"owner":"cli","lock_id":"l"}"#)
            .record()
            .unwrap()
            .clone()
    }

    #[test]
    fn lines_come_back() {
        let error = Line::Error {
            code: "repo-locked".into(),
            message: "m".into(),
            details: json!({ "holders": [{ "pid": 3 }] }).as_object().unwrap().clone(),
        };
        let ready = Line::Ready { record: Box::new(record()), recovered: vec![5, 6] };
        for line in [Line::Starting("opening".into()), error, ready] {
            let written = write(&line);
            let (end, text) = written.split_last().unwrap();
            assert_eq!(*end, b'\n');
            assert_eq!(read(text), Some(line));
        }
    }

    #[test]
    fn a_line_is_never_longer_than_a_pipe_takes_as_a_whole() {
        let long = "\u{1}".repeat(5000);
        let lines = [
            Line::Starting(long.clone()),
            Line::Error {
                code: "c".into(),
                message: long.clone(),
                details: json!({ "a": long }).as_object().unwrap().clone(),
            },
            Line::Ready { record: Box::new(Record { data_dir: long, ..record() }), recovered: vec![u32::MAX; 5000] },
        ];
        for line in lines {
            let written = write(&line);
            assert!(written.len() <= LINE, "{}", written.len());
            assert!(read(&written[..written.len() - 1]).is_some());
        }
    }

    /// One line a second, the final one, and then the end; a reader that is gone is no error.
    #[test]
    fn a_reporter_says_little_and_closes() {
        use std::io::Read as _;
        let (read_end, write_end) = rustix::pipe::pipe().unwrap();
        let mut reporter = Reporter::new(Some(write_end));
        for step in ["one", "two", "three"] {
            reporter.starting(step);
        }
        reporter.ready(&record(), &[]);
        assert!(!reporter.is_heard());
        let mut text = String::new();
        File::from(read_end).read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 2);
        let (read_end, write_end) = rustix::pipe::pipe().unwrap();
        drop(read_end);
        let mut reporter = Reporter::new(Some(write_end));
        reporter.starting("one");
        assert!(!reporter.is_heard());
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
