//! What a starter and its daemon have to do with each other.

use std::time::Duration;

use daemon_lifecycle::ensure::{self, Request};
use daemon_lifecycle::{Limits, Owner, Scope};

use crate::harness::{A, Place, ended, kill, runs, until};

fn request<'a>(scope: &'a Scope, program: &'a daemon_lifecycle::Program, attached: bool) -> Request<'a> {
    Request {
        scope,
        requester: if attached { Owner::Desktop } else { Owner::Cli },
        program,
        flags: &[],
        limits: Limits::default(),
        take_over: false,
        force: false,
        attached,
    }
}

fn field(pid: u32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap().trim().to_owned()
}

/// Process group, session and terminal, from `/proc/<pid>/stat`.
fn session(pid: u32) -> (String, String) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<String> = stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect();
    (fields[3].clone(), fields[4].clone())
}

#[test]
fn fact_36_a_daemon_of_the_command_line_is_on_its_own() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    std::fs::set_permissions(place.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let scope = Scope::new(place.data(), None).unwrap();
    let program = crate::harness::program();
    let runtime = ensure::ensure(&request(&scope, &program, false)).unwrap();
    let pid = runtime.record.pid;
    assert!(runtime.attached.is_none() && runtime.started);
    // Not a child of ours, in no session of ours, without a terminal, and not the leader of its own.
    assert_ne!(field(pid, "PPid"), std::process::id().to_string());
    let (own, its) = (session(std::process::id()), session(pid));
    assert_ne!(own.0, its.0);
    assert_eq!(its.1, "0");
    assert_ne!(its.0, pid.to_string());
    assert_eq!(field(pid, "Umask"), "0077");
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), std::path::Path::new("/"));
    let link = |number: u32| std::fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
    assert_eq!(link(0), std::path::Path::new("/dev/null"));
    assert!(link(1).starts_with(place.data().join("logs")) && link(2) == link(1));
    // Nothing of the starter is left open, once the pipe is closed after its last line.
    let open = |number: u32| std::fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap_or_default();
    until("no pipe", || !(3..20).any(|number| open(number).to_string_lossy().starts_with("pipe:")));
    // It leaves no zombie to who started it.
    kill(pid, "KILL");
    ended(pid);
    until("reaped by others", || {
        !std::path::Path::new(&format!("/proc/{pid}")).exists() || field(pid, "PPid") != std::process::id().to_string()
    });
}

#[test]
fn fact_36_a_daemon_of_the_desktop_ends_with_its_app() {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    std::fs::set_permissions(place.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let scope = Scope::new(place.data(), None).unwrap();
    let program = crate::harness::program();
    let runtime = ensure::ensure(&request(&scope, &program, true)).unwrap();
    let pid = runtime.record.pid;
    assert_eq!((runtime.record.owner, field(pid, "PPid")), (Owner::Desktop, std::process::id().to_string()));
    assert!(place.server("start").data()["owned"] == false);
    let status = runtime.attached.unwrap().close().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.server("status").code, 3);
}

#[test]
fn fact_45_a_silent_start_names_its_whole_command_line_and_leaves_nothing() {
    let place = Place::new();
    let ran = place.with(A, "start --timeout 1 --note it's", &[("DAEMON_STICK_AT", "after-lock")]);
    assert_eq!((ran.code, ran.error()), (1, "server-start-failed"));
    let command = ran.json["error"]["command"].as_str().unwrap();
    assert!(ran.json["error"]["message"].as_str().unwrap().contains(command));
    assert!(command.starts_with(A) && command.ends_with("\"it's\""), "{command}");
    assert!(command.contains(&format!("serve --data-dir {}", place.data().display())));
    assert_eq!(place.server("status").code, 3);
}

