//! Starting and finding.

use std::os::unix::fs::symlink;

use crate::harness::{A, Place, ended, kill, own, record, runs, token};

#[test]
fn facts_01_02_a_graph_has_one_folder_whatever_its_name_has_in_front() {
    let place = Place::new();
    let old = place.data().join("graphs/logseq_db_my notes");
    std::fs::create_dir_all(&old).unwrap();
    let mut first = place.command(A);
    first.args(["server", "start", "--json", "--graph", "logseq_db_foo/bar", "--data-dir"]).arg(place.data());
    let first = place.run(first);
    let mut second = place.command(A);
    second.args(["server", "start", "--json", "--graph", "foo/bar", "--data-dir"]).arg(place.data());
    let second = place.run(second);
    assert_eq!(first.pid(), second.pid());
    assert_eq!(first.data()["repo"], "foo/bar");
    assert!(place.data().join("graphs/foo~2Fbar/.daemon.lock").exists());
    assert!(old.exists() && !place.data().join("graphs/my notes").exists());
}

#[test]
fn facts_03_04_the_owner_is_kept_and_the_lock_file_is_empty() {
    for (word, owner) in [("cli", "cli"), ("electron", "desktop"), ("desktop", "desktop"), ("service", "service")] {
        let place = Place::new();
        let started = place.server(&format!("start --owner {word}"));
        assert_eq!(started.data()["owner"], owner);
        let record = place.record();
        assert_eq!((record["owner"].as_str(), record["status"].as_str()), (Some(owner), Some("ready")));
        assert!(record["endpoint"].as_str().unwrap().starts_with("unix:"));
        assert_eq!(std::fs::read(place.lock()).unwrap(), b"");
    }
}

#[test]
fn fact_05_nobodys_daemon_is_unknown() {
    let place = Place::new();
    let mut child = place.serve_ready("", &[]);
    assert_eq!(place.server("status").data()["owner"], "unknown");
    kill(child.id(), "TERM");
    child.wait().unwrap();
}

#[test]
fn fact_07_a_second_daemon_is_refused_and_the_first_goes_on() {
    let place = Place::new();
    let first = place.server("start");
    let second = place.serve("", &[]).wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&second.stderr).contains(&format!("pid {}", first.pid())));
    assert!(runs(first.pid()));
    assert_eq!(place.server("status").code, 0);
}

#[test]
fn facts_08_24_43_what_a_killed_daemon_left_is_no_obstacle_to_any_owner() {
    let place = Place::new();
    let mut before = 0;
    for owner in ["cli", "desktop", "service", "cli"] {
        let started = place.server(&format!("start --owner {owner}"));
        assert_eq!((started.data()["started"].as_bool(), started.data()["owner"].as_str()), (Some(true), Some(owner)));
        assert_ne!(started.pid(), before);
        before = started.pid();
        kill(before, "KILL");
        ended(before);
        assert_eq!(place.server("status").code, 3);
    }
    std::fs::write(place.data().join("daemon.json"), "no metadata").unwrap();
    assert_eq!(place.server("start").code, 0);
}

#[test]
fn facts_12_21_both_sides_share_one_daemon() {
    let place = Place::new();
    let desktop = place.server("start --owner desktop");
    let cli = place.server("start");
    assert_eq!((desktop.pid(), desktop.data()["listen"].clone()), (cli.pid(), cli.data()["listen"].clone()));
    assert_eq!((desktop.data()["owned"].as_bool(), cli.data()["owned"].as_bool()), (Some(true), Some(false)));
    let again = place.server("start --owner desktop");
    assert_eq!((again.pid(), again.data()["owned"].as_bool()), (cli.pid(), Some(true)));
    assert_eq!(again.data()["started"], false);
}

