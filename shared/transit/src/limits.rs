//! What a reader accepts at most.

/// Bounds on the input. Memory and time of reading are proportional to the text within them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and objects may nest: 256 by default (sync.md 7.5). More than [`Limits::DEEPEST`] is taken for
    /// that, as values are compared, written and dropped recursively.
    pub max_depth: usize,
    /// Length of the text in bytes: 32 MiB by default, the greatest message (sync.md 7.5).
    pub max_bytes: usize,
    /// How many values a tree may have, collections and map keys counted: 1,000,000 by default. A value takes 24 bytes
    /// or more but may be two bytes of text, so that without this a text could take a dozen times its size in memory.
    /// Tokens of a [`Reader`](crate::Reader) are not counted.
    pub max_values: usize,
}

impl Limits {
    /// The greatest depth that can be allowed.
    pub const DEEPEST: usize = 512;

    /// The server's limits.
    pub const DEFAULT: Self = Self { max_depth: 256, max_bytes: 32 * 1024 * 1024, max_values: 1_000_000 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
