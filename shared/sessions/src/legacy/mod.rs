//! The older dialect of sandbox-agent, a REST interface with events of its own (agents.md 4.6).

mod dialect;
pub mod request;
mod translate;

pub use dialect::{ApiSetting, Dialect, Probe};
pub use translate::{Progress, translate};
