//! What can be cited: headings with numbers, and decisions.

use std::collections::{BTreeMap, BTreeSet};

/// The documents of `docs/spec`.
#[derive(Default)]
pub(crate) struct Spec {
    /// Numbers of headings, by name of the document.
    sections: BTreeMap<String, BTreeSet<String>>,
    decisions: BTreeSet<String>,
}

impl Spec {
    /// Takes in one document. Headings are `## 7. Title` and `### 7.5 Title`.
    pub(crate) fn add(&mut self, name: &str, content: &str) {
        let number = |line: &str| {
            let heading = line.strip_prefix("##")?.trim_start_matches('#').trim_start();
            let number = heading.split(' ').next()?.trim_end_matches('.');
            number.starts_with(|c: char| c.is_ascii_digit()).then(|| number.to_owned())
        };
        self.sections.insert(name.to_owned(), content.lines().filter_map(number).collect());
        self.decisions.extend(Self::rows(content));
    }

    /// The decisions that have a row in a table: `| D-62 | … |`.
    pub(crate) fn rows(content: &str) -> Vec<String> {
        let id = |line: &str| {
            let cell = line.strip_prefix("| ")?.split(" |").next()?;
            is_decision(cell).then(|| cell.to_owned())
        };
        content.lines().filter_map(id).collect()
    }

    pub(crate) fn decisions(&self) -> BTreeSet<String> {
        self.decisions.clone()
    }

    pub(crate) fn has_document(&self, name: &str) -> bool {
        self.sections.contains_key(name)
    }

    pub(crate) fn has_section(&self, name: &str, number: &str) -> bool {
        self.sections.get(name).is_some_and(|sections| sections.contains(number))
    }

    pub(crate) fn has_decision(&self, id: &str) -> bool {
        self.decisions.contains(id)
    }
}

/// Whether a word has the form of a decision's number: `D-62`, `D-07b`, `DS-3`.
pub(crate) fn is_decision(word: &str) -> bool {
    let Some(rest) = word.strip_prefix("DS-").or_else(|| word.strip_prefix("D-")) else {
        return false;
    };
    let letters = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    letters.len() < rest.len() && (letters.is_empty() || letters == "b")
}
