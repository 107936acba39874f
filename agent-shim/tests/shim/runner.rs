//! A runner for tests: the host's half of a mailbox, a shim, and a worker that is a list of events.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mailbox::config::{Agent, Config, Limits, Reopen, Transcript};
use mailbox::delivery::{Chain, Event, Relay, Sent, deliver};
use mailbox::host::{HostMailbox as _, Settings, Spawn, sweep};
use mailbox::message::{NewMessage, Output, RuntimeState};
use mailbox::sweep::{Change, Process, Rules};
use mailbox::{Error, FileHost};
use serde_json::{Value, json};

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_agent-shim");
/// Longer than anything takes that is not waited for on purpose.
pub(crate) const SOON: Duration = Duration::from_mins(2);

/// The worker of docs/spec/session-mailbox.md 7.6, as far as its order goes.
#[derive(Default)]
pub(crate) struct Worker {
    pub(crate) events: Vec<Event>,
}

/// An event in a request, as the runner sends it, is read by the worker's own readers.
fn read(event: &Event) {
    let data: Value = serde_json::from_str(&event.data).unwrap();
    let mut one = json!({"seq": event.seq, "prev": event.prev, "id": event.id, "ts": event.at, "generation": event.generation,
        "attempt": event.attempt, "kind": event.kind, "data": data});
    if let (Some(about), Some(members)) = (&event.in_reply_to, one.as_object_mut()) {
        members.insert("in-reply-to".to_owned(), json!(about));
    }
    let body = json!({"mailbox-id": "m", "lease": 1, "events": [one]}).to_string();
    assert!(sessions::request::mailbox::events(body.as_bytes()).is_ok(), "{event:?}");
    assert!(sessions::mailbox::desk::Said::read(&event.kind, data).is_ok(), "{event:?}");
}

impl Relay for Worker {
    fn send(&mut self, events: &[Event]) -> Sent {
        for event in events {
            read(event);
            let accepted = self.events.last().map_or(0, |last| last.seq);
            if event.seq > accepted {
                assert_eq!(event.prev, accepted, "a gap before {event:?}");
                self.events.push(event.clone());
            }
        }
        Sent::Accepted { seq: self.events.last().map_or(0, |last| last.seq), rejected: None }
    }
}

pub(crate) struct Runner {
    folder: tempfile::TempDir,
    pub(crate) host: FileHost,
    pub(crate) worker: Worker,
    chain: Chain,
    pub(crate) shim: Option<Child>,
    pub(crate) limits: Limits,
    pub(crate) load: bool,
    pub(crate) command: (String, Vec<String>),
    /// Whether the stand-in says that it can use tools behind HTTP, and notes which it is told of.
    pub(crate) takes_tools: bool,
    /// Whether git is helped.
    pub(crate) git_helper: bool,
    /// How the shim reads the host's file.
    pub(crate) reopen: Reopen,
    /// What the runner itself was asked.
    pub(crate) asked: Vec<Output>,
    /// `PATH` of the shim, where it is another one than this process's.
    pub(crate) path: Option<String>,
    work_seq: i64,
    pub(crate) changes: Vec<(String, Change)>,
}

pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

