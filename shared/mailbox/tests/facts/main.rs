//! The facts of docs/spec/session-mailbox.md 3 that concern the crate, read as its 4 and 5 decide, over real files. A test names
//! the facts that it shows; a test of a row of docs/spec/session-mailbox.md 5 quotes it.
//!
//! | Facts | Where |
//! |---|---|
//! | 1, 3, 11, 23, 31 | here `exchange.rs` |
//! | 2, and all that needs another process or a mount | `tests/mailbox` |
//! | 4 to 10 | `liveness/tests.rs` of the crate |
//! | 12, 13, 14 | `sweep.rs` of the crate; here `histories.rs` |
//! | 15, 16, 24 | do not arise: times are integers, the schema has versions, and no older form of these files exists |
//! | 17, 18, 19 | here `relay.rs` |
//! | 20 | `delivery/tests.rs` of the crate |
//! | 21, 22, 28 | `due.rs` of the crate |
//! | 25, 26, 27 | `agent-shim` |
//! | 29 | here `exchange.rs` |
//! | 30 | `fsafe.rs` of the crate |
//! | 32 | `message.rs` of the crate |
//! | 33 | `doorbell.rs` of the crate |
//! | 34 | `gate.rs` of the crate |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected is to stop"
)]

mod exchange;
mod histories;
mod hostile;
mod relay;
mod scene;
mod taking_back;
