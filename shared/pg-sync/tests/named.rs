//! Each fact of pg-sync.md 3 and each row of pg-sync.md 5 is named by a test, here or in the suites that need a database or a worker: a row that nobody
//! tests any more, or one that was added without a test, is found.
#![expect(clippy::unwrap_used, reason = "a failed assumption ends the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where tests are that may name a fact.
const PLACES: [&str; 6] = [
    "shared/pg-sync/src",
    "shared/pg-sync/tests",
    "shared/sessions/tests/front",
    "shared/sessions/tests/life",
    "shared/sessions/src/pg_sync",
    "tests/pg-sync",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of all files that may name one, but for this one.
fn texts() -> Vec<String> {
    let mut folders: Vec<PathBuf> = PLACES.iter().map(|place| root().join(place)).collect();
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let is_test = path.extension().is_some_and(|ending| ending == "rs" || ending == "mjs");
            if path.is_dir() {
                folders.push(path);
            } else if is_test && !path.ends_with("named.rs") {
                texts.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    texts
}

/// The numbers that follow a word, with commas and `and` between them: `Facts 18, 19 and 23`.
fn numbers_after(text: &str, word: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for (at, _) in text.match_indices(word) {
        let Some(rest) = text.get(at + word.len()..) else { continue };
        for part in rest.split([' ', ',', '_']).filter(|part| !part.is_empty() && *part != "and") {
            let digits = part.trim_end_matches(|letter: char| !letter.is_ascii_digit());
            let Ok(number) = digits.parse() else { break };
            numbers.push(number);
            if digits.len() < part.len() || word == "fn fact_" {
                break;
            }
        }
    }
    numbers
}

fn named(texts: &[String], words: &[&str]) -> BTreeSet<u32> {
    texts.iter().flat_map(|text| words.iter().flat_map(|word| numbers_after(text, word))).collect()
}

/// The first column of a table of the specification.
fn rows(section: &str) -> BTreeSet<u32> {
    let spec = std::fs::read_to_string(root().join("docs/spec/pg-sync.md")).unwrap();
    let (_, rest) = spec.split_once(section).unwrap();
    let (table, _) = rest.split_once("\n---").unwrap();
    table.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn every_fact_is_named_by_a_test() {
    let facts = rows("## 3. Checkable facts");
    assert_eq!(facts, (1..=31).collect());
    let named = named(&texts(), &["Fact ", "Facts ", "fact ", "facts ", "fn fact_"]);
    let missing: Vec<_> = facts.difference(&named).collect();
    assert!(missing.is_empty(), "facts without a test: {missing:?}");
}

#[test]
fn every_problem_of_the_reference_is_a_test_by_its_number() {
    let problems = rows("## 5. Better than the original");
    assert_eq!(problems, (1..=13).collect());
    let tests: BTreeSet<u32> = texts().iter().flat_map(|text| bugs(text)).collect();
    assert_eq!(tests, problems);
}

fn bugs(text: &str) -> Vec<u32> {
    text.match_indices("fn bug_")
        .filter_map(|(at, found)| text.get(at + found.len()..)?.get(..2)?.parse().ok())
        .collect()
}

#[test]
fn numbers_are_read_as_people_write_them() {
    assert_eq!(numbers_after("/// Facts 18, 19 and 23: x 7", "Facts "), [18, 19, 23]);
    assert_eq!(numbers_after("(fact 9)", "fact "), [9]);
    assert_eq!(numbers_after("the fact that 9", "fact "), Vec::<u32>::new());
}
