//! How far long work is, on a terminal only.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::cli::output::Output;

/// How often the line is written at most.
const EVERY: Duration = Duration::from_millis(100);

/// A line on standard error that is written over until the work is done. Nothing where that is no terminal.
pub(super) struct Progress {
    label: String,
    shown: bool,
    last: Option<Instant>,
}

impl Progress {
    /// Work of this name.
    pub(super) fn new(output: Output, label: impl Into<String>) -> Self {
        let shown = !output.quiet && std::io::stderr().is_terminal();
        Self { label: label.into(), shown, last: None }
    }

    /// So much of a total is done, in a unit.
    pub(super) fn at(&mut self, done: u64, total: Option<u64>, unit: &str) {
        if !self.shown || self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        let text = match total.filter(|total| *total > 0) {
            Some(total) => format!("{done} of {total} {unit} ({} %)", done.saturating_mul(100) / total),
            None => format!("{done} {unit}"),
        };
        // A terminal that is gone stops nothing.
        let _ = write!(std::io::stderr(), "\r\x1b[K{}: {text}", self.label);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
