//! Several simulated clients over one graph in one process.
//!
//! A seed decides everything: what clients edit, when they are offline, what the network loses, where the server dies.
//! After every batch the server's storage is checked against itself and against a copy built from its log alone; at
//! the end, when all clients have caught up, all of them hold the same graph. [`run`] plays one seed.

mod base;
mod client;
mod download;
mod edit;
mod many;
pub mod odd;
mod replica;
mod rng;
mod server;
mod state;
mod world;

pub use many::run_all;
pub use replica::Replica;
pub use rng::Rng;
pub use world::{Stats, run};

/// Why a seed fails.
pub type Failure = String;

/// Result of anything that may fail a seed.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Fails the seed unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}
pub(crate) use ensure;

/// Any error as a failure of the seed.
pub(crate) fn fail(error: impl std::fmt::Display) -> Failure {
    error.to_string()
}
