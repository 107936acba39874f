//! The log: lines on standard error, or in a file. Standard output belongs to results.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use web::{Event, Level, Trace};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Threshold {
    /// Everything, answered requests too.
    Debug,
    /// What is worth knowing.
    #[default]
    Info,
    /// What went wrong.
    Warn,
    /// What failed.
    Error,
}

impl Threshold {
    /// By its name in the configuration.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "debug" | "trace" => Self::Debug,
            "info" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// A handle to the log. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

struct Inner {
    format: Format,
    threshold: AtomicU8,
    file: Option<Mutex<File>>,
}

impl Log {
    /// A log with these settings.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(format: Format, threshold: Threshold, file: Option<&Path>) -> std::io::Result<Self> {
        let file = file.map(|path| File::options().create(true).append(true).open(path)).transpose()?;
        Ok(Self(Arc::new(Inner { format, threshold: AtomicU8::new(threshold as u8), file: file.map(Mutex::new) })))
    }

    /// Changes what is written from now on.
    pub(crate) fn set_threshold(&self, threshold: Threshold) {
        self.0.threshold.store(threshold as u8, Ordering::Relaxed);
    }

    fn writes(&self, level: Threshold) -> bool {
        level as u8 >= self.0.threshold.load(Ordering::Relaxed)
    }

    /// Something that is worth knowing, in words.
    pub(crate) fn info(&self, text: &str) {
        self.words(Threshold::Info, "info", text);
    }

    /// Something that should be changed, in words.
    pub(crate) fn warn(&self, text: &str) {
        self.words(Threshold::Warn, "warning", text);
    }

    fn words(&self, level: Threshold, name: &str, text: &str) {
        if !self.writes(level) {
            return;
        }
        let at = now();
        self.line(&match self.0.format {
            Format::Text => format!("{at} {name}: {text}"),
            Format::Json => serde_json::json!({ "time": at, "level": name, "message": text }).to_string(),
        });
    }

    /// An event of the service.
    pub(crate) fn event(&self, event: &Event<'_>) {
        let level = match event.level {
            Level::Info => Threshold::Info,
            Level::Warning => Threshold::Warn,
            Level::Error => Threshold::Error,
        };
        if !self.writes(level) {
            return;
        }
        let at = now();
        let json = event.to_json();
        self.line(&match self.0.format {
            Format::Text => format!("{at} {json}"),
            Format::Json => format!("{{\"time\":\"{at}\",{}", json.strip_prefix('{').unwrap_or("}")),
        });
    }

    /// An answered request. Routes are patterns: no path, no query.
    pub(crate) fn trace(&self, trace: &Trace<'_>) {
        if !self.writes(Threshold::Debug) {
            return;
        }
        let (at, ms) = (now(), trace.ended_ms - trace.started_ms);
        let Trace { method, route, status, .. } = trace;
        self.line(&match self.0.format {
            Format::Text => format!("{at} debug: {method} {route} {status} {ms} ms"),
            Format::Json => serde_json::json!({
                "time": at, "level": "debug", "method": method, "route": route, "status": status, "ms": ms,
            })
            .to_string(),
        });
    }

    /// A log that cannot be written to stops nothing.
    fn line(&self, line: &str) {
        let _ = match &self.0.file {
            Some(file) => writeln!(file.lock().unwrap_or_else(PoisonError::into_inner), "{line}"),
            None => writeln!(std::io::stderr(), "{line}"),
        };
    }
}

/// The time as RFC 3339, UTC.
pub(crate) fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default()
}
