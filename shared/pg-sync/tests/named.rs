//! Each fact of pg-sync.md 3 and each row of pg-sync.md 5 is named by a test, and each suite of pg-sync.md 6.3 has its tests by name, here or in the suites
//! that need a database or a worker: a row that nobody tests any more, or one that was added without a test, is found.
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

/// A test by its name: the file, and the text by which it is found there.
type Named = (&'static str, &'static str);

const HISTORIES: Named = ("shared/pg-sync/tests/bridge/histories/mod.rs", "fn every_history_is_told_whole");
const NATIVE: &str = "tests/pg-sync/native.test.mjs";
const WORKER: &str = "tests/pg-sync/worker.test.mjs";
const FRONT: &str = "shared/sessions/tests/front/pg_sync.rs";
const SECRETS: &str = "shared/sessions/tests/life/pg_sync/secrets.rs";
const ADDRESSES: Named = ("shared/web/src/address.rs", "fn hostile_addresses");
const JUDGED_AGAIN: Named = (SECRETS, "fn an_address_is_judged_again_whenever_it_is_used");

/// The suites of pg-sync.md 6.3, without the one about security.
const SUITES: [(&str, &[Named]); 8] = [
    ("Core", &[HISTORIES, ("shared/pg-sync/tests/bridge/bugs.rs", "fn bug_03_cursor_and_changes_are_stored_as_one")]),
    ("Differential", &[(NATIVE, "and the official client says the same")]),
    (
        "End to end",
        &[
            (NATIVE, "test(`killed ${KILLS} times: nothing is missing"),
            (WORKER, "changes while workerd is killed: nothing is missing"),
        ],
    ),
    (
        "Workers runtime",
        &[
            (WORKER, "changes while workerd is killed: nothing is missing"),
            ("shared/sessions/tests/life/pg_sync/crash_points.rs", "fn crash_points_of_wakes"),
            ("shared/sessions/tests/life/pg_sync/crash_points.rs", "fn crash_points_of_a_lost_alarm"),
            ("shared/pg-sync/tests/bridge/states.rs", "fn a_lost_request_is_noticed_by_the_next_turn"),
        ],
    ),
    ("Bugs 1–13", &[("shared/pg-sync/tests/bridge/bugs.rs", "fn bug_01_the_log_mode_is_that_of_the_cursor")]),
    ("Facts of section 3", &[("shared/pg-sync/tests/bridge/facts.rs", "fn fact_01_canonical_form")]),
    ("Load", &[("benches/js/pg-sync.mjs", "native-${NATIVE}-quiet-requests")]),
    (
        "Time",
        &[
            ("shared/pg-sync/tests/bridge/wakes.rs", "fn pauses_before_a_wake"),
            ("shared/pg-sync/tests/bridge/wakes.rs", "fn wakes_are_throttled"),
            ("shared/pg-sync/tests/bridge/wakes.rs", "fn a_pause_outlives_the_process"),
        ],
    ),
];

/// What the suite about security has to show, in the words of the specification.
const SECURITY: [(&str, &[Named]); 8] = [
    (
        "other tenant's source unreadable",
        &[
            (FRONT, "fn nobody_else_asks"),
            (FRONT, "fn a_stream_is_asked_of_the_object_of_its_source"),
            ("shared/sessions/tests/life/pg_sync/streams.rs", "fn a_log_is_read_as_a_stream"),
            (WORKER, "who may read the log"),
        ],
    ),
    (
        "forged metadata",
        &[
            ("shared/pg-sync/tests/bridge/bugs.rs", "fn bug_05_nobody_says_who_they_are"),
            ("shared/pg-sync/tests/bridge/facts.rs", "fn fact_10_who_asks_is_said_by_the_server_alone"),
        ],
    ),
    ("user info", &[ADDRESSES, (FRONT, "fn what_is_no_connection_is_refused"), JUDGED_AGAIN]),
    ("IPv6 forms", &[ADDRESSES, (FRONT, "fn what_is_no_connection_is_refused"), JUDGED_AGAIN]),
    ("decimal addresses", &[ADDRESSES, JUDGED_AGAIN]),
    (
        "redirect to loopback",
        &[(NATIVE, "test('a redirect is an answer"), (WORKER, "test('whatever a service says, or leads to")],
    ),
    // Whoever serves users looks up no name by itself: the worker's platform does, and natively only the operator names addresses.
    (
        "DNS answer changes between check and use",
        &[JUDGED_AGAIN, ("tests/pg-sync/streams.test.mjs", "'url_not_allowed'")],
    ),
    (
        "secret absent from all stored bytes and logs (search the database file)",
        &[
            ("shared/pg-sync/tests/bridge/bugs.rs", "fn bug_10_no_secret_is_stored_or_told"),
            (SECRETS, "fn the_secret_is_asked_with_and_stored_nowhere"),
            (WORKER, "test('the secret is in no file and no log'"),
            (NATIVE, "the secret is in no file and no log"),
        ],
    ),
];

/// The table of pg-sync.md 6.3: suite and content.
fn suites() -> Vec<(String, String)> {
    let spec = std::fs::read_to_string(root().join("docs/spec/pg-sync.md")).unwrap();
    let (_, rest) = spec.split_once("### 6.3 Suites").unwrap();
    let rows = rest.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    rows.filter(|(suite, _)| *suite != "Suite").map(|(suite, content)| (suite.to_owned(), content.to_owned())).collect()
}

/// The parts of a row's content: after semicolons, and in the round brackets of addresses after commas.
fn parts(content: &str) -> Vec<String> {
    let parts = content.split("; ").flat_map(|part| match part.strip_prefix("url tricks (") {
        Some(tricks) => tricks.trim_end_matches(')').split(", ").map(str::to_owned).collect(),
        None => vec![part.to_owned()],
    });
    parts.collect()
}

#[test]
fn every_suite_has_its_tests_by_name() {
    let suites = suites();
    let (security, others): (Vec<_>, Vec<_>) = suites.iter().partition(|(suite, _)| suite == "Security");
    assert_eq!(others.iter().map(|(suite, _)| suite.as_str()).collect::<Vec<_>>(), SUITES.map(|(suite, _)| suite));
    assert_eq!(parts(&security[0].1), SECURITY.map(|(part, _)| part));
    for (row, tests) in SUITES.iter().chain(&SECURITY) {
        for (file, name) in *tests {
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(name), "{row}: {file} has no {name:?}");
        }
    }
}

#[test]
fn numbers_are_read_as_people_write_them() {
    assert_eq!(numbers_after("/// Facts 18, 19 and 23: x 7", "Facts "), [18, 19, 23]);
    assert_eq!(numbers_after("(fact 9)", "fact "), [9]);
    assert_eq!(numbers_after("the fact that 9", "fact "), Vec::<u32>::new());
}
