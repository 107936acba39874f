//! The server as a daemon: who starts it, finds it and ends it, and what becomes of it without its lock (docs/spec/daemon.md).

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use daemon_lifecycle::process::{Handle, Waited};
use serde_json::Value;

use super::support::{Server, TOKEN, binary, page};

/// A data directory in which servers are started by `server start`. What still runs in the end is ended.
struct Place(tempfile::TempDir);

/// What a verb said.
struct Said {
    code: Option<i32>,
    object: Value,
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let object = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text:?} {output:?}"));
        Self { code: output.status.code(), object }
    }

    /// What a verb that succeeds has to say.
    #[track_caller]
    fn data(&self) -> &Value {
        assert_eq!(self.object["status"], "ok", "{}", self.object);
        &self.object["data"]
    }

    fn failure(&self) -> (Option<i32>, &str) {
        (self.code, self.object["error"]["code"].as_str().unwrap_or_default())
    }
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    /// `server …` with these words, by the static driver.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = binary(&self.data());
        command.env("HOME", self.0.path()).current_dir(self.0.path());
        command.env("DB_SYNC_AUTH_DRIVER", "static").env("DB_SYNC_AUTH_TOKEN", TOKEN).env("DB_SYNC_BIND", "127.0.0.1");
        command.arg("server").args(words).arg("--json");
        command
    }

    fn server(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    fn start(&self) -> Said {
        self.server(&["start", "--port", "0"])
    }

    fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.data().join("daemon.json")).unwrap()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for owner in ["cli", "desktop"] {
            let _ = self.command(&["stop", "--owner", owner]).output();
        }
    }
}

/// The pid that a verb tells.
fn pid(data: &Value) -> String {
    data["pid"].as_u64().unwrap().to_string()
}

/// Kills a process and waits until all its threads are gone: the first may have ended while another still has the lock's file
/// open.
fn kill(pid: &str) {
    let handle = Handle::open(pid.parse().unwrap()).unwrap().unwrap();
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    assert_eq!(handle.wait(Duration::from_secs(20)).unwrap(), Waited::Ended, "{pid} does not end");
}

