//! What a viewer says to a terminal, and what it is told (agents.md 5.3.8). Text frames are JSON where they can be read as that.

use serde::Deserialize;

use crate::runtime::TerminalSize;

/// The most characters of a line, and the most lines.
pub(super) const MAX_SIDE: u16 = 1_000;
/// The size where nobody asks for another.
pub(super) const USUAL: TerminalSize = TerminalSize { cols: 120, rows: 40 };
/// What a viewer is told first.
pub(super) const READY: &str = r#"{"type":"ready"}"#;

/// What a text frame means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// This is typed.
    Input(String),
    /// The frame itself is typed.
    Raw,
    /// The terminal is to have this size.
    Resize(TerminalSize),
    /// Nothing: a frame of a known kind without its content.
    Nothing,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Input {
    data: String,
}

#[derive(Deserialize)]
struct Resize {
    cols: u16,
    rows: u16,
}

/// Reads a text frame. Its length is bounded by whoever hands it in; nothing of it is kept that is not asked for.
pub(super) fn read(text: &str) -> Said {
    let Ok(Head { kind }) = serde_json::from_str(text) else { return Said::Raw };
    match kind.as_str() {
        "input" => serde_json::from_str(text).map_or(Said::Nothing, |Input { data }| Said::Input(data)),
        "resize" => {
            let size = serde_json::from_str(text).ok().and_then(|Resize { cols, rows }| size(cols, rows));
            size.map_or(Said::Nothing, Said::Resize)
        }
        _ => Said::Raw,
    }
}

/// A size that a terminal can have.
fn size(cols: u16, rows: u16) -> Option<TerminalSize> {
    (is_side(cols) && is_side(rows)).then_some(TerminalSize { cols, rows })
}

/// Whether a terminal can have so many lines, or characters in a line.
pub(super) fn is_side(side: u16) -> bool {
    (1..=MAX_SIDE).contains(&side)
}

/// The process has ended.
pub(super) fn exit(code: i64) -> String {
    serde_json::json!({"type": "exit", "code": code}).to_string()
}

/// The terminal ends, and why.
pub(super) fn error(message: &str) -> String {
    serde_json::json!({"type": "error", "message": message}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_frames_where_they_can_be() {
        let resize = |cols, rows| Said::Resize(TerminalSize { cols, rows });
        for (text, expected) in [
            (r#"{"type":"input","data":"ls\n"}"#, Said::Input("ls\n".to_owned())),
            (r#"{"type":"input"}"#, Said::Nothing),
            (r#"{"type":"input","data":5}"#, Said::Nothing),
            (r#"{"type":"resize","cols":80,"rows":25}"#, resize(80, 25)),
            (r#"{"type":"resize","cols":1,"rows":1000}"#, resize(1, 1_000)),
            (r#"{"type":"resize","cols":0,"rows":25}"#, Said::Nothing),
            (r#"{"type":"resize","cols":80,"rows":1001}"#, Said::Nothing),
            (r#"{"type":"resize","cols":-1,"rows":25}"#, Said::Nothing),
            (r#"{"type":"resize","cols":99999999999,"rows":25}"#, Said::Nothing),
            (r#"{"type":"resize","cols":80}"#, Said::Nothing),
            (r#"{"type":"other","data":"x"}"#, Said::Raw),
            (r#"{"type":5}"#, Said::Raw),
            ("{}", Said::Raw),
            ("[]", Said::Raw),
            ("ls", Said::Raw),
            ("", Said::Raw),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read(&"[".repeat(200_000)), Said::Raw, "however deep it is");
    }
}
