//! Places in the list of sessions, as clients send them back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Longest text that is read as a cursor: a session id of 512 bytes and a time, in base64.
const MAX_CHARS: usize = 800;
/// The last time that a row can have: every number up to it is exact in every database.
const LAST_MS: i64 = (1 << 53) - 1;

/// Where a page of the list ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last row's time.
    pub updated_at: i64,
    /// The last row's session.
    pub session_id: String,
}

impl Cursor {
    /// Before the first row.
    pub fn first() -> Self {
        Self { updated_at: LAST_MS, session_id: String::new() }
    }

    /// Reads what [`text`](Self::text) gave; anything else is none.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_CHARS {
            return None;
        }
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (time, session_id) = text.split_once(':')?;
        let updated_at = time.parse().ok().filter(|time| (0..=LAST_MS).contains(time))?;
        Some(Self { updated_at, session_id: session_id.to_owned() })
    }

    /// The text that clients send back. They see nothing in it.
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{}", self.updated_at, self.session_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        for session_id in ["a", "", "a:b", "日本", &"x".repeat(512)] {
            let cursor = Cursor { updated_at: 1_800_000_000_000, session_id: session_id.to_owned() };
            assert_eq!(Cursor::parse(&cursor.text()), Some(cursor));
        }
    }

    #[test]
    fn everything_else_is_none() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for text in [
            "",
            "???",
            &encoded("1"),
            &encoded("x:a"),
            &encoded("-1:a"),
            &encoded("9007199254740992:a"),
            &"A".repeat(804),
        ] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
        assert_eq!(Cursor::parse(&URL_SAFE_NO_PAD.encode(b"1:\xff")), None);
    }
}
