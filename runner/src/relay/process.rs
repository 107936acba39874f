//! The process of an agent's side: known by its start, wherever it came from, and proven gone with all that it started
//! (docs/spec/session-mailbox.md 4.5). The runner that started it may be another one than the one that looks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use daemon_lifecycle::identity;
use daemon_lifecycle::process::{Handle, here};
use mailbox::Places;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::cgroup::Group;
use super::driver::{Driver, Kind};
use super::records::Spawn;
use crate::program::{COMMAND, output};

/// The variable by which an agent's processes are known; the shim gives it to them.
const MARK: &str = "LOGSEQ_MAILBOX";
/// How long is tried to end what goes on starting processes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// A process that cannot be taken for another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Identity {
    pid: u32,
    /// In clock ticks since the machine started.
    start: u64,
    boot_id: String,
}

impl Identity {
    /// The process that has this pid now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let (state, start) = stat(pid)?;
        let boot_id = here().ok()?.boot_id;
        (!identity::is_dead(state)).then_some(Self { pid, start, boot_id })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs. A zombie does not.
    pub(crate) fn lives(&self) -> bool {
        here().is_ok_and(|here| here.boot_id == self.boot_id)
            && stat(self.pid).is_some_and(|(state, start)| start == self.start && !identity::is_dead(state))
    }

    fn kill(&self) {
        // The descriptor first, then the look: both are of one process.
        if let Ok(Some(handle)) = Handle::open(self.pid)
            && self.lives()
        {
            // One that may not be signalled stays.
            let _ = handle.signal(Signal::KILL);
        }
    }
}

fn stat(pid: u32) -> Option<(char, u64)> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let (state, _, _, start) = identity::read_stat(&String::from_utf8_lossy(&stat))?;
    Some((state, start))
}

/// A container. Without a runtime nobody can tell whether it runs.
#[derive(Debug)]
struct Container {
    runtime: Option<PathBuf>,
    name: String,
}

impl Container {
    fn run(&self, words: &[&str]) -> std::io::Result<std::process::Output> {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        output(Command::new(self.runtime.as_ref().ok_or_else(missing)?).args(words).arg(&self.name), COMMAND)
    }

    /// Whether it is proven that it does not run: its runtime says so, or that there is none. A runtime that says nothing proves nothing.
    fn is_gone(&self) -> bool {
        self.run(&["inspect", "--format", "{{.State.Running}}"]).is_ok_and(|said| says_gone(&said))
    }
}

fn says_gone(said: &std::process::Output) -> bool {
    if said.status.success() {
        return said.stdout.trim_ascii() == b"false";
    }
    let told = String::from_utf8_lossy(&said.stderr).to_lowercase();
    told.contains("no such container") || told.contains("no such object")
}

/// A process of a session.
#[derive(Debug)]
pub(crate) struct Process {
    child: Option<Child>,
    identity: Option<Identity>,
    /// The container, where it is in one.
    container: Option<Container>,
    /// What is known by [`MARK`] belongs to it.
    mark: Option<String>,
    /// What is in this control group belongs to it.
    group: Option<Group>,
    inside: PathBuf,
}

/// How a process that is gone has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its exit code; none for one that was killed, or that another runner started.
    pub(crate) code: Option<i32>,
    /// Whether it is known that it did not end by itself and well.
    pub(crate) is_failure: bool,
}

impl Process {
    /// One that was just started.
    pub(crate) fn started(child: Child, spawn: &Spawn, driver: &Driver, places: &Places, mailbox_id: &str) -> Self {
        let mut process = Self::adopted(spawn, driver, places, mailbox_id);
        process.child = Some(child);
        process
    }

    /// One that an earlier runner has started, or was about to.
    pub(crate) fn adopted(spawn: &Spawn, driver: &Driver, places: &Places, mailbox_id: &str) -> Self {
        // The settings may name another driver by now.
        let runtime = match driver {
            Driver::Container { runtime, .. } => Some(runtime.clone()),
            _ => ["podman", "docker"].into_iter().find_map(crate::program::on_path),
        };
        let inside = places.inside();
        // It died before it could write down which process it was: it is known by its words.
        let identity = spawn.process.clone().or_else(|| named(&inside).into_iter().find_map(Identity::of));
        Self {
            child: None,
            identity: identity.filter(|_| spawn.driver != Kind::Container),
            container: (spawn.driver == Kind::Container).then(|| Container { runtime, name: spawn.name.clone() }),
            mark: (spawn.driver == Kind::Plain).then(|| format!("{MARK}={mailbox_id}:")),
            group: spawn.group.clone(),
            inside,
        }
    }

