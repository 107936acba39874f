//! Attacks, one after another, against a running server.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test cases with a runner of their own, which the lints do not take for tests"
)]

mod suite;

use libtest_mimic::Arguments;

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time, so that a bystander notices only the attack that it is measured with.
    arguments.test_threads = Some(1);
    conformance::cases::run(&arguments, suite::all());
}
