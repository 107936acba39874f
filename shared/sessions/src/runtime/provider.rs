//! What every provider of runtimes can do, or says that it cannot.

use serde_json::Value;
use web::Incoming;

use super::Runtime;
use crate::acp::request::ResourceLink;
use crate::command;
use crate::event::Draft;
use crate::publish::{FailureClass, PushReport};
use crate::task::{Task, TaskSecrets};

/// Why a runtime could not be used. The texts are for logs and events, after redaction; never for answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The sandbox does not exist any more (agents.md 3.8, "sandbox missing").
    #[error("sandbox missing: {0}")]
    SandboxMissing(String),
    /// The request did not reach the agent: it may be made again, once, in a new session of the agent.
    #[error("the agent was not reached: {0}")]
    NotReached(String),
    /// The runtime could not be woken or reached before anything was sent; nothing is tried again.
    #[error("the runtime is unavailable: {0}")]
    Unavailable(String),
    /// A runner that is off, or whose tunnel is (`runner-offline`).
    #[error("the runner is offline: {0}")]
    RunnerOffline(String),
    /// A runner that does not accept its token (`runner-auth-failed`).
    #[error("the runner refuses its token")]
    RunnerRefused,
    /// No answer in time; the other side may have got the request.
    #[error("no answer in time")]
    TimedOut,
    /// The conversation so far could not be brought to the agent (`hydrate_failed`).
    #[error("hydrate_failed: {0}")]
    NotHydrated(String),
    /// The other side says no, or something unreadable.
    #[error("{0}")]
    Failed(String),
    /// The provider does not do this. The text is answered.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A setting of the operator is missing or wrong; the name of what, such as `missing-e2b-api-key`.
    #[error("{0}")]
    Setting(&'static str),
    /// The project's Dockerfile cannot be used; why.
    #[error("the project's Dockerfile cannot be used: {0}")]
    Dockerfile(String),
}

impl RuntimeError {
    /// The `reason` of the `agent.runtime.error` that tells of it.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::SandboxMissing(_) => Some("sandbox-missing"),
            Self::RunnerOffline(_) => Some("runner-offline"),
            Self::RunnerRefused => Some("runner-auth-failed"),
            Self::TimedOut => Some("runner-timeout"),
            Self::NotHydrated(_) => Some("hydrate_failed"),
            Self::Setting(name) => Some(name),
            Self::NotReached(_)
            | Self::Unavailable(_)
            | Self::Failed(_)
            | Self::Unsupported(_)
            | Self::Dockerfile(_) => None,
        }
    }
}

/// What a runtime is wanted for.
#[derive(Clone, Copy)]
pub struct Wish<'a> {
    /// The session.
    pub session_id: &'a str,
    /// Who asked for it.
    pub user_id: &'a str,
    /// The task.
    pub task: &'a Task,
    /// The credentials that came with it.
    pub secrets: &'a TaskSecrets,
    /// The base branch, only when it was explicitly asked for.
    pub branch: Option<&'a str>,
    /// A token for the repository, if one could be had.
    pub github_token: Option<&'a str>,
    /// How git gets tokens by itself; then none is handed into the sandbox.
    pub broker: Option<&'a super::GitBroker>,
    /// The address of this service, as far as it is known.
    pub service_url: Option<&'a str>,
    /// The conversation that the agent is to go on with.
    pub resume: Option<&'a super::Resume>,
    /// What the agent is offered when its session is opened, if it can use it.
    pub tools: Option<&'a super::ToolServer>,
    /// Whether the project's template was just built again because it was gone: then it is not built a second time.
    pub is_rebuilt: bool,
    /// The snapshot to begin with; only one of the same owner is ever named.
    pub snapshot_id: Option<&'a str>,
    /// The runner that was chosen.
    pub runner: Option<&'a crate::registry::Runner>,
    /// Numbers for requests to the agent: this one and the next seven belong to the call.
    pub first_rpc_id: u64,
    /// Milliseconds since 1970.
    pub now: i64,
}

