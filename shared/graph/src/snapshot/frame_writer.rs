//! Writing frames (sync.md 10.1, 10.3).

use transit::json;

/// One frame under construction.
#[derive(Debug)]
pub struct FrameWriter {
    /// Four bytes for the length, then the text.
    text: String,
    rows: usize,
}

impl Default for FrameWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameWriter {
    /// An empty frame.
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty frame with room for rows of about so many bytes, up to a megabyte of them.
    pub fn with_capacity(bytes: usize) -> Self {
        let bytes = bytes.min(1 << 20);
        // Quotes within a row's text are written with a backslash each.
        let mut text = String::with_capacity(bytes + bytes / 2);
        text.push_str("\0\0\0\0[");
        Self { text, rows: 0 }
    }

    /// Adds a row.
    pub fn row(&mut self, addr: i64, content: &str, addresses: Option<&str>) {
        use std::fmt::Write;
        if self.rows > 0 {
            self.text.push(',');
        }
        self.rows += 1;
        // Writing to a string does not fail.
        let _ = write!(self.text, "[{addr},");
        string(&mut self.text, content);
        self.text.push(',');
        match addresses {
            Some(addresses) => string(&mut self.text, addresses),
            None => self.text.push_str("null"),
        }
        self.text.push(']');
    }

    /// Rows so far.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The bytes of the frame.
    pub fn finish(mut self) -> Vec<u8> {
        self.text.push(']');
        let mut bytes = self.text.into_bytes();
        let length = u32::try_from(bytes.len().saturating_sub(4)).unwrap_or(u32::MAX).to_be_bytes();
        bytes.iter_mut().zip(length).for_each(|(slot, byte)| *slot = byte);
        bytes
    }
}

/// A string in Transit: what starts like something else gets a leading `~`.
fn string(out: &mut String, text: &str) {
    if text.starts_with(['~', '^', '`']) {
        json::write_str(out, &["~", text].concat());
    } else {
        json::write_str(out, text);
    }
}