/// Whether a process runs; one that nobody has reaped does not.
fn is_there(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_server_is_started_found_and_stopped() {
    let place = Place::new();
    let stopped = place.server(&["status"]);
    assert_eq!((stopped.code, &stopped.object["data"]["status"]), (Some(3), &"stopped".into()));
    let started = place.start();
    let data = started.data();
    assert_eq!((&data["started"], &data["owned"], &data["owner"]), (&true.into(), &true.into(), &"cli".into()));
    let again = place.start();
    let found = again.data();
    assert_eq!((&found["started"], &found["pid"], &found["listen"]), (&false.into(), &data["pid"], &data["listen"]));
    let status = place.server(&["status"]);
    assert_eq!((status.code, &status.data()["status"]), (Some(0), &"ready".into()));
    let revision = status.data()["revision"].as_str().unwrap();
    assert!(!revision.is_empty() && revision != "unknown");
    assert_eq!(status.data()["manageable"], true);
    let list = place.server(&["list"]);
    assert_eq!((&list.data()["count"], &list.data()["servers"][0]["pid"]), (&1.into(), &data["pid"]));
    let stop = place.server(&["stop"]);
    assert_eq!(stop.data()["ended_by"], "shutdown");
    assert!(!is_there(&pid(data)));
    for left in ["daemon.json", "daemon.token", "sync.sock"] {
        assert!(!place.data().join(left).exists(), "{left}");
    }
    assert_eq!(place.server(&["stop"]).failure(), (Some(1), "server-not-found"));
}

/// The global flags of this program and those of the verbs are one and the same.
#[test]
fn flags_may_stand_anywhere() {
    let place = Place::new();
    for line in [&["--json", "server", "status"][..], &["server", "--json", "status"], &["server", "status", "--json"]]
    {
        let output = binary(&place.data()).args(line).output().unwrap();
        assert_eq!(Said::of(&output).object["data"]["status"], "stopped", "{line:?}");
    }
    let quiet = binary(&place.data()).args(["server", "status", "--quiet"]).output().unwrap();
    assert_eq!((quiet.status.code(), quiet.stdout), (Some(3), Vec::new()));
    let unknown = binary(&place.data()).args(["server", "status", "--prot", "1"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn only_the_owner_stops_a_server() {
    let place = Place::new();
    let mut command = binary(&place.data());
    command.args(["serve", "--port", "0", "--json", "--owner", "electron"]);
    command.env("DB_SYNC_AUTH_DRIVER", "none");
    let server = Server::of(command);
    assert_eq!(place.record()["owner"], "desktop");
    for verb in ["stop", "restart"] {
        assert_eq!(place.server(&[verb]).failure(), (Some(1), "server-owned-by-other"), "{verb}");
    }
    let found = place.start();
    assert_eq!((&found.data()["owned"], &found.data()["pid"]), (&false.into(), &server.pid().into()));
    let stopped = place.server(&["stop", "--owner", "desktop"]);
    assert_eq!(stopped.data()["pid"], server.pid());
}

#[test]
fn a_restart_is_another_process_with_the_same_graphs() {
    let place = Place::new();
    let first = pid(place.start().data());
    let again = place.server(&["restart", "--port", "0"]);
    assert_eq!(again.data()["stopped_pid"].to_string(), first);
    assert!(is_there(&pid(again.data())) && !is_there(&first));
}

#[test]
fn after_a_kill_the_next_start_serves() {
    let place = Place::new();
    let first = pid(place.start().data());
    kill(&first);
    assert_eq!(place.server(&["status"]).object["data"]["status"], "stopped");
    let second = place.start();
    assert_eq!(second.data()["started"], true);
    assert_ne!(pid(second.data()), first);
}

#[test]
fn of_many_starters_one_starts_and_all_find_its_server() {
    let place = Place::new();
    for round in 0..3 {
        let starters: Vec<_> = (0..6)
            .map(|_| {
                let mut command = place.command(&["start", "--port", "0"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        let said: Vec<Said> =
            starters.into_iter().map(|starter| Said::of(&starter.wait_with_output().unwrap())).collect();
        let pids: std::collections::BTreeSet<String> = said.iter().map(|said| pid(said.data())).collect();
        let started = said.iter().filter(|said| said.data()["started"] == true).count();
        assert_eq!((pids.len(), started), (1, 1), "{round}");
        assert_eq!(place.server(&["stop"]).code, Some(0));
    }
}

/// The starter that comes second used to empty the folder of temporary files before it asked for the lock.
#[test]
fn a_second_server_leaves_half_written_files_of_the_first_alone() {
    let data = tempfile::tempdir().unwrap();
    let left = data.path().join("tmp/left-by-a-kill");
    fs::create_dir(data.path().join("tmp")).unwrap();
    fs::write(&left, "old").unwrap();
    let _server = Server::start(data.path(), &[]);
    assert!(!left.exists(), "who has the lock throws it away");
    let half = data.path().join("tmp/half-written");
    fs::write(&half, "new").unwrap();
    let mut second = binary(data.path());
    second.args(["serve", "--port", "0", "--json"]).env("DB_SYNC_AUTH_DRIVER", "none");
    let said = Said::of(&second.output().unwrap());
    assert_eq!(said.failure(), (Some(75), "repo-locked"));
    assert!(said.object["error"]["holders"][0]["pid"].is_u64(), "{}", said.object);
    let users = binary(data.path()).args(["user", "list", "--json"]).output().unwrap();
    assert!(users.status.success());
    assert!(half.exists(), "a running server may be about to finish it");
}

#[test]
fn a_server_that_loses_its_lock_acknowledges_nothing_more() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), &[]);
    let graph = server.create_graph(TOKEN, "notes");
    let mut socket = server.socket(TOKEN, &graph);
    socket.send(&page(0, 1));
    assert_eq!(socket.receive(&["tx/batch/ok", "tx/reject"])["t"], 1);
    fs::remove_file(data.path().join(".daemon.lock")).unwrap();
    // Neither taken nor refused: a client keeps what is not answered.
    socket.send(&page(1, 2));
    assert_eq!(socket.closed_without(&["tx/batch/ok", "tx/reject"]), Some((1012, "server restarting".to_owned())));
    assert_eq!(server.wait(), Some(76));
    let log = data.path().join("graphs").join(&graph).join("db.sqlite-wal");
    assert!(log.metadata().unwrap().len() > 0, "nothing was written into a database that may be another's");
    let record: Value = serde_json::from_slice(&fs::read(data.path().join("daemon.json")).unwrap()).unwrap();
    assert_eq!((&record["pid"], &record["status"]), (&server.pid().into(), &"ready".into()), "it was left alone");
    let server = Server::start(data.path(), &[]);
    let (status, pulled) = server.ask("GET", &format!("/sync/{graph}/pull?since=0"), TOKEN, "");
    assert_eq!((status, &pulled["t"]), (200, &1.into()), "{pulled}");
}

#[test]
fn requests_without_the_lock_are_told_that_the_server_stops() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), &[]);
    let graph = server.create_graph(TOKEN, "notes");
    fs::remove_file(data.path().join(".daemon.lock")).unwrap();
    let (status, answer) = server.ask("POST", &format!("/sync/{graph}/tx/batch"), TOKEN, &page(0, 1).to_string());
    assert_eq!((status, &answer["error"]), (503, &"server stopping".into()));
    assert_eq!(server.wait(), Some(76));
}

/// Nobody writes, and yet it is noticed.
#[test]
fn an_idle_server_notices_that_its_lock_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::start(data.path(), &[]);
    let graph = server.create_graph(TOKEN, "notes");
    let mut socket = server.socket(TOKEN, &graph);
    fs::remove_file(data.path().join(".daemon.lock")).unwrap();
    fs::write(data.path().join(".daemon.lock"), "").unwrap();
    assert_eq!(socket.closed(), Some((1012, "server restarting".to_owned())));
    assert_eq!(server.wait(), Some(76));
}

#[test]
fn a_server_without_its_lock_is_ended_by_the_next_start() {
    let place = Place::new();
    let first = pid(place.start().data());
    for name in [".daemon.lock", "daemon.json"] {
        fs::remove_file(place.data().join(name)).unwrap();
    }
    let second = place.start();
    assert_eq!(second.data()["started"], true);
    assert!(!is_there(&first), "two would write");
}

#[test]
fn a_server_that_does_not_start_tells_its_starter_why() {
    let place = Place::new();
    let wrong = place.server(&["start", "--port", "none"]);
    assert_eq!(wrong.failure(), (Some(78), "configuration"));
    let graph = place.server(&["start", "--graph", "notes"]);
    assert_eq!(graph.failure(), (Some(1), "graph-not-found"));
    let nobody = place.command(&["start"]).env("DB_SYNC_AUTH_TOKEN", "").output().unwrap();
    assert_eq!(Said::of(&nobody).failure(), (Some(78), "no-way-to-sign-in"));
    assert!(!place.data().join("daemon.json").exists(), "it cleaned up");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert_eq!(place.server(&["start", "--port", &port]).failure(), (Some(69), "address-in-use"));
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    fs::set_permissions(place.data(), fs::Permissions::from_mode(0o703)).unwrap();
    let mut command = binary(&place.data());
    command.args(["serve", "--port", "0", "--json"]).env("DB_SYNC_AUTH_DRIVER", "none");
    let served = Said::of(&command.output().unwrap());
    assert_eq!(served.failure(), (Some(77), "data-dir-permissions"));
    assert_eq!(place.start().failure(), (Some(77), "data-dir-permissions"));
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 0, "nothing was made in it");
    let file = place.0.path().join("file");
    fs::write(&file, "").unwrap();
    let mut command = binary(&file.join("below"));
    command.args(["serve", "--port", "0", "--json"]).env("DB_SYNC_AUTH_DRIVER", "none");
    assert_eq!(Said::of(&command.output().unwrap()).code, Some(73));
}

