//! A machine with an agents worker, a sandbox-agent and programs on the path.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use logseq_runner::children::Children;

mod server;

pub(crate) use server::Server;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) worker: Server,
    pub(crate) agent: Server,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bin")).unwrap();
        let worker = Server::start(|_| "{\"runners\":[]}".to_owned());
        let agent = Server::start(|_| "{\"servers\":[{},{}]}".to_owned());
        agent.answers("/v1", 503);
        Self { folder, worker, agent }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program on the path.
    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// A sandbox-agent that notes its words, and has started a process of its own. It answers once it has done so.
    pub(crate) fn agent_script(&self) -> String {
        let ready = self.agent.file_of_200();
        format!("echo \"$*\" > \"$0.words\"; sleep 600 & echo up > {}; wait", ready.display())
    }

    /// The words that a program was started with.
    pub(crate) fn started(&self, name: &str) -> String {
        std::fs::read_to_string(self.path("bin").join(format!("{name}.words"))).unwrap().trim().to_owned()
    }

    pub(crate) fn pid_of(&self, name: &str) -> u32 {
        std::fs::read_to_string(self.path("bin").join(format!("{name}.pid"))).unwrap().trim().parse().unwrap()
    }

    /// From now on the sandbox-agent answers, as one that ran before.
    pub(crate) fn agent_runs(&self) {
        std::fs::write(self.agent.file_of_200(), "up").unwrap();
    }

    /// And now it does not.
    pub(crate) fn agent_is_gone(&self) {
        std::fs::remove_file(self.agent.file_of_200()).unwrap();
    }

    fn command(&self) -> Command {
        self.started_as(Path::new(env!("CARGO_BIN_EXE_logseq-runner")))
    }

    /// A script of the repository, as whoever follows upstream's README calls it.
    pub(crate) fn as_upstream(&self, script: &str) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts");
        let mut command = self.started_as(&scripts.join(script));
        command.env("LOGSEQ_RUNNER", env!("CARGO_BIN_EXE_logseq-runner"));
        command
    }

    fn started_as(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env("HOME", self.folder.path())
            .env("BASE_URL", format!("http://127.0.0.1:{}", self.worker.port))
            .env("TOKEN", "test-token")
            .env("RUNNER_ID", "r 1")
            .env("RUNNER_TRANSPORT", "tunnel")
            .env("HEARTBEAT_INTERVAL_SEC", "1")
            .env("RUNNER_STATE_DIR", self.path("state"))
            .env("SANDBOX_AGENT_URL", format!("http://127.0.0.1:{}", self.agent.port))
            .stdin(Stdio::null());
        command
    }

    /// A runner with these variables besides.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Runner {
        let log = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        let mut command = self.command();
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(log.reopen().unwrap());
        Runner { child: command.spawn().unwrap(), log }
    }

    /// The exit code of a verb that ends by itself, and all that it prints.
    pub(crate) fn run(&self, words: &[&str]) -> (i32, String) {
        let output = self.command().args(words).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    }

    fn children(&self) -> Children {
        let text = std::fs::read_to_string(self.path("state/instance.json")).unwrap();
        let instance: serde_json::Value = serde_json::from_str(&text).unwrap();
        Children::of(instance["instance-id"].as_str().unwrap())
    }

    /// How many processes there are that this machine's runner has started.
    pub(crate) fn marked(&self) -> usize {
        self.children().found().unwrap().len()
    }

    pub(crate) fn end_marked(&self) {
        self.children().end_all().unwrap();
    }
}

/// A runner that was started.
pub(crate) struct Runner {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Runner {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The one line that it prints.
    pub(crate) fn line(&mut self) -> String {
        use std::io::BufRead as _;
        let mut line = String::new();
        std::io::BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "it ended: {}", self.log());
        line.trim_end().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    pub(crate) fn await_log(&self, text: &str) {
        await_that(text, || self.log().contains(text));
    }

    /// Waits for its end, and gives the exit code.
    pub(crate) fn ended(&mut self) -> i32 {
        let mut code = None;
        await_that("the runner ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code().unwrap()
    }

    pub(crate) fn stop(&mut self) -> i32 {
        signal(self.pid(), "-TERM");
        self.ended()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Polls until the answer is yes.
pub(crate) fn await_that(what: &str, mut yes: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !yes() {
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
