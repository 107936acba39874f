//! What a test checked, and what it left out.

use std::collections::BTreeMap;

use crate::is_own;

/// Counts what was checked and keeps the names of what was not, by reason.
#[derive(Debug, Default)]
pub struct Tally {
    checked: usize,
    left_out: BTreeMap<&'static str, Vec<String>>,
}

/// What a test states of the vectors that it leaves out for one reason. A list has one text a case: its name, or its name
/// and the numbers of its steps (`plain-246 0 1`).
#[derive(Clone, Copy, Debug)]
pub enum LeftOut<'a> {
    /// The test chose them: these and no others, whatever the folder.
    Named(&'a [&'a str]),
    /// A mark or the content of a vector is the reason: exactly these in the project's own copy, any elsewhere.
    Marked(&'a [&'a str]),
    /// The same, where the mark in the file names them well enough.
    Count(usize),
}

impl Tally {
    /// One more was checked.
    pub fn check(&mut self) {
        self.checked += 1;
    }

    /// One was left out.
    pub fn leave_out(&mut self, reason: &'static str, name: impl Into<String>) {
        self.left_out.entry(reason).or_default().push(name.into());
    }

    /// How many were checked.
    pub fn checked(&self) -> usize {
        self.checked
    }

    /// How many were checked or left out.
    pub fn seen(&self) -> usize {
        self.checked + self.left_out.values().map(Vec::len).sum::<usize>()
    }

    /// Compares with what the test states. `total` is what the file holds, counted apart from the checking, so that
    /// nothing is passed over in silence. `checked` is the number for the project's own copy.
    #[track_caller]
    pub fn assert(&self, total: usize, checked: usize, left_out: &[(&str, LeftOut<'_>)]) {
        assert_eq!(self.seen(), total, "every vector is checked or left out: {self:#?}");
        for (reason, found) in &self.left_out {
            let stated = left_out.iter().find(|(known, _)| known == reason);
            let (_, stated) = stated.unwrap_or_else(|| panic!("left out without a statement: {reason}: {found:?}"));
            if let LeftOut::Named(stated) = stated {
                let stated = expand(stated);
                let surplus: Vec<_> = found.iter().filter(|name| !stated.contains(name)).collect();
                assert!(surplus.is_empty(), "{reason}: left out besides those stated: {surplus:?}");
            }
        }
        if !is_own() {
            return;
        }
        let mut problems = Vec::new();
        for (reason, stated) in left_out {
            let found = self.left_out.get(reason).map_or(&[][..], Vec::as_slice);
            let agrees = match stated {
                LeftOut::Named(stated) | LeftOut::Marked(stated) => found == expand(stated),
                LeftOut::Count(stated) => found.len() == *stated,
            };
            if !agrees {
                problems.push(format!("{reason}: {stated:?} stated, {} found: {:?}", found.len(), collapse(found)));
            }
        }
        if self.checked != checked {
            problems.push(format!("{checked} stated as checked, {} found", self.checked));
        }
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}

/// `["a 0 2", "b"]` as `["a 0", "a 2", "b"]`.
fn expand(list: &[&str]) -> Vec<String> {
    let one = |text: &&str| {
        let mut words = text.split(' ');
        let case = words.next().unwrap_or_default().to_owned();
        let steps: Vec<String> = words.map(|step| format!("{case} {step}")).collect();
        if steps.is_empty() { vec![case] } else { steps }
    };
    list.iter().flat_map(one).collect()
}

/// The opposite, for messages that can be copied into a test.
fn collapse(names: &[String]) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for name in names {
        let (case, step) = name.split_once(' ').unwrap_or((name, ""));
        match list.last_mut() {
            Some(last) if last.split(' ').next() == Some(case) && !step.is_empty() => {
                last.push(' ');
                last.push_str(step);
            }
            _ => list.push(name.clone()),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> Tally {
        let mut tally = Tally::default();
        tally.check();
        tally.leave_out("odd", "a 0");
        tally.leave_out("odd", "a 2");
        tally.leave_out("odd", "b");
        tally
    }

    #[test]
    fn lists_expand_and_collapse() {
        let names: Vec<String> = ["a 0", "a 2", "b"].map(str::to_owned).into();
        assert_eq!(expand(&["a 0 2", "b"]), names);
        assert_eq!(collapse(&names), ["a 0 2", "b"]);
    }

    #[test]
    fn what_is_stated_holds() {
        tally().assert(4, 1, &[("odd", LeftOut::Named(&["a 0 2", "b"]))]);
    }

    #[test]
    #[should_panic(expected = "checked or left out")]
    fn nothing_is_passed_over() {
        tally().assert(5, 1, &[("odd", LeftOut::Named(&["a 0 2", "b"]))]);
    }

    #[test]
    #[should_panic(expected = "besides those stated")]
    fn a_name_that_is_not_stated_fails() {
        tally().assert(4, 1, &[("odd", LeftOut::Named(&["a 0 2"]))]);
    }

    #[test]
    #[should_panic(expected = "without a statement")]
    fn a_reason_that_is_not_stated_fails() {
        tally().assert(4, 1, &[]);
    }
}