#[test]
fn fact_14_a_bad_command_line_is_told_with_code_2() {
    let place = Place::new();
    for words in [
        "serve --nonsense",
        "server start --owner pirate",
        "server stop --nonsense",
        "server",
        "server start --timeout x",
    ] {
        let mut command = place.command(A);
        command.args(words.split(' '));
        let ran = place.run(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{words}");
        assert!(!ran.stderr.is_empty());
    }
    // A flag that only the daemon knows is judged by it.
    let ran = place.server("start --nonsense 1");
    assert_eq!((ran.code, ran.error()), (2, "server-start-failed"));
    assert!(ran.json["error"]["message"].as_str().unwrap().contains("--nonsense"), "{ran:?}");
    for words in ["--version", "--help", "server --help", "server start --help"] {
        let mut command = place.command(A);
        command.args(words.split(' '));
        assert_eq!(place.run(command).code, 0, "{words}");
    }
    let place = Place::new();
    let mut bad = place.command(A);
    bad.args(["server", "start", "--json", "--graph", "..", "--data-dir"]).arg(place.data());
    let bad = place.run(bad);
    assert_eq!((bad.code, bad.error()), (2, "usage"));
    assert!(!place.data().exists());
}

#[test]
fn fact_16_the_log_has_what_the_daemon_says_and_no_secret() {
    let place = Place::new();
    let logs = place.data().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::set_permissions(place.data(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for day in 10..18 {
        std::fs::write(logs.join(format!("daemon-200001{day}.log")), "old").unwrap();
    }
    place.server("start --note remarkable");
    let log = place.log();
    assert!(log.contains("test daemon 1.0.0 (revision-a)") && log.contains("remarkable"), "{log}");
    assert!(!log.contains(&token(&place)));
    assert_eq!(std::fs::read_dir(&logs).unwrap().count(), 7);
    assert!(!logs.join("daemon-20000110.log").exists());
}

#[test]
fn facts_17_32_list_shows_what_runs_here_and_elsewhere() {
    let place = Place::new();
    let other = place.root().join("other");
    place.server("start");
    let mut elsewhere = place.command(A);
    elsewhere.args(["server", "start", "--json", "--graph", "notes", "--data-dir"]).arg(&other);
    let elsewhere = place.run(elsewhere);
    let registry = place.root().join("state/logseq-sync/dirs");
    let lines = std::fs::read_to_string(&registry).unwrap();
    assert_eq!(lines, format!("{}\n{}\n", place.data().display(), other.display()));
    let list = place.server("list");
    let servers = list.data()["servers"].as_array().unwrap();
    assert_eq!(list.data()["count"], 2);
    assert_eq!((servers[0]["graph"].as_str(), servers[1]["graph"].as_str()), (None, Some("notes")));
    assert_eq!(
        (servers[1]["pid"].as_u64(), servers[1]["status"].as_str()),
        (Some(elsewhere.pid().into()), Some("ready"))
    );
    // One that was killed is shown only when that is asked for; one that was stopped leaves nothing behind.
    kill(elsewhere.pid(), "KILL");
    ended(elsewhere.pid());
    assert_eq!(place.server("list").data()["count"], 1);
    assert_eq!(place.server("list --all").data()["count"], 2);
    place.server("stop");
    assert_eq!(place.server("list").data()["count"], 0);
    assert_eq!(place.record(), serde_json::Value::Null);
    // A directory that is gone leaves the registry.
    std::fs::remove_dir_all(&other).unwrap();
    place.server("list");
    assert_eq!(std::fs::read_to_string(&registry).unwrap(), format!("{}\n", place.data().display()));
}

#[test]
fn fact_30_every_spelling_of_a_directory_is_the_same_daemon() {
    let place = Place::new();
    let first = place.server("start");
    symlink(place.data(), place.root().join("link")).unwrap();
    for spelling in ["link", "link/", "data/../link/.", "data/"] {
        let mut command = place.command(A);
        command.args(["server", "start", "--json", "--root-dir", spelling]);
        assert_eq!(place.run(command).pid(), first.pid(), "{spelling}");
    }
    let other = Place::new();
    assert_ne!(other.server("start").pid(), first.pid());
}

#[test]
fn fact_31_two_directories_with_one_graph_have_two_daemons() {
    let (left, right) = (Place::new(), Place::new());
    let (first, second) = (left.server("start --graph notes"), right.server("start --graph notes"));
    assert_ne!(first.pid(), second.pid());
    let stopped = left.server("stop --graph notes");
    assert_eq!((stopped.pid(), stopped.data()["repo"].as_str()), (first.pid(), Some("notes")));
    assert!(!runs(first.pid()) && runs(second.pid()));
}

#[test]
fn facts_25_levels_exclude_each_other_and_the_refusal_names_the_holder() {
    let place = Place::new();
    let (a, b) = (place.server("start --graph a"), place.server("start --graph b"));
    assert_ne!(a.pid(), b.pid());
    let refused = place.server("start");
    assert_eq!((refused.code, refused.error()), (75, "repo-locked"));
    let holders = refused.json["error"]["holders"].as_array().unwrap();
    let pids: Vec<_> = holders.iter().map(|holder| holder["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, [u64::from(a.pid()), u64::from(b.pid())]);
    assert_eq!(place.server("status").code, 3);
    place.server("stop --graph a");
    place.server("stop --graph b");
    let whole = place.server("start");
    let refused = place.server("start --graph a");
    assert_eq!((refused.code, refused.error()), (75, "repo-locked"));
    assert_eq!(refused.json["error"]["holders"][0]["pid"], whole.pid());
}

#[test]
fn facts_39_44_shapes_of_what_is_printed() {
    let place = Place::new();
    let start = place.server("start --owner desktop");
    for member in ["repo", "owned", "started", "pid", "owner", "endpoint", "listen", "revision", "recovered_pids"] {
        assert!(!start.data()[member].is_null(), "{member}");
    }
    assert_eq!((start.data()["repo"].as_str(), start.data()["owned"].as_bool()), (place.data().to_str(), Some(true)));
    let status = place.server("status --owner desktop");
    for member in ["repo", "status", "host", "port", "pid", "owner", "revision", "started_at", "uptime_s", "manageable"]
    {
        assert!(!status.data()[member].is_null(), "{member}");
    }
    let compatible = place.server("list --compat-logseq");
    assert_eq!(compatible.data()["servers"][0]["owner-source"], "electron");
    let words = |line: &str| {
        let mut command = place.command(A);
        command.arg("server").args(line.split(' ')).arg("--data-dir").arg(place.data());
        place.run(command)
    };
    let list = words("list").stdout;
    assert!(list.starts_with("GRAPH") && list.contains("OWNER") && list.contains("desktop"), "{list}");
    assert!(list.contains("Count: 1"));
    assert!(words("start").stdout.starts_with("already running, pid "));
    assert!(words("status").stdout.contains("status: foreign"));
    assert!(words("restart --owner desktop").stdout.starts_with("restarted, pid "));
    let refused = words("stop");
    assert!(refused.stderr.starts_with("error: ") && refused.stderr.contains("hint: "), "{refused:?}");
    let stop = place.server("stop --owner desktop");
    assert_eq!(stop.data()["repo"].as_str(), place.data().to_str());
    assert!(words("start").stdout.starts_with("started, pid "));
    assert!(words("stop").stdout.starts_with("stopped, pid "));
    assert_eq!(words("stop --quiet").code, 1);
}

#[test]
fn a_long_path_works_and_its_socket_and_token_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let long = place.root().join("d".repeat(200));
    let mut command = place.command(A);
    command.args(["server", "start", "--json", "--data-dir"]).arg(&long);
    let started = place.run(command);
    assert!(started.data()["endpoint"].as_str().unwrap().len() > 200);
    let mut stop = place.command(A);
    stop.args(["server", "stop", "--json", "--data-dir"]).arg(&long);
    for name in ["daemon.token", "daemon.json", ".daemon.lock", "sync.sock"] {
        let mode = std::fs::metadata(long.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    assert_eq!(record(&long)["token_file"], "daemon.token");
    assert_eq!(place.run(stop).data()["ended_by"], "shutdown");
}

#[test]
fn doctor_tells_what_is_wrong() {
    let place = Place::new();
    let codes = |ran: &crate::harness::Ran| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let checks = ran.data()["checks"].as_array().unwrap();
        checks.iter().map(|check| (text(&check["code"]), text(&check["level"]))).collect()
    };
    assert_eq!(place.server("doctor").code, 1);
    let pid = place.server("start").pid();
    let well = place.server("doctor");
    assert_eq!(well.code, 0, "{well:?}");
    let other = place.with(crate::harness::B, "doctor", &[]);
    assert_eq!(other.code, 1);
    assert!(codes(&other).contains(&("doctor-server-revision-mismatch".into(), "warning".into())));
    crate::harness::freeze(pid);
    let frozen = place.server("doctor");
    assert_eq!(frozen.code, 74);
    assert!(codes(&frozen).contains(&("server-hung".into(), "error".into())));
    kill(pid, "CONT");
    assert_eq!(own(&place, "GET", "/healthz", None, "").0, 200);
}
