//! Attacks on DB-sync servers, black-box like the conformance suite and with its settings (`BASE_URL` and the others).
//!
//! Each case carries out one class of attack as fast as a client can, checks that it did no harm, and measures a
//! [`Bystander`] meanwhile. docs/security.md lists classes, defences and cases.
#![expect(
    missing_docs,
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::result_large_err,
    reason = "a test library: a failed assumption ends the test case"
)]

pub mod bystander;
pub mod flood;
pub mod raw;
pub mod runtime;
pub mod sessions;
pub mod trap;

pub use bystander::Bystander;
pub use trap::Trap;
