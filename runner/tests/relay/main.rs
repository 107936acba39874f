//! The runner in transport `mailbox`, as a real process with the real shim and an agent that does what its prompt says. The worker is a small server
//! around the pure decisions of the real one (`sessions::mailbox`), which fails on request.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod conversations;
mod credentials;
mod endings;
mod hostile;
mod machine;
mod offers;
mod plane;
mod plane_http;
mod points;
mod pushes;
mod rest;
mod restarts;
mod shortage;
mod storm;
mod turns;
mod urgent;
mod verbs;
