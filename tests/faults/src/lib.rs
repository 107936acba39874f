//! What becomes of graphs when the platform under the built worker fails.
//!
//! `host.mjs` stands between the worker and its bindings and does what an [`Order`] says: a statement of a graph or of
//! the index fails before or after its effect, R2 refuses, D1 is late or never answers, an instance of WebAssembly dies.
//! A [`Ledger`] knows what was acknowledged, and proves afterwards that it is stored and that its user can go on.
//!
//! A sweep over all places where something can fail takes minutes. Without `FAULTS_LONG=1` a tenth of them is tried.
#![expect(
    missing_docs,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test library: a failed assumption ends the test case"
)]

pub mod ledger;
pub mod order;
pub mod platform;

pub use ledger::Ledger;
pub use order::Order;
pub use platform::Platform;

/// Whether sweeps go over every place.
pub fn is_long() -> bool {
    std::env::var_os("FAULTS_LONG").is_some_and(|value| value == "1")
}

/// The numbers of the places of a sweep, an endless list: every place, or every tenth from `offset` on.
pub fn places(offset: usize) -> impl Iterator<Item = usize> {
    let (first, step) = if is_long() { (0, 1) } else { (offset % 10, 10) };
    (first..).step_by(step)
}
