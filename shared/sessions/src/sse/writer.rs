//! Frames of our own event streams. Nothing that a text contains can end its line or begin another field.

use std::fmt::Write;

/// A frame with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The cursor of a stored event; live-only events have none (agents.md 3.11).
    pub id: Option<u64>,
    /// The type, one of our own names. Without it clients see `message`.
    pub event: Option<&'static str>,
    /// The text. All kinds of line ends are line ends, and arrive as line feeds.
    pub data: &'a str,
}

impl Frame<'_> {
    /// Appends the frame to a stream.
    pub fn write(&self, out: &mut String) {
        out.reserve(self.data.len() + 64);
        if let Some(id) = self.id {
            write_line(out, "id: ", format_args!("{id}"));
        }
        if let Some(event) = self.event {
            write_text(out, "event: ", event);
        }
        write_text(out, "data: ", self.data);
        out.push('\n');
    }
}

/// Appends a comment, which keeps a connection open and is no event: `ping` every 15 s (agents.md 3.11).
pub fn write_comment(out: &mut String, comment: &str) {
    write_text(out, ": ", comment);
    out.push('\n');
}

/// Appends the named event that clients may ask for in place of the comment, since many parsers hide comments
/// (agents.md 3.11). `cursor` is that of the last stored event, `now_ms` is in milliseconds since 1970.
pub fn write_heartbeat(out: &mut String, cursor: u64, now_ms: u64) {
    let data = format!(r#"{{"cursor":{cursor},"ts":{now_ms}}}"#);
    Frame { id: None, event: Some("heartbeat"), data: &data }.write(out);
}

/// One line of output for each line of the text, with the field's name before it.
fn write_text(out: &mut String, field: &str, text: &str) {
    let mut rest = Some(text);
    // Every round takes a line off the text.
    while let Some(text) = rest {
        let (line, after) = text.split_at(memchr::memchr2(b'\r', b'\n', text.as_bytes()).unwrap_or(text.len()));
        write_line(out, field, format_args!("{line}"));
        rest = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\r', '\n']));
    }
}

fn write_line(out: &mut String, field: &str, value: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{field}{value}");
}