/// What is told, and written down, while a runtime is being made.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Progress {
    /// A sandbox is about to be made: writes that down (agents.md 6.7) and gives the intent's id. Nothing is made when it fails.
    async fn creating(&mut self) -> Result<String, RuntimeError>;

    /// A sandbox was made under the intent. It is written down before anything else is done with it.
    async fn created(&mut self, intent_id: &str, sandbox_id: &str) -> Result<(), RuntimeError>;

    /// The sandbox of the intent was not made, or is gone again.
    async fn undone(&mut self, intent_id: &str);

    /// Something that viewers are told.
    async fn event(&mut self, draft: Draft);

    /// The repository is there as it was cloned, or as a template or a snapshot held it: what the session had not pushed is brought back.
    /// It may take as long as its steps say. What fails is told and keeps nothing else from being done.
    async fn has_tree(&mut self, runtime: &Runtime);

    /// The lease of what is going on is made longer: a step begins that may take so many milliseconds (agents.md 3.14).
    async fn step(&mut self, name: &'static str, limit_ms: i64);
}

/// What came of making a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is there.
    Ready(Box<Runtime>),
    /// Its template is being built; it is made anew when that is done.
    Building(Building),
}

/// A template that is being built (agents.md 5.3.4).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Building {
    /// Its name.
    pub name: String,
    /// The provider's id of it.
    pub template_id: String,
    /// The provider's id of this build.
    pub build_id: String,
    /// Whether it was built before and was gone.
    #[serde(default)]
    pub again: bool,
}

/// How far a build is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildState {
    /// It goes on.
    Running,
    /// It is done.
    Ready,
    /// It failed; why.
    Failed(String),
}

/// A prompt on its way to an agent.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// Its number among the requests to the agent.
    pub rpc_id: u64,
    /// What it says.
    pub text: &'a str,
    /// What is attached to it.
    pub links: &'a [ResourceLink<'a>],
}

/// What became of a prompt.
pub enum Sent<S> {
    /// The agent has it; what it says comes on the event stream.
    Running,
    /// The agent has it, and what it says comes on this stream (older dialect).
    Streaming(S),
    /// The turn is over already; why it stopped.
    Ended(String),
    /// The agent did not get it (agents.md 3.8): it may be sent once more, in a new session of the agent.
    NotReached(RuntimeError),
    /// It failed, or nobody knows: it is not sent again.
    Failed(RuntimeError),
}

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The provider's id of it.
    pub snapshot_id: String,
}

/// How an agent was stopped that did not stop by itself (agents.md 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Every process that the agent server had started is gone.
    Killed,
    /// The sandbox is paused, and with it every process.
    Paused,
    /// The agent is gone; a tool of it may live on.
    AgentOnly,
    /// Nothing could be proved.
    Unproven,
}

/// Why a push failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PushError {
    /// The `reason` of `git.push.failed`.
    pub class: FailureClass,
    /// What git said, for events after redaction.
    pub text: String,
}

/// How large a terminal is, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct TerminalSize {
    /// Characters of a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}

/// A terminal that runs in a runtime (agents.md 5.3.8).
pub struct OpenedTerminal<O> {
    /// The number of its process, by which it is told what to do.
    pub pid: u32,
    /// What it writes. Dropping it closes the connection; the process lives on until it is killed.
    pub output: O,
}

/// What a terminal is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalOrder<'a> {
    /// To take this as typed.
    Input(&'a [u8]),
    /// To have another size.
    Resize(TerminalSize),
    /// To end at once. One that has ended already is no failure.
    Kill,
}

/// What comes of a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TerminalSaid {
    /// Bytes for whoever looks at it; none for a sign of life.
    Output(Vec<u8>),
    /// Its process has ended with this code.
    Exited(i64),
}

/// What a terminal writes.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait TerminalOutput {
    /// What comes next. After the process has ended, or a failure, nothing does.
    async fn next(&mut self) -> Result<TerminalSaid, RuntimeError>;
}

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// What it wrote; a beginning of it where that was too much.
    pub stdout: String,
    /// What it complained of, bounded in the same way.
    pub stderr: String,
    /// How it ended; 0 is well.
    pub exit_code: i64,
}

/// A provider of runtimes (agents.md 5.1). None of the calls is repeated by the provider after something was sent that may
/// have had an effect. What each may take at most is the lease of the caller.
#[expect(async_fn_in_trait, reason = "one of the two platforms has futures that cannot cross threads")]
pub trait Provider {
    /// What an agent says.
    type Stream: Incoming + 'static;
    /// What a terminal writes.
    type Terminal: TerminalOutput + 'static;

