//! Every target passes its corpus and a moment of mutations with a fixed seed.

use std::path::Path;
use std::time::Duration;

use fuzz_targets::{Options, TARGETS, run};

#[test]
fn corpora_pass() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for target in TARGETS {
        let options = Options { time: Duration::from_millis(500), seed: 1, corpus: corpus.clone() };
        let summary = run(target, &options).unwrap();
        assert!(summary.corpus > 0, "{} has no corpus", target.name);
        assert!(summary.mutations > 0, "{} was not mutated", target.name);
    }
}
