//! The agent's process: lines in, lines out, its standard error into a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};

use mailbox::config::Config;
use rustix::fs::{AtFlags, Mode, OFlags};
use serde_json::Value;

use crate::acp::MAX_LINE;
use crate::ahead::Ahead;
use crate::arguments::Places;
use crate::git;
use crate::server::Server;
use crate::session::Event;
use crate::tree::MARK;

/// How many messages may wait for the agent to read them.
const UNREAD: usize = 64;
/// The longest log of an agent, in bytes; one before it is kept.
const MAX_LOG: u64 = 4 << 20;
/// How long a process may take to end after its output has.
const EXIT: Duration = Duration::from_secs(1);
/// Where programs are looked for when nobody says.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const LOG: &str = "agent.log";
const OLD_LOG: &str = "agent.log.1";

/// An agent that runs.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Which one since this process started.
    pub(crate) number: u64,
    child: Child,
    messages: SyncSender<Value>,
    ahead: Arc<Ahead>,
    /// Lines and bytes that were taken in while nothing more was to be read.
    owed: (usize, usize),
}

/// What an agent is started with.
pub(crate) struct Launch<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// The folders.
    pub(crate) places: &'a Places,
    /// Variables that a person gave it.
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// Where its log goes.
    pub(crate) outside: OwnedFd,
    /// Where what it says goes.
    pub(crate) events: Sender<Event>,
}

impl Agent {
    /// Starts the agent.
    pub(crate) fn start(number: u64, launch: Launch<'_>) -> std::io::Result<Self> {
        let Config { agent, mailbox_id, generation, .. } = launch.config;
        let mut command = Command::new(&agent.command);
        let server = Server::prepare(&agent.args, &agent.id, number)?;
        command.args(server.as_ref().map_or(&agent.args, |(_, filled)| filled));
        surround(&mut command, &launch.places.home, &format!("{mailbox_id}:{generation}"));
        if launch.config.git_helper {
            command.envs(git::variables(git::helper(&std::env::current_exe()?, &launch.places.outside)));
        }
        if server.is_some() {
            // Longer than any turn: what a person waits for is not cut off by the server (docs/spec/agents.md 8.3).
            command.env("SANDBOX_AGENT_ACP_REQUEST_TIMEOUT_MS", "86400000");
        }
        let listed = agent.env_names.iter().filter_map(|name| Some((name, launch.variables.get(name)?)));
        command.envs(listed);
        let cwd = if agent.cwd.is_empty() { launch.places.work.as_os_str() } else { agent.cwd.as_ref() };
        command.current_dir(cwd).stderr(Stdio::piped());
        let spoken = || if server.is_none() { Stdio::piped() } else { Stdio::null() };
        command.stdin(spoken()).stdout(spoken());
        // A group of its own: a signal from a terminal is for this process.
        let mut child = command.process_group(0).spawn()?;
        let (messages, written) = mpsc::sync_channel(UNREAD);
        let ahead = Arc::new(Ahead::default());
        if let Some(errors) = child.stderr.take() {
            let outside = launch.outside;
            std::thread::Builder::new().name("agent-log".into()).spawn(move || keep(errors, &outside))?;
        }
        if let Some((server, _)) = server {
            let (events, passing) = (launch.events, Arc::clone(&ahead));
            let posting = std::thread::Builder::new().name("to-server".into());
            posting.spawn(move || server.post_all(number, &written, &passing, &events))?;
            return Ok(Self { number, child, messages, ahead, owed: (0, 0) });
        }
        if let Some(input) = child.stdin.take() {
            std::thread::Builder::new().name("to-agent".into()).spawn(move || write(input, &written))?;
        }
        if let Some(output) = child.stdout.take() {
            let (events, passing) = (launch.events, Arc::clone(&ahead));
            std::thread::Builder::new()
                .name("from-agent".into())
                .spawn(move || read(output, number, &passing, &events))?;
        }
        Ok(Self { number, child, messages, ahead, owed: (0, 0) })
    }

    /// Sends a message. False when the agent does not read what it is sent.
    pub(crate) fn send(&self, message: Value) -> bool {
        self.messages.try_send(message).is_ok()
    }

    /// A line of so many bytes was taken in: more may be read, unless too much waits for the host.
    pub(crate) fn taken(&mut self, bytes: usize, room: bool) {
        self.owed = (self.owed.0.saturating_add(1), self.owed.1.saturating_add(bytes));
        if room {
            self.go_on();
        }
    }

