//! The process between a starter and its daemon (docs/spec/daemon.md 4.5): it leaves the starter's session and starts the
//! daemon there, so that the daemon is nobody's child in the end, no terminal's either, and leaves no zombie. Until the
//! starter lets it go it tells how the daemon ended, which only a parent learns. It is a program and no fork: a fork of a
//! process with threads is unsafe.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::event::{PollFd, PollFlags};
use serde_json::{Value, json};

use crate::process::Handle;
use crate::ready;

/// The number of the readiness pipe in the launcher and in the daemon.
pub const READY: i32 = 3;

/// Runs the launcher: `command` is the daemon's command line. Standard input is closed when the starter has heard enough;
/// standard output takes lines of JSON, first `{"pid":n}` and then, if the daemon ends, `{"exit_code":n}` or `{"signal":n}`;
/// standard error is the daemon's log. The answer is the exit code.
pub fn run(command: &[OsString]) -> u8 {
    match launch(command) {
        Ok(()) => 0,
        Err(error) => {
            say(&json!({ "error": error.to_string() }));
            1
        }
    }
}

fn launch(command: &[OsString]) -> io::Result<()> {
    let pipe = inherited::take(ready::VARIABLE).map_err(io::Error::other)?;
    let pipe = pipe.ok_or_else(|| io::Error::other("the launcher is started by other commands only"))?;
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    // What else was open where the starter was started is no daemon's: a lock of a script, a terminal's pipe.
    inherited::keep_from_children().map_err(io::Error::other)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Where it leads a process group already, it leads a session, too, or stays in its starter's: both let the daemon live.
    let _ = rustix::process::setsid();
    let log = io::stderr().as_fd().try_clone_to_owned()?;
    let mut daemon = Command::new(program);
    daemon.args(arguments).env(ready::VARIABLE, READY.to_string()).stdin(Stdio::null()).stdout(log);
    daemon
        .fd_mappings(vec![FdMapping { parent_fd: pipe, child_fd: READY }])
        .map_err(|error| io::Error::other(error.to_string()))?;
    let mut child = daemon.spawn()?;
    // With the command goes our end of the pipe: from here on only the daemon holds it.
    drop(daemon);
    say(&json!({ "pid": child.id() }));
    let Some(handle) = Handle::open(child.id())? else {
        return Err(io::Error::other("the daemon's process cannot be watched"));
    };
    let input = io::stdin();
    let mut polled = [PollFd::new(handle.descriptor(), PollFlags::IN), PollFd::new(&input, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut polled, None) {
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(status) = child.try_wait()? {
        say(&match (status.code(), status.signal()) {
            (Some(code), _) => json!({ "exit_code": code }),
            (None, signal) => json!({ "signal": signal }),
        });
    }
    Ok(())
}

/// A line for the starter, who may be gone.
fn say(value: &Value) {
    let mut output = io::stdout().lock();
    let _ = writeln!(output, "{value}").and_then(|()| output.flush());
}
