//! What a part said of the step that it is at, so that the end of a long run tells what failed without a search.

use std::collections::VecDeque;

/// Lines of a step that are kept; the newest win.
const KEPT: usize = 4000;
/// Lines shown of each test that failed.
const OF_A_FAILURE: usize = 40;
/// Last lines shown of the step.
const LAST: usize = 30;

/// The lines since a step began.
#[derive(Default)]
pub(super) struct Said {
    lines: VecDeque<String>,
}

impl Said {
    /// Hears one more line; a new step forgets the one before it.
    pub(super) fn hear(&mut self, line: &str) {
        if line.starts_with("==> ") {
            self.lines.clear();
        }
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    /// The step's name, each failure that a test runner told, and the last lines.
    pub(super) fn digest(&self) -> Vec<&str> {
        let ends = self.lines.len().saturating_sub(LAST);
        let mut shown = Vec::new();
        let mut left = 0;
        for (at, line) in self.lines.iter().enumerate() {
            if is_failure(line) {
                left = OF_A_FAILURE;
            }
            if at == 0 || left > 0 || at >= ends {
                shown.push(line.as_str());
            }
            left = if line.trim() == "..." { 0 } else { left.saturating_sub(1) };
        }
        shown
    }
}

/// Whether a test runner tells a failure from here on: Node's, whose account ends with `...`, or a panic of a Rust test.
fn is_failure(line: &str) -> bool {
    line.trim_start().starts_with("not ok ") || (line.starts_with("thread '") && line.contains("panicked at"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Said {
        let mut said = Said::default();
        for line in lines {
            said.hear(line);
        }
        said
    }

    #[test]
    fn a_failure_far_above_the_end_is_told_and_what_passed_is_not() {
        let after: Vec<String> = (0..LAST).map(|at| format!("line {at}")).collect();
        let mut lines = vec![
            "==> Before",
            "old",
            "==> Sessions",
            "ok 1 - create",
            "    not ok 2 - pause",
            "  ---",
            "  why",
            "  ...",
        ];
        lines.push("ok 3 - resume");
        lines.extend(after.iter().map(String::as_str));
        let said = heard(&lines);
        let digest = said.digest();
        assert_eq!(digest[..5], ["==> Sessions", "    not ok 2 - pause", "  ---", "  why", "  ..."]);
        assert_eq!(digest[5..], after.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn an_endless_step_is_bounded() {
        let mut said = Said::default();
        (0..3 * KEPT).for_each(|at| said.hear(&format!("thread '{at}' panicked at x")));
        assert_eq!(said.digest().len(), KEPT);
    }
}
