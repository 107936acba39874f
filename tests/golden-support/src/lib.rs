//! The recorded vectors of the reference: where they lie, how a test reads them, and how it accounts for each of them.
//!
//! The folder is the repository's `tests/reference/golden`, or the one that `GOLDEN_DIR` names (absolute, or relative to
//! the repository's root). A folder or file that is missing fails the test. What a test checked and what it left out is
//! counted in a [`Tally`] and compared with what the test states.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test library: a failed assumption ends the test"
)]
#![cfg_attr(feature = "databases", expect(clippy::indexing_slicing, reason = "a test library"))]

#[cfg(feature = "databases")]
pub mod databases;
#[cfg(feature = "databases")]
mod ghosts;
mod tally;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

#[cfg(feature = "databases")]
pub use ghosts::Ghosts;
pub use tally::{LeftOut, Tally};

/// The project's own copy, relative to the repository's root.
const OWN: &str = "tests/reference/golden";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of the vectors.
pub fn dir() -> PathBuf {
    let dir = root().join(std::env::var_os("GOLDEN_DIR").unwrap_or_else(|| OWN.into()));
    assert!(dir.is_dir(), "no vectors at {}", dir.display());
    dir
}

/// Whether the vectors are the project's own copy. Another folder may hold more of them, or others: there the numbers
/// that tests state do not apply.
pub fn is_own() -> bool {
    let whole = |dir: PathBuf| dir.canonicalize().expect("the folder exists");
    whole(dir()) == whole(root().join(OWN))
}

/// The text of a file of vectors.
pub fn text(name: &str) -> String {
    let path = dir().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a file of vectors. There is at least one.
pub fn lines(name: &str) -> Vec<Json> {
    let text = text(name);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let lines: Vec<Json> = lines.map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    assert!(!lines.is_empty(), "{name} is empty");
    lines
}

/// The lines of one kind. No line may be of a kind that the test does not know.
pub fn lines_of_kind(name: &str, kind: &str, known: &[&str]) -> Vec<Json> {
    let of = |line: &Json| line["kind"].as_str().expect("a kind").to_owned();
    let lines = lines(name);
    for line in &lines {
        assert!(known.contains(&of(line).as_str()), "{name} has lines of the kind {}", of(line));
    }
    lines.into_iter().filter(|line| of(line) == kind).collect()
}

/// How many steps the cases of a file have.
pub fn count_steps(cases: &[Json]) -> usize {
    cases.iter().map(|case| case["steps"].as_array().expect("steps").len()).sum()
}