impl Runner {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = FileHost::create(folder.path(), "session", Settings::default(), now()).unwrap();
        let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/agents/agent.mjs");
        Self {
            folder,
            host,
            worker: Worker::default(),
            chain: Chain::default(),
            shim: None,
            limits: Limits {
                idle_exit_ms: 600_000,
                turn_limit_ms: 0,
                start_limit_ms: 120_000,
                orphan_limit_ms: 86_400_000,
                poll_ms: 200,
            },
            load: true,
            command: ("node".into(), vec![agent.to_str().unwrap().to_owned()]),
            takes_tools: false,
            git_helper: false,
            reopen: Reopen::Always,
            asked: Vec::new(),
            path: None,
            work_seq: 0,
            changes: Vec::new(),
        }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.host.places().home()
    }

    /// A script that the stand-in runs.
    pub(crate) fn script(&self, name: &str, text: &str) {
        std::fs::write(self.home().join(name), text).unwrap();
    }

    fn agent_log(&self) -> PathBuf {
        self.folder.path().join("agent.log")
    }

    /// What the stand-in noted: its prompts, cancellations and loads.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.agent_log()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn config(&self, generation: i64) -> Config {
        Config {
            v: 1,
            session_id: "session".into(),
            mailbox_id: self.host.mailbox_id().to_owned(),
            generation,
            lease: 1,
            agent: Agent {
                id: "claude".into(),
                command: self.command.0.clone(),
                args: self.command.1.clone(),
                env_names: ["AGENT_KEEPS", "AGENT_LOG", "AGENT_TOOLS", "ABSENT", "SANDBOX_AGENT_REQUIRE_PREINSTALL"]
                    .map(str::to_owned)
                    .into(),
                cwd: self.host.places().work().to_str().unwrap().into(),
                load: self.load,
                mode: None,
                declares_limits: BTreeMap::from([("execute".into(), "/timeout".into())]),
            },
            limits: self.limits,
            skills: vec![],
            git_helper: self.git_helper,
            reopen: self.reopen,
            transcript: Some(Transcript { globs: String::new(), max_bytes: 1 << 20, part_ms: 300 }),
        }
    }

    /// The command of a shim.
    pub(crate) fn shim_command(&self) -> Command {
        let places = self.host.places();
        let mut command = Command::new(SHIM);
        command.arg("run").arg("--in").arg(places.inside()).arg("--out").arg(places.outside());
        command.arg("--work").arg(places.work()).arg("--home").arg(places.home());
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("shim.log"));
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors.unwrap());
        command
    }

    pub(crate) fn shim_log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("shim.log")).unwrap_or_default()
    }

    /// Starts a shim of a new generation.
    pub(crate) fn spawn(&mut self) -> i64 {
        let generation = self.host.begin(&Spawn { lease: 1, ..Spawn::default() }, now()).unwrap();
        self.config(generation).store(self.host.inside()).unwrap();
        self.shim = Some(self.start());
        generation
    }

    pub(crate) fn start(&self) -> Child {
        let mut child = self.shim_command().spawn().unwrap();
        let mut env = json!({"AGENT_KEEPS": "1", "AGENT_LOG": self.agent_log(), "OTHER": "not for the agent",
            "SANDBOX_AGENT_REQUIRE_PREINSTALL": "1"});
        if self.takes_tools {
            env.as_object_mut().unwrap().insert("AGENT_TOOLS".to_owned(), json!("1"));
        }
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{}", json!({"v": 1, "env": env})).unwrap();
        child
    }

    /// Stores a prompt that the stand-in carries out.
    pub(crate) fn prompt(&mut self, id: &str, text: &str) {
        self.prompt_with(id, text, &[]);
    }

    /// The same, with further members.
    pub(crate) fn prompt_with(&mut self, id: &str, text: &str, more: &[(&str, Value)]) {
        self.work_seq += 1;
        let mut body = json!({"run": self.work_seq, "attempt": 1, "content": [{"type": "text", "text": text}]});
        let members = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        body.as_object_mut().unwrap().extend(members);
        self.insert(id, "prompt", &body, false);
    }

    pub(crate) fn insert(&mut self, id: &str, kind: &str, body: &Value, control: bool) {
        let message = NewMessage {
            id: id.into(),
            kind: kind.into(),
            content: body.to_string(),
            control,
            work_seq: Some(self.work_seq),
            ..NewMessage::default()
        };
        self.host.insert(&message, now()).unwrap();
    }

    pub(crate) fn work_seq(&self) -> i64 {
        self.work_seq
    }

    pub(crate) fn answer(&mut self, id: &str, request: &str, option: &str) {
        let outcome = json!({"outcome": "selected", "optionId": option});
        self.insert(id, "permission.answer", &json!({"request-id": request, "outcome": outcome}), true);
    }

    /// Looks once at everything: whether the shim lives, what it said, and what follows.
    pub(crate) fn step(&mut self) {
        let exited = self.shim.as_mut().is_some_and(|shim| shim.try_wait().unwrap().is_some());
        if exited {
            self.shim = None;
        }
        let process = if self.shim.is_none() { Process::Gone } else { Process::MayLive };
        match sweep(&mut self.host, process, Rules::default(), now(), &mut || 0) {
            Ok(changes) => self.changes.extend(changes.into_iter().map(|(message, change)| (message.id, change))),
            Err(error) if error.is_passing() && process == Process::Gone => self.recover(),
            Err(error) => assert!(error.is_passing(), "{error}"),
        }
        match deliver(&mut self.host, &mut self.worker, &mut self.chain, now()) {
            Ok(delivered) => {
                let is_new = |one: &Output| self.asked.iter().all(|known| known.id != one.id);
                let new: Vec<Output> = delivered.for_runner.into_iter().filter(is_new).collect();
                self.asked.extend(new);
            }
            Err(Error::HotJournal) if process == Process::Gone => self.recover(),
            Err(error) => assert!(error.is_passing(), "{error}"),
        }
    }

    fn recover(&self) {
        let done = Command::new(SHIM).args(["recover", "--out"]).arg(self.host.places().outside()).status().unwrap();
        assert!(done.success() || done.code() == Some(74), "{done}");
    }

    /// Steps until something is so.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            self.step();
            if is(self) {
                return;
            }
            let told: Vec<_> = self.worker.events.iter().map(|event| (&event.kind, &event.data)).collect();
            assert!(Instant::now() < deadline, "in vain: {what}\n{told:#?}\n{}", self.shim_log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Data of the events of a kind.
    pub(crate) fn told(&self, kind: &str) -> Vec<Value> {
        let of = self.worker.events.iter().filter(|event| event.kind == kind);
        of.map(|event| serde_json::from_str(&event.data).unwrap()).collect()
    }

    /// The end of a message, if it was told.
    pub(crate) fn ended(&self, id: &str) -> Option<Value> {
        self.told("turn.ended").into_iter().find(|ended| ended["message-id"] == id)
    }

    /// Steps until a message has ended, at the worker and here.
    #[track_caller]
    pub(crate) fn until_ended(&mut self, id: &str) -> Value {
        self.until(&format!("{id} has ended"), |runner| {
            runner.ended(id).is_some() && runner.changes.iter().any(|(one, change)| one == id && change.is_final())
        });
        self.ended(id).unwrap()
    }

    /// Steps until the worker was told something of a kind.
    #[track_caller]
    pub(crate) fn until_told(&mut self, kind: &str) -> Value {
        self.until(kind, |runner| !runner.told(kind).is_empty());
        self.told(kind).remove(0)
    }

    pub(crate) fn state(&self) -> Option<RuntimeState> {
        self.host.seen(&[]).ok().flatten().and_then(|seen| seen.state)
    }

    /// Everything that the agent said, as a text.
    pub(crate) fn said(&self) -> String {
        let updates = self.told("update");
        let texts =
            updates.iter().filter_map(|update| update.pointer("/envelope/params/update/content/text")?.as_str());
        texts.collect()
    }

    /// Waits for the shim's end. Its exit code.
    #[track_caller]
    pub(crate) fn exit(&mut self) -> Option<i32> {
        exit(&mut self.shim.take().unwrap())
    }
}

/// Waits for a process's end. Its exit code.
#[track_caller]
pub(crate) fn exit(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal by its name.
pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Whether a process runs; a zombie does not.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !matches!(rest.trim_start().chars().next(), Some('Z' | 'X')))
}

#[track_caller]
pub(crate) fn gone(pid: u32) {
    let deadline = Instant::now() + SOON;
    while runs(pid) {
        assert!(Instant::now() < deadline, "{pid} still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let Some(mut shim) = self.shim.take() {
            // It ends its agent; what was killed leaves it, and that one has no input any more.
            signal(shim.id(), "CONT");
            signal(shim.id(), "TERM");
            let _ = shim.wait();
        }
    }
}
