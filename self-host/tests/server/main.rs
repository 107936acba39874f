//! The real binary, from outside (docs/spec/self-host.md 10).
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod addresses;
mod care;
mod configuration;
mod daemon;
mod durability;
mod life;
mod operator;
mod storage;
mod support;
mod transport;
mod users;
