//! A control group for a process that has no wall around it, where the system lets one be made (docs/spec/session-mailbox.md 4.5): whatever the process
//! has started is in it, whatever that did with its environment, its session and its parents, and all of it is ended at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A group, by its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Group(PathBuf);

impl Group {
    /// Makes a group below that of this process. None where that is not possible, or the system cannot end a group at once.
    pub(crate) fn make(name: &str) -> Option<Self> {
        let (mounts, own) =
            (fs::read_to_string("/proc/self/mountinfo").ok()?, fs::read_to_string("/proc/self/cgroup").ok()?);
        let group = Self(folder(&mounts, &own)?.join(name));
        fs::create_dir(&group.0).ok()?;
        if group.0.join(KILL).exists() {
            return Some(group);
        }
        group.remove();
        None
    }

    /// Whether such groups can be made here.
    pub(crate) fn can_be_made() -> bool {
        let group = Self::make(&format!("logseq-probe-{}", std::process::id()));
        group.inspect(Self::remove).is_some()
    }

    /// Puts a process into it. What the process starts from now on is in it too.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn take(&self, pid: u32) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }

    /// Ends everything in it.
    pub(crate) fn end(&self) {
        // One that is gone has nothing in it.
        let _ = fs::write(self.0.join(KILL), "1");
    }

    /// Whether anything in it lives.
    pub(crate) fn lives(&self) -> bool {
        let events = fs::read_to_string(self.0.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Removes it, if nothing is in it.
    pub(crate) fn remove(&self) {
        // One that is not empty stays, and is seen again.
        let _ = fs::remove_dir(&self.0);
    }
}

/// What ends a group, by being written to.
const KILL: &str = "cgroup.kill";

/// The folder of this process's own group: what the system says of its mounts, and of the group. None where that cannot be told for sure.
fn folder(mounts: &str, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, place) = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut words = left.split(' ').skip(3);
        (right.split(' ').next() == Some("cgroup2")).then_some((words.next()?, words.next()?))
    })?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    let is_plain = |text: &str| !text.contains("..") && !text.contains('\\');
    (is_plain(path) && is_plain(root) && is_plain(place)).then(|| Path::new(place).join(below))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_own_group_is_where_the_system_says() {
        let mounts = "25 30 0:23 / /sys rw - sysfs sysfs rw\n31 23 0:27 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        let of = |mounts: &str, own: &str| folder(mounts, own).map(|folder| folder.to_str().unwrap().to_owned());
        let own = "9:name=systemd:/x\n0::/user.slice/a.service\n";
        assert_eq!(of(mounts, own).as_deref(), Some("/sys/fs/cgroup/user.slice/a.service"));
        assert_eq!(of(mounts, "0::/\n").as_deref(), Some("/sys/fs/cgroup/"));
        let within = mounts.replace("0:27 / ", "0:27 /user.slice ");
        assert_eq!(of(&within, own).as_deref(), Some("/sys/fs/cgroup/a.service"));
        assert_eq!(of(&within, "0::/system.slice\n"), None, "it is not seen from here");
        assert_eq!(of(mounts, "0::/../x\n"), None);
        assert_eq!(of(mounts, "9:memory:/x\n"), None);
        assert_eq!(of("25 30 0:23 / /sys rw - sysfs sysfs rw\n", own), None);
    }

    #[test]
    fn what_left_everything_that_it_could_be_known_by_is_ended() {
        let Some(group) = Group::make(&format!("logseq-test-{}", std::process::id())) else {
            eprintln!("no control group can be made here");
            return;
        };
        let place = tempfile::tempdir().unwrap();
        let (begun, go) = (place.path().join("begun"), place.path().join("go"));
        let script = format!(
            "while [ ! -e {go} ]; do sleep 0.05; done; env -i PATH=\"$PATH\" setsid sh -c 'echo $$ > {begun}; exec sleep 600' & exit 0",
            go = go.display(),
            begun = begun.display()
        );
        let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        group.take(child.id()).unwrap();
        fs::write(&go, "").unwrap();
        child.wait().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        while fs::read_to_string(&begun).unwrap_or_default().trim().is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(group.lives());
        group.end();
        while group.lives() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        group.remove();
        assert!(!group.0.exists());
        group.end();
        assert!(!group.lives(), "one that is gone has nothing in it");
    }
}
