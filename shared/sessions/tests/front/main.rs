//! The front worker from outside (agents.md 2, 14, 18).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that panics has failed")]

#[path = "../life/agent.rs"]
#[expect(dead_code, reason = "the agent of another suite, which does less here")]
mod agent;
#[path = "../life/bridges.rs"]
#[expect(dead_code, reason = "bridges of another suite, which nobody asks here")]
mod bridges;
#[path = "../life/clock.rs"]
mod clock;
mod git_credentials;
mod github;
#[path = "../life/host.rs"]
mod host;
#[path = "../life/world.rs"]
#[expect(dead_code, reason = "the object of another suite, to which less happens here")]
mod life;
mod mailbox;
mod mcp;
mod objects;
mod operator;
mod pg_sync;
#[path = "../life/platform.rs"]
mod platform;
#[path = "../life/receiver.rs"]
#[expect(dead_code, reason = "servers of others in another suite; nothing comes to them here")]
mod receiver;
mod reconcile;
mod routes;
#[path = "../life/screen.rs"]
#[expect(dead_code, reason = "whoever opens terminals in another suite; nobody does here")]
mod screen;
mod table;
mod transcripts;
mod webhooks;
#[path = "../life/working_tree.rs"]
#[expect(dead_code, reason = "the tree of another suite, with which nothing is done here")]
mod working_tree;
mod world;
