//! Which texts may name a session (agents.md 2.8).

use super::limits::MAX_SESSION_ID_BYTES;
use crate::error::Error;

/// Texts that no path to a session can hold: one is a route of its own, the others are resolved away by whoever reads an address.
const TAKEN: [&str; 3] = ["view", ".", ".."];

/// Whether a new session may be called so. Upper and lower case count, and so do blanks.
pub fn check(session_id: &str) -> Result<(), Error> {
    let is_sized = (1..=MAX_SESSION_ID_BYTES).contains(&session_id.len());
    if is_sized && !session_id.contains(char::is_control) && !TAKEN.contains(&session_id) {
        Ok(())
    } else {
        Err(Error::InvalidSessionId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_bounds() {
        let limit = "é".repeat(256);
        for id in ["a", "View", "s p/1?x=1&y#z", "Größe", " x ", "...", &limit] {
            assert_eq!(check(id), Ok(()), "{id}");
        }
        let beyond = format!("{limit}a");
        for id in ["", "view", ".", "..", "a\nb", "\u{7f}", "\u{85}", "a\0", &beyond] {
            assert_eq!(check(id), Err(Error::InvalidSessionId), "{id:?}");
        }
    }
}
