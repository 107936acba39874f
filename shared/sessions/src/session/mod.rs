//! One session: its state, what follows from what happens, its log, and the object that keeps it going (agents.md 3).

pub mod budget;
pub mod decide;
mod effect;
pub mod follow_up;
pub mod git_access;
mod state;
mod status;
pub mod store;
mod times;
pub mod tools;
pub mod transcript;
mod transition;
pub mod watch;

pub use effect::{Checkpointing, Effect, Job};
pub use state::{
    Approval, ApprovalState, Build, Ending, Lease, MovedTo, Moving, Notices, OpenTerminal, Phase, Provisioning,
    Removal, State, StopCause, Turn,
};
pub use status::{NoTransition, Status};
pub use times::Times;
pub use transition::Transition;

/// Approvals of one session that may be open at the same time (agents.md 2.8).
pub const MAX_OPEN_APPROVALS: usize = 20;
