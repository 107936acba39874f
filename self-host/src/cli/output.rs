//! Results on standard output, in words or as one object; failures on standard error, or as one object.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::failure::Failure;

/// How a command speaks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Output {
    /// One object for machines.
    pub(crate) json: bool,
    /// Nothing but the result.
    pub(crate) quiet: bool,
}

impl Output {
    /// Tells a result: its data, or words.
    pub(crate) fn result(self, data: &Value, words: &str) {
        if self.json {
            line(&json!({ "status": "ok", "data": data }).to_string());
        } else if !words.is_empty() {
            line(words);
        }
    }

    /// Tells something beside the result.
    pub(crate) fn note(self, words: &str) {
        if !self.quiet {
            // A terminal that is gone stops nothing.
            let _ = writeln!(std::io::stderr(), "{words}");
        }
    }

    /// Tells why there is no result; gives the exit code.
    pub(crate) fn failure(self, failure: &Failure) -> ExitCode {
        if self.json {
            line(&failure.json().to_string());
        } else {
            let mut words = String::new();
            for message in &failure.messages {
                let _ = writeln!(words, "error: {message}");
            }
            if let Some(hint) = &failure.hint {
                let _ = writeln!(words, "hint: {hint}");
            }
            // A terminal that is gone changes nothing.
            let _ = write!(std::io::stderr(), "{words}");
        }
        ExitCode::from(failure.exit)
    }
}

/// A line on standard output, at once. Whoever reads it may be gone.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
