//! Faults of the platform, one after another, against the built worker.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test cases with a runner of their own, which the lints do not take for tests"
)]

mod suite;

use std::path::Path;

use conformance::Server;
use conformance::server::Wrapping;
use libtest_mimic::Arguments;

/// The worker with a platform that takes orders.
pub(crate) fn wrapping() -> Wrapping {
    Wrapping {
        module: Path::new(env!("CARGO_MANIFEST_DIR")).join("host.mjs"),
        log: Path::new(env!("CARGO_TARGET_TMPDIR")).join("server.log"),
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    // All cases share one platform, so they run one after another.
    arguments.test_threads = Some(1);
    // The output of an earlier run.
    let _there_was_none = std::fs::remove_file(wrapping().log);
    conformance::cases::run_on(|| Server::start_behind(Some(wrapping())), &arguments, suite::all());
}
