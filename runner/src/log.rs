//! The log: lines on standard error. Standard output has the line that says that the runner is ready, and results.

use std::fmt::Display;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything, each heartbeat too.
    Debug,
    /// What is worth knowing.
    Info,
    /// What went wrong.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    /// By its name in the configuration.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "warn" => Self::Warn,
            "error" => Self::Error,
            _ => return None,
        })
    }
}

/// The log of a runner. Secrets are never given to it.
#[derive(Clone, Copy, Debug)]
pub struct Log(pub Level);

impl Log {
    /// Writes a line of a level that is asked for.
    pub fn write(self, level: Level, text: impl Display) {
        if level >= self.0 {
            eprintln!("[local-runner-daemon] {text}");
        }
    }

    /// What is worth knowing.
    pub fn info(self, text: impl Display) {
        self.write(Level::Info, text);
    }

    /// What went wrong.
    pub fn warn(self, text: impl Display) {
        self.write(Level::Warn, text);
    }
}
