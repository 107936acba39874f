use mailbox::host::{HostMailbox as _, Spawn};
use mailbox::message::NewMessage;
use serde_json::Value;

use crate::place::{Place, Running, SIDE, is_whole, shell};

const READ_ONLY: &str = "mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"; ";

fn with_message() -> (Place, mailbox::FileHost) {
    let place = Place::new();
    let mut host = place.host();
    host.insert(
        &NewMessage { id: "m".into(), kind: "prompt".into(), content: "{}".into(), ..NewMessage::default() },
        0,
    )
    .unwrap();
    host.begin(&Spawn::default(), 0).unwrap();
    (place, host)
}

/// Row of docs/spec/session-mailbox.md 5: "Whole directory rw".
#[test]
fn fact_3_the_agents_side_of_a_read_only_mount_can_write_nothing() {
    let (_place, host) = with_message();
    let Some(mut command) = shell(&format!("{READ_ONLY} exec \"$0\" write \"$1\"")) else { return };
    let mut side = Running::start(command.arg(SIDE).arg(host.places().inside()));
    let done: Vec<bool> = serde_json::from_str(&side.line()).unwrap();
    assert_eq!(done, [false; 6]);
    assert_eq!(side.line(), "read 1");
    assert_eq!(host.control().unwrap().generation, 1);
}

/// Why the files have rollback journals: with a write-ahead log a reader of a read-only mount finds nothing once the writer
/// has closed. Stale views through shared memory would need a virtual machine to be shown.
#[test]
fn a_write_ahead_log_cannot_be_read_through_a_read_only_mount() {
    let (_place, host) = with_message();
    let inbound = rusqlite::Connection::open(host.places().inbound()).unwrap();
    inbound.pragma_update(None, "journal_mode", "WAL").unwrap();
    inbound.execute_batch("UPDATE control SET lease = 1").unwrap();
    inbound.close().unwrap();
    let Some(mut command) = shell(&format!("{READ_ONLY} exec \"$0\" wal \"$1\"")) else { return };
    let mut side = Running::start(command.arg(SIDE).arg(host.places().inside()));
    assert_eq!(side.line(), "Some(CannotOpen)");
}

/// Row of docs/spec/session-mailbox.md 5: "Full disk cannot be reported".
#[test]
fn a_full_disk_is_told_and_leaves_the_files_whole() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m,mode=700 none \"$1\"; exec \"$0\" full \"$1\"";
    let Some(mut command) = shell(script) else { return };
    let mut side = Running::start(command.arg(SIDE).arg(folder.path()));
    let told: Value = serde_json::from_str(&side.line()).unwrap();
    for key in ["refused", "reserve-left", "interrupted", "again", "whole"] {
        assert_eq!(told[key], true, "{key}: {told}");
    }
    assert_eq!(told["check"], "ok");
}

#[test]
fn a_mailbox_is_whole_after_its_session_was_used() {
    let (_place, host) = with_message();
    is_whole(&host.places().inbound());
}