/// A daemon leaves its starter's folder, and paths of its configuration still count from there, with SIGHUP too.
#[test]
fn paths_count_from_where_the_starter_stood() {
    let place = Place::new();
    let file = place.0.path().join("server.toml");
    fs::write(&file, "port = 0\ndata_dir = \"elsewhere\"\n[log]\nfile = \"server.log\"\n").unwrap();
    let command = |words: &[&str]| {
        let mut command = place.command(words);
        command.env_remove("DB_SYNC_DATA_DIR");
        Said::of(&command.output().unwrap())
    };
    let started = command(&["start", "--config", "server.toml"]);
    let pid = pid(started.data());
    assert!(place.0.path().join("elsewhere/daemon.json").exists());
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
    fs::write(&file, "port = 0\ndata_dir = \"elsewhere\"\n[log]\nfile = \"server.log\"\nlevel = \"debug\"\n").unwrap();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let log = place.0.path().join("server.log");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !fs::read_to_string(&log).unwrap().contains("the configuration was read again") {
        assert!(std::time::Instant::now() < until, "{}", fs::read_to_string(&log).unwrap());
        std::thread::yield_now();
    }
    assert_eq!(command(&["stop", "--data-dir", "elsewhere"]).code, Some(0));
}

#[test]
fn its_own_routes_want_the_token() {
    let place = Place::new();
    place.start();
    let ask = |line: &str| {
        let mut stream = UnixStream::connect(place.data().join("sync.sock")).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("POST /shutdown").starts_with("HTTP/1.1 401"));
    assert!(ask("GET /graphs").starts_with("HTTP/1.1 401"), "nor is anything else answered without it");
    let health = ask("GET /healthz");
    assert!(health.starts_with("HTTP/1.1 200") && !health.contains("data_dir"), "{health}");
    assert_eq!(place.server(&["status"]).code, Some(0));
}

