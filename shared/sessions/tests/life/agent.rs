//! An agent on its server, and a provider over it. Both live on when the object dies.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Poll, Waker};

use serde_json::{Value, json};
use sessions::command;
use sessions::legacy::{Dialect, request::Call};
use sessions::publish::PushReport;
use sessions::runtime::{
    BuildState, Building, Made, Progress, Prompt, Provider, ProviderKind, PushError, Runtime, RuntimeError,
    RuntimeSecrets, Sent, Snapshot, Stopped, Wish,
};
use web::{Failure, Incoming};

/// An agent on its server. It lives on when the object dies.
#[derive(Default)]
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
    pub(crate) heeds_cancel: bool,
    pub(crate) permission_answers: Vec<Value>,
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
}

impl Agent {
    pub(crate) fn say(&mut self, frame: &Value) {
        let id = self.frames.len() + 1;
        self.frames.push(format!("id: {id}\ndata: {frame}\n\n"));
        self.readers.drain(..).for_each(Waker::wake);
    }

    fn session(&self) -> String {
        format!("r{}", self.sessions)
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

/// A provider over the agent.
pub(crate) struct Runtimes {
    pub(crate) agent: Rc<RefCell<Agent>>,
    pub(crate) kind: ProviderKind,
}

impl Runtimes {
    fn begin_anew(&self) -> String {
        let mut agent = self.agent.borrow_mut();
        agent.epoch += 1;
        agent.sessions += 1;
        agent.frames.clear();
        agent.working.clear();
        agent.readers.drain(..).for_each(Waker::wake);
        agent.session()
    }
}

impl Provider for Runtimes {
    type Stream = Frames;

    async fn provision(&self, _: &Wish<'_>, progress: &mut impl Progress) -> Result<Made, RuntimeError> {
        let fate = std::mem::take(&mut self.agent.borrow_mut().next_provision);
        progress.step("create", 60_000).await;
        match fate {
            Fate::Well => {}
            Fate::Never => std::future::pending().await,
            _ => return Err(RuntimeError::Failed("no".into())),
        }
        let session_id = self.begin_anew();
        let is_sandbox = self.kind == ProviderKind::E2b;
        Ok(Made::Ready(Box::new(Runtime {
            provider: self.kind,
            base_url: "https://agent.test".into(),
            server_id: "s".into(),
            session_id,
            dialect: Dialect::Acp,
            directory: "/home/user/workspace".into(),
            runner_id: None,
            sandbox_id: is_sandbox.then(|| "box".to_owned()),
            sandbox_domain: None,
            sandbox_port: None,
            template: None,
            snapshot_id: None,
            agent_sid: None,
            github_token_at: None,
            server_ended: false,
            agent_exited: false,
            can_load: true,
            secrets: RuntimeSecrets { agent_token: Some("agent-token-secret".into()), ..RuntimeSecrets::default() },
        })))
    }

    async fn build_state(&self, _: &Building) -> Result<BuildState, RuntimeError> {
        Ok(BuildState::Ready)
    }

    async fn wake(&self, _: &mut Runtime, _: &Wish<'_>) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn refresh(&self, runtime: &mut Runtime, _: &Wish<'_>) -> Result<(), RuntimeError> {
        runtime.session_id = self.begin_anew();
        Ok(())
    }

    async fn open_stream(&self, _: &Runtime, last: Option<&str>) -> Result<Frames, RuntimeError> {
        let at = last.and_then(|last| last.parse().ok()).unwrap_or_default();
        let epoch = self.agent.borrow().epoch;
        Ok(Frames { agent: Rc::clone(&self.agent), at, epoch })
    }

    async fn prompt(&self, _: &Runtime, prompt: &Prompt<'_>, _: u32) -> Sent<Frames> {
        let fate = std::mem::take(&mut self.agent.borrow_mut().next_prompt);
        if fate == Fate::NotReached {
            return Sent::NotReached(RuntimeError::NotReached("404".into()));
        }
        if fate == Fate::Missing {
            return Sent::Failed(RuntimeError::SandboxMissing("gone".into()));
        }
        {
            let mut agent = self.agent.borrow_mut();
            *agent.prompts.entry(prompt.text.to_owned()).or_default() += 1;
            agent.working.push((prompt.rpc_id, prompt.text.to_owned()));
        }
        match fate {
            Fate::Broken => Sent::Failed(RuntimeError::Failed("connection lost".into())),
            Fate::Never => std::future::pending().await,
            _ => Sent::Running,
        }
    }

    async fn tell(&self, _: &Runtime, envelope: &Value) -> Result<(), RuntimeError> {
        let mut agent = self.agent.borrow_mut();
        if envelope["method"] == "session/cancel" {
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
        self.agent.borrow_mut().working.clear();
        Stopped::Killed
    }

    async fn end(&self, _: &Runtime) -> Result<(), RuntimeError> {
        self.agent.borrow_mut().working.clear();
        Ok(())
    }

    async fn destroy(&self, _: &str) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn extend(&self, _: &Runtime) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn snapshot(&self, _: &mut Runtime, _: &Wish<'_>) -> Result<Snapshot, RuntimeError> {
        Ok(Snapshot { snapshot_id: "snap".into() })
    }

    async fn push(
        &self,
        _: &mut Runtime,
        _: &Wish<'_>,
        _: &command::Push<'_>,
    ) -> Result<Option<PushReport>, PushError> {
        Ok(None)
    }
}
