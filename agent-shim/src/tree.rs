//! Everything that an agent has started: found, ended, and proven gone (docs/spec/session-mailbox.md 4.5). A process that left
//! its group and its session is still a descendant, because this process adopts those whose parents died; one that is left of
//! an earlier shim is known by the mark in its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use daemon_lifecycle::identity;
use daemon_lifecycle::process::Handle;
use rustix::process::{Pid, Signal, WaitOptions};

/// The variable that marks what belongs to a mailbox.
pub(crate) const MARK: &str = "LOGSEQ_MAILBOX";
/// How long is tried to end what goes on starting processes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at the process table.
const STEP: Duration = Duration::from_millis(10);

/// Makes this process the parent of orphans among its descendants.
pub(crate) fn adopt_orphans() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Live processes that descend from this one, and those with a mark that begins so.
pub(crate) fn members(mark: Option<&str>) -> BTreeSet<u32> {
    let own = std::process::id();
    let mut parents = BTreeMap::new();
    let mut marked = BTreeSet::new();
    // Bounded by the number of processes.
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        let Some((state, parent, ..)) = identity::read_stat(&String::from_utf8_lossy(&stat)) else { continue };
        if identity::is_dead(state) {
            reap(pid, parent == own);
            continue;
        }
        parents.insert(pid, parent);
        if mark.is_some_and(|mark| has_mark(pid, mark)) {
            marked.insert(pid);
        }
    }
    let descends = |pid: u32| {
        let (mut at, mut steps) = (pid, 0);
        // Bounded by the number of processes: the table may change while it is read.
        while let Some(parent) = parents.get(&at).filter(|_| steps <= parents.len()) {
            if *parent == own {
                return true;
            }
            at = *parent;
            steps += 1;
        }
        false
    };
    let mut found: BTreeSet<u32> = parents.keys().copied().filter(|pid| descends(*pid)).collect();
    found.append(&mut marked);
    found.remove(&own);
    found
}

/// An orphan that was adopted and has ended.
fn reap(pid: u32, is_ours: bool) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| is_ours);
    if let Some(pid) = pid {
        // Somebody else may have done it.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

fn has_mark(pid: u32, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(wanted.as_bytes()))
}

/// Kills what `members` finds until it finds nothing. Whether it is gone.
pub(crate) fn end(members: impl Fn() -> BTreeSet<u32>) -> bool {
    let deadline = Instant::now() + PATIENCE;
    // Bounded by the deadline: what starts processes faster than they are ended is not proven gone.
    loop {
        let left = members();
        if left.is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        for pid in left {
            if let Ok(Some(handle)) = Handle::open(pid) {
                // One that may not be signalled stays on the list.
                let _ = handle.signal(Signal::KILL);
            }
        }
        std::thread::sleep(STEP);
    }
}

/// Ends everything that descends from this process. Whether it is proven gone.
pub(crate) fn end_all() -> bool {
    end(|| members(None))
}

/// Waits until what `members` finds has ended by itself, at most this long. Whether it has.
pub(crate) fn wait(limit: Duration, members: impl Fn() -> BTreeSet<u32>) -> bool {
    let deadline = Instant::now() + limit;
    // Bounded by the deadline.
    loop {
        if members().is_empty() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(STEP);
    }
}