#[test]
fn a_daemon_that_dies_is_told_with_how_and_with_its_last_words() {
    let place = Place::new();
    let ran = place.with(A, "start --note remarkable", &[("DAEMON_CRASH_AT", "after-lock")]);
    assert_eq!((ran.code, ran.error(), ran.json["error"]["signal"].as_i64()), (1, "server-start-failed", Some(9)));
    assert!(ran.json["error"]["log_tail"].as_str().unwrap().contains("remarkable"));
    // One that says why gives its own code and exit code.
    let ran = place.with(A, "start", &[("TRIAL_FILE_SYSTEM", "26985")]);
    assert_eq!(
        (ran.code, ran.error(), ran.json["error"]["filesystem"].as_str()),
        (73, "data-dir-lock-unsupported", Some("nfs"))
    );
    let ran = place.with(A, "start", &[("TRIAL_SECOND", "1")]);
    assert_eq!((ran.code, ran.error()), (73, "data-dir-lock-unsupported"));
    let ran = place.with(A, "start --allow-weak-lock", &[("TRIAL_SECOND", "1")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(place.log().contains("the lock is weak"));
    assert_eq!(place.server("stop").code, 0);
    assert!(!place.data().join(".daemon.weak").exists() || !runs(ran.pid()));
    assert_eq!(place.server("start").code, 0);
}

/// A helper that outlives the daemon keeps neither its lock nor its pipe.
#[test]
fn what_a_daemon_starts_inherits_nothing() {
    let place = Place::new();
    let started = place.with(A, "start", &[("DAEMON_HELPER", "1")]);
    let log = place.log();
    let helper: u32 = log.lines().find_map(|line| line.strip_prefix("helper ")).unwrap().parse().unwrap();
    kill(started.pid(), "KILL");
    ended(started.pid());
    assert!(runs(helper));
    let environment = std::fs::read(format!("/proc/{helper}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("LOGSEQ_READY_FD"));
    assert_eq!(place.server("status").code, 3);
    let again = place.server("start");
    assert_eq!(
        (again.data()["started"].as_bool(), again.data()["recovered_pids"].as_array().map(Vec::len)),
        (Some(true), Some(0))
    );
    kill(helper, "KILL");
}

/// The starter may go at any moment: a daemon that it let start goes on.
#[test]
fn a_daemon_outlives_a_starter_that_is_killed() {
    let place = Place::new();
    let mut command = place.command(A);
    command.args(["server", "start", "--data-dir"]).arg(place.data()).env("DAEMON_DELAY_AT", "after-lock:700");
    command.stdout(std::process::Stdio::null());
    let mut starter = command.spawn().unwrap();
    until("the lock", || place.lock().exists());
    starter.kill().unwrap();
    starter.wait().unwrap();
    until("ready", || place.server("status").code == 0);
    assert_eq!(place.server("stop").data()["ended_by"], "shutdown");
}

#[test]
fn limits_of_a_wait_are_kept() {
    let place = Place::new();
    let begun = std::time::Instant::now();
    let ran = place.with(A, "start --timeout 1", &[("DAEMON_STICK_AT", "before-lock")]);
    assert_eq!(ran.error(), "server-start-failed");
    assert!(begun.elapsed() < Duration::from_secs(20));
}

/// The variable names a descriptor that a starter left open, or the daemon does not start: it would write into something
/// else.
#[test]
fn a_number_that_is_no_inherited_descriptor_is_refused() {
    let place = Place::new();
    for number in ["2", "-1", "99", "ready", ""] {
        let output = place.serve("", &[("LOGSEQ_READY_FD", number)]).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(70), "{number}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("LOGSEQ_READY_FD"), "{number}");
    }
    assert!(!place.data().exists());
}

/// What a script happens to have open is no daemon's: neither its locks nor its pipes.
#[test]
fn a_daemon_keeps_nothing_open_of_where_it_was_started() {
    let place = Place::new();
    let script = r#"exec 7> mine; flock 7; exec "$A" server start --data-dir "$D" --json"#;
    let mut command = place.command("sh");
    command.args(["-c", script]).env("A", A).env("D", place.data());
    let started = place.run(command);
    let open = std::fs::read_dir(format!("/proc/{}/fd", started.pid())).unwrap();
    let targets: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(!targets.iter().any(|target| target.ends_with("mine")), "{targets:?}");
}
