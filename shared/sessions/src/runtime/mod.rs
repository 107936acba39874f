//! Runtimes: where agents run (agents.md 5), behind one trait.

mod provider;
mod record;

pub use provider::RuntimeError;
pub use provider::{BuildState, Building, Made, Progress, Prompt, Provider, PushError, Sent, Snapshot, Stopped, Wish};
pub use record::{ProviderKind, Runtime, RuntimeSecrets};
