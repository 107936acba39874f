//! A machine with a runner.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use super::plane::{PATIENCE, Plane};

/// The shim, beside the runner. It is built where nobody has done so yet.
pub(crate) fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let runner = Path::new(env!("CARGO_BIN_EXE_logseq-runner"));
        let shim = runner.with_file_name("agent-shim");
        if !shim.exists() {
            let target = runner.ancestors().nth(2).unwrap();
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--locked", "-p", "agent-shim", "--target-dir"]).arg(target);
            assert!(build.status().unwrap().success());
        }
        shim
    })
}

pub(crate) struct Machine {
    folder: tempfile::TempDir,
    pub(crate) plane: Plane,
    pub(crate) driver: &'static str,
}

impl Machine {
    pub(crate) fn new(driver: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/agents/agent.mjs").canonicalize().unwrap();
        let node =
            String::from_utf8(Command::new("sh").args(["-c", "command -v node"]).output().unwrap().stdout).unwrap();
        // Within a wall it has no place for a log of its own.
        let env =
            if driver == "plain" { "[\"AGENT_KEEPS\", \"AGENT_LOG\", \"AGENT_TOOLS\"]" } else { "[\"AGENT_KEEPS\"]" };
        let config = format!(
            "[agents.claude]\ncommand = {:?}\nargs = [{:?}]\nenv = {env}\nbinds = [{:?}]\n",
            node.trim(),
            agent.to_str().unwrap(),
            agent.parent().unwrap().to_str().unwrap(),
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        Self { folder, plane: Plane::new(), driver }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The folder of a session.
    pub(crate) fn session(&self, id: &str) -> mailbox::Places {
        mailbox::Places::of(&self.state().canonicalize().unwrap(), id)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logseq-runner"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("BASE_URL", format!("http://127.0.0.1:{}", self.plane.port))
            .env("TOKEN", "test-token")
            .env("RUNNER_ID", "workstation")
            .env("RUNNER_TRANSPORT", "mailbox")
            .env("RUNNER_DRIVER", self.driver)
            .env("RUNNER_SHIM", shim())
            .env("RUNNER_STATE_DIR", self.state())
            .env("RUNNER_CONFIG", self.folder.path().join("config.toml"))
            .env("AGENT_KEEPS", "1")
            .env("AGENT_LOG", self.folder.path().join("log/agent.log"))
            .stdin(Stdio::null());
        command
    }

    /// A runner that attached.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Runner {
        let mut runner = self.begin(variables);
        runner.line();
        runner
    }

    /// A runner that attached, and whose state lies on a disk of its own, with some MiB beside the shim. Nobody else sees that disk but through the runner.
    pub(crate) fn start_on_small_disk(&self) -> Runner {
        let mib = (std::fs::metadata(shim()).unwrap().len() >> 20) + 24;
        std::fs::create_dir_all(self.state()).unwrap();
        let mut command = self.command();
        let runner = std::mem::replace(&mut command, Command::new("unshare"));
        let mount = format!("mount -t tmpfs -o size={mib}m,mode=700 none \"$RUNNER_STATE_DIR\" && exec \"$0\"");
        command.args(["-Urm", "sh", "-c", &mount]).arg(runner.get_program()).env_clear().stdin(Stdio::null());
        command.envs(runner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut runner = self.spawn(command);
        runner.line();
        runner
    }

    /// A runner that was started.
    pub(crate) fn begin(&self, variables: &[(&str, &str)]) -> Runner {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Runner {
        let log = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        command.stdout(Stdio::piped()).stderr(log.reopen().unwrap());
        Runner { child: command.spawn().unwrap(), log }
    }

    /// The exit code of a verb that ends by itself, and all that it prints.
    pub(crate) fn verb(&self, words: &[&str]) -> (i32, String) {
        let output = self.command().args(words).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), text)
    }

    /// Lines of the agent's own log that hold a text.
    pub(crate) fn noted(&self, text: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log/agent.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }

    /// Nothing is here any more of any session, as if it were another machine.
    pub(crate) fn lose(&self) {
        self.remove_groups();
        std::fs::remove_dir_all(self.state()).unwrap();
    }

    /// Removes what is left of sessions' control groups, whose processes no runner ended.
    fn remove_groups(&self) {
        for folder in std::fs::read_dir(self.state().join("sessions")).into_iter().flatten().flatten() {
            let text = std::fs::read(folder.path().join("spawn.json")).unwrap_or_default();
            let spawn: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            let Some(group) = spawn["group"].as_str().map(Path::new) else { continue };
            let _killed = std::fs::write(group.join("cgroup.kill"), "1");
            let deadline = Instant::now() + std::time::Duration::from_secs(5);
            while std::fs::remove_dir(group).is_err() && group.exists() && Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }

    /// Processes of this machine's sessions.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let state = self.state().to_str().unwrap().to_owned();
        let pids = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_one = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let program = line.split('\0').next().unwrap_or_default();
            (program.ends_with("agent-shim") || program.ends_with("bwrap")) && line.contains(&state)
        };
        pids.filter(is_one).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _stopped = self.verb(&["stop"]);
        for pid in self.processes() {
            let _gone = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        self.remove_groups();
    }
}

/// A runner.
pub(crate) struct Runner {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Runner {
    fn line(&mut self) {
        let mut line = String::new();
        std::io::BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "ready runner=workstation transport=mailbox", "{}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The state folder as this runner sees it.
    pub(crate) fn sees(&self, machine: &Machine) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.child.id(), machine.state().to_str().unwrap()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end. Its exit code.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[track_caller]
    pub(crate) fn stop(&mut self) {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        assert_eq!(self.ended(), Some(0), "{}", self.log());
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}