    /// Makes a runtime and opens a session of the agent in it. What was made is undone when a later step fails (B26).
    async fn provision(&self, wish: &Wish<'_>, progress: &mut impl Progress) -> Result<Made, RuntimeError>;

    /// How far the build of a template is.
    async fn build_state(&self, building: &Building) -> Result<BuildState, RuntimeError>;

    /// Resumes the sandbox of a runtime and leaves the agent's server alone; its tokens may be new. Where there is no sandbox, nothing
    /// is done.
    async fn resume(&self, runtime: &mut Runtime) -> Result<(), RuntimeError>;

    /// Runs a command of ours where the agent's files are, to its end. Of each of its outputs at most so many bytes are kept. A runtime
    /// that is paused is not resumed for it.
    async fn run(
        &self,
        runtime: &Runtime,
        command: &command::Command,
        output_bytes: usize,
    ) -> Result<Ran, RuntimeError>;

    /// Reads a file of at most so many bytes. None when there is no such file; links are followed.
    async fn read_file(&self, runtime: &Runtime, path: &str, limit: usize) -> Result<Option<Vec<u8>>, RuntimeError>;

    /// Writes a file; the folders above it come to be.
    async fn write_file(&self, runtime: &Runtime, path: &str, bytes: &[u8]) -> Result<(), RuntimeError>;

    /// Makes a bound runtime answer again: resumes its sandbox, starts the agent server where it does not answer. A
    /// server that was started anew knows no session any more: it refuses the next prompt, which then gets a new one.
    async fn wake(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError>;

    /// Opens a new session of the agent in a runtime that is awake.
    async fn refresh(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError>;

    /// Opens the stream of what the agent says, after the frame of that id.
    async fn open_stream(&self, runtime: &Runtime, last_event_id: Option<&str>) -> Result<Self::Stream, RuntimeError>;

    /// Sends a prompt to a runtime that is awake. `post_limit_ms` is how long the agent server's answer is waited for; its
    /// lapse means that the agent has the prompt (B59).
    async fn prompt(&self, runtime: &Runtime, prompt: &Prompt<'_>, post_limit_ms: u32) -> Sent<Self::Stream>;

    /// Sends a notification or an answer to the agent.
    async fn tell(&self, runtime: &Runtime, envelope: &Value) -> Result<(), RuntimeError>;

    /// Answers a permission request of the older dialect.
    async fn tell_legacy(&self, runtime: &Runtime, call: &crate::legacy::request::Call) -> Result<(), RuntimeError>;

    /// Kills an agent that did not heed `session/cancel`, with proof where there is one.
    async fn kill_agent(&self, runtime: &mut Runtime) -> Stopped;

    /// Ends the runtime so that it costs nothing: pauses the sandbox, or deletes the agent's server on a runner.
    async fn end(&self, runtime: &Runtime) -> Result<(), RuntimeError>;

    /// Removes the sandbox for good. One that is gone already is no failure.
    async fn destroy(&self, sandbox_id: &str) -> Result<(), RuntimeError>;

    /// Makes the sandbox live on for its whole time from now.
    async fn extend(&self, runtime: &Runtime) -> Result<(), RuntimeError>;

    /// Writes git's way to ask for tokens anew, where the sandbox has one (agents.md 20.6). A paused one is not woken.
    async fn renew_broker(&self, _: &Runtime, _: &Wish<'_>) -> Result<(), RuntimeError> {
        Ok(())
    }

    /// Takes a snapshot, without the credential files (B28).
    async fn snapshot(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<Snapshot, RuntimeError>;

    /// Pushes what stands in the repository's directory. None when git pushed and its output does not say what.
    async fn push(
        &self,
        runtime: &mut Runtime,
        wish: &Wish<'_>,
        push: &command::Push<'_>,
    ) -> Result<Option<PushReport>, PushError>;

    /// Opens a terminal, in a sandbox that is resumed for it; its tokens may be new. The agent's server is left alone: a
    /// terminal does not need it, and a prompt may be waking it at the same time.
    async fn open_terminal(
        &self,
        runtime: &mut Runtime,
        size: TerminalSize,
    ) -> Result<OpenedTerminal<Self::Terminal>, RuntimeError>;

    /// Tells the terminal with this process what to do.
    async fn steer_terminal(&self, runtime: &Runtime, pid: u32, order: TerminalOrder<'_>) -> Result<(), RuntimeError>;
}
