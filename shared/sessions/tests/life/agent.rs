//! An agent on its server, and a provider over it. Both live on when the object dies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Poll, Waker};

use serde_json::{Value, json};
use sessions::command;
use sessions::legacy::{Dialect, request::Call};
use sessions::publish::{CommitId, FailureClass, PushReport};
use sessions::runtime::{
    BuildState, Building, Made, OpenedTerminal, Progress, Prompt, Provider, ProviderKind, PushError, Ran, Runtime,
    RuntimeError, RuntimeSecrets, Sent, Snapshot, Stopped, TerminalOrder, TerminalOutput, TerminalSaid, TerminalSize,
    ToolServer, Wish,
};
use web::{Failure, Incoming};

use crate::clock::Clock;

/// An agent on its server. It lives on when the object dies.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is something that may happen to it")]
pub(crate) struct Agent {
    /// Prompts by how often they came.
    pub(crate) prompts: BTreeMap<String, usize>,
    frames: Vec<String>,
    /// Prompts that are being worked on, by their numbers.
    pub(crate) working: Vec<(u64, String)>,
    readers: Vec<Waker>,
    epoch: u64,
    sessions: u64,
    /// What the next calls come to.
    pub(crate) next_prompt: Fate,
    pub(crate) next_provision: Fate,
    pub(crate) next_snapshot: Fate,
    pub(crate) next_destroy: Vec<Fate>,
    /// Sandboxes that were removed.
    pub(crate) destroyed: Vec<String>,
    /// Sandboxes that there are, and whether whoever had them made was told of them.
    pub(crate) alive: BTreeMap<String, bool>,
    made: usize,
    /// What its present session has cost, in quarters of a dollar.
    pub(crate) quarters: u32,
    pub(crate) heeds_cancel: bool,
    /// Whether it was asked to stop.
    pub(crate) is_asked_to_stop: bool,
    /// Whether its server was killed, and with it every connection.
    pub(crate) is_killed: bool,
    pub(crate) permission_answers: Vec<Value>,
    /// What was done with it, in order: `provision` with the snapshot that it began with, `stream`, `snapshot`, `end`, `destroy`.
    pub(crate) done: Vec<String>,
    /// Whether it can use tools behind HTTP, and what it was offered whenever a session of it was opened.
    pub(crate) takes_tools: bool,
    pub(crate) offered: Vec<Value>,
    /// What git in its sandbox was given to ask with, and at which time.
    pub(crate) brokered: Vec<(i64, String)>,
    /// Its terminals, by their processes: what each was told, and with which code it has ended.
    pub(crate) terminals: BTreeMap<u32, Told>,
    pub(crate) next_terminal: Fate,
    /// What was pushed: the branch, and whether by force. The commit is the number of the push.
    pub(crate) pushed: Vec<(String, bool)>,
    pub(crate) next_push: Fate,
    /// Its working tree.
    pub(crate) tree: crate::working_tree::WorkingTree,
    beats: u64,
    /// Whether it loads conversations. Then it keeps its own by itself: the control plane finds nothing of it.
    pub(crate) loads: bool,
    /// Conversations that it has loaded, each with the number of its run.
    pub(crate) loaded: Vec<(u64, transcripts::Bundle)>,
    /// The name of the conversation that it has loaded.
    name: Option<String>,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Well,
    NotReached,
    Broken,
    Missing,
    Never,
    /// A prompt's request stays open until the server is killed.
    Held,
    /// A prompt's request is refused without having reached the agent, once the agent was asked to stop.
    RefusedLate,
}

/// What a terminal was told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) typed: String,
    pub(crate) size: Option<TerminalSize>,
    pub(crate) ended: Option<i64>,
}

impl Agent {
    /// The process of a terminal ends.
    pub(crate) fn exit_terminal(&mut self, pid: u32, code: i64) {
        self.terminals.get_mut(&pid).unwrap().ended.get_or_insert(code);
        self.readers.drain(..).for_each(Waker::wake);
    }

