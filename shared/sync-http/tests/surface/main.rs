//! The HTTP surface over a platform in memory.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod access;
mod assets;
mod downloads;
mod entity_pulls;
mod faults;
mod forwarding;
mod graph;
mod guests;
mod index_routes;
mod matrix;
mod news;
mod pulls;
mod refused;
mod rest;
mod uploads;
mod world;
