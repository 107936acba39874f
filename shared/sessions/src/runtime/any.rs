//! Whichever provider a runtime has.

use std::rc::Rc;

use serde_json::Value;
use web::{Fetch, Host};

use super::agent_server::AgentStream;
use super::{
    BuildState, Building, E2bProvider, E2bTerminal, Made, OpenedTerminal, Progress, Prompt, Provider, ProviderKind,
    PushError, Ran, RunnerProvider, Runtime, RuntimeError, Sent, Snapshot, Stopped, TerminalOrder, TerminalSize, Wish,
};
use crate::command::{Command, Push};
use crate::legacy::request::Call;
use crate::publish::PushReport;
use crate::settings::RuntimeSettings;

/// One of the providers.
pub enum AnyProvider<F, H> {
    /// Sandboxes of E2B.
    E2b(E2bProvider<F, H>),
    /// Machines of users, and the operator's own agent server.
    Runner(RunnerProvider<F, H>),
}

impl<F: Fetch, H: Host> AnyProvider<F, H> {
    /// The provider of that kind.
    pub fn of(kind: ProviderKind, settings: Rc<RuntimeSettings>, fetch: F, host: H) -> Self {
        match kind {
            ProviderKind::E2b => Self::E2b(E2bProvider::new(settings, fetch, host)),
            ProviderKind::LocalRunner => Self::Runner(RunnerProvider::runners(settings, fetch, host)),
            ProviderKind::LocalDev => Self::Runner(RunnerProvider::dev(settings, fetch, host)),
        }
    }
}

/// Hands a call to the provider that there is.
macro_rules! of {
    ($self:ident, $provider:ident => $call:expr) => {
        match $self {
            Self::E2b($provider) => $call,
            Self::Runner($provider) => $call,
        }
    };
}

impl<F: Fetch, H: Host> Provider for AnyProvider<F, H> {
    type Stream = AgentStream<F::Body>;
    type Terminal = E2bTerminal<F::Body>;

    async fn provision(&self, wish: &Wish<'_>, progress: &mut impl Progress) -> Result<Made, RuntimeError> {
        of!(self, provider => provider.provision(wish, progress).await)
    }

    async fn build_state(&self, building: &Building) -> Result<BuildState, RuntimeError> {
        of!(self, provider => provider.build_state(building).await)
    }

    async fn resume(&self, runtime: &mut Runtime) -> Result<(), RuntimeError> {
        of!(self, provider => provider.resume(runtime).await)
    }

    async fn run(&self, runtime: &Runtime, command: &Command, output_bytes: usize) -> Result<Ran, RuntimeError> {
        of!(self, provider => provider.run(runtime, command, output_bytes).await)
    }

    async fn read_file(&self, runtime: &Runtime, path: &str, limit: usize) -> Result<Option<Vec<u8>>, RuntimeError> {
        of!(self, provider => provider.read_file(runtime, path, limit).await)
    }

    async fn write_file(&self, runtime: &Runtime, path: &str, bytes: &[u8]) -> Result<(), RuntimeError> {
        of!(self, provider => provider.write_file(runtime, path, bytes).await)
    }

    async fn wake(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        of!(self, provider => provider.wake(runtime, wish).await)
    }

    async fn refresh(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        of!(self, provider => provider.refresh(runtime, wish).await)
    }

    async fn open_stream(&self, runtime: &Runtime, last_event_id: Option<&str>) -> Result<Self::Stream, RuntimeError> {
        of!(self, provider => provider.open_stream(runtime, last_event_id).await)
    }

    async fn prompt(&self, runtime: &Runtime, prompt: &Prompt<'_>, post_limit_ms: u32) -> Sent<Self::Stream> {
        of!(self, provider => provider.prompt(runtime, prompt, post_limit_ms).await)
    }

    async fn tell(&self, runtime: &Runtime, envelope: &Value) -> Result<(), RuntimeError> {
        of!(self, provider => provider.tell(runtime, envelope).await)
    }

    async fn tell_legacy(&self, runtime: &Runtime, call: &Call) -> Result<(), RuntimeError> {
        of!(self, provider => provider.tell_legacy(runtime, call).await)
    }

    async fn kill_agent(&self, runtime: &mut Runtime) -> Stopped {
        of!(self, provider => provider.kill_agent(runtime).await)
    }

    async fn end(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        of!(self, provider => provider.end(runtime).await)
    }

    async fn destroy(&self, sandbox_id: &str) -> Result<(), RuntimeError> {
        of!(self, provider => provider.destroy(sandbox_id).await)
    }

    async fn extend(&self, runtime: &Runtime) -> Result<(), RuntimeError> {
        of!(self, provider => provider.extend(runtime).await)
    }

    async fn renew_broker(&self, runtime: &Runtime, wish: &Wish<'_>) -> Result<(), RuntimeError> {
        of!(self, provider => provider.renew_broker(runtime, wish).await)
    }

    async fn snapshot(&self, runtime: &mut Runtime, wish: &Wish<'_>) -> Result<Snapshot, RuntimeError> {
        of!(self, provider => provider.snapshot(runtime, wish).await)
    }

    async fn push(
        &self,
        runtime: &mut Runtime,
        wish: &Wish<'_>,
        push: &Push<'_>,
    ) -> Result<Option<PushReport>, PushError> {
        of!(self, provider => provider.push(runtime, wish, push).await)
    }

    async fn open_terminal(
        &self,
        runtime: &mut Runtime,
        size: TerminalSize,
    ) -> Result<OpenedTerminal<Self::Terminal>, RuntimeError> {
        of!(self, provider => provider.open_terminal(runtime, size).await)
    }

    async fn steer_terminal(&self, runtime: &Runtime, pid: u32, order: TerminalOrder<'_>) -> Result<(), RuntimeError> {
        of!(self, provider => provider.steer_terminal(runtime, pid, order).await)
    }
}