    /// There is room again.
    pub(crate) fn go_on(&mut self) {
        let (lines, bytes) = std::mem::take(&mut self.owed);
        self.ahead.leave(lines, bytes);
    }

    /// The code with which it has ended by itself, if it has: asked for before its tree is looked at, which takes the exits of
    /// all dead children in.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + EXIT;
        // Bounded by the deadline: its output has ended, and it is about to.
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(status) => return status?.code(),
                Err(_) => return None,
            }
        }
    }

    /// Ends its process and takes its exit in.
    pub(crate) fn reap(mut self) {
        // It may have ended by itself, and may have been reaped as one of the tree.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.ahead.close();
    }
}

/// Gives a program of the agent's tree the variables that all of them have, and no others.
pub(crate) fn surround(command: &mut Command, home: &Path, mark: &str) {
    // Within a wall there are no variables.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into()));
    if let Some(language) = std::env::var_os("LANG") {
        command.env("LANG", language);
    }
    command.env("HOME", home).env("TERM", "dumb").env(MARK, mark);
}

fn write(mut input: ChildStdin, messages: &Receiver<Value>) {
    // Ends when the agent is dropped, or reads no more.
    for message in messages {
        let mut line = message.to_string();
        line.push('\n');
        if input.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(output: impl Read, number: u64, ahead: &Ahead, events: &Sender<Event>) {
    let mut output = BufReader::new(output);
    // Ends with the agent's output, or when it is dropped. One line is held here at most, and what waits to be taken in is bounded.
    loop {
        let (event, bytes) = match line(&mut output) {
            Ok(Some(line)) => {
                let bytes = line.len();
                (Event::Line { number, line }, bytes)
            }
            Ok(None) | Err(_) => (Event::Ended { number }, 0),
        };
        let over = matches!(event, Event::Ended { .. });
        if !ahead.enter(bytes) || events.send(event).is_err() || over {
            return;
        }
    }
}

/// A line, without its end. One that is too long is empty, which is no message. Nothing at the end.
fn line(output: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut limited = output.by_ref().take(MAX_LINE as u64);
    if limited.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(line));
    }
    if line.len() < MAX_LINE {
        // The last line of a process that ended in it.
        return Ok(Some(line));
    }
    // Bounded by what the agent writes: nothing of it is kept.
    loop {
        let buffer = output.fill_buf()?;
        let (read, over) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        output.consume(read);
        if over {
            return Ok(Some(Vec::new()));
        }
    }
}

/// Keeps what the agent says on its standard error: at most two files of bounded length.
fn keep(mut errors: impl Read, outside: &OwnedFd) {
    let mut buffer = [0; 8192];
    let mut log: Option<(File, u64)> = None;
    // Ends with the agent's standard error.
    while let Ok(read @ 1..) = errors.read(&mut buffer) {
        if log.as_ref().is_none_or(|(_, size)| *size >= MAX_LOG) {
            if log.take().is_some() {
                // What cannot be moved is written over.
                let _ = rustix::fs::renameat(outside, LOG, outside, OLD_LOG);
            }
            log = open_log(outside);
        }
        if let Some((file, size)) = &mut log {
            // A full disk takes the log, not the agent.
            let _ = file.write_all(buffer.get(..read).unwrap_or_default());
            *size += read as u64;
        }
    }
}

fn open_log(outside: &OwnedFd) -> Option<(File, u64)> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(outside.as_fd(), LOG, flags, Mode::RUSR | Mode::WUSR).ok()?);
    let size = file.metadata().ok()?.len();
    if size >= MAX_LOG {
        let _ = rustix::fs::unlinkat(outside.as_fd(), OLD_LOG, AtFlags::empty());
    }
    Some((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_none_is_lost_after_one_that_is_too_long() {
        let mut text = b"one\n".to_vec();
        text.extend(vec![b'x'; MAX_LINE + 5]);
        text.extend(b"\ntwo\nrest");
        let mut reader = BufReader::new(text.as_slice());
        let mut next = || line(&mut reader).unwrap().map(|line| String::from_utf8(line).unwrap());
        assert_eq!(next().as_deref(), Some("one"));
        assert_eq!(next().as_deref(), Some(""));
        assert_eq!(next().as_deref(), Some("two"));
        assert_eq!(next().as_deref(), Some("rest"));
        assert_eq!(next(), None);
    }
}
