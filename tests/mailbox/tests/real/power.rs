use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::place::{Place, Running, SIDE};

/// Row of docs/spec/session-mailbox.md 5: "Acknowledged commit undone by a power cut". A journal that is deleted is gone for good
/// only once its folder is on the disk: before a commit is told of, the folder is synced.
#[test]
fn a_commit_is_told_of_after_the_folder_of_its_journal_is_on_the_disk() {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        eprintln!("not run: no strace here");
        return;
    }
    let place = Place::new();
    drop(place.host());
    let calls = place.state().join("calls");
    let mut command = Command::new("strace");
    command.args(["-qq", "-f", "-y", "-s", "300", "-e", "trace=unlink,fsync,fdatasync,write", "-o"]).arg(&calls);
    // A group of their own: the one that is looked at ends with the one that looks.
    let mut host = Running::start(command.arg(SIDE).arg("host").arg(place.state()).arg("0").process_group(0));
    (0..5).for_each(|_| drop(host.line()));
    let group = format!("-{}", host.child.id());
    assert!(Command::new("kill").args(["-s", "KILL", "--", &group]).status().unwrap().success());
    drop(host);
    let calls = std::fs::read_to_string(calls).unwrap();
    let (mut told, mut synced) = (0, false);
    for call in calls.lines() {
        if call.contains("unlink(") && call.contains("inbound.db-journal") {
            synced = false;
        } else if call.contains("sync(") && call.contains("/in>") {
            synced = true;
        } else if call.contains("write(1<") {
            assert!(synced, "{calls}");
            told += 1;
        }
    }
    assert!(told >= 4, "{calls}");
}
