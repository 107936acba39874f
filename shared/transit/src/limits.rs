//! What a reader accepts at most.

/// Bounds on the input. Memory and time of reading are proportional to the text within them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays, objects and tags may nest: 256 by default (sync.md 7.5).
    pub max_depth: usize,
    /// Length of the text in bytes: 32 MiB by default, the greatest message (sync.md 7.5).
    pub max_bytes: usize,
}

impl Limits {
    /// The server's limits.
    pub const DEFAULT: Self = Self { max_depth: 256, max_bytes: 32 * 1024 * 1024 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
