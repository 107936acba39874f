//! Processes of this machine: what the process table says of them, waiting for their end, signals. Everything goes through
//! a descriptor of the process, so that a pid which is used again in the meantime is never meant (docs/spec/daemon.md 4.3).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::Error;
use crate::identity::{self, Claim, Here, Process, Seen, Verdict};
use crate::record::Record;

/// Says where this process runs.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn here() -> io::Result<Here> {
    Ok(Here {
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
        pid_ns: fs::metadata("/proc/self/ns/pid")?.ino(),
        uid: rustix::process::geteuid().as_raw(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    })
}

/// What could not be learnt about processes, as an error that names where it stands.
pub(crate) fn failed(error: io::Error) -> Error {
    Error::io(Path::new("/proc"), error)
}

/// When this process started, in clock ticks since the machine did.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn own_start() -> io::Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    identity::read_stat(&stat).map(|(.., start)| start).ok_or_else(|| io::Error::other("/proc/self/stat"))
}

/// The name of the service manager's unit that a process runs in, from its control group.
pub fn unit(pid: u32) -> Option<String> {
    unit_of(&fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?).map(str::to_owned)
}

/// The innermost service that a process's control groups name.
fn unit_of(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.rsplit('/').find(|part| part.ends_with(".service")))
}

/// Looks a pid up. `lock` is the lock file of the scope in question.
pub fn look(pid: u32, lock: &Path) -> Seen {
    let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else {
        return Seen::Gone;
    };
    let Some((state, parent, cpu, start)) = identity::read_stat(&String::from_utf8_lossy(&stat)) else {
        return Seen::Gone;
    };
    let clock = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/time")).ok();
    let other_clock = match (clock("self"), clock(&pid.to_string())) {
        (Some(own), Some(other)) => own != other,
        _ => false,
    };
    let signalable = raw(pid).is_none_or(|pid| rustix::process::test_kill_process(pid) != Err(Errno::PERM));
    let holds_lock = holds(pid, lock);
    Seen::Process(Process { state, parent, cpu, start, other_clock, holds_lock, signalable })
}

/// Whether a process has a lock on this file, or on one that was at its path and was deleted since.
pub fn holds(pid: u32, lock: &Path) -> bool {
    locked(pid, |target| target == lock || target == deleted(lock))
}

/// Whether a process has a lock on a file that was at this path and was deleted since.
pub fn holds_deleted(pid: u32, lock: &Path) -> bool {
    locked(pid, |target| target == deleted(lock))
}

fn locked(pid: u32, is_meant: impl Fn(&Path) -> bool) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    // Bounded by the process's limit of open files.
    descriptors.flatten().any(|descriptor| {
        let meant = fs::read_link(descriptor.path()).is_ok_and(|target| is_meant(&target));
        meant && has_lock(pid, &descriptor.file_name().to_string_lossy())
    })
}

/// How the process table shows a path whose file was deleted.
fn deleted(path: &Path) -> PathBuf {
    let mut deleted = path.as_os_str().to_owned();
    deleted.push(" (deleted)");
    PathBuf::from(deleted)
}

/// Whether there is a lock on a descriptor. Somebody who only asks, or tried in vain, has the file open too.
fn has_lock(pid: u32, descriptor: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/fdinfo/{descriptor}"))
        .is_ok_and(|info| info.lines().any(|line| line.starts_with("lock:")))
}

fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// A process, by a descriptor: what is done concerns this one, whoever gets its pid later.
#[derive(Debug)]
pub struct Handle {
    pid: u32,
    descriptor: OwnedFd,
}

/// How a wait came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The process is gone, or a zombie.
    Ended,
    /// It still runs.
    Runs,
}

impl Handle {
    /// Opens a process. `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(raw) = raw(pid) else {
            return Ok(None);
        };
        match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Some(Self { pid, descriptor })),
            Err(Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the process that metadata names: the descriptor first, then the look at its start, so that both are of one
    /// process. `None` when it is dead or not to be managed from here.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn of(record: &Record, here: &Here, lock: &Path) -> io::Result<Option<Self>> {
        let Some(handle) = Self::open(record.pid)? else {
            return Ok(None);
        };
        let verdict = identity::judge(&claim(record), here, &look(record.pid, lock), true);
        Ok((verdict == Verdict::Same).then_some(handle))
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor that is readable once the process has ended.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Sends a signal. A process that is gone is no error.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the process's end, at most this long.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn wait(&self, limit: Duration) -> io::Result<Waited> {
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        Ok(if poll(&mut polled, Instant::now() + limit)? { Waited::Ended } else { Waited::Runs })
    }
}

