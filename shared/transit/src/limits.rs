//! What a reader accepts.

/// Bounds on the input, and how strictly it is read. Memory and time of reading are proportional to the text within them.
///
/// Two sets of them matter: [`Limits::CLIENT`] for what others send and [`Limits::STORED`] for what we have written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and objects may nest. What is read is never written deeper. More than [`Limits::DEEPEST`] is taken for
    /// that, as values are compared, written and dropped recursively.
    pub max_depth: usize,
    /// Length of the text in bytes.
    pub max_bytes: usize,
    /// How many values a tree may have, collections and map keys counted. A value takes 24 bytes or more but may be two
    /// bytes of text, so that without this a text could take a dozen times its size in memory. Tokens of a
    /// [`Reader`](crate::Reader) are not counted.
    pub max_values: usize,
    /// How many bytes of text the cache codes of a text may stand for, for each byte of it. Each row that is made of a text
    /// spells its codes out once, so that without this few codes could become many long rows.
    pub max_repeats: usize,
    /// Refuses what clients' readers refuse, and what they would make another value of, or could not write again: the
    /// library would otherwise keep such values as they are, and with them a graph that no client can read. What is read
    /// strictly is read as the same value without it.
    ///
    /// Shapes under a tag are looked at where a tree is built, not by the tokens of a [`Reader`](crate::Reader).
    pub strict: bool,
}

impl Limits {
    /// The greatest depth that can be allowed.
    pub const DEEPEST: usize = 1024;

    /// For what a client sends: 32 MiB, the greatest message, and no more values than memory allows (sync.md 7.5). The depth
    /// leaves room for what is written flatter, such as metadata; [`Value::written_depth`](crate::Value::written_depth) tells
    /// how deep the value will be.
    pub const CLIENT: Self =
        Self { max_depth: 512, max_bytes: 32 * 1024 * 1024, max_values: 1_000_000, max_repeats: 16, strict: true };

    /// For rows of our own, which are bounded when they are written: whatever was stored has to be readable.
    pub const STORED: Self = Self {
        max_depth: Self::DEEPEST,
        max_bytes: usize::MAX,
        max_values: usize::MAX,
        max_repeats: usize::MAX,
        strict: false,
    };
}
