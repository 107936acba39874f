//! Starting a daemon, and hearing from it that it answers (docs/spec/daemon.md 4.5).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::event::{PollFd, PollFlags};
use rustix::pipe::PipeFlags;
use serde_json::Value;

use crate::identity::Seen;
use crate::launcher::READY;
use crate::process::{self, Handle};
use crate::ready::{self, Line};
use crate::record::Record;
use crate::{Error, Failure, Limits, Program, Scope, directory, log, stop};

/// The number of the descriptor, in an attached daemon, that is closed when the app ends.
const LEASH: i32 = 4;

/// How long a daemon that has closed its pipe, or said why it ends, may take until it is gone.
const END: Duration = Duration::from_secs(5);

/// A daemon that answers.
#[derive(Debug)]
pub struct Started {
    /// Its metadata.
    pub record: Record,
    /// Processes without a lock that it ended.
    pub recovered: Vec<u32>,
    /// What keeps it alive, if it is attached.
    pub attached: Option<Attached>,
}

/// A daemon that ends with the app that started it: when this is dropped, however that comes about.
#[derive(Debug)]
pub struct Attached {
    child: Child,
    leash: OwnedFd,
}

impl Attached {
    /// Lets the daemon end, and waits for it.
    ///
    /// # Errors
    ///
    /// What the system refuses.
    pub fn close(mut self) -> io::Result<ExitStatus> {
        drop(self.leash);
        self.child.wait()
    }
}

/// Starts a daemon and waits until it answers.
///
/// # Errors
///
/// [`Error::Child`] when it said why it does not start, [`Error::StartFailed`] when it did not.
pub fn start(
    program: &Program,
    command: &[OsString],
    scope: &Scope,
    attached: bool,
    limits: &Limits,
) -> Result<Started, Error> {
    directory::make_folders(scope)?;
    let log = log::open(&scope.logs()).map_err(|error| Error::io(&scope.logs(), error))?;
    let failed = |failure| Error::StartFailed {
        repo: scope.name(),
        command: crate::quoted(command),
        failure,
        log_tail: log::tail(&log.path, log.start),
    };
    let not_started = |error: io::Error| failed(Failure::NotStarted(error.to_string()));
    let (pipe, end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|error| not_started(error.into()))?;
    let spawned = if attached {
        Process::attach(command, end, &log.file)
    } else {
        Process::detach(program, command, end, &log.file)
    };
    let mut process = spawned.map_err(not_started)?;
    let heard = match hear(pipe, limits) {
        Ok(heard) => heard,
        Err(error) => {
            process.give_up(scope, limits);
            return Err(not_started(error));
        }
    };
    match heard {
        Heard::Ready { record, recovered } => Ok(Started { record: *record, recovered, attached: process.let_go() }),
        Heard::Error { code, message, details } => {
            let exit = match process.end(END) {
                Some(Failure::Exit(exit)) => u8::try_from(exit).ok().filter(|exit| *exit != 0),
                _ => None,
            };
            process.give_up(scope, limits);
            Err(Error::Child { code, message, exit: exit.unwrap_or(1), details })
        }
        Heard::Closed => {
            let failure = process.end(END).unwrap_or(Failure::Silent);
            process.give_up(scope, limits);
            Err(failed(failure))
        }
        Heard::Silence => {
            process.give_up(scope, limits);
            Err(failed(Failure::Silent))
        }
    }
}

/// What was heard last.
enum Heard {
    Ready { record: Box<Record>, recovered: Vec<u32> },
    Error { code: String, message: String, details: serde_json::Map<String, Value> },
    Closed,
    Silence,
}

/// Listens until the final line, the end of the pipe, or silence.
fn hear(pipe: OwnedFd, limits: &Limits) -> io::Result<Heard> {
    let mut pipe = File::from(pipe);
    let mut lines = Lines::default();
    let mut deadline = Instant::now() + limits.silence;
    // Bounded by the silence limit between two lines; what is no line of ours does not move it.
    loop {
        if !process::poll(&mut [PollFd::new(&pipe, PollFlags::IN)], deadline)? {
            return Ok(Heard::Silence);
        }
        let mut piece = [0; ready::LINE];
        let count = pipe.read(&mut piece)?;
        if count == 0 {
            return Ok(Heard::Closed);
        }
        lines.push(piece.get(..count).unwrap_or_default());
        while let Some(line) = lines.next() {
            match ready::read(&line) {
                Some(Line::Starting(_)) => deadline = Instant::now() + limits.silence,
                Some(Line::Ready { record, recovered }) => return Ok(Heard::Ready { record, recovered }),
                Some(Line::Error { code, message, details }) => return Ok(Heard::Error { code, message, details }),
                None => {}
            }
        }
    }
}

