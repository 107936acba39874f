//! Every target passes its corpus, and some mutations with a fixed seed.

use std::path::Path;

use fuzz_targets::{Options, TARGETS, Until, run};

/// A moment's worth of the slowest target.
const MUTATIONS: u64 = 300;

#[test]
fn corpora_pass() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for target in TARGETS {
        let options = Options { until: Until::Mutations(MUTATIONS), seed: 1, corpus: corpus.clone() };
        let summary = run(target, &options).unwrap();
        assert!(summary.corpus > 0, "{} has no corpus", target.name);
        assert_eq!(summary.mutations, MUTATIONS, "{}", target.name);
    }
}
