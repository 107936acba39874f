//! Bridges whose world is a test: what the reference does wrong, states, wakes, the facts of pg-sync.md 3, and random histories.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed assumption ends the test"
)]

mod bugs;
mod diff;
mod facts;
mod histories;
mod rig;
mod states;
mod wakes;