#[test]
fn the_doctor_looks_at_what_this_program_knows() {
    let place = Place::new();
    let checks = |said: &Said, code: &str| -> Vec<String> {
        let all = said.data()["checks"].as_array().unwrap();
        let of = all.iter().filter(|check| check["code"] == code);
        of.map(|check| check["level"].as_str().unwrap().to_owned()).collect()
    };
    let started = place.start();
    let address = started.data()["listen"][0].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    // Keys that nobody answers for, and a port that is the server's own.
    let doctor = |settings: &[(&str, &str)]| {
        let mut command = place.command(&["doctor"]);
        Said::of(&command.env("DB_SYNC_PORT", &address).envs(settings.iter().copied()).output().unwrap())
    };
    let good = doctor(&[]);
    for code in ["server", "configuration", "index", "users", "graphs", "port", "open-files"] {
        assert_eq!(checks(&good, code), ["ok"], "{code}: {}", good.object);
    }
    let issuer = [
        ("DB_SYNC_AUTH_DRIVER", "cognito"),
        ("COGNITO_ISSUER", "https://issuer.invalid"),
        ("COGNITO_CLIENT_ID", "c"),
        ("COGNITO_JWKS_URL", "http://127.0.0.1:1/keys"),
    ];
    let unreachable = doctor(&issuer);
    assert_eq!((unreachable.code, checks(&unreachable, "issuer")), (Some(1), vec!["warning".to_owned()]));
    assert_eq!(place.server(&["stop"]).code, Some(0));
    fs::create_dir_all(place.data().join("graphs/damaged")).unwrap();
    fs::write(place.data().join("graphs/damaged/db.sqlite"), "no database".repeat(1000)).unwrap();
    let damaged = doctor(&[("DB_SYNC_PROT", "1")]);
    assert_eq!(damaged.code, Some(74));
    assert_eq!(
        (checks(&damaged, "graph"), checks(&damaged, "configuration")),
        (vec!["error".into()], vec!["error".into()])
    );
}
