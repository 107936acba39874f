//! What the tests share: a place with a data directory, the programs, and waiting.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use daemon_lifecycle::endpoint::{self, Endpoint};
use daemon_lifecycle::process::{Handle, Waited};
use daemon_lifecycle::{Build, Program};
use serde_json::Value;

/// The program in its three builds.
pub(crate) const A: &str = env!("CARGO_BIN_EXE_daemon-a");
pub(crate) const B: &str = env!("CARGO_BIN_EXE_daemon-b");
pub(crate) const NEW: &str = env!("CARGO_BIN_EXE_daemon-new");

/// Longer than anything takes that is not waited for on purpose.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Full numbers, as the specification names them, or fewer.
pub(crate) fn rounds(full: usize, short: usize) -> usize {
    if std::env::var_os("LIFE_LONG").is_some() { full } else { short }
}

/// How a command came out.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) json: Value,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn data(&self) -> &Value {
        assert_eq!(self.json["status"], "ok", "{self:?}");
        &self.json["data"]
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.data()["pid"].as_u64().unwrap()).unwrap()
    }

    /// The code of a failure.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

/// A folder of a test, with a data directory and a registry of its own. What runs in it ends with it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    data: PathBuf,
    pids: Mutex<BTreeSet<u32>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        Self { data: root.join("data"), folder, pids: Mutex::default() }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// A program, with the registry of this place.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).env("XDG_STATE_HOME", self.root().join("state")).stdin(Stdio::null());
        command
    }

    /// Runs `program server WORDS --data-dir DATA --json`.
    pub(crate) fn with(&self, program: &str, words: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(program);
        command.arg("server").args(words.split_whitespace()).arg("--data-dir").arg(&self.data).arg("--json");
        command.envs(variables.iter().copied());
        self.run(command)
    }

    pub(crate) fn server(&self, words: &str) -> Ran {
        self.with(A, words, &[])
    }

    pub(crate) fn run(&self, mut command: Command) -> Ran {
        let output = command.output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let json: Value = serde_json::from_str(stdout.trim()).unwrap_or_default();
        if let Some(pid) = json["data"]["pid"].as_u64() {
            self.pids.lock().unwrap().insert(u32::try_from(pid).unwrap());
        }
        Ran {
            code: output.status.code().unwrap_or(-1),
            json,
            stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts the daemon itself, as this process's child.
    pub(crate) fn serve(&self, words: &str, variables: &[(&str, &str)]) -> Child {
        let mut command = self.command(A);
        command.arg("serve").args(words.split_whitespace()).arg("--data-dir").arg(&self.data);
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        self.pids.lock().unwrap().insert(child.id());
        child
    }

    /// Starts the daemon itself and waits until it answers.
    pub(crate) fn serve_ready(&self, words: &str, variables: &[(&str, &str)]) -> Child {
        let mut child = self.serve(words, variables);
        ready(&mut child);
        child
    }

    pub(crate) fn record(&self) -> Value {
        record(&self.data)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.data.join(".daemon.lock")
    }

    /// The public address of the daemon.
    pub(crate) fn address(&self) -> SocketAddr {
        self.record()["listen"][0].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Everything that the daemon wrote to its log.
    pub(crate) fn log(&self) -> String {
        let logs = std::fs::read_dir(self.data.join("logs")).unwrap();
        logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap()).collect()
    }
}

/// The program as a library's user knows it.
pub(crate) fn program() -> Program {
    let build = Build { version: "1.0.0".into(), revision: "revision-a".into() };
    Program { executable: A.into(), serve: "serve", launch: &["server", "launch"], build }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut pids = self.pids.lock().unwrap().clone();
        let graphs = std::fs::read_dir(self.data.join("graphs")).into_iter().flatten().flatten();
        for folder in std::iter::once(self.data.clone()).chain(graphs.map(|graph| graph.path())) {
            pids.extend(pid_of(&record(&folder)));
        }
        for pid in pids {
            // Only what is a daemon of this place.
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&words).contains(&*self.folder.path().to_string_lossy()) {
                kill(pid, "KILL");
            }
        }
    }
}

pub(crate) fn record(folder: &Path) -> Value {
    let bytes = std::fs::read(folder.join("daemon.json")).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn pid_of(record: &Value) -> Option<u32> {
    u32::try_from(record["pid"].as_u64()?).ok()
}

/// Waits for a daemon's ready line.
#[track_caller]
pub(crate) fn ready(child: &mut Child) {
    use std::io::BufRead as _;
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.as_mut().unwrap());
    output.read_line(&mut line).unwrap();
    assert!(line.starts_with("ready: "), "{line:?}");
}

/// Sends a signal by its name.
pub(crate) fn kill(pid: u32, signal: &str) {
    let _ = Command::new("kill").args(["-s", signal, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Whether a process runs, zombies not counted.
pub(crate) fn runs(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The letter of a process's state.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Waits for a process's end.
#[track_caller]
pub(crate) fn ended(pid: u32) {
    if let Some(handle) = Handle::open(pid).unwrap() {
        assert_eq!(handle.wait(SOON).unwrap(), Waited::Ended, "{pid} still runs");
    }
}

/// Waits for a child's end, and says its exit code.
#[track_caller]
pub(crate) fn exited(child: &mut Child) -> Option<i32> {
    ended(child.id());
    child.wait().unwrap().code()
}

/// Waits for something that nothing tells.
#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a process to be frozen, or not to be any more.
pub(crate) fn freeze(pid: u32) {
    kill(pid, "STOP");
    until("frozen", || state(pid) == Some('T'));
}

/// Writes a row: the status, or `None` without an answer.
pub(crate) fn write(address: SocketAddr, text: &str) -> Option<u16> {
    let answer = endpoint::request(&Endpoint::Loopback(address), "POST", "/rows", None, text.as_bytes(), SOON);
    answer.ok().map(|answer| answer.status)
}

/// Asks one of the daemon's own routes.
pub(crate) fn own(place: &Place, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
    let endpoint = Endpoint::read(place.record()["endpoint"].as_str().unwrap()).unwrap();
    let answer = endpoint::request(&endpoint, method, path, token, body.as_bytes(), SOON).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

pub(crate) fn token(place: &Place) -> String {
    std::fs::read_to_string(place.data().join("daemon.token")).unwrap()
}

/// The rows of a database, which has to be whole.
pub(crate) fn rows(folder: &Path) -> BTreeSet<String> {
    let database = rusqlite::Connection::open(folder.join("rows.sqlite")).unwrap();
    let check: String = database.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let mut statement = database.prepare("select text from rows").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Runs a verb under `strace`, which has one of its system calls fail.
pub(crate) fn injected(place: &Place, program: &str, words: &str, fault: &str, variables: &[(&str, &str)]) -> Ran {
    let mut command = place.command("strace");
    // The faults are the tool's alone, not its daemon's.
    command.args(["-qqq", "-o", "/dev/null", "-e", &format!("inject={fault}"), program, "server"]);
    command.args(words.split_whitespace()).arg("--data-dir").arg(place.data()).arg("--json");
    command.envs(variables.iter().copied());
    place.run(command)
}