    /// Its number on this machine.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.identity.as_ref().map(Identity::pid).or_else(|| self.child.as_ref().map(Child::id))
    }

    /// Whether it, or anything that it started, may still run. Its exit once nothing does. It blocks while what is left is ended.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        let mut exit = Exit { code: None, is_failure: false };
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return None,
                Ok(Some(status)) => exit = Exit { code: status.code(), is_failure: !status.success() },
                Err(_) => {}
            }
        }
        let may_run = self.container.as_ref().is_some_and(|container| !container.is_gone());
        let lives = self.identity.as_ref().is_some_and(Identity::lives) || may_run;
        (!lives && self.end_rest()).then_some(exit)
    }

    /// Kills it with all that it started.
    pub(crate) fn kill(&mut self) {
        if let Some(container) = &self.container {
            // It may be gone.
            let _ = container.run(&["kill"]);
        }
        if let Some(identity) = &self.identity {
            identity.kill();
        }
        self.end_rest();
        if let Some(child) = &mut self.child {
            let deadline = Instant::now() + PATIENCE;
            // Bounded by the deadline: what waits outside of a wall ends with what is inside.
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(STEP);
            }
            if matches!(child.try_wait(), Ok(None)) {
                let _ = child.kill();
            }
        }
    }

    /// Ends what is left of it: processes with its words, those with its mark, and what is in its group. Whether nothing is.
    fn end_rest(&self) -> bool {
        if let Some(container) = &self.container {
            // What comes of it is looked at.
            let _ = container.run(&["rm", "--force"]);
            return container.is_gone();
        }
        let deadline = Instant::now() + PATIENCE;
        // Bounded by the deadline: what starts processes faster than they are ended is not proven gone.
        loop {
            let mut left = named(&self.inside);
            if let Some(mark) = &self.mark {
                left.append(&mut marked(mark));
            }
            let group = self.group.as_ref();
            if left.is_empty() && !group.is_some_and(Group::lives) {
                group.inspect(|group| group.remove());
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            group.inspect(|group| group.end());
            left.into_iter().filter_map(Identity::of).for_each(|identity| identity.kill());
            std::thread::sleep(STEP);
        }
    }
}

fn processes(is_meant: impl Fn(u32) -> bool) -> BTreeSet<u32> {
    let own = std::process::id();
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    // As many as the machine has processes.
    let pids = listed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let lives = |pid: u32| stat(pid).is_some_and(|(state, _)| !identity::is_dead(state));
    pids.filter(|pid| *pid != own && is_meant(*pid) && lives(*pid)).collect()
}

/// Shims, and walls around one, that were started for a folder: no two sessions have the same.
fn named(inside: &Path) -> BTreeSet<u32> {
    use std::os::unix::ffi::OsStrExt as _;
    let inside = inside.as_os_str().as_bytes();
    processes(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_shim =
            words.first().is_some_and(|word| word.ends_with(b"agent-shim")) && words.get(1) == Some(&&b"run"[..]);
        let is_wall = words.first().is_some_and(|word| word.ends_with(b"bwrap"));
        (is_shim || is_wall) && words.contains(&inside)
    })
}

/// Processes with a variable that begins so.
fn marked(mark: &str) -> BTreeSet<u32> {
    processes(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(mark.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(mark: &str, child: Child) -> Process {
        let identity = Identity::of(child.id());
        let mark = Some(format!("{MARK}={mark}:"));
        Process { child: Some(child), identity, container: None, mark, group: None, inside: "/no/such/in".into() }
    }

    #[test]
    fn a_process_is_gone_when_all_that_it_started_is() {
        let mark = format!("test-{}", std::process::id());
        // It leaves a process in a session of its own.
        let script = "setsid sleep 600 & exit 3";
        let child = Command::new("sh").args(["-c", script]).env(MARK, format!("{mark}:1")).spawn().unwrap();
        let mut process = process(&mark, child);
        let deadline = Instant::now() + Duration::from_mins(1);
        let exit = loop {
            if let Some(exit) = process.exit() {
                break exit;
            }
            assert!(Instant::now() < deadline);
            std::thread::sleep(STEP);
        };
        assert_eq!(exit.code, Some(3));
        assert!(marked(&format!("{MARK}={mark}:")).is_empty());
    }

    #[test]
    fn one_that_is_killed_is_gone() {
        let mark = format!("killed-{}", std::process::id());
        let child = Command::new("sleep").arg("600").env(MARK, format!("{mark}:1")).spawn().unwrap();
        let mut process = process(&mark, child);
        assert_eq!(process.exit(), None);
        process.kill();
        assert_eq!(process.exit(), Some(Exit { code: None, is_failure: true }));
    }

    #[test]
    fn a_pid_that_another_process_got_is_not_meant() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.lives());
        assert!(!Identity { start: own.start + 1, ..own.clone() }.lives());
        assert!(!Identity { boot_id: "another".into(), ..own }.lives());
    }

    /// A container whose runtime says what a script says.
    fn contained(place: &Path, script: &str) -> Process {
        use std::os::unix::fs::PermissionsExt as _;
        let runtime = place.join("runtime");
        std::fs::write(&runtime, format!("#!/bin/sh\necho \"$1\" >> {}/words\n{script}\n", place.display())).unwrap();
        std::fs::set_permissions(&runtime, std::fs::Permissions::from_mode(0o755)).unwrap();
        let container = Some(Container { runtime: Some(runtime), name: "logseq-x-1".into() });
        Process { child: None, identity: None, container, mark: None, group: None, inside: place.into() }
    }

    #[test]
    fn a_container_is_gone_when_its_runtime_says_so_and_not_when_it_says_nothing() {
        let place = tempfile::tempdir().unwrap();
        let gone = Some(Exit { code: None, is_failure: false });
        for (script, expected) in [
            ("[ $1 = inspect ] && echo true", None),
            ("echo 'cannot connect to the daemon' >&2; exit 125", None),
            ("exit 1", None),
            ("echo not a word", None),
            ("[ $1 = inspect ] && echo false", gone),
            ("echo 'Error: No such object: logseq-x-1' >&2; exit 1", gone),
            ("echo 'Error: no such container logseq-x-1' >&2; exit 125", gone),
        ] {
            let mut process = contained(place.path(), script);
            process.kill();
            assert_eq!(process.exit(), expected, "{script}");
        }
        let mut unknown = contained(place.path(), "exit 0");
        unknown.container = Some(Container { runtime: None, name: "logseq-x-1".into() });
        assert_eq!(unknown.exit(), None, "without a runtime nobody knows");
        let words = std::fs::read_to_string(place.path().join("words")).unwrap();
        assert!(words.starts_with("kill\nrm\ninspect\n"), "{words}");
    }
}
