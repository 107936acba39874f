//! What the machine lacks: room on its disk, and processes that live (docs/spec/session-mailbox.md 4.7, 4.9).

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use sessions::mailbox::desk::{self, Told};

use super::machine::Machine;

fn hears(machine: &Machine, session: &str, code: &str) {
    machine.plane.told(session, code, |told| match told {
        Told::Notice { code: told, .. } if told == code => Some(()),
        _ => None,
    });
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// A shim that does what a script says.
fn other_shim(machine: &Machine, script: &str) -> String {
    let path = machine.state().with_file_name("other/agent-shim");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Row "Disk full" of docs/spec/session-mailbox.md 4.9: the runner refuses items, and says so.
#[test]
fn on_a_full_disk_a_prompt_is_refused_and_one_that_comes_when_there_is_room_is_not() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start_on_small_disk();
    plane.say("s1", "one", "say before");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    let filler = runner.sees(&machine).join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let mut size = 1 << 20;
    // Until not even a byte goes in; what is kept free for a full disk stays.
    while size > 0 {
        if file.write_all(&vec![1; size]).is_err() {
            size /= 2;
        }
    }
    plane.say("s1", "two", &format!("say {}", "long ".repeat(20_000)));
    assert_eq!(plane.ended("s1", "two"), "disk_full", "{}", runner.log());
    hears(&machine, "s1", "disk_full");
    std::fs::remove_file(&filler).unwrap();
    plane.say("s1", "three", "say after");
    assert_eq!(plane.ended("s1", "three"), "end_turn", "{}", runner.log());
    runner.kill();
}

#[test]
fn a_shim_that_stands_still_is_ended_and_followed_by_another() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", "say begun; wait 45000; say done");
    plane.told("s1", "it runs", |told| matches!(told, Told::Update(_)).then_some(()));
    let [pid] = machine.processes()[..] else { panic!("one process") };
    signal(pid, "-STOP");
    hears(&machine, "s1", "shim_dead");
    assert_eq!(plane.ended("s1", "one"), "end_turn");
    assert!(!machine.processes().contains(&pid));
    assert_eq!(machine.noted("interrupted"), 1, "the second time it is told what happened");
    runner.stop();
}

#[test]
fn a_shim_that_dies_at_each_start_is_left_alone_until_there_is_something_new() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let starts = machine.state().with_file_name("starts");
    let shim = other_shim(&machine, &format!("echo x >> '{}'; exit 1", starts.display()));
    let count = || std::fs::read_to_string(&starts).unwrap_or_default().lines().count();
    let mut runner = machine.start(&[("RUNNER_SHIM", &shim)]);
    plane.say("s1", "one", "say hello");
    hears(&machine, "s1", "crash_loop");
    assert_eq!(count(), 3);
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(count(), 3, "it is left alone");
    runner.stop();
}

#[test]
fn a_process_that_beats_and_does_nothing_ends_with_the_time_for_a_start() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let script = "while [ \"$1\" != --out ]; do shift; done; while :; do touch \"$2/heartbeat\"; sleep 1; done";
    let shim = other_shim(&machine, script);
    let mut runner = machine.start(&[("RUNNER_SHIM", &shim), ("START_LIMIT", "3s")]);
    plane.say("s1", "one", "say hello");
    hears(&machine, "s1", "start_timeout");
    plane.change("s1", |desk, decide| desk::cancel(desk, decide, "cancel", 0)).unwrap();
    plane.told("s1", "it is closed", |told| matches!(told, Told::Closed { .. }).then_some(()));
    runner.stop();
}

/// A container whose runtime says nothing: whether it runs cannot be told, and nothing is begun in its place.
#[test]
fn a_container_of_which_nobody_can_tell_is_reported_and_not_replaced() {
    let machine = Machine::new("container");
    let plane = &machine.plane;
    let bin = machine.state().with_file_name("bin");
    std::fs::create_dir(&bin).unwrap();
    let starts = machine.state().with_file_name("starts");
    let script = format!(
        "#!/bin/sh\ncase $1 in create) exit 0;; start) echo x >> '{}'; sleep 2; exit 1;; *) echo 'no connection' >&2; exit 125;; esac\n",
        starts.display()
    );
    let podman = bin.join("podman");
    std::fs::write(&podman, script).unwrap();
    std::fs::set_permissions(&podman, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut runner = machine.start(&[("PATH", &path), ("RUNNER_IMAGE", "image")]);
    plane.say("s1", "one", "say hello");
    // It gives no sign of life, and cannot be ended.
    hears(&machine, "s1", "shim_dead");
    hears(&machine, "s1", "unproven");
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(std::fs::read_to_string(&starts).unwrap().lines().count(), 1);
    let told = plane.count("s1", |told| matches!(told, Told::Notice { .. }));
    assert_eq!(told, 2, "each of it is told once");
    runner.kill();
}

/// What was not sent before another holder got the session stays on the disk, and somebody is told.
#[test]
fn outputs_that_nobody_may_send_any_more_are_reported() {
    let machine = Machine::new("plain");
    let plane = &machine.plane;
    let go = machine.state().with_file_name("go");
    let mut runner = machine.start(&[]);
    plane.say("s1", "one", &format!("say begun; until {}; say unsent; wait 600000", go.display()));
    plane.told("s1", "it runs", |told| matches!(told, Told::Update(_)).then_some(()));
    runner.kill();
    std::fs::write(&go, "").unwrap();
    let places = machine.session("s1");
    let said = || {
        let outbound = rusqlite::Connection::open(places.outbound()).unwrap();
        outbound.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
        let sql = "SELECT count(*) FROM messages_out WHERE content LIKE '%unsent%'";
        outbound.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    plane.until("it is said", |_| (said() > 0).then_some(()));
    // An item of a higher lease comes to a runner that has the mailbox of a lower one.
    plane.change("s1", desk_raises_lease);
    let mut runner = machine.start(&[]);
    hears(&machine, "s1", "output_discarded");
    runner.stop();
}

fn desk_raises_lease(desk: &mut desk::Desk, _: &mut desk::Decide<'_>) {
    desk.lease += 1;
}