    /// The sandbox gives a sign of life.
    pub(crate) fn beat(&mut self) {
        self.beats += 1;
        self.readers.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn say(&mut self, frame: &Value) {
        let id = self.frames.len() + 1;
        self.frames.push(format!("id: {id}\ndata: {frame}\n\n"));
        self.readers.drain(..).for_each(Waker::wake);
    }

    fn session(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("r{}", self.sessions))
    }

    pub(crate) fn speak(&mut self, text: &str) {
        let session = self.session();
        self.say(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": session, "update":
            {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}}}));
    }

    pub(crate) fn use_tool(&mut self) {
        let session = self.session();
        self.say(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": session, "update":
            {"sessionUpdate": "tool_call", "toolCallId": "t", "title": "Run"}}}));
    }

    /// It has used another quarter of a dollar.
    pub(crate) fn spend(&mut self) {
        self.quarters += 1;
        self.report(u64::from(self.quarters) * 1_000, f64::from(self.quarters) * 0.25);
    }

    /// Reports its use: tokens in its context, and what its session has cost.
    pub(crate) fn report(&mut self, tokens: u64, amount: f64) {
        let session = self.session();
        self.say(&json!({"jsonrpc": "2.0", "method": "session/update", "params": {"sessionId": session, "update":
            {"sessionUpdate": "usage_update", "used": tokens, "size": 200_000, "cost": {"amount": amount, "currency": "USD"}}}}));
    }

    pub(crate) fn finish(&mut self, reason: &str) {
        if self.working.is_empty() {
            return;
        }
        let (id, _) = self.working.remove(0);
        self.say(&json!({"jsonrpc": "2.0", "id": id, "result": {"stopReason": reason}}));
    }

    pub(crate) fn exit(&mut self) {
        self.working.clear();
        self.say(
            &json!({"jsonrpc": "2.0", "method": "_adapter/agent_exited", "params": {"success": false, "code": 1}}),
        );
    }

    pub(crate) fn ask(&mut self) {
        let session = self.session();
        self.say(&json!({"jsonrpc": "2.0", "id": "ask", "method": "session/request_permission", "params": {"sessionId": session,
            "toolCall": {"toolCallId": "t", "kind": "execute", "title": "Run"}, "options":
            [{"optionId": "y", "name": "Yes", "kind": "allow_once"}, {"optionId": "n", "name": "No", "kind": "reject_once"}]}}));
    }
}

/// The event stream of an agent.
pub(crate) struct Frames {
    agent: Rc<RefCell<Agent>>,
    at: usize,
    epoch: u64,
}

