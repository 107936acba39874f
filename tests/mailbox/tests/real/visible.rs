use std::process::Command;

use mailbox::host::{HostMailbox as _, Spawn};
use mailbox::message::NewMessage;

use crate::place::{Place, Running, SIDE, shell};

fn prompt(n: usize) -> NewMessage {
    NewMessage { id: format!("m{n}"), kind: "prompt".into(), content: "{}".into(), ..NewMessage::default() }
}

/// Writes eight messages, one after the other was seen by a reader that lives all the time.
fn eight(command: impl FnOnce(&[String]) -> Command) {
    let place = Place::new();
    let mut host = place.host();
    let generation = host.begin(&Spawn::default(), 0).unwrap();
    let mut words = Place::agent(&host, generation);
    words.push("8".into());
    let mut reader = Running::start(&mut command(&words));
    assert_eq!(reader.line(), "ready");
    for n in 0..8 {
        host.insert(&prompt(n), 0).unwrap();
        assert_eq!(reader.line(), format!("m{n}"));
    }
    assert!(reader.child.wait().unwrap().success());
}

#[test]
fn fact_2_a_reader_that_lives_long_sees_each_write() {
    eight(|words| {
        let mut command = Command::new(SIDE);
        command.arg("read").args(words);
        command
    });
}

#[test]
fn fact_2_also_through_a_read_only_mount() {
    if shell("true").is_none() {
        return;
    }
    eight(|words| {
        let mut command =
            shell("mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"; exec \"$0\" read \"$@\"").unwrap();
        command.arg(SIDE).args(words);
        command
    });
}
