//! System calls of the server that fail at random points, by `strace -e inject`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use simulation::Rng;

use crate::client::Round;
use crate::episode::until;
use crate::{Result, ensure, fail};

/// Calls, and what they say. Databases are written with `pwrite64` alone, and files of assets with nothing that could be told from
/// how threads wake each other.
const FAULTS: [(&str, &str); 9] = [
    ("fsync,fdatasync", "EIO"),
    ("fsync,fdatasync", "ENOSPC"),
    ("pwrite64", "ENOSPC"),
    ("pwrite64", "EIO"),
    ("pwrite64", "EROFS"),
    ("pwrite64,fsync,fdatasync,ftruncate", "ENOSPC"),
    ("pwrite64,fsync,fdatasync,ftruncate", "EIO"),
    ("pread64", "EIO"),
    ("rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat", "ENOSPC"),
];

/// What is to fail.
pub(crate) struct Fault {
    calls: &'static str,
    error: &'static str,
    /// Which of the calls of a thread fail, as `strace` takes it; all where it is empty.
    when: String,
}

impl Fault {
    pub(crate) fn random(rng: &mut Rng) -> Result<Self> {
        let (calls, error) = *rng.pick(&FAULTS).ok_or("no faults")?;
        let first = 1 + rng.below(20);
        let when = match rng.below(4) {
            0 => String::new(),
            1 => format!(":when={first}"),
            2 => format!(":when={first}+"),
            _ => format!(":when={first}+{}", 1 + rng.below(7)),
        };
        Ok(Self { calls, error, when })
    }

    /// Lets calls of a process fail for as long as the answer lives.
    pub(crate) fn begin(&self, pid: u32) -> Result<Failing> {
        let Self { calls, error, when } = self;
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string()]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}{when}")]);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| format!("strace: {error}"))?;
        let mut said = BufReader::new(child.stderr.take().ok_or("strace without output")?);
        let mut line = String::new();
        said.read_line(&mut line).map_err(fail)?;
        ensure!(line.contains("attached"), "strace: {line}");
        // It tells of each thread, and must not wait for a reader.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Ok(Failing { strace: child, ends: false })
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}{}", self.calls, self.error, self.when)
    }
}

/// How long `strace` may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Calls that fail. Dropped, they go well again.
pub(crate) struct Failing {
    strace: Child,
    /// The process is gone, and `strace` ends with it: asked to let go of threads that are dying, it may wait for ever.
    ends: bool,
}

impl Drop for Failing {
    fn drop(&mut self) {
        if !self.ends {
            // It lets go of the process first.
            let _ = Command::new("kill").arg(self.strace.id().to_string()).status();
        }
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && matches!(self.strace.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        // Nothing where it has ended.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Lets calls fail for a while; then everything must go on by itself.
pub(crate) fn endure(fault: &Fault, pid: u32, pause: Duration, clients: usize, round: &Round) -> Result<()> {
    round.failing.store(true, Ordering::SeqCst);
    let failing = fault.begin(pid)?;
    std::thread::sleep(pause);
    drop(failing);
    round.healed.store(true, Ordering::SeqCst);
    until(|| round.well.load(Ordering::SeqCst) >= clients, "not all clients get on once storage is well again")
}

/// Lets calls fail for a while, and kills the process before they go well again.
pub(crate) fn die(fault: &Fault, pid: u32, pause: Duration, round: &Round) -> Result<()> {
    round.failing.store(true, Ordering::SeqCst);
    let mut failing = fault.begin(pid)?;
    std::thread::sleep(pause);
    failing.ends = true;
    round.killing.store(true, Ordering::SeqCst);
    let sent = Command::new("kill").args(["-KILL", &pid.to_string()]).status().map_err(fail)?;
    drop(failing);
    ensure!(sent.success(), "the server was gone before it was killed");
    Ok(())
}