impl Incoming for Frames {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        std::future::poll_fn(|context| {
            let mut agent = self.agent.borrow_mut();
            if agent.is_killed {
                return Poll::Ready(Err(Failure("connection lost".into())));
            }
            if agent.epoch != self.epoch {
                return Poll::Ready(Ok(None));
            }
            if let Some(frame) = agent.frames.get(self.at) {
                self.at += 1;
                return Poll::Ready(Ok(Some(frame.clone().into_bytes())));
            }
            agent.readers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// A terminal that writes nothing.
pub(crate) struct Shell {
    agent: Rc<RefCell<Agent>>,
    pid: u32,
    beats: u64,
}

impl TerminalOutput for Shell {
    async fn next(&mut self) -> Result<TerminalSaid, RuntimeError> {
        std::future::poll_fn(|context| {
            let mut agent = self.agent.borrow_mut();
            if let Some(code) = agent.terminals.get(&self.pid).and_then(|told| told.ended) {
                return Poll::Ready(Ok(TerminalSaid::Exited(code)));
            }
            if std::mem::replace(&mut self.beats, agent.beats) != agent.beats {
                return Poll::Ready(Ok(TerminalSaid::Output(Vec::new())));
            }
            agent.readers.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// The commit of a push.
pub(crate) fn commit(number: usize) -> String {
    format!("{number:040x}")
}

/// A provider over the agent.
pub(crate) struct Runtimes {
    pub(crate) agent: Rc<RefCell<Agent>>,
    pub(crate) kind: ProviderKind,
    pub(crate) clock: Rc<Clock>,
}

impl Runtimes {
    fn did(&self, what: &str) {
        self.agent.borrow_mut().done.push(what.to_owned());
    }

    /// Waits until this holds of the agent.
    async fn until(&self, holds: impl Fn(&Agent) -> bool) {
        std::future::poll_fn(|context| {
            let mut agent = self.agent.borrow_mut();
            agent.readers.push(context.waker().clone());
            if holds(&agent) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Makes a sandbox, and writes down before and after that there is one.
    async fn make_sandbox(&self, progress: &mut impl Progress) -> Result<String, RuntimeError> {
        let intent = progress.creating().await?;
        self.clock.point().await;
        let sandbox = {
            let mut agent = self.agent.borrow_mut();
            agent.made += 1;
            let sandbox = format!("box{}", agent.made);
            agent.alive.insert(sandbox.clone(), false);
            sandbox
        };
        self.clock.point().await;
        self.agent.borrow_mut().alive.insert(sandbox.clone(), true);
        progress.created(&intent, &sandbox).await?;
        Ok(sandbox)
    }

    /// Git in the sandbox gets what it asks with.
    fn broker(&self, wish: &Wish<'_>, sandbox: Option<&str>) -> Option<i64> {
        let now = self.clock.now.get();
        let file = wish.broker?.file(sandbox?, now, "name".to_owned()).unwrap();
        self.agent.borrow_mut().brokered.push((now, file));
        Some(wish.now)
    }

    /// The agent is told of the tools, if it can use them. Whether it was.
    fn offer(&self, wish: &Wish<'_>) -> bool {
        let mut agent = self.agent.borrow_mut();
        let offered = wish.tools.filter(|_| agent.takes_tools).map(ToolServer::to_acp);
        agent.offered.extend(offered.clone());
        offered.is_some()
    }

    fn begin_anew(&self, wish: &Wish<'_>) -> String {
        let mut agent = self.agent.borrow_mut();
        let resume = wish.resume.filter(|_| agent.loads);
        agent.name = resume.map(|resume| resume.native_session_id.clone());
        agent.loaded.extend(resume.and_then(|resume| Some((resume.mark.run_seq, resume.bundle.clone()?))));
        agent.epoch += 1;
        agent.is_killed = false;
        agent.sessions += 1;
        agent.quarters = 0;
        agent.frames.clear();
        agent.working.clear();
        agent.readers.drain(..).for_each(Waker::wake);
        agent.session()
    }
}

impl Provider for Runtimes {
    type Stream = Frames;
    type Terminal = Shell;

    async fn provision(&self, wish: &Wish<'_>, progress: &mut impl Progress) -> Result<Made, RuntimeError> {
        let fate = std::mem::take(&mut self.agent.borrow_mut().next_provision);
        progress.step("create", 60_000).await;
        match fate {
            Fate::Well => {}
            Fate::Never => std::future::pending().await,
            _ => return Err(RuntimeError::Failed("no".into())),
        }
        self.did(&format!("provision {}", wish.snapshot_id.unwrap_or("empty")));
        let sandbox_id = if self.kind == ProviderKind::E2b { Some(self.make_sandbox(progress).await?) } else { None };
        self.clock.point().await;
        let session_id = self.begin_anew(wish);
        self.clock.point().await;
        let broker_at = self.broker(wish, sandbox_id.as_deref());
        let has_tools = self.offer(wish);
        let runtime = Runtime {
            provider: self.kind,
            base_url: "https://agent.test".into(),
            server_id: "s".into(),
            session_id,
            dialect: Dialect::Acp,
            directory: "/home/user/workspace".into(),
            runner_id: None,
            sandbox_id,
            transport: sessions::runtime::Transport::default(),
            sandbox_domain: None,
            sandbox_port: None,
            template: None,
            snapshot_id: None,
            agent_sid: None,
            github_token_at: None,
            broker_at,
            egress: Vec::new(),
            server_ended: false,
            agent_exited: false,
            // What is kept of the tree, and what of conversations, is looked at apart.
            can_load: self.agent.borrow().tree.number.is_none() && !self.agent.borrow().loads,
            has_tools,
            secrets: RuntimeSecrets { agent_token: Some("agent-token-secret".into()), ..RuntimeSecrets::default() },
        };
        if runtime.sandbox_id.is_some() {
            progress.has_tree(&runtime).await;
        }
        Ok(Made::Ready(Box::new(runtime)))
    }

    async fn build_state(&self, _: &Building) -> Result<BuildState, RuntimeError> {
        Ok(BuildState::Ready)
    }

    async fn resume(&self, _: &mut Runtime) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Answers by the agent's tree; without one there is no repository.
    async fn run(&self, _: &Runtime, command: &command::Command, _: usize) -> Result<Ran, RuntimeError> {
        let text = command.arguments().last().unwrap_or_default().to_owned();
        let fate = self.agent.borrow_mut().tree.fate(&text);
        match fate {
            Fate::Well => {}
            Fate::Never => std::future::pending().await,
            _ => return Err(RuntimeError::Unavailable("no".into())),
        }
        Ok(Ran { stdout: self.agent.borrow_mut().tree.said(&text), ..Ran::default() })
    }

    async fn read_file(&self, _: &Runtime, path: &str, limit: usize) -> Result<Option<Vec<u8>>, RuntimeError> {
        let read = self.agent.borrow().tree.files.get(path).cloned();
        assert!(read.as_ref().is_none_or(|bytes| bytes.len() <= limit));
        Ok(read)
    }

    async fn write_file(&self, _: &Runtime, path: &str, bytes: &[u8]) -> Result<(), RuntimeError> {
        self.agent.borrow_mut().tree.files.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    async fn wake(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        self.clock.point().await;
        runtime.broker_at = self.broker(wish, runtime.sandbox_id.as_deref());
        Ok(())
    }

    async fn renew_broker(&self, runtime: &Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        self.broker(wish, runtime.sandbox_id.as_deref());
        Ok(())
    }

    async fn refresh(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        runtime.session_id = self.begin_anew(wish);
        runtime.has_tools = self.offer(wish);
        self.clock.point().await;
        Ok(())
    }

    async fn open_stream(&self, _: &Runtime, last: Option<&str>) -> Result<Frames, RuntimeError> {
        self.did("stream");
        let at = last.and_then(|last| last.parse().ok()).unwrap_or_default();
        let epoch = self.agent.borrow().epoch;
        Ok(Frames { agent: Rc::clone(&self.agent), at, epoch })
    }

    async fn prompt(&self, runtime: &Runtime, prompt: &Prompt<'_>, _: u32) -> Sent<Frames> {
        self.clock.point().await;
        let fate = std::mem::take(&mut self.agent.borrow_mut().next_prompt);
        if fate == Fate::NotReached {
            return Sent::NotReached(RuntimeError::NotReached("404".into()));
        }
        if fate == Fate::Missing {
            if let Some(sandbox) = &runtime.sandbox_id {
                self.agent.borrow_mut().alive.remove(sandbox);
            }
            return Sent::Failed(RuntimeError::SandboxMissing("gone".into()));
        }
        if fate == Fate::RefusedLate {
            self.until(|agent| agent.is_asked_to_stop).await;
            return Sent::NotReached(RuntimeError::NotReached("404".into()));
        }
        {
            let mut agent = self.agent.borrow_mut();
            *agent.prompts.entry(prompt.text.to_owned()).or_default() += 1;
            agent.working.push((prompt.rpc_id, prompt.text.to_owned()));
        }
        self.clock.point().await;
        match fate {
            Fate::Broken => Sent::Failed(RuntimeError::Failed("connection lost".into())),
            Fate::Never => std::future::pending().await,
            Fate::Held => {
                self.until(|agent| agent.is_killed).await;
                Sent::Failed(RuntimeError::Failed("connection lost".into()))
            }
            _ => Sent::Running,
        }
    }

    async fn tell(&self, _: &Runtime, envelope: &Value) -> Result<(), RuntimeError> {
        self.clock.point().await;
        let mut agent = self.agent.borrow_mut();
        if envelope["method"] == "session/cancel" {
            agent.is_asked_to_stop = true;
            agent.readers.drain(..).for_each(Waker::wake);
            if agent.heeds_cancel {
                agent.finish("cancelled");
            }
        } else {
            agent.permission_answers.push(envelope.clone());
        }
        Ok(())
    }

    async fn tell_legacy(&self, _: &Runtime, _: &Call) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn kill_agent(&self, _: &mut Runtime) -> Stopped {
        {
            let mut agent = self.agent.borrow_mut();
            agent.working.clear();
            agent.is_killed = true;
            agent.readers.drain(..).for_each(Waker::wake);
        }
        self.clock.sleep(500).await;
        Stopped::Killed
    }

    async fn end(&self, _: &Runtime) -> Result<(), RuntimeError> {
        self.clock.point().await;
        self.did("end");
        self.agent.borrow_mut().working.clear();
        Ok(())
    }

    async fn destroy(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        self.clock.point().await;
        self.did("destroy");
        let fate = {
            let mut agent = self.agent.borrow_mut();
            if agent.next_destroy.is_empty() { Fate::Well } else { agent.next_destroy.remove(0) }
        };
        match fate {
            Fate::Well => {}
            Fate::Never => std::future::pending().await,
            _ => return Err(RuntimeError::Failed("no".into())),
        }
        {
            let mut agent = self.agent.borrow_mut();
            agent.destroyed.push(sandbox_id.to_owned());
            agent.alive.remove(sandbox_id);
        }
        self.clock.point().await;
        Ok(())
    }

    async fn extend(&self, _: &Runtime) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn snapshot(&self, _: &mut Runtime, _: &Wish<'_>) -> Result<Snapshot, RuntimeError> {
        self.did("snapshot");
        let fate = std::mem::take(&mut self.agent.borrow_mut().next_snapshot);
        match fate {
            Fate::Never => std::future::pending().await,
            Fate::Well => Ok(Snapshot { snapshot_id: "snap".into() }),
            _ => Err(RuntimeError::Failed("no".into())),
        }
    }

    async fn open_terminal(
        &self,
        runtime: &mut Runtime,
        size: TerminalSize,
    ) -> Result<OpenedTerminal<Shell>, RuntimeError> {
        if self.kind != ProviderKind::E2b {
            return Err(RuntimeError::Unsupported("no terminals here"));
        }
        let fate = std::mem::take(&mut self.agent.borrow_mut().next_terminal);
        match fate {
            Fate::Well => {}
            Fate::Never => std::future::pending().await,
            _ => return Err(RuntimeError::SandboxMissing("envd-token-secret is gone".into())),
        }
        runtime.secrets.envd_token = Some("envd-token-secret".into());
        let mut agent = self.agent.borrow_mut();
        let pid = 100 + u32::try_from(agent.terminals.len()).unwrap();
        agent.terminals.insert(pid, Told { size: Some(size), ..Told::default() });
        Ok(OpenedTerminal { pid, output: Shell { agent: Rc::clone(&self.agent), pid, beats: 0 } })
    }

    async fn steer_terminal(&self, _: &Runtime, pid: u32, order: TerminalOrder<'_>) -> Result<(), RuntimeError> {
        let mut agent = self.agent.borrow_mut();
        let told = agent.terminals.get_mut(&pid).unwrap();
        match order {
            TerminalOrder::Input(bytes) => told.typed.push_str(std::str::from_utf8(bytes).unwrap()),
            TerminalOrder::Resize(size) => told.size = Some(size),
            TerminalOrder::Kill => agent.exit_terminal(pid, 137),
        }
        Ok(())
    }

    async fn push(
        &self,
        _: &mut Runtime,
        _: &Wish<'_>,
        push: &command::Push<'_>,
    ) -> Result<Option<PushReport>, PushError> {
        let fate = std::mem::take(&mut self.agent.borrow_mut().next_push);
        let is_new = {
            let mut agent = self.agent.borrow_mut();
            let head = push.head.as_str().to_owned();
            let is_new = agent.pushed.iter().all(|(branch, _)| *branch != head);
            agent.pushed.push((head, push.force.is_some()));
            is_new
        };
        self.clock.point().await;
        match fate {
            Fate::Well => {
                let commit = commit(self.agent.borrow().pushed.len());
                Ok(Some(PushReport { commit: CommitId::parse(&commit).unwrap(), is_new }))
            }
            Fate::Never => std::future::pending().await,
            _ => Err(PushError { class: FailureClass::RemoteRejected, text: "no".into() }),
        }
    }
}
