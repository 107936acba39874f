//! Comments, tables and documents cite the specification ("sync.md 11.4"), its decisions ("D-62", "DS-3") and files of the
//! project. Every citation must lead somewhere.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that meets something unexpected is to stop")]

mod project;
mod scan;
mod spec;
mod text;

use std::collections::BTreeSet;

use project::Project;
use spec::Spec;
use text::Text;

#[test]
fn every_citation_resolves() {
    let project = Project::read();
    let mut seen = BTreeSet::new();
    let mut failures = Vec::new();
    for file in project.texts() {
        let text = Text::new(&file.path, &file.content);
        for (line, cited) in scan::citations(&text) {
            seen.insert((text.extension().to_owned(), cited.kind()));
            if let Err(why) = project.resolve(&text, &cited) {
                failures.push(format!("{}:{line}: {cited}: {why}", file.path));
            }
        }
    }
    assert!(failures.is_empty(), "{} citations lead nowhere:\n{}", failures.len(), failures.join("\n"));
    // The search itself still finds what it is for.
    for (extension, kind) in [
        ("rs", "section"),
        ("rs", "decision"),
        ("rs", "file"),
        ("mjs", "section"),
        ("mjs", "decision"),
        ("toml", "section"),
        ("sql", "section"),
        ("md", "section"),
        ("md", "decision"),
        ("md", "file"),
    ] {
        assert!(seen.contains(&(extension.to_owned(), kind)), "no {kind} is cited in any .{extension} file");
    }
}

#[test]
fn the_list_of_decisions_is_that_of_the_specification() {
    let project = Project::read();
    let listed = Spec::rows(project.content("docs/decisions.md"));
    let all: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), all.len(), "a decision is listed twice");
    assert_eq!(all, project.spec().decisions());
}

/// What stands behind the name of each failure when this text is a file of the project.
fn failures(path: &str, content: &str) -> Vec<(usize, String)> {
    let project = Project::of(&[
        ("docs/spec/sync.md", "## 7. Sockets\n\n### 7.5 Limits\n\n### 7.6 Pulls\n\n| D-07b | x |\n| D-62 | y |\n"),
        ("shared/graph/src/graph.rs", ""),
    ]);
    let text = Text::new(path, content);
    scan::citations(&text)
        .into_iter()
        .filter(|(_, cited)| project.resolve(&text, cited).is_err())
        .map(|(line, cited)| (line, cited.to_string()))
        .collect()
}

#[test]
fn good_citations_pass() {
    for good in [
        "/// As in sync.md 7.5, 7.6 and 7.",
        "/// As in sync.md 7.5 rules 3 to 40, and 7.6 step 12, D-62 and D-07b.",
        "/// Broken by the line (sync.md\n    /// 7.5,\n    /// 7.6).",
        "/// RFC 9110, sections 13 and 14.",
        "let name = \"notes.md\"; // like sync.md 7.5–7.6",
        "let uuid = \"AD-99-D-99\";",
    ] {
        assert_eq!(failures("a.rs", good), [], "{good}");
    }
    assert_eq!(failures("a.md", "`shared/graph/src/graph.rs`, [limits](docs/spec/sync.md), `graph.rs`"), []);
    assert_eq!(failures("docs/spec/sync.md", "(7.5), sections 7 and 7.6, in 7.5; 99.9 of 100"), []);
}

#[test]
fn bad_citations_are_told_with_their_line() {
    for (path, bad, line, told) in [
        ("a.rs", "/// As in sync.md 7.7.", 1, "sync.md 7.7"),
        ("a.rs", "\n/// As in sync.md 7.5 and\n/// 8.1", 3, "sync.md 8.1"),
        ("a.rs", "/// sync.md 7.5 rule 3, 7.9", 1, "sync.md 7.9"),
        ("a.rs", "/// sync.md 7.4–7.6", 1, "sync.md 7.4"),
        ("a.rs", "/// `sync.md` 9", 1, "sync.md 9"),
        ("a.rs", "/// docs/spec/sync.md, chapter 10", 1, "sync.md 10"),
        ("a.rs", "//! agents.md 3", 1, "agents.md 3"),
        ("a.rs", "//! See lost.md.", 1, "lost.md"),
        ("a.rs", "assert!(x, \"D-63\");", 1, "D-63"),
        ("a.rs", "/// D-7", 1, "D-7"),
        ("a.rs", "/// DS-1", 1, "DS-1"),
        ("a.rs", "/// anchors D.4", 1, "anchors D.4"),
        ("a.rs", "/// See section 7.5.", 1, "section 7.5"),
        ("a.mjs", "// one\n// sync.md 1", 2, "sync.md 1"),
        ("a.sql", "-- sync.md 1", 1, "sync.md 1"),
        ("a.toml", "# sync.md 1", 1, "sync.md 1"),
        ("a.md", "| x | sync.md 1 |", 1, "sync.md 1"),
        ("a.md", "`shared/graph/src/gone.rs`", 1, "shared/graph/src/gone.rs"),
        ("a.md", "The folder `shared/gone`.", 1, "shared/gone"),
        ("docs/spec/sync.md", "as in 7.8", 1, "sync.md 7.8"),
        ("docs/spec/sync.md", "which it is not (7.8)", 1, "sync.md 7.8"),
        ("docs/spec/sync.md", "sections 7 and 12", 1, "sync.md 12"),
    ] {
        assert_eq!(failures(path, bad), [(line, told.to_owned())], "{bad}");
    }
}
