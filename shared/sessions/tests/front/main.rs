//! The front worker from outside (agents.md 2, 14, 18).

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod reconcile;
mod routes;
mod webhooks;
mod world;
