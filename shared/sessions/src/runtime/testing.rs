//! A world for tests: servers that answer by a script, a clock that moves only when nothing else can, and a log of all calls.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use http::StatusCode;
use serde_json::Value;
use uuid::Uuid;
use web::{Call, CallError, Event, Failure, Fetch, Host, Incoming, Reply, Trace, Undone};

use super::{Progress, Runtime, RuntimeError, Wish};
use crate::command::VersionChannel;
use crate::event::Draft;
use crate::legacy::ApiSetting;
use crate::settings::{E2bApi, RuntimeSettings};
use crate::task::{Task, TaskSecrets};

/// A piece of a scripted body.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The same bytes again and again, for ever.
    Endless(Vec<u8>),
    /// Nothing for so many milliseconds.
    Pause(u32),
    /// Nothing any more, and no end.
    Silence,
    /// The connection breaks off.
    Break,
}

/// What a scripted server does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Answers.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<Piece> },
    /// Fails.
    Fail(CallError),
    /// Never answers.
    Hang,
}

impl Script {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        Self::text(status, "application/json", value.to_string())
    }

    pub(crate) fn text(status: u16, kind: &str, text: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", kind.to_owned())];
        Self::Answer { status, headers, body: vec![Piece::Bytes(text.into())] }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A stream of pieces of that type.
    pub(crate) fn stream(kind: &str, body: Vec<Piece>) -> Self {
        Self::Answer { status: 200, headers: vec![("content-type", kind.to_owned())], body }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Server = Box<dyn FnMut(&Call) -> Script>;

/// Scripted servers.
#[derive(Clone)]
pub(crate) struct World {
    /// Its clock.
    pub(crate) clock: Clock,
    server: Rc<RefCell<Server>>,
    calls: Rc<RefCell<Vec<Call>>>,
    /// After so many calls the process "dies": the one after them never returns.
    left: Rc<Cell<Option<usize>>>,
    dies_after_effect: Rc<Cell<bool>>,
}

impl World {
    pub(crate) fn new(server: impl FnMut(&Call) -> Script + 'static) -> Self {
        Self {
            clock: Clock::default(),
            server: Rc::new(RefCell::new(Box::new(server))),
            calls: Rc::default(),
            left: Rc::default(),
            dies_after_effect: Rc::default(),
        }
    }

    /// The process dies in the call after `calls` ones, before or after the server has got it.
    pub(crate) fn dying(self, calls: usize, after_effect: bool) -> Self {
        self.left.set(Some(calls));
        self.dies_after_effect.set(after_effect);
        self
    }

    /// What was called, as `METHOD url`.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.calls.borrow().iter().map(|call| format!("{} {}", call.method, call.url)).collect()
    }

    /// The calls.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.borrow().clone()
    }

    /// Forgets the calls so far.
    pub(crate) fn forget(&self) {
        self.calls.borrow_mut().clear();
    }

    /// The script of the server from now on.
    pub(crate) fn serve(&self, server: impl FnMut(&Call) -> Script + 'static) {
        *self.server.borrow_mut() = Box::new(server);
    }
}

impl Fetch for World {
    type Body = Pieces;

    async fn fetch(&self, call: Call) -> Result<Reply<Pieces>, CallError> {
        let dies = self.left.get() == Some(0);
        if let Some(left) = self.left.get() {
            self.left.set(Some(left.saturating_sub(1)));
        }
        if dies && !self.dies_after_effect.get() {
            std::future::pending::<()>().await;
        }
        self.calls.borrow_mut().push(call.clone());
        let script = (self.server.borrow_mut())(&call);
        if dies {
            std::future::pending::<()>().await;
        }
        match script {
            Script::Fail(error) => Err(error),
            Script::Hang => {
                match call.limit_ms {
                    Some(ms) => self.clock.sleep_ms(ms).await,
                    None => std::future::pending().await,
                }
                Err(CallError::TimedOut)
            }
            Script::Answer { status, headers, body } => {
                let headers = headers.into_iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                let status = StatusCode::from_u16(status).unwrap();
                Ok(Reply { status, headers: headers.collect(), body: Pieces(body.into(), self.clock.clone()) })
            }
        }
    }
}

/// A scripted body.
pub(crate) struct Pieces(VecDeque<Piece>, Clock);

impl Incoming for Pieces {
    async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        while let Some(Piece::Pause(ms)) = self.0.front() {
            let ms = *ms;
            self.0.pop_front();
            self.1.sleep_ms(ms).await;
        }
        match self.0.pop_front() {
            None | Some(Piece::Pause(_)) => Ok(None),
            Some(Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Piece::Endless(bytes)) => {
                self.0.push_front(Piece::Endless(bytes.clone()));
                Ok(Some(bytes))
            }
            Some(Piece::Silence) => std::future::pending().await,
            Some(Piece::Break) => Err(Failure("Network connection lost.".to_owned())),
        }
    }
}

/// A clock of its own.
#[derive(Clone, Default)]
pub(crate) struct Clock(Rc<ClockState>);