/// Cuts what comes into lines. What is longer than a line may be is dropped.
#[derive(Default)]
struct Lines {
    whole: VecDeque<Vec<u8>>,
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) {
        self.rest.extend(piece);
        self.whole.extend(self.rest.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        self.rest = self.whole.pop_back().unwrap_or_default();
        if self.rest.len() > ready::LINE {
            self.rest.clear();
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }
}

/// The process that was started.
enum Process {
    Detached { launcher: Child, report: ChildStdout, lines: Lines, daemon: Option<Handle> },
    Attached(Attached),
}

impl Process {
    fn detach(program: &Program, command: &[OsString], end: OwnedFd, log: &File) -> io::Result<Self> {
        let mut launcher = Command::new(&program.executable);
        launcher.args(program.launch).arg("--").args(command).env(ready::VARIABLE, READY.to_string());
        launcher.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log.try_clone()?);
        map(&mut launcher, vec![FdMapping { parent_fd: end, child_fd: READY }])?;
        let mut launcher = launcher.spawn()?;
        let report = launcher.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        let parent = launcher.id();
        let mut process = Self::Detached { launcher, report, lines: Lines::default(), daemon: None };
        let told = process.told(Duration::from_secs(30)).ok().flatten().unwrap_or_default();
        let Some(pid) = told.get("pid").and_then(Value::as_u64).and_then(|pid| u32::try_from(pid).ok()) else {
            process.end_launcher();
            let why = told.get("error").and_then(Value::as_str).unwrap_or("the launcher said nothing");
            return Err(io::Error::other(why.to_owned()));
        };
        if let Self::Detached { daemon, .. } = &mut process {
            // It may be gone already, and its pid somebody else's: whose parent the launcher is, it is.
            let is_ours = |handle: &Handle| match process::look(handle.pid(), Path::new("")) {
                Seen::Process(process) => process.parent == parent,
                Seen::Gone => false,
            };
            *daemon = Handle::open(pid)?.filter(is_ours);
        }
        Ok(process)
    }

    fn attach(command: &[OsString], end: OwnedFd, log: &File) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
        let (read, leash) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let mut daemon = Command::new(program);
        daemon.args(arguments).env(ready::VARIABLE, READY.to_string()).env(ready::PARENT_VARIABLE, LEASH.to_string());
        daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
        let ready = FdMapping { parent_fd: end, child_fd: READY };
        map(&mut daemon, vec![ready, FdMapping { parent_fd: read, child_fd: LEASH }])?;
        Ok(Self::Attached(Attached { child: daemon.spawn()?, leash }))
    }

    /// The next line of the launcher. `None` at its end, or when the limit is over.
    fn told(&mut self, limit: Duration) -> io::Result<Option<Value>> {
        let Self::Detached { report, lines, .. } = self else {
            return Ok(None);
        };
        let deadline = Instant::now() + limit;
        // Bounded by the limit.
        loop {
            if let Some(line) = lines.next() {
                return Ok(serde_json::from_slice(&line).ok());
            }
            if !process::poll(&mut [PollFd::new(report, PollFlags::IN)], deadline)? {
                return Ok(None);
            }
            let mut piece = [0; 512];
            let count = report.read(&mut piece)?;
            if count == 0 {
                return Ok(None);
            }
            lines.push(piece.get(..count).unwrap_or_default());
        }
    }

    /// How the process ended. `None` while it runs.
    fn end(&mut self, limit: Duration) -> Option<Failure> {
        match self {
            Self::Detached { .. } => {
                let told = self.told(limit).ok()??;
                let number =
                    |name: &str| told.get(name).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
                number("exit_code").map(Failure::Exit).or_else(|| number("signal").map(Failure::Signal))
            }
            Self::Attached(attached) => {
                Handle::open(attached.child.id()).ok()??.wait(limit).ok()?;
                let status = attached.child.try_wait().ok()??;
                status.code().map(Failure::Exit).or_else(|| status.signal().map(Failure::Signal))
            }
        }
    }

    /// Ends the process, if it runs: it is its starter's alone, for nobody else has heard of it.
    fn give_up(&mut self, scope: &Scope, limits: &Limits) {
        match self {
            Self::Detached { daemon, .. } => {
                if let Some(daemon) = daemon {
                    let _ = stop::terminate(daemon, &scope.lock(), limits);
                }
                self.end_launcher();
            }
            Self::Attached(attached) => {
                // Its pid is its own until it is waited for.
                let handle = Handle::open(attached.child.id()).ok().flatten();
                let ended = handle.is_none_or(|handle| stop::terminate(&handle, &scope.lock(), limits).is_ok());
                if ended {
                    let _ = attached.child.wait();
                }
            }
        }
    }

    /// Lets a detached process live by itself. An attached one comes back.
    fn let_go(mut self) -> Option<Attached> {
        self.end_launcher();
        match self {
            Self::Detached { .. } => None,
            Self::Attached(attached) => Some(attached),
        }
    }

    fn end_launcher(&mut self) {
        if let Self::Detached { launcher, .. } = self {
            drop(launcher.stdin.take());
            let _ = launcher.wait();
        }
    }
}

fn map(command: &mut Command, mappings: Vec<FdMapping>) -> io::Result<()> {
    command.fd_mappings(mappings).map(|_| ()).map_err(|error| io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_they_come_apart() {
        let mut lines = Lines::default();
        lines.push(b"{\"a\"");
        assert_eq!(lines.next(), None);
        // Two lines that come together are two.
        lines.push(b":1}\n{}\nx");
        assert_eq!(
            [lines.next(), lines.next(), lines.next()],
            [Some(b"{\"a\":1}".to_vec()), Some(b"{}".to_vec()), None]
        );
        lines.push(&vec![b'y'; 2 * ready::LINE]);
        lines.push(b"\nz\n");
        assert_eq!([lines.next(), lines.next(), lines.next()], [Some(Vec::new()), Some(b"z".to_vec()), None]);
    }
}
