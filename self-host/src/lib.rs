//! The sync server as one native binary (docs/spec/self-host.md): ports over threads, sockets and files, and an operator's
//! command line. No rule of the service is here; `sync_http` has them.

pub mod cli;

mod auth;
mod bodies;
mod condition;
mod config;
mod daemon;
mod graphs;
mod histogram;
mod host;
mod log;
mod metrics;
mod pg_sync;
mod serve;
mod store;
mod traffic;