/// Polls until something is there or the deadline is over. Whether something is there.
pub(crate) fn poll(polled: &mut [PollFd<'_>], deadline: Instant) -> io::Result<bool> {
    // Bounded by the deadline.
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        let limit =
            Timespec { tv_sec: rest.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: rest.subsec_nanos().into() };
        match rustix::event::poll(polled, Some(&limit)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// What metadata says about its process.
pub fn claim(record: &Record) -> Claim<'_> {
    Claim { start: record.pid_start, boot_id: record.boot_id.as_deref(), pid_ns: record.pid_ns }
}

/// A process of the table, as the search for orphans sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its id.
    pub pid: u32,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its executable, without the note that it was deleted.
    pub executable: Option<PathBuf>,
    /// Its state's letter.
    pub state: char,
}

/// All processes of this user in this pid namespace, without this one and its ancestors.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn candidates(here: &Here) -> io::Result<Vec<Candidate>> {
    let ancestors = ancestors();
    let mut found = Vec::new();
    // Bounded by the number of processes.
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let own = entry.metadata().is_ok_and(|metadata| metadata.uid() == here.uid);
        if !own || ancestors.contains(&pid) || namespace(pid) != Some(here.pid_ns) {
            continue;
        }
        let Some((state, ..)) = fs::read(entry.path().join("stat"))
            .ok()
            .and_then(|stat| identity::read_stat(&String::from_utf8_lossy(&stat)))
        else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = arguments.strip_suffix(b"\0").unwrap_or(&arguments).split(|byte| *byte == 0);
        found.push(Candidate {
            pid,
            arguments: arguments.map(|argument| String::from_utf8_lossy(argument).into_owned()).collect(),
            executable: fs::read_link(entry.path().join("exe")).ok().map(without_note),
            state,
        });
    }
    Ok(found)
}

/// The path of an executable, without the note that its file was deleted since, as after an upgrade.
pub fn without_note(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(plain) => PathBuf::from(plain),
        None => path,
    }
}

fn namespace(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|metadata| metadata.ino())
}

/// This process and those it descends from.
fn ancestors() -> Vec<u32> {
    let mut found = vec![std::process::id()];
    // Bounded by the depth of the process tree; a pid that comes again ends it.
    while let Some(pid) = found.last().copied() {
        let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        match identity::read_stat(&String::from_utf8_lossy(&stat)) {
            Some((_, parent, ..)) if parent != 0 && !found.contains(&parent) => found.push(parent),
            _ => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_innermost_service() {
        assert_eq!(unit_of("0::/system.slice/logseq-sync.service\n"), Some("logseq-sync.service"));
        let nested = "1:name=x:/\n0::/user.slice/user@1000.service/app.slice/sync.service/inner\n";
        assert_eq!(unit_of(nested), Some("sync.service"));
        assert_eq!(unit_of("0::/\n"), None);
    }

    #[test]
    fn this_process_is_found_and_is_no_candidate() {
        let here = here().unwrap();
        let Seen::Process(own) = look(std::process::id(), Path::new("/nowhere")) else { panic!() };
        assert_eq!(
            (own.start, own.other_clock, own.signalable, own.holds_lock),
            (own_start().unwrap(), false, true, false)
        );
        let found = candidates(&here).unwrap();
        assert!(found.iter().all(|one| !ancestors().contains(&one.pid)));
        let mut child = std::process::Command::new("sleep").arg("300").spawn().unwrap();
        let handle = Handle::open(child.id()).unwrap().unwrap();
        assert_eq!(handle.wait(Duration::ZERO).unwrap(), Waited::Runs);
        handle.signal(Signal::KILL).unwrap();
        assert_eq!(handle.wait(Duration::from_mins(1)).unwrap(), Waited::Ended);
        // A zombie counts as ended, and takes signals without an error.
        handle.signal(Signal::TERM).unwrap();
        child.wait().unwrap();
        handle.signal(Signal::TERM).unwrap();
        assert!(Handle::open(child.id()).unwrap().is_none());
        assert!(Handle::open(0).unwrap().is_none() && Handle::open(u32::MAX).unwrap().is_none());
    }

    #[test]
    fn the_note_about_a_deleted_file_is_taken_off() {
        assert_eq!(without_note("/opt/x (deleted)".into()), PathBuf::from("/opt/x"));
        assert_eq!(without_note("/opt/x".into()), PathBuf::from("/opt/x"));
    }
}
