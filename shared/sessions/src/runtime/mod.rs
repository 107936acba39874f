//! Runtimes: where agents run (agents.md 5), behind one trait.

pub mod agent_server;
mod any;
mod broker;
mod e2b;
pub(crate) mod exchange;
mod provider;
mod record;
mod runner;
mod signature;
mod tools;

#[cfg(test)]
pub(crate) mod testing;

pub use agent_server::{Files, Resume, load_rpc_id};
pub use any::AnyProvider;
pub use broker::{BOUND_TO, GitBroker, Holder};
pub use e2b::{E2bProvider, E2bSandboxes, E2bTerminal};
pub use provider::RuntimeError;
pub use provider::{
    BuildState, Building, Made, Progress, Prompt, Provider, PushError, Ran, Sent, Snapshot, Stopped, Wish,
};
pub use provider::{OpenedTerminal, TerminalOrder, TerminalOutput, TerminalSaid, TerminalSize};
pub use record::{ProviderKind, Runtime, RuntimeSecrets, Transport};
pub use runner::RunnerProvider;
pub use signature::{SIGNATURE_HEADER, signature};
pub use tools::ToolServer;