#[derive(Default)]
struct ClockState {
    now: Cell<i64>,
    ids: Cell<u128>,
    sleepers: RefCell<Vec<i64>>,
    reports: RefCell<Vec<&'static str>>,
}

impl Clock {
    /// Milliseconds since the beginning.
    pub(crate) fn elapsed(&self) -> i64 {
        self.0.now.get()
    }

    /// Names of the events that an operator hears of.
    pub(crate) fn reports(&self) -> Vec<&'static str> {
        self.0.reports.borrow().clone()
    }

    /// Runs a future. Time passes only while everything waits.
    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.try_run(future).expect("waits for ever")
    }

    /// Runs a future, or gives it up when it waits for something that never comes.
    pub(crate) fn try_run<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        loop {
            self.0.sleepers.borrow_mut().clear();
            if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Some(done);
            }
            if woken.0.swap(false, Ordering::Relaxed) {
                continue;
            }
            let earliest = self.0.sleepers.borrow().iter().min().copied()?;
            self.0.now.set(earliest.max(self.0.now.get()));
        }
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Sleep {
    clock: Rc<ClockState>,
    until: i64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.clock.now.get() >= self.until {
            return Poll::Ready(());
        }
        self.clock.sleepers.borrow_mut().push(self.until);
        Poll::Pending
    }
}

impl Host for Clock {
    fn now_ms(&self) -> i64 {
        self.0.now.get()
    }

    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()> + 'static {
        Sleep { clock: Rc::clone(&self.0), until: self.0.now.get() + i64::from(ms) }
    }

    fn wait_until(&self, _: impl Future<Output = Result<(), Undone>> + 'static) {}

    fn random_uuid(&self) -> Uuid {
        self.0.ids.set(self.0.ids.get() + 1);
        Uuid::from_u128(self.0.ids.get())
    }

    fn report(&self, event: &Event<'_>) {
        self.0.reports.borrow_mut().push(event.event);
    }

    fn trace(&self, _: &Trace<'_>) {}
}

/// A progress that is written down.
#[derive(Default)]
pub(crate) struct Told {
    /// What happened, in order.
    pub(crate) lines: Vec<String>,
    /// No sandbox may be written down from now on.
    pub(crate) full: bool,
}

impl Progress for Told {
    async fn creating(&mut self) -> Result<String, RuntimeError> {
        self.lines.push("creating".to_owned());
        Ok("intent-1".to_owned())
    }

    async fn created(&mut self, intent_id: &str, sandbox_id: &str) -> Result<(), RuntimeError> {
        self.lines.push(format!("created {intent_id} {sandbox_id}"));
        if self.full { Err(RuntimeError::Failed("disk full".to_owned())) } else { Ok(()) }
    }

    async fn undone(&mut self, intent_id: &str) {
        self.lines.push(format!("undone {intent_id}"));
    }

    async fn event(&mut self, draft: Draft) {
        self.lines.push(format!("event {}", draft.kind.as_str()));
    }

    async fn has_tree(&mut self, _: &Runtime) {
        self.lines.push("tree".to_owned());
    }

    async fn step(&mut self, _: &'static str, _: i64) {}
}

/// Settings of a deployment of which only the key of E2B and the token of agents are set.
pub(crate) fn settings() -> RuntimeSettings {
    RuntimeSettings {
        provider: None,
        environment: None,
        sandbox_ttl_days: 30,
        e2b_api_key: Some("e2b-key".to_owned()),
        e2b_domain: "e2b.test".to_owned(),
        e2b_api: E2bApi::V1,
        e2b_template: None,
        e2b_clone_command: None,
        e2b_agent_port: 2468,
        e2b_timeout_ms: 1_800_000,
        e2b_health_retries: 3,
        e2b_health_interval_ms: 300,
        agent_token: Some("agent-token".to_owned()),
        agent_version: VersionChannel::parse("0.3.x").unwrap(),
        agent_url: "http://127.0.0.1:2468".to_owned(),
        agent_api: ApiSetting::Auto,
        runner_ttl_ms: 60_000,
        runner_mailbox: true,
        runner_fallback_e2b: false,
        egress: None,
        runner_allow_private: false,
        model_variables: Vec::new(),
    }
}

/// A task for a repository.
pub(crate) fn task(repo_url: &str) -> Task {
    Task(serde_json::json!({
        "id": "s 1",
        "project": {"repo-url": repo_url, "graph-id": "graph-1"},
        "agent": {"provider": "claude", "env": {"A": "it's", "N=": "left out by bash"}},
    }))
}

/// A wish for that task.
pub(crate) fn wish<'a>(task: &'a Task, secrets: &'a TaskSecrets) -> Wish<'a> {
    Wish {
        session_id: "s 1",
        user_id: "u1",
        task,
        secrets,
        branch: None,
        github_token: None,
        broker: None,
        service_url: None,
        resume: None,
        tools: None,
        is_rebuilt: false,
        snapshot_id: None,
        runner: None,
        first_rpc_id: 1,
        now: 1_000,
    }
}
