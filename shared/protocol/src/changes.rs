//! `graph-changes`: entities on their way to a client that keeps a copy of them (sync.md 7.6).
//!
//! The message carries a Transit text in JSON. It is put together while the entities are read, so [`ChangesWriter`] takes
//! the Transit text part by part.

use transit::json;

/// Writes one `graph-changes`: [`begin`](Self::begin), then each part of the Transit text, then [`end`](Self::end).
///
/// The buffer is passed each time and only appended to: the caller may send and clear it in between.
#[derive(Debug)]
#[must_use = "a message without its end is no JSON"]
pub struct ChangesWriter(());

impl ChangesWriter {
    /// Appends what stands before the Transit text.
    pub fn begin(out: &mut String) -> Self {
        out.push_str("{\"type\":\"graph-changes\",\"data\":\"");
        Self(())
    }

    /// Appends a part of the Transit text.
    pub fn data(&self, out: &mut String, part: &str) {
        // A Transit text is full of quotes: an eighth more saves the second growth.
        out.reserve(part.len() + part.len() / 8);
        json::write_inner(out, part);
    }

    /// Appends what stands behind it.
    pub fn end(self, out: &mut String) {
        out.push_str("\"}");
    }
}
