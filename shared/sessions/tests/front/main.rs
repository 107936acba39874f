//! The front worker from outside (agents.md 2, 14, 18).

mod reconcile;
mod routes;
mod world;
