//! The real binary, from outside (docs/spec/self-host.md 10).
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod addresses;
mod adopted;
mod beside;
mod care;
mod configuration;
mod daemon;
mod durability;
mod failing;
mod health;
mod life;
mod limits;
mod listening;
mod oidc;
mod one_graph;
mod operator;
mod outside;
mod status;
mod storage;
mod support;
mod transport;
mod users;
mod weak_lock;
