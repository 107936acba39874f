//! Attacks on the agents worker, one after another, behind the sync worker and with a runtime of the suite's own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test cases with a runner of their own, which the lints do not take for tests"
)]

#[path = "agents/mod.rs"]
mod agents;

use libtest_mimic::Arguments;

fn main() {
    if std::env::var_os("BASE_URL").is_some() {
        // A server that runs already has not this suite's runtime behind it.
        eprintln!("attacks on the agents worker need servers of their own: not run against BASE_URL");
        return;
    }
    let mut arguments = Arguments::from_args();
    // One at a time, so that a bystander notices only the attack that it is measured with.
    arguments.test_threads = Some(1);
    conformance::cases::run_on(attacks::sessions::server, &arguments, agents::all());
}
