//! Odd graphs in `cargo test`: the kept plans, each of which failed once, and some seeds. The independent reader is
//! used by `cargo xtask test` only, which installs the packages it needs.

use std::path::{Path, PathBuf};

use simulation::odd::{self, Options};

fn options(graphs: u64) -> Options {
    Options {
        seeds: 0..graphs,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        reader: false,
        told: false,
        trace: false,
        without: Vec::new(),
        keep: 1,
        failures: Path::new(env!("CARGO_MANIFEST_DIR")).join("failures"),
    }
}

#[test]
fn kept_plans_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut plans: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    plans.sort();
    assert!(!plans.is_empty());
    let summary = odd::replay(&plans, &options(0)).unwrap();
    assert_eq!((summary.stats.graphs, summary.failed), (plans.len() as u64, 0));
}

#[test]
fn some_seeds_pass() {
    let summary = odd::run_all(&options(25)).unwrap();
    assert_eq!((summary.stats.graphs, summary.failed), (25, 0));
}

#[test]
fn some_seeds_are_told() {
    let summary = odd::run_all(&Options { told: true, ..options(25) }).unwrap();
    assert_eq!((summary.stats.graphs, summary.failed), (25, 0));
}
