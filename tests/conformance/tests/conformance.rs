//! Every route, message, status and error body of the protocol, against a running server.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test cases with a runner of their own, which the lints do not take for tests"
)]

mod suite;

use libtest_mimic::Arguments;

fn main() {
    conformance::cases::run(&Arguments::from_args(), suite::all());
}
