//! Attacks, one after another, against a running server.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test cases with a runner of their own, which the lints do not take for tests"
)]

mod suite;

use std::sync::Arc;

use conformance::Server;
use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut arguments = Arguments::from_args();
    // What a bystander notices of one attack must not come from another.
    arguments.test_threads = Some(1);
    if arguments.list {
        libtest_mimic::run(
            &arguments,
            suite::all().into_iter().map(|(name, _)| Trial::test(name, || Ok(()))).collect(),
        )
        .exit();
    }
    let server = Arc::new(Server::start());
    let trials = suite::all()
        .into_iter()
        .map(|(name, case)| {
            let server = Arc::clone(&server);
            Trial::test(name, move || {
                case(&server);
                Ok(())
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Ok(server) = Arc::try_unwrap(server).map_err(|_| ()) {
        server.stop();
    }
    conclusion.exit();
}
